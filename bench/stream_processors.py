"""Stream processors against plain Python that does the same, in one run: sums of deltas, and aggregation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.batch import HistogramColumns, HistogramKind, MetricBatch
from headrace.pipeline.identity import Form, Kind, MetricType, Series, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.processors import cumulativetodelta, deltatocumulative, interval, stream_aggregate
from headrace.testing.batches import make_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

STREAMS = 20_000
ROUNDS = 25
BUCKETS = 12
SECOND = 1_000_000_000
BEGUN = 1_700_000_000 * SECOND


def run() -> dict[str, float]:
    """Measure CPU microseconds for each point of 20,000 streams, and how much quicker than plain Python that is."""
    clock = [BEGUN]
    table = SeriesTable()
    found: dict[str, float] = {}
    delta = _series(table, MetricType.COUNTER, Temporality.DELTA)
    found["deltatocumulative_us"] = _processor(deltatocumulative.FACTORY, {}, table, delta, clock)
    found["deltatocumulative_unsorted_us"] = _processor(
        deltatocumulative.FACTORY, {}, table, delta, clock, shuffled=True
    )
    found["deltatocumulative_plain_us"] = _plain(_PlainSums(), table, delta)
    found["deltatocumulative_speedup"] = found["deltatocumulative_plain_us"] / found["deltatocumulative_us"]
    cumulative = _series(table, MetricType.COUNTER, Temporality.CUMULATIVE)
    found["cumulativetodelta_us"] = _processor(cumulativetodelta.FACTORY, {}, table, cumulative, clock)
    found["interval_us"] = _processor(interval.FACTORY, {}, table, cumulative, clock)
    rule = {"interval": "15s", "without": ["instance"], "outputs": ["total", "rate", "avg", "max"]}
    found["stream_aggregate_us"] = _processor(stream_aggregate.FACTORY, {"rules": [rule]}, table, cumulative, clock)
    found["stream_aggregate_plain_us"] = _plain(_PlainAggregates(), table, cumulative)
    found["stream_aggregate_speedup"] = found["stream_aggregate_plain_us"] / found["stream_aggregate_us"]
    quantiles = {**rule, "outputs": ["quantiles(0.5, 0.99)"]}
    found["stream_aggregate_quantiles_us"] = _processor(
        stream_aggregate.FACTORY, {"rules": [quantiles]}, table, cumulative, clock
    )
    histograms = _series(table, MetricType.HISTOGRAM, Temporality.DELTA)
    found["deltatocumulative_histogram_12_buckets_us"] = _histograms(table, histograms[:5000], clock)
    return {**found, **_snapshots(table, delta, clock)}


def _series(table: SeriesTable, type_: MetricType, temporality: Temporality) -> NDArray[np.int32]:
    kind = Kind(type_, temporality)
    return table.intern([
        Series(
            (("__name__", "http.requests"), ("instance", f"10.0.{i // 250}.{i % 250}"), ("path", f"/p/{i % 50}")),
            Form.OTLP,
            kind,
        )
        for i in range(STREAMS)
    ])  # fmt: skip


def _processor(
    factory: Any,
    config: dict[str, Any],
    table: SeriesTable,
    ids: NDArray[np.int32],
    clock: list[int],
    *,
    shuffled: bool = False,
) -> float:
    """Return CPU microseconds a point; ticks and what they make are part of it, decisions about new streams are not."""
    if factory.warm_up:
        factory.warm_up()
    settings = make_settings(factory.name, clock_ns=lambda: clock[0])
    processor = factory.create(settings, factory.config(**config))
    generator = np.random.default_rng(1)
    order = generator.permutation(len(ids)) if shuffled else np.arange(len(ids))
    spent = 0.0
    for round_ in range(ROUNDS + 2):
        clock[0] += SECOND
        times = clock[0] + (generator.integers(0, SECOND, len(ids)) if shuffled else np.zeros(len(ids), np.int64))
        batch = MetricBatch.of(table, ids[order], times, np.full(len(ids), 5.0 * round_))
        began = time.process_time()
        processor.process(batch)
        processor.tick(clock[0])
        spent += time.process_time() - began if round_ > 1 else 0.0
    return spent * 1e6 / (ROUNDS * len(ids))


def _plain(state: Any, table: SeriesTable, ids: NDArray[np.int32]) -> float:
    """Return CPU microseconds a point of a plain state: one dictionary look-up and a few additions a point."""
    keys = [(one.labels, one.kind) for one in map(table.series, ids.tolist())]
    rounds = 5
    spent = 0.0
    for round_ in range(rounds + 1):
        began = time.process_time()
        for key in keys:
            state.add(key, BEGUN + round_ * SECOND, 0, 5.0 * round_)
        spent += time.process_time() - began if round_ else 0.0
    return spent * 1e6 / (rounds * len(ids))


class _PlainSums:
    """``deltatocumulative`` as one would write it."""

    def __init__(self) -> None:
        self.streams: dict[Any, list[float]] = {}
        self.out: list[tuple[Any, int, float]] = []

    def add(self, key: Any, time_ns: int, start: int, value: float) -> None:
        state = self.streams.get(key)
        if state is None:
            state = self.streams[key] = [0.0, 0, start]
        elif time_ns <= state[1] or start < state[2]:
            return
        state[0] += value
        state[1] = time_ns
        self.out.append((key, time_ns, state[0]))
        if len(self.out) > STREAMS:
            self.out.clear()


class _PlainAggregates:
    """``stream_aggregate`` with ``total``, ``rate``, ``avg`` and ``max`` as one would write it."""

    def __init__(self) -> None:
        self.inputs: dict[Any, list[Any]] = {}
        self.groups: dict[Any, list[float]] = {}

    def add(self, key: Any, time_ns: int, start: int, value: float) -> None:
        del start
        state = self.inputs.get(key)
        if state is None:
            labels = tuple(pair for pair in key[0] if pair[0] != "instance")
            group = self.groups.setdefault(labels, [0.0, 0.0, 0.0, value, 0.0])
            self.inputs[key] = [value, time_ns, group, 0.0]
            return
        group = state[2]
        growth = value - state[0] if value >= state[0] else value
        group[0] += growth
        group[1] += 1
        group[2] += value
        group[3] = max(group[3], value)
        state[3] += growth
        state[0], state[1] = value, time_ns


def _histograms(table: SeriesTable, ids: NDArray[np.int32], clock: list[int]) -> float:
    n = len(ids)
    settings = make_settings("deltatocumulative", clock_ns=lambda: clock[0])
    processor = deltatocumulative.FACTORY.create(settings, deltatocumulative.DeltaToCumulativeConfig())
    ones, zeros = np.ones(n), np.zeros(n, np.int32)
    bounds = np.append(np.arange(1.0, BUCKETS), np.inf)
    spent = 0.0
    for round_ in range(ROUNDS + 2):
        clock[0] += SECOND
        rows = HistogramColumns(
            series=ids, time_ns=np.full(n, clock[0]), start_ns=np.zeros(n, np.int64), flags=np.zeros(n, np.uint8),
            kind=np.full(n, HistogramKind.EXPLICIT, np.uint8), count=ones * BUCKETS, sum=ones, minimum=ones,
            maximum=ones, scale=zeros, zero_count=ones, zero_threshold=ones, positive_offset=zeros,
            negative_offset=zeros, positive_size=zeros, starts=np.arange(0, n * BUCKETS + 1, BUCKETS),
            bounds=np.tile(bounds, n), counts=np.ones(n * BUCKETS),
        )  # fmt: skip
        nothing = np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0)
        batch = MetricBatch.of(table, *nothing, histograms=rows)
        began = time.process_time()
        processor.process(batch)
        spent += time.process_time() - began if round_ > 1 else 0.0
    return spent * 1e6 / (ROUNDS * n)


def _snapshots(table: SeriesTable, ids: NDArray[np.int32], clock: list[int]) -> dict[str, float]:
    """Measure what the state of a stream costs: to save, to take over, in bytes on disk and in memory."""

    def make() -> Any:
        settings = make_settings("deltatocumulative", clock_ns=lambda: clock[0])
        return deltatocumulative.FACTORY.create(settings, deltatocumulative.DeltaToCumulativeConfig())

    processor = make()
    batch = MetricBatch.of(table, ids, np.full(len(ids), clock[0]), np.ones(len(ids)))
    processor.process(batch)
    state = b""

    def save() -> None:
        nonlocal state
        state = processor.snapshot()

    saved = _spent(save)
    other, empty = make(), SeriesTable()
    other.restore(state)
    nothing = np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0)
    restored = _spent(lambda: other.process(MetricBatch.of(empty, *nothing)))
    (view,) = processor.views()
    return {
        "snapshot_us_per_stream": saved * 1e6 / len(ids),
        "restore_us_per_stream": restored * 1e6 / len(ids),
        "snapshot_bytes_per_stream": len(state) / len(ids),
        "memory_bytes_per_stream": view.slots.nbytes / len(view.slots.ids),
    }


def _spent(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
