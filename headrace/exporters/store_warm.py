"""Compile what the store and its queries run on, by storing and asking a little."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.buffers import padded
from headrace.pipeline.batch import STALE_BITS, MetricBatch
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import Series
from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, NativeFlag, NativeHistograms
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.store.api import exposition
from headrace.store.api.federate import page_of
from headrace.store.api.read_samples import query_result
from headrace.store.api.remote_read import chunks_of, label_messages
from headrace.store.api.result_json import pieces_of
from headrace.store.api.selection import put_together
from headrace.store.automaton import automaton
from headrace.store.column import LISTS_ARE_SORTED_BELOW
from headrace.store.engine import EngineOptions
from headrace.store.exemplars import ExemplarBatch
from headrace.store.index import Index, LabelSets
from headrace.store.interfaces import SeriesBatch
from headrace.store.labels import QuerySymbols
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.prometheus_blocks.chunk_writing import frames
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions
from headrace.store.promql.language.parser import ParserOptions
from headrace.store.promql.pushdown.partial import PartialAggregate
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.engine import Engine

_START_MS = 1_700_000_000_000
_STEP_MS = 15_000
_SAMPLES = 300
_NATIVES = 100
_STALE_AT = 250
_STALE = float(STALE_BITS.view(np.float64))

_OPTIONS = EvaluatorOptions(parser=ParserOptions(extended_range_selectors=True))

_QUERIES = (
    "sum by (a) (rate(m_total[5m])) / on (a) group_left avg by (a) (m_total)",
    "max(m_total) - min(m_total) + stddev(m_total) + quantile(0.5, m_total)",
    "topk(1, m_total) or m_total > 1 and m_total unless m_total",
    "histogram_quantile(0.9, rate(m_bucket[5m]))",
    "irate(m_total[5m]) + increase(m_total[5m]) + delta(m_total[5m])",
    "sum_over_time(m_total[5m]) + avg_over_time(m_total[5m]) + max_over_time(m_total[5m])",
    "count_over_time(m_total[5m]) + stddev_over_time(m_total[5m]) + quantile_over_time(0.5, m_total[5m])",
    "histogram_count(m_native) or count(m_native) or count(m_total) + min_over_time(m_total[5m])",
    "absent_over_time(m_total[5m]) or m_total smoothed or changes(m_total[5m] anchored)",
    "rate(m_total[5m] anchored) + increase(m_total[5m] smoothed)",
    "last_over_time(m_total[5m]) + changes(m_total[5m]) + deriv(m_total[5m]) + predict_linear(m_total[5m], 60)",
    # What is not of a selector alone has kernels of its own.
    "rate(m_total[5m:1m]) + delta(m_total[5m:1m]) + sum_over_time(m_total[5m:1m]) + avg_over_time(m_total[5m:1m])",
    "max_over_time(m_total[5m:1m]) + count_over_time(m_total[5m:1m]) + last_over_time(m_total[5m:1m])",
    "sum(m_total + m_total) + avg(m_total + m_total) + max(m_total + m_total) + stddev(m_total + m_total)",
    "topk(1, m_total ^ 2.5 + timestamp(m_total))",
    # Rows of the same labels that are there at different steps.
    "sum(m_total > 280) or count(m_total)",
    # Native histograms; those of m_native are of two kinds that do not add up.
    "histogram_quantile(0.5, rate(m_native[5m])) + histogram_fraction(0, 1, m_native) + histogram_stddev(m_native)",
    "sum by (a) (m_native) + avg by (a) (m_native) - sum_over_time(m_native[5m])",
    "irate(m_native[5m]) == delta(m_native[5m])",
    "changes(m_native[5m]) + resets(m_native[5m])",
    "m_native - m_native offset 1m",
    "(m_native </ 1) or (m_native >/ 1)",
    "histogram_fraction(0, 1, m_bucket)",
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
    _merge_states()
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
            await engine.append(SeriesBatch(refs, times, np.full(len(refs), _STALE if i == _STALE_AT else i * factor)))
    await _append_exemplars(engine, refs)
    engine.exemplars((), 0, 1 << 60)
    natives = engine.refs([(("__name__", "m_native"), ("a", str(i))) for i in range(2)])
    for histograms in (_natives(natives, late=False), _natives(natives, late=True)):
        await engine.append_histograms(histograms)
    _read(engine)
    _ask(Evaluator(engine, _OPTIONS))
    store.flush(everything=True)
    engine.exemplars((), 0, 1 << 60)
    _ask(Evaluator(engine, _OPTIONS))
    await store.close()
    again = Store(directory, options)
    again.open()
    _ask(Evaluator(again.engine("default"), _OPTIONS))
    await again.close()


def _read(engine: Engine) -> None:
    """Write everything as remote read and federation do."""
    symbols = QuerySymbols(engine.symbols())
    found = put_together(engine.select((), 0, 1 << 60, symbols), engine.select_histograms((), 0, 1 << 60, symbols))
    labels = label_messages(found.labels)
    query_result(found, labels)
    frames(chunks_of(found), labels, 0, 1 << 20)
    exposition.text(page_of(found, {}), "underscores")


async def _append_exemplars(engine: Engine, refs: NDArray[np.int32]) -> None:
    n = len(refs)
    spans = np.tile(np.array([0, 1, 1, 1], np.int32), (n, 1))
    times = np.full(n, _START_MS, np.int64)
    starts = np.arange(n + 1, dtype=np.int32)
    dated = np.ones(n, np.bool_)
    await engine.append_exemplars(ExemplarBatch(refs, times, np.ones(n), dated, padded(b"ab"), spans, starts))


def _natives(refs: NDArray[np.int32], *, late: bool) -> NativeHistograms:
    """Return histograms of two series: whole numbers, then doubles with bounds of their own; late ones repeat some."""
    n = _NATIVES * len(refs)
    series = np.repeat(refs, _NATIVES)
    counts = np.arange(n, dtype=np.uint64) * 2
    floats, halves = (series == refs[1]).astype(np.uint8) * np.uint8(NativeFlag.FLOAT_COUNTS), np.arange(n) % 2
    counts[floats > 0] = np.arange(n)[floats > 0].astype(np.float64).view(np.uint64)
    zeros, own_bounds = np.zeros(n, np.int64), int((floats > 0).sum())
    # The last ones that there are: queries look at the end.
    times = _START_MS + np.tile(np.arange(_SAMPLES - _NATIVES, _SAMPLES), len(refs)) * _STEP_MS
    return NativeHistograms(
        series=series,
        time_ms=times - (_STEP_MS // 2 if late else 0),
        start_ms=zeros + halves, flags=floats, hint=halves.astype(np.uint8),
        schema=np.where(floats > 0, CUSTOM_BUCKETS, 3).astype(np.int8), zero_threshold=zeros.astype(np.float64),
        zero_count=zeros.astype(np.uint64), count=counts, sum=np.arange(n) / 3, span_starts=np.arange(n + 1),
        positive_spans=np.ones(n, np.int32), spans=np.stack([halves, np.full(n, 2)], axis=1).astype(np.int32),
        bucket_starts=np.arange(n + 1) * 2, buckets=np.repeat(counts, 2),
        bound_starts=np.concatenate([[0], np.cumsum((floats > 0) * 2)]), bounds=np.tile([1.0, 2.5], own_bounds),
    )  # fmt: skip


def _merge_states() -> None:
    """Merge what two shards would have chosen."""
    wanted, row = np.ones(1, np.int64), np.zeros(1, np.int64)
    states = [PartialAggregate.begin("topk", 1, 1, wanted) for _ in range(2)]
    for state in states:
        state.fold(np.ones((1, 1)), np.ones((1, 1), np.bool_), row, row)
    states[0].merge(states[1], row, 1)


def _ask(evaluator: Evaluator) -> None:
    end_ms = _START_MS + _SAMPLES * _STEP_MS
    for query in _QUERIES:
        evaluator.instant(query, end_ms)
        evaluator.range(query, end_ms - 600_000, end_ms, 60_000)
    for result in (
        evaluator.range("m_total", end_ms - 600_000, end_ms, 60_000),
        evaluator.range("m_native", end_ms - 600_000, end_ms, 60_000),
        evaluator.instant("m_total[5m]", end_ms),
        evaluator.instant("m_total[5m] anchored", end_ms),
    ):
        list(pieces_of(result, 0)[0])
