"""Deltas of cumulative points: by hand, against a plain model, over restarts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.pipeline.component import StatefulProcessor
from headrace.pipeline.identity import MetricType, Series, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.processors.cumulativetodelta import FACTORY, CumulativeToDelta, CumulativeToDeltaConfig
from headrace.testing.batches import make_settings
from stream_points import Histogram, Number, Side, batch_of, histograms_of, numbers_of, otlp

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

SECOND = 1_000_000_000
BEGUN = 1_000 * SECOND
SUM = otlp("requests", job="a")
EXPLICIT = otlp("latency", MetricType.HISTOGRAM)
EXPONENTIAL = otlp("size", MetricType.HISTOGRAM, exponential=True)
BOUNDS = (1.0, math.inf)


class Lab:
    """A processor with a clock."""

    def __init__(self, **config: Any) -> None:
        self.now_ns = BEGUN
        settings = make_settings("cumulativetodelta", clock_ns=lambda: self.now_ns)
        self.processor = CumulativeToDelta(settings, CumulativeToDeltaConfig(**config))
        self.table = SeriesTable()

    def run(self, *points: Number | Histogram) -> MetricBatch:
        return self.processor.process(batch_of(self.table, points))

    def deltas(self, *points: Number) -> list[tuple[int, float, int]]:
        return [(one.time, one.value, one.start) for one in numbers_of(self.run(*points))]

    def drops(self) -> dict[str, int]:
        return self.processor.drops.by_reason()


def delta(series: Series) -> Series:
    return replace(series, kind=replace(series.kind, temporality=Temporality.DELTA))


def test_defaults_and_names() -> None:
    """They are the Collector's."""
    config = CumulativeToDeltaConfig()
    assert (config.max_staleness.total_seconds(), config.initial_value) == (0, "auto")
    assert (FACTORY.name, FACTORY.aliases) == ("cumulativetodelta", ("cumulative_to_delta",))
    assert isinstance(Lab().processor, StatefulProcessor)


def test_differences() -> None:
    """A point becomes what was added since the one before, and starts there; a reset is dropped."""
    lab = Lab(initial_value="drop")
    assert lab.deltas(Number(SUM, 10, 5, start=1)) == []
    (one,) = numbers_of(lab.run(Number(SUM, 20, 8, start=1, integer=True)))
    assert one == Number(delta(SUM), 20, 3.0, 10, integer=True)
    assert lab.deltas(Number(SUM, 30, 2, start=25)) == []
    assert lab.deltas(Number(SUM, 40, 6, start=25)) == [(40, 4.0, 30)]
    assert lab.drops() == {"initial": 1, "reset": 1}


def test_the_first_point() -> None:
    """``keep`` keeps it; ``auto`` keeps it where it says that all of it came since the processor began."""
    assert Lab(initial_value="keep").deltas(Number(SUM, 10, 5)) == [(10, 5.0, 0)]
    auto = Lab()
    after = BEGUN + SECOND
    series = [otlp("s", i=str(i)) for i in range(4)]
    starts = [BEGUN, BEGUN - 1, 0, after]
    points = [Number(one, after, 7, start=start) for one, start in zip(series, starts, strict=True)]
    assert [(one.series["i"], one.value, one.start) for one in numbers_of(auto.run(*points))] == [("0", 7.0, BEGUN)]
    assert auto.drops() == {"initial": 3}


def test_what_is_not_converted_passes() -> None:
    """Gauges, sums that are not monotonic, deltas, NaN, summaries, and series of Prometheus sources."""
    lab = Lab(initial_value="drop")
    up_and_down = otlp("updown", MetricType.GAUGE, is_sum=True)
    points: list[Number | Histogram] = [
        Number(up_and_down, 1, 5),
        Number(otlp("g", MetricType.GAUGE, Temporality.UNSPECIFIED), 1, 5),
        Number(otlp("d", temporality=Temporality.DELTA), 1, 5),
        Number(Series.of(__name__="p_total"), 1, 5),
        Histogram(
            otlp("s", MetricType.SUMMARY, Temporality.UNSPECIFIED),
            1,
            2.0,
            3.0,
            bounds=(0.5,),
            counts=(1.5,),
            summary=True,
        ),
    ]
    out = lab.run(*points)
    assert numbers_of(out) == points[:-1]
    assert str(histograms_of(out)) == str(points[-1:])
    (nan,) = lab.deltas(Number(SUM, 1, math.nan))
    assert math.isnan(nan[1])


