"""Start times by each strategy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.pipeline.component import StatefulProcessor
from headrace.pipeline.identity import MetricType, Series, Temporality
from headrace.pipeline.native_histograms import NativeFlag, ResetHint
from headrace.pipeline.series import SeriesTable
from headrace.processors.metricstarttime import FACTORY, MetricStartTime, MetricStartTimeConfig, Strategy
from headrace.testing.batches import make_batch, make_settings, with_native
from stream_points import Histogram, Number, Side, batch_of, histograms_of, numbers_of, otlp

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

MS = 1_000_000
SECOND = 1000 * MS
BEGUN = 1_000 * SECOND
OTLP = otlp("requests", job="a")
SCRAPED = Series.of(__name__="requests_total", job="a", instance="1")
EXPLICIT = otlp("latency", MetricType.HISTOGRAM)
EXPONENTIAL = otlp("size", MetricType.HISTOGRAM, exponential=True)
SUMMARY = otlp("quantiles", MetricType.SUMMARY, Temporality.UNSPECIFIED)


class Lab:
    """A processor with a clock."""

    def __init__(self, strategy: str = "true_reset_point", **config: Any) -> None:
        self.now_ns = BEGUN
        settings = make_settings("metricstarttime", clock_ns=lambda: self.now_ns)
        self.processor = MetricStartTime(settings, MetricStartTimeConfig(strategy=strategy, **config))
        self.table = SeriesTable()

    def run(self, *points: Number | Histogram) -> MetricBatch:
        return self.processor.process(batch_of(self.table, points))

    def numbers(self, *points: Number) -> list[tuple[int, float, int]]:
        return [(one.time, one.value, one.start) for one in numbers_of(self.run(*points))]

    def histograms(self, *points: Histogram) -> list[tuple[int, float, int]]:
        return [(one.time, one.count, one.start) for one in histograms_of(self.run(*points))]


def test_defaults_and_names() -> None:
    """They are the Collector's."""
    config = MetricStartTimeConfig()
    assert (config.strategy, config.gc_interval.total_seconds(), config.start_time_metric_regex) == (
        "true_reset_point", 600, "",
    )  # fmt: skip
    assert (FACTORY.name, FACTORY.aliases) == ("metricstarttime", ("metric_start_time",))
    assert isinstance(Lab().processor, StatefulProcessor)
    with pytest.raises(ValidationError, match="missing closing"):
        MetricStartTimeConfig(strategy=Strategy.START_TIME_METRIC, start_time_metric_regex="(")
    with pytest.raises(ValidationError, match="means nothing with the strategy true_reset_point"):
        MetricStartTimeConfig(start_time_metric_regex="a")


@pytest.mark.parametrize("series", [OTLP, SCRAPED])
def test_true_reset_point(series: Series) -> None:
    """The first point starts at itself, later ones there; a reset lies a millisecond before the point that shows it."""
    lab = Lab()
    first, second, third = 10 * SECOND, 20 * SECOND, 30 * SECOND
    assert lab.numbers(Number(series, first, 5)) == [(first, 5.0, first)]
    assert lab.numbers(Number(series, second, 9)) == [(second, 9.0, first)]
    assert lab.numbers(Number(series, third, 2)) == [(third, 2.0, third - MS)]
    assert lab.numbers(Number(series, 2 * third, 4)) == [(2 * third, 4.0, third - MS)]


def test_only_cumulative_streams_without_a_start_get_one() -> None:
    """Gauges, deltas and points that have a start are as they were."""
    points = [
        Number(otlp("g", MetricType.GAUGE, Temporality.UNSPECIFIED), 5, 1),
        Number(otlp("updown", MetricType.GAUGE, is_sum=True), 5, 1),
        Number(otlp("d", temporality=Temporality.DELTA), 5, 1),
        Number(Series.of(__name__="temperature"), 5, 1),
        Number(OTLP, 5, 1, start=3),
    ]
    for strategy in ("true_reset_point", "subtract_initial_point", "start_time_metric"):
        assert numbers_of(Lab(strategy).run(*points)) == points


def test_names_that_count_among_scraped_series() -> None:
    """Counters and the parts of histograms and summaries."""
    names = ["a_total", "a_count", "a_sum", "a_bucket", "a", "a_info"]
    found = Lab().numbers(*(Number(Series.of(__name__=name), 7, 1) for name in names))
    assert [start for _, _, start in found] == [7, 7, 7, 7, 0, 0]


def test_histograms_by_true_reset_point() -> None:
    """Explicit, exponential, summaries: a count that falls is a reset."""
    lab = Lab()
    rows = [
        Histogram(EXPLICIT, 10 * SECOND, 3, bounds=(1.0, math.inf), counts=(1, 2)),
        Histogram(EXPONENTIAL, 10 * SECOND, 3, positive=Side(0, (3,))),
        Histogram(SUMMARY, 10 * SECOND, 3, 4.0, bounds=(0.5,), counts=(1.5,), summary=True),
    ]
    assert lab.histograms(*rows) == [(10 * SECOND, 3, 10 * SECOND)] * 3
    assert (
        lab.histograms(*(replace(one, time=20 * SECOND, count=4) for one in rows))
        == [(20 * SECOND, 4, 10 * SECOND)] * 3
    )
    assert (
        lab.histograms(*(replace(one, time=30 * SECOND, count=1) for one in rows))
        == [(30 * SECOND, 1, 30 * SECOND - MS)] * 3
    )


