"""Sums of deltas: by hand, against a plain model, over restarts, within bounds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.pipeline.component import StatefulProcessor
from headrace.pipeline.counters import Counters
from headrace.pipeline.identity import MetricType, Series, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.processors.deltatocumulative import FACTORY, DeltaToCumulative, DeltaToCumulativeConfig
from headrace.testing.batches import make_settings
from stream_points import Histogram, Number, Side, batch_of, histograms_of, numbers_of, otlp

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

DELTA = Temporality.DELTA
SECOND = 1_000_000_000
SUM = otlp("requests", MetricType.COUNTER, DELTA, job="a")
OTHER = otlp("requests", MetricType.COUNTER, DELTA, job="b")
EXPLICIT = otlp("latency", MetricType.HISTOGRAM, DELTA)
EXPONENTIAL = otlp("size", MetricType.HISTOGRAM, DELTA, exponential=True)


class Lab:
    """A processor with a clock."""

    def __init__(self, **config: Any) -> None:
        self.now_ns = 1_000 * SECOND
        self.counters = Counters()
        settings = make_settings("deltatocumulative", counters=self.counters, clock_ns=lambda: self.now_ns)
        self.processor = DeltaToCumulative(settings, DeltaToCumulativeConfig(**config))
        self.table = SeriesTable()

    def run(self, *points: Number | Histogram) -> MetricBatch:
        return self.processor.process(batch_of(self.table, points))

    def sums(self, *points: Number) -> list[tuple[int, float, int]]:
        return [(one.time, one.value, one.start) for one in numbers_of(self.run(*points))]

    def drops(self) -> dict[str, int]:
        return self.processor.drops.by_reason()


def cumulative(series: Series) -> Series:
    return replace(series, kind=replace(series.kind, temporality=Temporality.CUMULATIVE))


def test_defaults_and_names() -> None:
    """They are the Collector's."""
    config = DeltaToCumulativeConfig()
    assert (config.max_stale.total_seconds(), config.max_streams) == (300, 2**63 - 1)
    assert (FACTORY.name, FACTORY.aliases) == ("deltatocumulative", ("delta_to_cumulative",))
    assert isinstance(Lab().processor, StatefulProcessor)


def test_deltas_add_up() -> None:
    """Each point is the sum so far, and starts where the first one did; the temporality changes."""
    lab = Lab()
    out = lab.run(Number(SUM, 10, 2, start=5), Number(OTHER, 10, 7, start=5))
    assert {one.series for one in numbers_of(out)} == {cumulative(SUM), cumulative(OTHER)}
    assert lab.sums(Number(SUM, 20, 3, start=10)) == [(20, 5.0, 5)]
    assert lab.sums(Number(SUM, 30, -1, start=20)) == [(30, 4.0, 5)]


def test_what_is_no_delta_passes() -> None:
    """Cumulative sums, gauges and series of Prometheus sources, in the same batch."""
    lab = Lab()
    points = [Number(otlp("c"), 1, 4), Number(otlp("g", MetricType.GAUGE), 1, 5), Number(Series.of(__name__="p"), 1, 6)]
    assert numbers_of(lab.run(*points)) == points
    batch = batch_of(lab.table, points)
    assert lab.processor.process(batch) is batch


def test_unsorted_points_of_a_batch_are_taken_in_order() -> None:
    """Nothing is lost that only the batch has in the wrong order."""
    lab = Lab()
    points = [Number(SUM, 30, 4), Number(OTHER, 5, 100), Number(SUM, 10, 1), Number(SUM, 20, 2)]
    found = [(one.series["job"], one.time, one.value) for one in numbers_of(lab.run(*points))]
    assert [row[1:] for row in found if row[0] == "a"] == [(10, 1.0), (20, 3.0), (30, 7.0)]
    assert [row[1:] for row in found if row[0] == "b"] == [(5, 100.0)]
    assert lab.drops() == {}


def test_late_points_are_dropped_by_reason() -> None:
    """Of a time that is not after the last one's, or of a start before the stream's."""
    lab = Lab()
    lab.sums(Number(SUM, 20, 1, start=10))
    assert lab.sums(Number(SUM, 20, 1, start=10), Number(SUM, 15, 1, start=10), Number(SUM, 30, 1, start=9)) == []
    assert lab.drops() == {"out_of_order": 2, "older_start": 1}
    assert lab.sums(Number(SUM, 40, 1, start=20)) == [(40, 2.0, 10)]