@pytest.mark.parametrize(
    ("config", "converted"),
    [
        ({}, {"http.requests", "http.errors", "latency", "size"}),
        ({"include": {"match_type": "strict", "metrics": ["http.requests"]}}, {"http.requests"}),
        ({"include": {"match_type": "regexp", "metrics": ["^http"]}}, {"http.requests", "http.errors"}),
        ({"include": {"match_type": "regexp", "metrics": ["err"]}}, {"http.errors"}),
        ({"include": {"metric_types": ["sum"]}}, {"http.requests", "http.errors"}),
        ({"include": {"metric_types": ["histogram", "exponentialhistogram"]}}, {"latency", "size"}),
        ({"exclude": {"match_type": "strict", "metrics": ["latency"]}}, {"http.requests", "http.errors", "size"}),
        ({"exclude": {"metric_types": ["sum", "histogram"]}}, {"size"}),
        (
            {
                "include": {"match_type": "regexp", "metrics": ["http"]},
                "exclude": {"match_type": "regexp", "metrics": ["s$"]},
            },
            set(),
        ),
    ],
)
def test_include_and_exclude(config: dict[str, Any], converted: set[str]) -> None:
    """By name, pattern and type; exclude wins."""
    lab = Lab(**config, initial_value="keep")
    points = [Number(otlp("http.requests"), 1, 1), Number(otlp("http.errors"), 1, 1)]
    rows = [
        Histogram(EXPLICIT, 1, 1, bounds=BOUNDS, counts=(1, 0)),
        Histogram(EXPONENTIAL, 1, 1, positive=Side(0, (1,))),
    ]
    out = lab.run(*points, *rows)
    found: list[Number | Histogram] = [*numbers_of(out), *histograms_of(out)]
    assert {one.series.name for one in found if one.series.kind.temporality is Temporality.DELTA} == converted


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"include": {"metrics": ["a"]}}, "match_type must be set"),
        ({"include": {"match_type": "strict"}}, "metrics must be set"),
        ({"include": {"match_type": "regexp", "metrics": ["("]}}, "missing closing"),
        ({"include": {"metric_types": ["gauge"]}}, "metric_types"),
        ({"initial_value": "first"}, "initial_value"),
        ({"max_staleness": "-1s"}, "negative"),
    ],
)
def test_wrong_settings_are_refused(config: dict[str, Any], why: str) -> None:
    """Naming what is wrong."""
    with pytest.raises(ValidationError, match=why):
        CumulativeToDeltaConfig(**config)


def test_late_points_and_stale_markers() -> None:
    """A late point is dropped; a marker passes and ends the stream."""
    lab = Lab(initial_value="drop")
    lab.deltas(Number(SUM, 10, 5))
    assert lab.deltas(Number(SUM, 10, 6), Number(SUM, 9, 7)) == []
    assert lab.drops() == {"initial": 1, "out_of_order": 2}
    assert lab.deltas(Number(SUM, 30, 9), Number(SUM, 20, 6)) == [(20, 1.0, 10), (30, 3.0, 20)]
    (marker,) = numbers_of(lab.run(Number(SUM, 40, 0, stale=True)))
    assert (marker.series, marker.stale) == (delta(SUM), True)
    assert lab.deltas(Number(SUM, 50, 20)) == []


