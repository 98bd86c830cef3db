"""Compile what the store and its queries run on, by storing and asking a little."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import numpy as np

from headrace.pipeline.batch import MetricBatch
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import Series
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.store.automaton import automaton
from headrace.store.column import LISTS_ARE_SORTED_BELOW
from headrace.store.engine import EngineOptions
from headrace.store.index import Index, LabelSets
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.promql.evaluate import Evaluator
from headrace.store.store import Store, StoreOptions

_START_MS = 1_700_000_000_000
_STEP_MS = 15_000
_SAMPLES = 300

_QUERIES = (
    "sum by (a) (rate(m_total[5m])) / on (a) group_left avg by (a) (m_total)",
    "max(m_total) - min(m_total) + stddev(m_total) + quantile(0.5, m_total)",
    "topk(1, m_total) or m_total > 1 and m_total unless m_total",
    "histogram_quantile(0.9, rate(m_bucket[5m]))",
    "irate(m_total[5m]) + increase(m_total[5m]) + delta(m_total[5m])",
    "sum_over_time(m_total[5m]) + avg_over_time(m_total[5m]) + max_over_time(m_total[5m])",
    "count_over_time(m_total[5m]) + stddev_over_time(m_total[5m]) + quantile_over_time(0.5, m_total[5m])",
    "last_over_time(m_total[5m]) + changes(m_total[5m]) + deriv(m_total[5m]) + predict_linear(m_total[5m], 60)",
)


def warm_up() -> None:
    """Run a small store through its life."""
    table = SeriesTable()
    series = [Series.of(__name__="m_total", a=str(i)) for i in range(2)]
    series += [Series.of(__name__="m_bucket", le=le) for le in ("1", "+Inf")]
    ids = table.intern(series)
    edge = PrometheusEdge(Drops(Counters(), "warm_up"))
    # Nothing holds the batch afterwards.
    edge.flatten(MetricBatch.of(table, ids, np.zeros(len(ids), np.int64), np.zeros(len(ids))))
    # Of a moment ahead, so that the series are idle.
    table.collect(-1.0)
    _ask_index()
    with tempfile.TemporaryDirectory(prefix="headrace-warm-") as directory:
        asyncio.run(_live(Path(directory), [one.labels for one in series]))


def _ask_index() -> None:
    """Ask for what an index of few series answers in other ways than one of many."""
    index = Index()
    amount = 2 * LISTS_ARE_SORTED_BELOW
    index.intern(LabelSets.of([(("a", str(i)), ("b", "same")) for i in range(amount)]))
    for type_, value in ((MatchType.EQUAL, "1"), (MatchType.REGEX, "1|2"), (MatchType.REGEX, ".+")):
        index.select([Matcher("a", type_, value)])
    index.select([Matcher("a", MatchType.NOT_EQUAL, "1")])
    found = automaton("[ab]")
    if found is not None:
        found.matches(*index.symbols.arrays, index.select([]))
    index.remove(index.refs()[:1])
    index.packed()


async def _live(directory: Path, labels: list[tuple[tuple[str, str], ...]]) -> None:
    options = StoreOptions(Sync.NEVER, 0, EngineOptions(max_future_ms=1 << 40))
    store = Store(directory, options)
    store.open()
    engine = store.engine("default")
    refs = engine.refs(labels)
    for factor in (1.0, 0.1, np.pi):
        for i in range(_SAMPLES):
            times = np.full(len(refs), _START_MS + i * _STEP_MS, np.int64)
            await engine.append(SeriesBatch(refs, times, np.full(len(refs), i * factor)))
    _ask(Evaluator(engine))
    store.flush(everything=True)
    _ask(Evaluator(engine))
    await store.close()
    again = Store(directory, options)
    again.open()
    _ask(Evaluator(again.engine("default")))
    await again.close()


def _ask(evaluator: Evaluator) -> None:
    end_ms = _START_MS + _SAMPLES * _STEP_MS
    for query in _QUERIES:
        evaluator.instant(query, end_ms)
        evaluator.range(query, end_ms - 600_000, end_ms, 60_000)