def test_a_stale_marker_ends_the_stream() -> None:
    """It passes with its bits, under the new identity; the next point begins anew."""
    lab = Lab()
    lab.sums(Number(SUM, 20, 5, start=10))
    (marker,) = numbers_of(lab.run(Number(SUM, 30, 0, stale=True)))
    assert (marker.series, marker.stale, marker.start) == (cumulative(SUM), True, 10)
    assert lab.sums(Number(SUM, 40, 2, start=35)) == [(40, 2.0, 35)]


def test_integers_are_exact_to_two_to_the_53() -> None:
    """Beyond, a sum is rounded and says that it is no integer; with exact integers in the batch as well."""
    lab = Lab()
    top = float(1 << 53)
    (one,) = numbers_of(lab.run(Number(SUM, 1, top - 1, integer=True)))
    assert (one.value, one.integer) == (top - 1, True)
    (two,) = numbers_of(lab.run(Number(SUM, 2, 1, integer=True)))
    assert (two.value, two.integer) == (top, True)
    batch = batch_of(lab.table, [Number(SUM, 3, 2, integer=True)])
    out = lab.processor.process(batch.with_columns(integers=np.array([2])))
    assert (out.value.tolist(), out.flags.tolist()) == ([top + 2], [0])
    assert not np.shares_memory(out.value, batch.value)


def test_streams_beyond_the_limit_are_dropped() -> None:
    """New ones, not those that are there; a stream that goes makes room."""
    lab = Lab(max_streams=1, max_stale="1m")
    assert lab.sums(Number(SUM, 1, 1), Number(OTHER, 1, 1)) == [(1, 1.0, 0)]
    lab.now_ns += 50 * SECOND
    assert lab.sums(Number(SUM, 2, 1), Number(OTHER, 2, 1)) == [(2, 2.0, 0)]
    assert lab.drops() == {"limit": 2}
    assert lab.counters.value("headrace_deltatocumulative_streams") == 1
    lab.now_ns += 61 * SECOND
    assert lab.processor.tick(lab.now_ns) == []
    assert lab.sums(Number(OTHER, 3, 5)) == [(3, 5.0, 0)]


def test_idle_streams_are_forgotten() -> None:
    """After `max_stale`, and not before, however old the points themselves are."""
    lab = Lab(max_stale="1m")
    lab.sums(Number(SUM, 1, 1))
    lab.now_ns += 60 * SECOND
    lab.processor.tick(lab.now_ns)
    assert lab.sums(Number(SUM, 2, 1)) == [(2, 2.0, 0)]
    lab.now_ns += 61 * SECOND
    lab.processor.tick(lab.now_ns)
    assert lab.sums(Number(SUM, 3, 1)) == [(3, 1.0, 0)]


def test_time_without_a_daemon_does_not_count() -> None:
    """A restart may take longer than streams may be idle; behind it they may be idle for as long as ever."""
    lab = Lab(max_stale="1m")
    lab.sums(Number(SUM, 1, 1))
    lab.now_ns += 50 * SECOND
    again = Lab(max_stale="1m")
    again.now_ns = lab.now_ns + 600 * SECOND
    again.processor.restore(lab.processor.snapshot())
    again.run()
    again.processor.tick(again.now_ns + 9 * SECOND)
    assert again.sums(Number(SUM, 2, 1)) == [(2, 2.0, 0)]
    again.now_ns += 61 * SECOND
    again.processor.tick(again.now_ns)
    assert again.sums(Number(SUM, 3, 1)) == [(3, 1.0, 0)]


def test_streams_outlive_the_tables_idle_time() -> None:
    """The table is told that they are still followed."""
    clock_s = 0.0
    lab = Lab(max_stale=0)
    lab.table = SeriesTable(clock_s=lambda: clock_s)
    lab.sums(Number(SUM, 1, 1))
    for _ in range(5):
        clock_s += 70
        lab.now_ns += 70 * SECOND
        lab.processor.tick(lab.now_ns)
        lab.table.collect(100)
    assert lab.sums(Number(SUM, 2, 1)) == [(2, 2.0, 0)]


# -- histograms --------------------------------------------------------------------------------------------