def test_explicit_histograms() -> None:
    """Bucket by bucket, without minimum and maximum; a reset passes whole, other bounds do not."""
    lab = Lab(initial_value="drop")
    first = Histogram(EXPLICIT, 10, 3, 9.0, 1, 0.5, 5.0, BOUNDS, (1, 2))
    assert histograms_of(lab.run(first)) == []
    (two,) = histograms_of(lab.run(replace(first, time=20, count=7, sum=20.0, counts=(3, 4))))
    assert (two.series, two.count, two.sum, two.counts, two.start) == (delta(EXPLICIT), 4, 11.0, (2, 2), 10)
    assert math.isnan(two.minimum)
    assert math.isnan(two.maximum)
    (three,) = histograms_of(lab.run(replace(first, time=30, count=2, sum=1.0, counts=(1, 1))))
    assert (three.count, three.sum, three.counts, three.start) == (2, 1.0, (1, 1), 20)
    other = replace(first, time=40, bounds=(2.0, math.inf), count=9, counts=(4, 5))
    assert histograms_of(lab.run(other)) == []
    (five,) = histograms_of(lab.run(replace(other, time=50, count=10, counts=(4, 6))))
    assert (five.count, five.counts) == (1, (0, 1))
    assert lab.drops() == {"initial": 1, "bucket_mismatch": 1}


def test_exponential_histograms() -> None:
    """The older one is made as coarse as the newer one; what cannot have grown is a reset, from which it goes on."""
    lab = Lab(initial_value="drop")
    lab.run(Histogram(EXPONENTIAL, 10, 3, 3.0, scale=1, positive=Side(1, (1, 2))))
    row = Histogram(EXPONENTIAL, 20, 6, 8.0, scale=0, zero_count=1, positive=Side(0, (2, 3)))
    (two,) = histograms_of(lab.run(row))
    assert (two.scale, two.count, two.sum, two.zero_count) == (0, 3, 5.0, 1)
    assert two.buckets() == ({0: 1, 1: 1}, {})
    assert histograms_of(lab.run(replace(row, time=30, scale=1))) == []
    (four,) = histograms_of(lab.run(replace(row, time=40, scale=1, count=7, positive=Side(0, (3, 3)))))
    assert (four.count, four.buckets()[0]) == (1, {0: 1})
    assert lab.drops() == {"initial": 1, "reset": 1}


@pytest.mark.parametrize(
    "later",
    [
        {"zero_count": 4, "positive": Side(0, (1, 9))},
        {"zero_count": 2, "positive": Side(0, (2, 9))},
        {"zero_count": 3, "positive": Side(1, (11,))},
        {"zero_count": 3, "positive": Side(0, (2,)), "negative": Side(0, (6,)), "count": 11},
        {"zero_count": 3, "positive": Side(0, (2,)), "count": 5},
    ],
)
def test_what_has_not_grown_is_a_reset(later: dict[str, Any]) -> None:
    """A bucket, the zero bucket, or the count that is lower by one, though others are higher."""
    lab = Lab(initial_value="drop")
    first = Histogram(EXPONENTIAL, 10, 6, zero_count=3, positive=Side(0, (2,)), negative=Side(1, (1,)))
    lab.run(first)
    assert histograms_of(lab.run(replace(first, **{"time": 20, "count": 14, **later}))) == []
    assert lab.drops() == {"initial": 1, "reset": 1}


def test_a_wider_zero_bucket_takes_in_buckets_of_the_older_one() -> None:
    """They are part of its zero count then."""
    lab = Lab(initial_value="drop")
    lab.run(Histogram(EXPONENTIAL, 10, 4, zero_count=1, positive=Side(0, (2, 1))))
    row = Histogram(EXPONENTIAL, 20, 9, zero_count=5, zero_threshold=2.0, positive=Side(1, (4,)))
    (two,) = histograms_of(lab.run(row))
    assert (two.zero_count, two.count, two.buckets()) == (2, 5, ({1: 3}, {}))


def test_idle_streams_are_forgotten_where_they_shall_be() -> None:
    """0 keeps them for ever."""
    for staleness, expected in (("1m", []), (0, [(20, 3.0, 10)])):
        lab = Lab(max_staleness=staleness, initial_value="drop")
        lab.deltas(Number(SUM, 10, 5))
        lab.now_ns += 61 * SECOND
        lab.processor.tick(lab.now_ns)
        assert lab.deltas(Number(SUM, 20, 8)) == expected


