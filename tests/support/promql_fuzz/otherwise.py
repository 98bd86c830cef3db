"""Explain a difference: by what is known of the peer, or by asking once more, other things or by other rules.

What comes out must be equal, or differ for a reason of `drift` alone. Where a query asks for native histograms, ours
has them with the empty buckets that they have in the peer's chunks.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.store.promql.language.ast import Aggregate, Call, Subquery, ValueType, walk
from headrace.store.promql.language.parser import parse
from promql_fuzz import compare, drift
from promql_fuzz.cases import given
from promql_fuzz.older import fractions_as_before, rates_as_before
from promql_fuzz.ours import options
from promql_fuzz.shake import shaken, unscaled_logarithms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from promql_fuzz.pair import Answers, Pair

_OF_NUMBERS = {"labels", "points", "value", "order"}
"""Kinds of differences that may come from differing numbers."""

_AVERAGE = re.compile(r"\bavg(?=_over_time\b|\b)")

_COUNT_VALUES = re.compile(r'count_values((?: *(?:by|without) *\([^)]*\))?) *\("[^"]*", *')

_DEFAULT_STEP_MS = 60_000
"""Of a subquery that says none: how often the peer would evaluate rules."""

_AHEAD = re.compile(r":[^\]]*\][^\[]*offset *\(?-")
"""A subquery of what comes later."""

_OPTIONS = options(delayed=False).parser

_MARGIN = 4.0
"""So much larger an error may be than those of a few tries."""

_TIMES = 12
"""So often a query is asked again whose answer may depend on chance."""

_CHOICE = re.compile(r"\b(limitk|limit_ratio|topk|bottomk)\b")
_TIMES_OF_CHOICES = 80
"""So often if some series are chosen: of two the peer puts the other one first in one of eight answers."""

_BY_RULES: dict[str, tuple[re.Pattern[str], Callable[[], AbstractContextManager[None]], float | None]] = {
    "logarithms of the smallest numbers": (re.compile(r"\b(ln|log10)\("), unscaled_logarithms, 1e-9),
    "first bucket of histogram_fraction": (re.compile(r"\bhistogram_fraction\("), fractions_as_before, None),
    "rates of histograms do not go below zero any more, other custom bounds are no reset": (
        re.compile(r"\b(i?rate|i?delta|increase|resets)\("),
        rates_as_before,
        None,
    ),
}
"""By reason: which queries it may explain, what makes ours compute so, and the relative error allowed, if another."""


def _by_chance(pair: Pair, seen: Answers) -> bool:
    """Ask the peer again: it reuses memory of histograms and goes through hash tables."""
    text = seen.query.text
    times = _TIMES_OF_CHOICES if _CHOICE.search(text) else _TIMES
    return any(compare.difference(text, seen.theirs, pair.ask_peer(seen.query)) is not None for _ in range(times))


def _by_digits(pair: Pair, seen: Answers) -> bool:
    """Evaluate again with errors in the last digits: is the peer's answer among the ones that come out?"""
    text = seen.query.text
    if not compare.uses_library(text) or seen.difference is None or seen.difference.kind not in _OF_NUMBERS:
        return False
    spread = 0.0
    for seed in range(_TIMES):
        with shaken(seed):
            ours = pair.ask_stored(seen.query)
        if _explained(seen, ours, spread):
            return True
        spread = max(spread, _MARGIN * compare.spread(seen.ours, ours))
    return _explained(seen, seen.ours, spread)


def _explained(seen: Answers, ours: Mapping[str, Any], relative: float | None = None) -> bool:
    """Return whether another answer of ours is the peer's, save for what `drift` knows."""
    found = compare.difference(seen.query.text, seen.theirs, ours, relative=relative)
    return found is None or drift.kind(replace(seen, ours=ours, difference=found)) is not None


def _by_averages(pair: Pair, seen: Answers) -> bool:
    """Ask for sums in place of averages: the peer's running means lose what lies across the zero bucket."""
    query = seen.query
    if seen.difference is None or seen.difference.kind not in _OF_NUMBERS or not _AVERAGE.search(query.text):
        return False
    sums = given(_AVERAGE.sub("sum", query.text), *query.times_ms)
    theirs, ours = pair.ask_peer(sums), pair.ask_stored(sums)
    found = compare.difference(sums.text, theirs, ours)
    summed = replace(seen, query=sums, theirs=theirs, ours=ours, difference=found)
    return found is None or drift.kind(summed) is not None


def _by_steps(pair: Pair, seen: Answers) -> bool:
    """Ask the peer for each step of a range: in subqueries it overwrites histograms that it still needs."""
    query, found = seen.query, seen.difference
    histograms = "histogram" in str(seen.theirs) or drift.of_histograms(query.text)
    if not query.step_ms or found is None or found.kind not in {*_OF_NUMBERS, "samples"} or not histograms:
        return False
    rows: dict[str, dict[str, Any]] = {}
    samples = 0
    for time_ms in range(query.start_ms, query.end_ms + 1, query.step_ms):
        alone = pair.ask_peer(replace(query, start_ms=time_ms, end_ms=time_ms, step_ms=0))
        if alone["status"] == "error" or alone["data"]["resultType"] != "vector":
            return False
        samples += alone["data"]["stats"]["samples"]["totalQueryableSamples"]
        for row in alone["data"]["result"]:
            kept = rows.setdefault(json.dumps(row["metric"], sort_keys=True), {"metric": row["metric"]})
            for kind in ("value", "histogram"):
                if kind in row:
                    kept.setdefault(f"{kind}s", []).append(row[kind])
    if found.kind == "samples":
        return bool(samples == seen.ours["data"]["stats"]["samples"]["totalQueryableSamples"])
    data = seen.theirs["data"] | {"result": [rows[key] for key in rows]}
    found = compare.difference(query.text, {**seen.theirs, "data": data}, seen.ours)
    return found is None or found.kind == "order"