def test_native_histograms() -> None:
    """They are followed whatever they are called, also where the series had a float before; gauges are not."""
    lab = Lab()
    batch = with_native(make_batch(["latency"], table=lab.table), ["latency", "gauge", "dated"])
    native = batch.native
    assert native is not None
    native.hint[1] = ResetHint.GAUGE
    native.start_ms[2] = 77
    lab.processor.process(make_batch(["latency"], table=lab.table))
    out = lab.processor.process(batch)
    at = int(native.time_ms[0])
    assert out.native is not None
    assert out.native.start_ms.tolist() == [at, 0, 77]
    assert out.start_ns.tolist() == [0]
    lower = replace(native, time_ms=native.time_ms + 10, count=np.zeros(3, np.uint64))
    again = lab.processor.process(batch.with_columns(native=lower)).native
    assert again is not None
    assert again.start_ms.tolist() == [at + 9, 0, 77]
    stale = replace(native, time_ms=native.time_ms + 20, flags=np.full(3, NativeFlag.STALE, np.uint8))
    lab.processor.process(batch.with_columns(native=stale))
    anew = lab.processor.process(batch.with_columns(native=replace(native, time_ms=native.time_ms + 30))).native
    assert anew is not None
    assert anew.start_ms.tolist() == [at + 30, 0, 77]


def test_subtract_initial_point() -> None:
    """The first point is dropped and taken from the later ones; after a reset values are as they are."""
    lab = Lab("subtract_initial_point")
    first, second, third, fourth = (i * SECOND for i in (10, 20, 30, 40))
    assert lab.numbers(Number(SCRAPED, first, 5)) == []
    assert lab.numbers(Number(SCRAPED, second, 9)) == [(second, 4.0, first)]
    assert lab.numbers(Number(SCRAPED, third, 7)) == [(third, 7.0, third - MS)]
    assert lab.numbers(Number(SCRAPED, fourth, 8)) == [(fourth, 8.0, third - MS)]
    assert lab.numbers(Number(SCRAPED, fourth, 9)) == []
    assert lab.processor.drops.by_reason() == {"initial": 1, "out_of_order": 1}


def test_subtract_initial_point_from_histograms() -> None:
    """Bucket by bucket; summaries keep their values."""
    lab = Lab("subtract_initial_point")
    explicit = Histogram(EXPLICIT, 10, 3, 9.0, bounds=(1.0, math.inf), counts=(1, 2))
    exponential = Histogram(EXPONENTIAL, 10, 3, 9.0, scale=1, positive=Side(2, (1, 2)))
    summary = Histogram(SUMMARY, 10, 3, 4.0, bounds=(0.5,), counts=(1.5,), summary=True)
    assert lab.histograms(explicit, exponential, summary) == [(10, 3, 10)]
    found = histograms_of(
        lab.run(
            replace(explicit, time=20, count=5, sum=10.0, counts=(2, 3)),
            replace(exponential, time=20, count=5, sum=10.0, scale=0, positive=Side(0, (1, 4))),
            replace(summary, time=20, count=9),
        )
    )
    by_name = {one.series.name: one for one in found}
    assert (by_name["latency"].count, by_name["latency"].sum, by_name["latency"].counts) == (2, 1.0, (1, 1))
    assert (by_name["size"].count, by_name["size"].buckets()[0]) == (2, {0: 1, 1: 1})
    assert (by_name["quantiles"].count, by_name["quantiles"].start) == (9, 10)
    assert {one.start for one in found} == {10}
    reset = replace(explicit, time=30 * SECOND, count=1, sum=1.0, counts=(1, 0))
    assert lab.histograms(reset) == [(30 * SECOND, 1, 30 * SECOND - MS)]
    assert lab.histograms(replace(reset, time=40 * SECOND, count=3, counts=(1, 2))) == [
        (40 * SECOND, 3, 30 * SECOND - MS)
    ]


def test_start_time_metric() -> None:
    """Of the same target, also a batch later; else the time at which the processor was made."""
    lab = Lab("start_time_metric")
    told = [Series.of(__name__="process_start_time_seconds", job="a", instance=i) for i in "12"]
    counters = [Series.of(__name__="requests_total", job="a", instance=i) for i in "123"]
    found = lab.numbers(*(Number(one, 5, 1) for one in counters), Number(told[0], 5, 1234.5), Number(told[1], 5, 99.25))
    assert [start for _, _, start in found] == [1234_500 * MS, 99_250 * MS, BEGUN, 0, 0]
    assert lab.numbers(Number(counters[0], 6, 1)) == [(6, 1.0, 1234_500 * MS)]
    lab.numbers(Number(told[0], 7, 2000))
    assert lab.numbers(Number(counters[0], 8, 1)) == [(8, 1.0, 2000 * SECOND)]


