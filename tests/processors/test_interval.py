"""The newest point of each stream, once in a while."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.pipeline.component import Draining, StatefulProcessor
from headrace.pipeline.identity import MetricType, Series, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.processors.interval import FACTORY, Interval, IntervalConfig
from headrace.testing.batches import make_batch, make_settings, with_native
from stream_points import Histogram, Number, Side, batch_of, histograms_of, numbers_of, otlp

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

SECOND = 1_000_000_000
COUNTER = otlp("requests")
GAUGE = otlp("depth", MetricType.GAUGE, Temporality.UNSPECIFIED)
EXPLICIT = otlp("latency", MetricType.HISTOGRAM)
SUMMARY = otlp("quantiles", MetricType.SUMMARY, Temporality.UNSPECIFIED)


class Lab:
    """A processor with a clock."""

    def __init__(self, **config: Any) -> None:
        self.now_ns = 1_000 * SECOND
        settings = make_settings("interval", clock_ns=lambda: self.now_ns)
        self.processor = Interval(settings, IntervalConfig(**config))
        self.table = SeriesTable()

    def run(self, *points: Number | Histogram) -> MetricBatch:
        return self.processor.process(batch_of(self.table, points))

    def after(self, seconds: float) -> list[Number | Histogram]:
        self.now_ns += int(seconds * SECOND)
        found: list[Number | Histogram] = []
        for batch in self.processor.tick(self.now_ns):
            found += numbers_of(batch)
            found += histograms_of(batch)
        return found


def test_defaults_and_names() -> None:
    """They are the Collector's."""
    config = IntervalConfig()
    assert config.interval.total_seconds() == 60
    assert (config.pass_through.gauge, config.pass_through.summary) == (False, False)
    assert FACTORY.name == "interval"
    assert isinstance(Lab().processor, StatefulProcessor)
    assert isinstance(Lab().processor, Draining)


def test_the_newest_point_is_passed_on_when_it_is_due() -> None:
    """With its own time; an older one and one of the same time do not take its place; then it is forgotten."""
    lab = Lab(interval="10s")
    assert numbers_of(lab.run(Number(COUNTER, 5, 1, start=1), Number(COUNTER, 7, 2), Number(COUNTER, 6, 3))) == []
    assert numbers_of(lab.run(Number(COUNTER, 7, 4))) == []
    assert lab.after(9.5) == []
    assert lab.after(0.5) == [Number(COUNTER, 7, 2.0)]
    assert lab.after(10) == []
    lab.run(Number(COUNTER, 8, 9))
    assert lab.after(9) == []
    assert lab.after(1) == [Number(COUNTER, 8, 9.0)]


def test_what_waits() -> None:
    """Cumulative monotonic sums, cumulative histograms, gauges, summaries; the last two may pass."""
    summary = Histogram(SUMMARY, 1, 2.0, 3.0, bounds=(0.5,), counts=(1.5,), summary=True)
    waiting = [Number(COUNTER, 1, 1.0), Number(Series.of(__name__="a_total"), 1, 1.0)]
    gauges = [Number(GAUGE, 1, 1.0), Number(Series.of(__name__="heat"), 1, 1.0)]
    summaries = [Number(Series.of(__name__="t", quantile="0.5"), 1, 1.0)]
    histogram = Histogram(EXPLICIT, 1, 1.0, bounds=(math.inf,), counts=(1.0,))
    passing: list[Number | Histogram] = [
        Number(otlp("d", temporality=Temporality.DELTA), 1, 1.0),
        Number(otlp("updown", MetricType.GAUGE, is_sum=True), 1, 1.0),
        Histogram(otlp("dh", MetricType.HISTOGRAM, Temporality.DELTA), 1, 1.0, positive=Side(0, (1.0,))),
    ]
    for gauge in (False, True):
        for quantile in (False, True):
            lab = Lab(pass_through={"gauge": gauge, "summary": quantile})
            out = lab.run(*waiting, *gauges, *summaries, histogram, summary, *passing)
            held: list[Any] = [*waiting, histogram]
            passed: list[Any] = list(passing)
            (passed if gauge else held).extend(gauges)
            (passed if quantile else held).extend([*summaries, summary])
            assert sorted(map(str, [*numbers_of(out), *histograms_of(out)])) == sorted(map(str, passed))
            assert sorted(map(str, lab.after(60))) == sorted(map(str, held))


def test_native_histograms_and_exemplars_wait() -> None:
    """The newest of each series, with an arena of their own size."""
    lab = Lab()
    first = with_native(make_batch([], table=lab.table), ["h", "i"])
    assert first.native is not None
    later = first.with_columns(native=replace(first.native, time_ms=first.native.time_ms + 1, sum=-first.native.sum))
    for batch in (first, later):
        assert lab.processor.process(batch).is_empty
    lab.now_ns += 60 * SECOND
    (out,) = lab.processor.tick(lab.now_ns)
    assert out.native is not None
    assert out.exemplars is not None
    assert sorted(out.native.sum.tolist()) == [-2.0, -1.0]
    assert sorted(out.exemplars.value.tolist()) == [1.0, 2.0]