def _by_sums_of_values(pair: Pair, seen: Answers) -> bool:
    """Ask for sums in place of counts by value: of values that are all rounding, no two sides have the same."""
    text = seen.query.text
    if not compare.uses_library(text) or seen.difference is None or seen.difference.kind != "labels":
        return False
    summed = _COUNT_VALUES.sub(r"sum\1(", text)
    if summed == text:
        return False
    later = pair.ask(given(summed, *seen.query.times_ms))
    return later.difference is None or reason(pair, later) is not None


def _by_inner_steps(pair: Pair, seen: Answers) -> bool:
    """Ask for what is within subqueries as it is: do both sides count the same samples at each step of them?"""
    query = seen.query
    if seen.difference is None or seen.difference.kind != "samples" or not drift.of_histograms(query.text):
        return False
    inner = [node for node in walk(parse(query.text, _OPTIONS)) if isinstance(node, Subquery)]
    return bool(inner) and all(_steps_agree(pair, seen, node) for node in inner)


def _steps_agree(pair: Pair, seen: Answers, node: Subquery) -> bool:
    query, step_ms = seen.query, node.step_ms or _DEFAULT_STEP_MS
    first_ms = (query.start_ms - node.range_ms - node.offset_ms) // step_ms * step_ms
    last_ms = max(query.start_ms, query.end_ms) - node.offset_ms
    answers = pair.ask(given(query.text[node.expr.start : node.expr.end], first_ms, last_ms, step_ms))
    return answers.difference is None or reason(pair, answers) is not None


def _by_first_step(pair: Pair, seen: Answers) -> bool:
    """Ask for times that are 1 ms later: the first step of no subquery is the first one of what is around it then."""
    text = seen.query.text
    if "@" not in text or not _AHEAD.search(text):
        return False
    start_ms, *others = seen.query.times_ms
    later = pair.ask(given(text, start_ms + 1, *(time_ms + 1 for time_ms in others[:1]), *others[1:]))
    return later.difference is None or reason(pair, later) is not None


def _by_parts(pair: Pair, seen: Answers) -> bool:
    """Ask for the parts of a query that the peer refuses: does one of them differ for a reason that it would tell?"""
    query = seen.query
    if "error" not in seen.theirs:
        return False
    parts = [
        query.text[node.start : node.end]
        for node in walk(parse(query.text, _OPTIONS))
        if isinstance(node, Aggregate | Call) and node.type is ValueType.VECTOR
    ]
    answers = (pair.ask(given(part, *query.times_ms)) for part in parts if part != query.text)
    return any(one.difference is not None and drift.kind(one) in _HIDDEN for one in answers)


_HIDDEN = {"histograms with other custom bounds"}


WAYS: dict[str, Callable[[Pair, Answers], bool]] = {
    "the peer's answer depends on chance": _by_chance,
    "it depends on the last digits of library functions": _by_digits,
    "averages of histograms are sums divided by how many there are": _by_averages,
    "the peer answers as ours where it is asked for each step alone": _by_steps,
    "digits of library functions are all there is of labels": _by_sums_of_values,
    "sizes of histograms in subqueries": _by_inner_steps,
    "@ in subqueries that begin with what is around": _by_first_step,
    "parts of a query that differ": _by_parts,
}
"""By reason, in the order in which they are tried."""

_BY_LAYOUTS = "empty buckets of other histograms"

NAMES = WAYS.keys() | _BY_RULES.keys() | {_BY_LAYOUTS}
"""The reasons that are found here."""


def reason(pair: Pair, seen: Answers) -> str | None:
    """Return why two answers differ, the name of a reason; None where that is a fault."""
    ours = pair.ask_stored(seen.query)
    stored = replace(seen, ours=ours, difference=compare.difference(seen.query.text, seen.theirs, ours))
    if stored.difference is None:
        return _BY_LAYOUTS
    found = (name for name, explains in WAYS.items() if explains(pair, stored))
    return drift.kind(stored) or _by_rules(pair, stored) or next(found, None)


def _by_rules(pair: Pair, seen: Answers) -> str | None:
    text = seen.query.text
    for name, (pattern, rules, relative) in _BY_RULES.items():
        if pattern.search(text):
            with rules():
                ours = pair.ask_stored(seen.query)
                changed = replace(
                    seen, ours=ours, difference=compare.difference(text, seen.theirs, ours, relative=relative)
                )
                if _explained(seen, ours, relative) or _by_steps(pair, changed) or _by_averages(pair, changed):
                    return name
    return None