def test_start_time_metric_of_resources() -> None:
    """Resources of OpenTelemetry sources are told apart; histograms get starts, too; the pattern says which metric."""
    lab = Lab("start_time_metric", start_time_metric_regex="^my_start")
    ours, others = {"service.name": "a"}, {"service.name": "b"}
    told = otlp("my_start_seconds", MetricType.GAUGE, Temporality.UNSPECIFIED, resource=ours)
    row = otlp("latency", MetricType.HISTOGRAM, resource=ours)
    out = lab.run(
        Number(told, 5, 50),
        Number(otlp("n", resource=ours), 5, 1),
        Number(otlp("n", resource=others), 5, 1),
        Histogram(row, 5, 1, bounds=(math.inf,), counts=(1,)),
    )
    assert [one.start for one in numbers_of(out)] == [0, 50 * SECOND, BEGUN]
    assert [one.start for one in histograms_of(out)] == [50 * SECOND]


def test_what_is_told_survives_a_restart_and_is_dropped_with_its_streams() -> None:
    """By target, not by number."""
    lab = Lab("start_time_metric")
    told = Series.of(__name__="process_start_time_seconds", job="a", instance="1")
    lab.numbers(Number(told, 5, 12), Number(SCRAPED, 5, 1))
    again = Lab("start_time_metric")
    again.now_ns = BEGUN + SECOND
    again.processor.restore(lab.processor.snapshot())
    assert again.numbers(Number(SCRAPED, 6, 1)) == [(6, 1.0, 12 * SECOND)]
    for i in range(200):
        again.numbers(Number(Series.of(__name__="x_total", instance=str(i)), 7, 1))
    again.now_ns += 601 * SECOND
    again.processor.tick(again.now_ns)
    assert again.numbers(Number(SCRAPED, 8, 1)) == [(8, 1.0, BEGUN)]


def test_a_stale_marker_ends_the_stream() -> None:
    """The next point is a first one."""
    lab = Lab()
    lab.numbers(Number(SCRAPED, 10, 5))
    (marker,) = numbers_of(lab.run(Number(SCRAPED, 20, 0, stale=True)))
    assert (marker.stale, marker.start) == (True, 10)
    assert lab.numbers(Number(SCRAPED, 30, 6)) == [(30, 6.0, 30)]


def test_idle_streams_are_forgotten() -> None:
    """After `gc_interval`."""
    lab = Lab(gc_interval="1m")
    lab.numbers(Number(SCRAPED, 10, 5))
    lab.now_ns += 61 * SECOND
    lab.processor.tick(lab.now_ns)
    assert lab.numbers(Number(SCRAPED, 20, 6)) == [(20, 6.0, 20)]
    (view,) = lab.processor.views()
    assert len(view.slots) == 1


SERIES = [otlp("s", i="0"), otlp("s", i="1"), SCRAPED]
numbers = st.builds(
    Number,
    st.sampled_from(SERIES),
    st.integers(1, 60).map(lambda s: s * SECOND),
    st.integers(0, 100).map(float),
    stale=st.sampled_from([False] * 6 + [True]),
)


@given(
    st.sampled_from(["true_reset_point", "subtract_initial_point"]),
    st.lists(st.lists(numbers, max_size=12), max_size=6),
    st.integers(0, 6),
)
def test_it_does_as_the_model_also_over_a_restart(strategy: str, batches: list[list[Number]], restart_at: int) -> None:
    """Random streams with resets, late points, gaps and stale markers."""
    lab = Lab(strategy)
    streams: dict[Series, dict[str, Any]] = {}
    for number, points in enumerate(batches):
        if number == restart_at:
            state, lab = lab.processor.snapshot(), Lab(strategy)
            lab.processor.restore(state)
        model = _reset_point if strategy == "true_reset_point" else _subtracted
        expected = [found for one in sorted(points, key=lambda p: p.time) if (found := model(streams, one)) is not None]
        assert sorted(numbers_of(lab.run(*points)), key=repr) == sorted(expected, key=repr)


def _reset_point(streams: dict[Series, dict[str, Any]], one: Number) -> Number:
    state = streams.get(one.series)
    if state is None:
        state = streams[one.series] = {"start": one.time, "time": one.time, "last": one.value}
    elif one.time > state["time"]:
        if not one.stale and one.value < state["last"]:
            state["start"] = one.time - MS
        if not one.stale:
            state["last"] = one.value
        state["time"] = one.time
    start = min(state["start"], one.time)
    if one.stale:
        del streams[one.series]
        return replace(one, value=0.0, start=start)
    return replace(one, start=start)


def _subtracted(streams: dict[Series, dict[str, Any]], one: Number) -> Number | None:
    state = streams.get(one.series)
    if one.stale:
        streams.pop(one.series, None)
        return replace(one, value=0.0, start=state["start"] if state else 0)
    if state is None:
        streams[one.series] = {"start": one.time, "time": one.time, "last": one.value, "initial": one.value}
        return None
    if one.time <= state["time"]:
        return None
    if one.value < state["last"]:
        state.update(start=one.time - MS, initial=0.0)
    state.update(time=one.time, last=one.value)
    return replace(one, value=one.value - state["initial"], start=state["start"])