def test_a_stale_marker_waits_as_a_point_does() -> None:
    """With its bits."""
    lab = Lab()
    lab.run(Number(COUNTER, 5, 1))
    lab.run(Number(COUNTER, 6, 0, stale=True))
    assert lab.after(60) == [Number(COUNTER, 6, 0.0, stale=True)]


def test_the_end_passes_on_what_waits() -> None:
    """And leaves nothing for a snapshot."""
    lab = Lab()
    lab.run(Number(COUNTER, 5, 1))
    (out,) = lab.processor.drain(lab.now_ns)
    assert numbers_of(out) == [Number(COUNTER, 5, 1.0)]
    again = Lab()
    again.processor.restore(lab.processor.snapshot())
    again.run()
    assert again.after(60) == []


def test_the_pace_is_kept() -> None:
    """A tick that is late does not move the next one; a clock that jumps does not bring several at once."""
    lab = Lab(interval="10s")
    lab.run(Number(COUNTER, 1, 1))
    assert len(lab.after(13)) == 1
    lab.run(Number(COUNTER, 2, 1))
    assert len(lab.after(7)) == 1
    lab.run(Number(COUNTER, 3, 1))
    assert len(lab.after(1000)) == 1
    assert lab.after(0) == []
    lab.run(Number(COUNTER, 4, 1))
    assert lab.after(-500) == []
    assert len(lab.after(10)) == 1


@pytest.mark.large
def test_memory_is_bounded_by_the_streams() -> None:
    """However many points come in an interval."""
    lab = Lab()
    series = [otlp("s", i=str(i)) for i in range(100)]
    for time in range(1, 300):
        lab.run(*(Number(one, time, time) for one in series))
        (view,) = lab.processor._views.values()
        assert len(view.pending) <= 2 * len(series) + 4096 + len(series)
    assert {one.time for one in lab.after(60)} == {299}


def test_series_that_the_table_frees_do_not_come_back() -> None:
    """Their points would be of another series."""
    clock_s = 0.0
    lab = Lab(interval="1h")
    lab.table = SeriesTable(clock_s=lambda: clock_s)
    lab.run(Number(COUNTER, 1, 1))
    clock_s = 1000.0
    lab.run(Number(otlp("other"), 1, 2))
    lab.table.collect(500)
    assert lab.after(3600) == [Number(otlp("other"), 1, 2.0)]


def test_the_table_keeps_what_waits() -> None:
    """It is told about it."""
    clock_s = 0.0
    lab = Lab(interval="1h")
    lab.table = SeriesTable(clock_s=lambda: clock_s)
    lab.run(Number(COUNTER, 1, 1))
    for _ in range(4):
        clock_s += 70
        assert lab.after(70) == []
        lab.table.collect(100)
    assert lab.after(3600) == [Number(COUNTER, 1, 1.0)]


SERIES = [COUNTER, GAUGE, Series.of(__name__="x_total"), otlp("d", temporality=Temporality.DELTA)]
numbers = st.builds(
    Number,
    st.sampled_from(SERIES),
    st.integers(1, 30),
    st.integers(0, 100).map(float),
    stale=st.just(False),
    integer=st.booleans(),
)
histograms = st.builds(
    lambda time, count: Histogram(EXPLICIT, time, count, 1.0, minimum=0.0, maximum=1.0, bounds=(1.0,), counts=(count,)),
    st.integers(1, 30),
    st.integers(0, 9).map(float),
)


@given(st.lists(st.lists(numbers | histograms, max_size=12), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_it_does_as_the_model_also_over_a_restart(
    batches: list[list[Number | Histogram]], restart_at: int, due_at: int
) -> None:
    """Random points in any order."""
    lab = Lab()
    waiting: dict[Series, Number | Histogram] = {}
    for number, points in enumerate(batches):
        if number == restart_at:
            state, lab = lab.processor.snapshot(), Lab()
            lab.table.intern([Series.of(__name__="filler")])
            lab.processor.restore(state)
        for one in points:
            if one.series is not SERIES[3] and (one.series not in waiting or one.time > waiting[one.series].time):
                waiting[one.series] = one
        out = lab.run(*points)
        assert numbers_of(out) == [one for one in points if one.series is SERIES[3]]
        if number == due_at:
            assert sorted(lab.after(60), key=repr) == sorted(waiting.values(), key=repr)
            waiting.clear()
    if len(batches) <= restart_at:
        assert sorted(lab.after(60), key=repr) == sorted(waiting.values(), key=repr)