def test_explicit_histograms_add_up() -> None:
    """Counts, sum, minimum and maximum; a change of bounds begins anew."""
    lab = Lab()
    bounds = (1.0, 5.0, math.inf)
    lab.run(Histogram(EXPLICIT, 10, 6, 20.0, 1, 0.5, 9.0, bounds, (1, 2, 3)))
    (two,) = histograms_of(lab.run(Histogram(EXPLICIT, 20, 3, 7.0, 10, 0.25, 6.0, bounds, (1, 1, 1))))
    assert two == Histogram(cumulative(EXPLICIT), 20, 9, 27.0, 1, 0.25, 9.0, bounds, (2, 3, 4))
    (three,) = histograms_of(lab.run(Histogram(EXPLICIT, 30, 1, 2.0, 20, 2.0, 2.0, (1.0, math.inf), (0, 1))))
    assert three == Histogram(cumulative(EXPLICIT), 30, 1, 2.0, 20, 2.0, 2.0, (1.0, math.inf), (0, 1))


def test_exponential_histograms_add_up_at_the_coarser_scale() -> None:
    """Index i of scale 1 is index i >> 1 of scale 0: (1.41, 2] and (2, 2.83] are in (1, 2] and (2, 4]."""
    lab = Lab()
    lab.run(Histogram(EXPONENTIAL, 10, 3, 5.0, 1, scale=1, positive=Side(1, (1, 2))))
    out = lab.run(
        Histogram(EXPONENTIAL, 20, 4, 5.0, 10, scale=0, zero_count=1, positive=Side(1, (1,)), negative=Side(0, (2,)))
    )
    (two,) = histograms_of(out)
    assert (two.scale, two.count, two.zero_count, two.start) == (0, 7, 1, 1)
    assert two.buckets() == ({0: 1, 1: 3}, {0: 2})


def test_a_wider_zero_bucket_takes_in_buckets() -> None:
    """A threshold inside a bucket with counts is raised to the end of that bucket."""
    lab = Lab()
    lab.run(Histogram(EXPONENTIAL, 10, 3, scale=0, positive=Side(0, (1, 2))))
    (two,) = histograms_of(lab.run(Histogram(EXPONENTIAL, 20, 1, scale=0, zero_count=1, zero_threshold=1.5)))
    assert (two.zero_count, two.zero_threshold, two.count) == (2, 2.0, 4)
    assert two.buckets() == ({1: 2}, {})


def test_thresholds_raise_each_other() -> None:
    """1.5 takes in (1, 2], whose end takes in the other's (1, 4], whose end takes in (2, 4]."""
    lab = Lab()
    lab.run(Histogram(EXPONENTIAL, 10, 6, scale=0, positive=Side(0, (1, 5))))
    row = Histogram(EXPONENTIAL, 20, 7, scale=-1, zero_threshold=1.5, positive=Side(0, (7,)))
    (two,) = histograms_of(lab.run(row))
    assert (two.zero_count, two.zero_threshold, two.buckets()) == (13, 4.0, ({}, {}))


def test_the_scale_is_lowered_no_more_than_needed() -> None:
    """201 buckets fit at scale -1."""
    lab = Lab()
    lab.run(Histogram(EXPONENTIAL, 10, 1, scale=0, positive=Side(0, (1,))))
    (two,) = histograms_of(
        lab.run(Histogram(EXPONENTIAL, 20, 1, scale=0, negative=Side(200, (1,)), positive=Side(200, (1,))))
    )
    assert (two.scale, two.buckets()) == (-1, ({0: 1, 100: 1}, {100: 1}))


def test_no_side_has_more_than_160_buckets() -> None:
    """The scale is lowered until both fit: 0 and 320 are 161 buckets apart at scale -1, so it takes -2."""
    lab = Lab()
    lab.run(Histogram(EXPONENTIAL, 10, 1, scale=0, positive=Side(0, (1,))))
    (two,) = histograms_of(lab.run(Histogram(EXPONENTIAL, 20, 1, scale=0, positive=Side(320, (1,)))))
    assert (two.scale, two.buckets()[0], len(two.positive.counts)) == (-2, {0: 1, 80: 1}, 81)


def test_late_and_stale_histograms() -> None:
    """They are as points are."""
    lab = Lab()
    bounds, counts = (1.0, math.inf), (1.0, 1.0)
    first = Histogram(EXPLICIT, 10, 2, 3.0, 5, bounds=bounds, counts=counts)
    lab.run(first)
    assert histograms_of(lab.run(first, replace(first, time=20, start=4))) == []
    assert lab.drops() == {"out_of_order": 1, "older_start": 1}
    (marker,) = histograms_of(lab.run(Histogram(EXPLICIT, 20, 0, stale=True, bounds=(math.inf,), counts=(0.0,))))
    assert (marker.stale, marker.series, marker.bounds) == (True, cumulative(EXPLICIT), ())
    (again,) = histograms_of(lab.run(replace(first, time=30, start=25)))
    assert (again.count, again.start) == (2, 25)


