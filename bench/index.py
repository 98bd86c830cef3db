"""The index at a million series: memory, adding, matchers, and regular expressions on a million distinct values.

A regular expression is timed on values that it has not seen yet; the same question again is answered from memory.
RE2, asked value by value from Python, is measured beside it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.buffers import padded
from headrace.pipeline.regex import regex
from headrace.store.cardinality import cardinality
from headrace.store.index import Index, LabelSets
from headrace.store.labels import QuerySymbols
from headrace.store.matchers import Matcher, MatchType
from headrace.store.symbol_matches import SymbolMatches
from headrace.store.symbols import Symbols

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SERIES = 1_000_000
_A_POD = 50
_BATCH = 20_000

_MATCHERS: dict[str, list[Matcher]] = {
    "one_series": [
        Matcher("__name__", MatchType.EQUAL, "container_metric_7_total"),
        Matcher("pod", MatchType.EQUAL, "app-3-09c2ae9d-04043"),
    ],
    "one_pod": [Matcher("pod", MatchType.EQUAL, "app-3-09c2ae9d-04043")],
    "one_metric": [Matcher("__name__", MatchType.EQUAL, "container_metric_7_total")],
    "metric_and_namespace": [
        Matcher("__name__", MatchType.EQUAL, "container_metric_7_total"),
        Matcher("namespace", MatchType.EQUAL, "team-7"),
    ],
    "metric_and_regex": [
        Matcher("__name__", MatchType.EQUAL, "container_metric_7_total"),
        Matcher("pod", MatchType.REGEX, "app-(3|4)-.*"),
    ],
    "regex_of_few": [Matcher("pod", MatchType.REGEX, "app-3-.*-040[0-9]3")],
    "not_equal": [
        Matcher("__name__", MatchType.EQUAL, "container_metric_7_total"),
        Matcher("namespace", MatchType.NOT_EQUAL, "team-7"),
    ],
    "all_but_one_namespace": [Matcher("namespace", MatchType.NOT_EQUAL, "team-7")],
}

_PATTERNS = {
    "prefix": "api-server-12.*",
    "alternation": "api-server-12345-0|web-77-1|nothing",
    "alternation_prefix": "(api-server-1|web-7|db-9).*",
    "contains": ".*-7777.*",
    "suffix": ".*-99",
    "ignoring_case": "(?i)API-SERVER-12.*",
    "general": "(api|web)-[a-z]*-?[0-9]{3,5}-[0-4]+",
    "general_with_contains": ".*-(77|88)[0-9]-.*",
}


def _best(work: Callable[[], object], rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _labels(number: int) -> tuple[tuple[str, str], ...]:
    pod, metric = divmod(number, _A_POD)
    app = pod % 40
    return (
        ("__name__", f"container_metric_{metric}_total"),
        ("cluster", "eu-1"),
        ("container", f"app-{app}"),
        ("instance", f"10.{pod >> 14}.{pod >> 7 & 127}.{pod & 127}:8080"),
        ("job", "kubelet"),
        ("namespace", f"team-{pod % 60}"),
        ("node", f"node-{pod % 500}.internal"),
        ("pod", f"app-{app}-{pod * 40503 & 0xFFFFFFFF:08x}-{pod:05d}"),
        ("zone", f"eu-1{'abc'[pod % 3]}"),
    )


def _matchers(index: Index, out: dict[str, float]) -> None:
    for name, matchers in _MATCHERS.items():
        index.matches = SymbolMatches(index.symbols)
        began = time.perf_counter()
        found = index.select(matchers)
        out[f"select_{name}_first_ms"] = (time.perf_counter() - began) * 1e3
        # Without what `select` remembers, which a benchmark that asks again would measure instead.
        out[f"select_{name}_ms"] = _best(partial(index._select, matchers), 20) * 1e3
        out[f"select_{name}_again_ms"] = _best(partial(index.select, matchers)) * 1e3
        out[f"select_{name}_series"] = len(found)
    refs = index.select(_MATCHERS["one_metric"])
    out["label_sets_us_each"] = _best(lambda: index.table(refs, QuerySymbols(index.symbols)), 3) / len(refs) * 1e6


def _values() -> Symbols:
    kinds = ("api-server", "web", "db", "cache-node")
    texts = [f"{kinds[i & 3]}-{i >> 2}-{i * 7919 % 100}" for i in range(SERIES)]
    sizes = np.array([len(text) for text in texts], np.int32)
    symbols = Symbols()
    spans = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1).astype(np.int32)
    symbols.intern_spans(padded("".join(texts).encode()), spans)
    return symbols


def _afresh(symbols: Symbols, pattern: str, wanted: NDArray[np.int32]) -> NDArray[np.bool_]:
    return SymbolMatches(symbols).of(pattern, wanted)


def _each(matches: Callable[[bytes], object], values: list[bytes]) -> list[object]:
    return list(map(matches, values))


def _patterns(out: dict[str, float]) -> None:
    symbols = _values()
    every = np.arange(len(symbols), dtype=np.int32)
    few = every[: SERIES // 20]
    for name, pattern in _PATTERNS.items():
        SymbolMatches(symbols).of(pattern, every[:1000])
        asked = SymbolMatches(symbols)
        out[f"regex_{name}_values_per_s"] = len(every) / _best(partial(_afresh, symbols, pattern, every), 3)
        asked.of(pattern, every)
        out[f"regex_{name}_again_values_per_s"] = len(every) / _best(partial(asked.of, pattern, every), 3)
        matches = regex(pattern).matches_bytes
        raw = [symbols.raw(i) for i in few.tolist()]
        out[f"regex_{name}_re2_values_per_s"] = len(few) / _best(partial(_each, matches, raw), 2)


def run() -> dict[str, float]:
    """Measure; wall time in milliseconds or microseconds, values each second, bytes each series."""
    out: dict[str, float] = {}
    index = Index()
    index.intern(LabelSets.of([_labels(i) for i in range(100)]))
    spent = 0.0
    for first in range(0, SERIES, _BATCH):
        sets = LabelSets.of([_labels(i) for i in range(first, first + _BATCH)])
        began = time.perf_counter()
        index.intern(sets)
        spent += time.perf_counter() - began
    out["add_us_per_series"] = spent / SERIES * 1e6
    out["bytes_per_series_before_matchers"] = index.memory_bytes() / SERIES
    _matchers(index, out)
    # It makes the lists of all labels.
    cardinality(index, 10)
    out["bytes_per_series"] = index.memory_bytes() / SERIES
    out["cardinality_ms"] = _best(partial(cardinality, index, 10)) * 1e3
    _patterns(out)
    return out