SERIES = [otlp("s", i=str(i)) for i in range(4)]
numbers = st.builds(
    Number,
    st.sampled_from(SERIES),
    st.integers(1, 60),
    st.integers(0, 100).map(float),
    stale=st.sampled_from([False] * 6 + [True]),
)


@given(st.lists(st.lists(numbers, max_size=12), max_size=6), st.integers(0, 6))
def test_it_does_as_the_model_also_over_a_restart(batches: list[list[Number]], restart_at: int) -> None:
    """Random streams with resets, late points, gaps and stale markers."""
    lab = Lab(initial_value="drop")
    last: dict[Series, tuple[int, float]] = {}
    for number, points in enumerate(batches):
        if number == restart_at:
            state, lab = lab.processor.snapshot(), Lab(initial_value="drop")
            lab.processor.restore(state)
        expected = []
        for one in sorted(points, key=lambda point: point.time):
            before = last.get(one.series)
            if one.stale:
                last.pop(one.series, None)
                expected.append(
                    replace(one, series=delta(one.series), value=0.0, start=before[0] if before else one.start)
                )
            elif before is None:
                last[one.series] = one.time, one.value
            elif one.time > before[0]:
                last[one.series] = one.time, one.value
                if one.value >= before[1]:
                    expected.append(
                        replace(one, series=delta(one.series), value=one.value - before[1], start=before[0])
                    )
        found = numbers_of(lab.run(*points))
        assert sorted(found, key=repr) == sorted(expected, key=repr)


@st.composite
def growing(draw: st.DrawFn) -> list[Histogram]:
    """Exponential histograms of one stream, each with what the one before has, at the same scale or a coarser one."""
    scale, zero = draw(st.integers(0, 3)), 0.0
    sides: tuple[dict[int, float], dict[int, float]] = ({}, {})
    rows = []
    for time in range(1, draw(st.integers(2, 6)) + 1):
        shift = draw(st.sampled_from([0, 0, 1]))
        scale -= shift
        moved: list[dict[int, float]] = []
        for side in sides:
            coarser: dict[int, float] = {}
            for index, count in side.items():
                coarser[index >> shift] = coarser.get(index >> shift, 0.0) + count
            for index in draw(st.lists(st.integers(-6, 6), max_size=4)):
                coarser[index] = coarser.get(index, 0.0) + 1
            moved.append(coarser)
        sides = moved[0], moved[1]
        zero += draw(st.integers(0, 2))
        total = zero + sum(sides[0].values()) + sum(sides[1].values())
        rows.append(
            Histogram(
                EXPONENTIAL,
                time,
                total,
                total,
                scale=scale,
                zero_count=zero,
                positive=_side(sides[0]),
                negative=_side(sides[1]),
            )
        )
    return rows


def _side(buckets: dict[int, float]) -> Side:
    if not buckets:
        return Side()
    low, high = min(buckets), max(buckets)
    return Side(low, tuple(buckets.get(i, 0.0) for i in range(low, high + 1)))


@given(growing(), st.integers(1, 6), st.booleans())
def test_exponential_deltas_add_up_to_the_last(rows: list[Histogram], restart_at: int, at_once: bool) -> None:
    """Each delta has no negative bucket, and all of them, made coarse, are the difference of last and first."""
    lab = Lab(initial_value="drop")
    found = []
    if at_once:
        found = histograms_of(lab.run(*reversed(rows)))
    else:
        for i, row in enumerate(rows):
            if i == restart_at:
                state, lab = lab.processor.snapshot(), Lab(initial_value="drop")
                lab.processor.restore(state)
            found += histograms_of(lab.run(row))
    assert len(found) == len(rows) - 1
    first, last = rows[0], rows[-1]
    assert sum(one.count for one in found) == last.count - first.count
    assert sum(one.zero_count for one in found) == last.zero_count - first.zero_count
    for side in range(2):
        total: dict[int, float] = {}
        for one, sign in [*((one, 1) for one in found), (first, 1), (last, -1)]:
            for index, count in one.buckets()[side].items():
                assert count > 0
                at = index >> (one.scale - last.scale)
                total[at] = total.get(at, 0.0) + sign * count
        assert set(total.values()) <= {0.0}