# -- against a model ---------------------------------------------------------------------------------------


class Model:
    """The same in plain Python, one point after the other."""

    def __init__(self) -> None:
        self.streams: dict[Series, dict[str, Any]] = {}
        self.drops: dict[str, int] = {}

    def run(self, points: list[Number]) -> list[Number]:
        found = []
        for one in sorted(points, key=lambda point: point.time):
            kept = self._add(one)
            if kept is not None:
                found.append(kept)
        return found

    def _add(self, one: Number) -> Number | None:
        state = self.streams.get(one.series)
        series = cumulative(one.series)
        if one.stale:
            self.streams.pop(one.series, None)
            return replace(one, series=series, value=0.0, start=state["start"] if state else one.start)
        if state is None:
            state = self.streams[one.series] = {"start": one.start, "sum": 0.0}
        elif one.start and one.start < state["start"]:
            self._drop("older_start")
            return None
        elif one.time <= state["time"]:
            self._drop("out_of_order")
            return None
        state["sum"] += one.value
        state["time"] = one.time
        return replace(one, series=series, value=state["sum"], start=state["start"])

    def _drop(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1


SERIES = [otlp("s", MetricType.COUNTER, DELTA, i=str(i)) for i in range(4)]
numbers = st.builds(
    Number,
    st.sampled_from(SERIES),
    st.integers(1, 60),
    st.integers(-5, 100).map(float),
    st.sampled_from([0, 0, 1, 5, 20]),
    st.sampled_from([False] * 6 + [True]),
)
batches = st.lists(st.lists(numbers, max_size=12), max_size=6)


@given(batches, st.integers(0, 6))
def test_it_does_as_the_model_also_over_a_restart(given_batches: list[list[Number]], restart_at: int) -> None:
    """Random streams with late points, gaps and stale markers; a snapshot is restored into another table."""
    lab, model = Lab(), Model()
    for number, points in enumerate(given_batches):
        if number == restart_at:
            state = lab.processor.snapshot()
            drops = lab.drops()
            lab = Lab()
            lab.table.intern([Series.of(__name__="filler")])
            lab.processor.restore(state)
            for reason, amount in drops.items():
                lab.processor.drops.add(reason, amount)
        key = lambda one: (one.series.labels, one.time)  # noqa: E731 -- twice below
        found = numbers_of(lab.run(*points))
        assert sorted(found, key=key) == sorted(model.run(points), key=key)
        assert [one.time for one in found if one.series == cumulative(SERIES[0])] == sorted(
            one.time for one in found if one.series == cumulative(SERIES[0])
        )
    assert lab.drops() == model.drops


@st.composite
def exponentials(draw: st.DrawFn) -> Histogram:
    scale = draw(st.integers(-3, 4))
    sides = [
        Side(draw(st.integers(-40, 40)), tuple(map(float, draw(st.lists(st.integers(0, 3), max_size=20)))))
        for _ in range(2)
    ]
    zero = draw(st.integers(0, 3))
    total = zero + sum(sides[0].counts) + sum(sides[1].counts)
    threshold = draw(st.sampled_from([0.0, 0.0, 0.25, 1.0, 3.0]))
    return Histogram(
        EXPONENTIAL, 0, total, 1.0, scale=scale, zero_count=zero, zero_threshold=threshold,
        positive=sides[0], negative=sides[1],
    )  # fmt: skip


def merged(rows: list[Histogram]) -> tuple[float, dict[int, float], dict[int, float], float]:
    """Merge exponential histograms at the coarsest scale, by what the data model says; return also the threshold."""
    threshold = max(row.zero_threshold for row in rows)
    while True:
        raised = threshold
        for row in rows:
            for side in row.buckets():
                for index in side:
                    low, high = (2.0 ** (i * 2.0**-row.scale) for i in (index, index + 1))
                    if low < threshold:
                        raised = max(raised, high)
        if raised == threshold:
            break
        threshold = raised
    scale = min(row.scale for row in rows)
    zero = 0.0
    sides: tuple[dict[int, float], dict[int, float]] = ({}, {})
    for row in rows:
        zero += row.zero_count
        for side, out in zip(row.buckets(), sides, strict=True):
            for index, count in side.items():
                if 2.0 ** (index * 2.0**-row.scale) < threshold:
                    zero += count
                else:
                    at = index >> (row.scale - scale)
                    out[at] = out.get(at, 0.0) + count
    return zero, *sides, threshold


@given(st.lists(exponentials(), min_size=1, max_size=6), st.integers(1, 6))
def test_exponential_histograms_do_as_the_model(rows: list[Histogram], restart_at: int) -> None:
    """Different scales, offsets and thresholds, one batch or several, with a restart between."""
    lab = Lab()
    out = None
    for i, row in enumerate(rows):
        if i == restart_at:
            state, lab = lab.processor.snapshot(), Lab()
            lab.processor.restore(state)
        (out,) = histograms_of(lab.run(replace(row, time=i + 1)))
    assert out is not None
    scale = min(row.scale for row in rows)
    zero, positive, negative, threshold = merged(rows)
    assert (out.count, out.sum) == (sum(row.count for row in rows), float(len(rows)))
    assert out.zero_count + sum(out.positive.counts) + sum(out.negative.counts) == out.count
    if len(rows) == 1 or _threshold_steady(rows):
        assert (out.scale, out.zero_count, out.zero_threshold) == (scale, zero, threshold)
        assert out.buckets() == (positive, negative)


def _threshold_steady(rows: list[Histogram]) -> bool:
    """Return whether merging one after the other raises thresholds as merging all at once does."""
    return len({row.scale for row in rows}) == 1 or all(row.zero_threshold == 0 for row in rows)


def test_many_rows_of_one_batch() -> None:
    """More buckets than a first guess has room for, and several rows of one stream in a batch."""
    lab = Lab()
    series = [otlp("h", MetricType.HISTOGRAM, DELTA, exponential=True, i=str(i)) for i in range(50)]
    rows = [
        Histogram(one, time, 160, scale=2, positive=Side(40 * time, (1.0,) * 160))
        for time in (3, 1, 2)
        for one in series
    ]
    found = histograms_of(lab.run(*rows))
    assert [one.count for one in found if one.series["i"] == "7"] == [160, 320, 480]
    assert all(sum(one.positive.counts) == one.count and len(one.positive.counts) <= 160 for one in found)


# -- state -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [b"", b"garbage", b"HRSTATE1", b"HRSTATE1" + bytes(100)])
def test_garbage_is_refused(state: bytes) -> None:
    """With an error, before anything runs."""
    with pytest.raises(ValueError, match=r"state|damaged"):
        Lab().processor.restore(state)


def test_any_changed_byte_is_noticed() -> None:
    """A check covers all of it."""
    lab = Lab()
    lab.sums(Number(SUM, 1, 1))
    state = lab.processor.snapshot()
    for place in range(0, len(state), 7):
        changed = bytearray(state)
        changed[place] ^= 0x40
        with pytest.raises(ValueError, match=r"state|damaged"):
            Lab().processor.restore(bytes(changed))


@pytest.mark.large
def test_memory_is_bounded_by_the_streams_that_live() -> None:
    """Streams that come and go leave nothing behind; one that stays is not harmed when their room is given back."""
    lab = Lab(max_stale="1s")
    stays = replace(EXPONENTIAL, unit="1")
    of_one_generation = 2000 * 2 * 10
    for generation in range(20):
        series = [
            otlp("h", MetricType.HISTOGRAM, DELTA, g=str(generation), i=str(i), exponential=True) for i in range(2000)
        ]
        lab.run(*(Histogram(one, 1, 10, positive=Side(0, (1.0,) * 10)) for one in series))
        row = Histogram(stays, generation + 1, 5, positive=Side(generation, (3.0,)), negative=Side(1, (2.0,)))
        (kept,) = histograms_of(lab.run(row))
        assert kept.buckets() == (dict.fromkeys(range(generation + 1), 3.0), {1: 2.0 * (generation + 1)})
        lab.now_ns += SECOND
        lab.run(replace(row, time=0))
        lab.now_ns += SECOND // 2
        lab.processor.tick(lab.now_ns)
        (view,) = lab.processor.views()
        assert len(view.slots) == 1
        assert view.buckets.nbytes <= 8 * 4 * (of_one_generation + (1 << 16))
        assert len(view.slots.ids) <= 4096
