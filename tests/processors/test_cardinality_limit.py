"""Limits, folding, state."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from headrace.pipeline.batch import STALE_BITS, MetricBatch
from headrace.pipeline.component import StatefulProcessor
from headrace.pipeline.counters import Counters
from headrace.pipeline.identity import Form, Kind, MetricType, Series, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.streams.snapshots import encode
from headrace.processors.cardinality_limit.config import CardinalityLimitConfig
from headrace.processors.cardinality_limit.processor import CardinalityLimiter
from headrace.store.promql.evaluate import Evaluator
from headrace.testing.batches import make_batch, make_settings, rows, with_native
from headrace.testing.store_fakes import MemoryQueryable

MS = 1_000_000
STEP_MS = 15_000


class Lab:
    """A limiter with a clock."""

    def __init__(self, **config: Any) -> None:
        self.now_s = 0.0
        self.counters = Counters()
        settings = make_settings("cardinality_limit", counters=self.counters, monotonic_s=lambda: self.now_s)
        self.limiter = CardinalityLimiter(settings, CardinalityLimitConfig(**config))

    def names(self, batch: MetricBatch) -> list[str]:
        return [name for name, _, _ in rows(self.limiter.process(batch))]


def test_it_is_stateful() -> None:
    """The graph finds tick, snapshot and restore."""
    assert isinstance(Lab(max_series=1).limiter, StatefulProcessor)


def test_total() -> None:
    """The first ones stay, also later."""
    lab = Lab(max_series=2)
    batch = make_batch(["a", "b", "c", "a"])
    assert lab.names(batch) == ["a", "b", "a"]
    assert lab.names(make_batch(["c", "b"], table=batch.table)) == ["b"]
    assert lab.counters.value("headrace_dropped_points", {"reason": "cardinality_limit"}) == 2
    assert lab.counters.value("headrace_cardinality_limit_series") == 1
    assert [(one.metric, one.series) for one in lab.limiter.offenders.top(9)] == [("c", 1)]


def test_per_metric() -> None:
    """With limits of single metrics."""
    lab = Lab(max_series_per_metric=1, metrics={"b": 2, "c": 0})
    series = [{"__name__": name, "i": str(i)} for i in range(3) for name in "abc"]
    kept = lab.names(make_batch(series))
    assert kept == ['a{i="0"}', 'b{i="0"}', 'c{i="0"}', 'b{i="1"}', 'c{i="1"}', 'c{i="2"}']


def test_per_label() -> None:
    """Values of a label within a metric; a value that is there already passes."""
    lab = Lab(max_values_per_label=2, labels={"free": 0})
    series = [
        {"__name__": "m", "user": "1"},
        {"__name__": "m", "user": "2"},
        {"__name__": "m", "user": "3"},
        {"__name__": "m", "user": "2", "free": "x"},
        {"__name__": "n", "user": "3"},
    ]
    assert lab.names(make_batch(series)) == ['m{user="1"}', 'm{user="2"}', 'm{free="x", user="2"}', 'n{user="3"}']


def test_offenders_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """By metric and label, in the log and among our own metrics, which hold the worst ones only."""
    lab = Lab(max_series_per_metric=1)
    series = [{"__name__": "bad", "user": str(i), "job": "j"} for i in range(100)]
    lab.names(make_batch([*series, *[{"__name__": f"m{i % 12}", "i": str(i)} for i in range(48)]]))
    lab.limiter.tick(0)
    wanted = {"processor": "cardinality_limit", "metric": "bad", "label": "user"}
    assert lab.counters.value("headrace_cardinality_limit_offender_series", wanted) == 99
    assert len(list(lab.counters.instruments["headrace_cardinality_limit_offender_series"].read())) == 10
    lab.names(make_batch([{"__name__": f"n{i % 12}", "i": str(i)} for i in range(1200)]))
    lab.now_s = 61
    lab.limiter.tick(0)
    assert len(list(lab.counters.instruments["headrace_cardinality_limit_offender_series"].read())) == 10
    [text] = [record.getMessage() for record in caplog.records]
    assert re.search(r"by metric: .*bad \(99; \d+ values of label user\)", text)


def test_dry_run() -> None:
    """Everything passes and is counted."""
    lab = Lab(max_series=1, dry_run=True)
    assert lab.names(make_batch(["a", "b", "c"])) == ["a", "b", "c"]
    assert lab.counters.value("headrace_cardinality_limit_series") == 2
    assert lab.counters.value("headrace_dropped_points") == 0


def test_freed_series_make_room() -> None:
    """A series that is gone counts no longer."""
    now = 0.0
    table = SeriesTable(clock_s=lambda: now)
    lab = Lab(max_series=1, max_values_per_label=1)
    assert lab.names(make_batch([{"__name__": "m", "i": "1"}], table=table)) == ['m{i="1"}']
    now = 100.0
    for _ in range(3):
        table.collect(10)
    assert lab.names(make_batch([{"__name__": "m", "i": "2"}], table=table)) == ['m{i="2"}']


def fold(lab: Lab, table: SeriesTable, time_s: int, **values: float) -> list[tuple[str, int, float]]:
    series = [{"__name__": "m_total", "i": name} for name in values]
    batch = make_batch(series, table=table, time_ns=time_s * 1000 * MS, value=list(values.values()))
    return [(name, at // (1000 * MS), value) for name, at, value in rows(lab.limiter.process(batch))]


OVER = 'm_total{otel_metric_overflow="true"}'


def test_folding_a_counter() -> None:
    """A point is complete when a later one comes; resets add, members that join late begin at nothing."""
    lab, table = Lab(max_series=1, action="overflow"), SeriesTable()
    assert fold(lab, table, 1, keep=1, a=10, b=20) == [('m_total{i="keep"}', 1, 1.0)]
    assert fold(lab, table, 2, a=11) == [(OVER, 1, 30.0)]
    assert fold(lab, table, 2, b=25) == []
    assert fold(lab, table, 3, a=4, c=1000) == [(OVER, 2, 36.0)]
    assert fold(lab, table, 4, a=5, c=1001) == [(OVER, 3, 40.0)]
    lab.now_s = 6.0
    batches = lab.limiter.tick(0)
    assert [rows(batch) for batch in batches] == [[(OVER, 4000 * MS, 42.0)]]
    assert lab.limiter.tick(0) == []


def test_folding_a_gauge() -> None:
    """It is the sum of the newest values; a stale member leaves it."""
    lab, table = Lab(max_series_per_metric=1, action="overflow"), SeriesTable()

    def step(time_s: int, **values: float) -> list[tuple[str, int, float]]:
        series = [{"__name__": "g", "i": name} for name in values]
        batch = make_batch(series, table=table, time_ns=time_s * 1000 * MS, value=list(values.values()))
        batch.value.view(np.uint64)[batch.value == -99] = STALE_BITS
        return [(name, at // (1000 * MS), value) for name, at, value in rows(lab.limiter.process(batch))][-1:]

    step(1, keep=1, a=10, b=5)
    assert step(2, a=7) == [('g{otel_metric_overflow="true"}', 1, 15.0)]
    assert step(3, b=-99) == [('g{otel_metric_overflow="true"}', 2, 12.0)]
    assert step(4, a=8) == [('g{otel_metric_overflow="true"}', 3, 7.0)]


def test_buckets_are_folded_by_bound() -> None:
    """``le`` stays, so that quantiles of the overflow series mean something."""
    lab, table = Lab(max_series=1, action="overflow"), SeriesTable()
    series = [{"__name__": "h_bucket", "le": le, "i": str(i)} for i in range(3) for le in ("1", "+Inf")]
    for time in (1, 2):
        out = lab.limiter.process(make_batch(series, table=table, time_ns=time, value=[1.0, 2.0] * 3))
    folded = {name: value for name, _, value in rows(out) if "overflow" in name}
    assert folded == {
        'h_bucket{le="1", otel_metric_overflow="true"}': 2.0,
        'h_bucket{le="+Inf", otel_metric_overflow="true"}': 6.0,
    }


def test_series_of_opentelemetry() -> None:
    """The overflow attribute has OpenTelemetry's name; the type decides what is a counter."""
    lab, table = Lab(max_series=1, action="overflow"), SeriesTable()
    kind = Kind(MetricType.COUNTER, Temporality.CUMULATIVE)
    series = [Series((("__name__", "requests"), ("user", str(i))), Form.OTLP, kind, "1") for i in range(3)]
    for time in (1, 2):
        out = lab.limiter.process(make_batch(series, table=table, time_ns=time, value=[1.0, 5.0, 7.0]))
    assert rows(out)[-1] == ('requests{otel.metric.overflow="true"}', 1, 12.0)
    assert table.series(int(out.series[-1])).unit == "1"


def run(limited: bool, restart_at: int | None, seed: int) -> tuple[MemoryQueryable, int, int]:
    """Feed counters of 200 series, with resets, into a store; return it with its series and samples."""
    generator = random.Random(seed)
    config = {"max_series": 20, "action": "overflow"} if limited else {"max_series": 10_000}
    lab, table = Lab(**config), SeriesTable()
    store = MemoryQueryable()
    series = [Series.of(__name__="m_total", i=str(i)) for i in range(200)]
    values = [generator.uniform(1e6, 2e6) for _ in series]
    count = 0
    seen = set()

    def keep(batch: MetricBatch) -> None:
        nonlocal count
        for one, time_ns, value in zip(
            batch.series.tolist(), batch.time_ns.tolist(), batch.value.tolist(), strict=True
        ):
            labels = dict(batch.table.series(one).labels)
            store.add(labels, [time_ns // MS], [value])
            seen.add(tuple(labels.items()))
            count += 1

    for step in range(60):
        if step == restart_at:
            state = lab.limiter.snapshot()
            lab, table = Lab(**config), SeriesTable()
            lab.limiter.restore(state)
            random.Random(step).shuffle(order := list(range(len(series))))
        else:
            order = list(range(len(series)))
        for i in range(len(series)):
            growth = generator.uniform(0, 100)
            # A reset to a high value, so that no extrapolation of rate() ends at zero.
            values[i] = 1e5 + growth if generator.random() < 0.02 else values[i] + growth
        half = len(order) // 2
        for part in (order[:half], order[half:]):
            keep(
                lab.limiter.process(
                    make_batch(
                        [series[i] for i in part],
                        table=table,
                        time_ns=step * STEP_MS * MS,
                        value=[values[i] for i in part],
                    )
                )
            )
    lab.now_s = 100.0
    for batch in lab.limiter.tick(0):
        keep(batch)
    return store, len(seen), count


@pytest.mark.parametrize("seed", [1, 2])
def test_sums_of_rates_stay_the_same(seed: int) -> None:
    """Through resets of counters and a restart of the daemon, to 1e-9; with a tenth of the series."""
    whole, series, samples = run(False, None, seed)
    folded, fewer_series, fewer_samples = run(True, 31, seed)
    assert (series, samples) == (200, 12_000)
    assert (fewer_series, fewer_samples) == (21, 21 * 60)
    for store in (whole, folded):
        assert store is not None
    start, end = 8 * STEP_MS, 59 * STEP_MS
    for query in ("sum(rate(m_total[2m]))", "sum(increase(m_total[1m]))"):
        one = Evaluator(whole).range(query, start, end, STEP_MS).value
        other = Evaluator(folded).range(query, start, end, STEP_MS).value
        np.testing.assert_allclose(one.values, other.values, rtol=1e-9)  # type: ignore[union-attr]
        assert one.values.shape == (1, 52)  # type: ignore[union-attr]


def test_state_of_another_version() -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="version 9"):
        Lab(max_series=1).limiter.restore(encode("cardinality_limit", 9, {}))


@pytest.mark.parametrize(
    ("config", "why"),
    [({}, "at least one limit"), ({"max_series": -1}, "greater than or equal to 0"), ({"max_serie": 1}, "max_serie")],
)
def test_validation(config: dict[str, Any], why: str) -> None:
    """Settings without a meaning are refused."""
    with pytest.raises(ValidationError, match=why):
        CardinalityLimitConfig(**config)


def test_native_histograms_and_exemplars_are_limited_too() -> None:
    """They are series like others; beyond a limit they are dropped and counted, never folded."""
    for action in ("drop", "overflow"):
        lab = Lab(max_series=1, action=action)
        out = lab.limiter.process(with_native(make_batch([]), ["h", "h", "i"]))
        assert out.native is not None
        assert out.exemplars is not None
        assert out.native.sum.tolist() == out.exemplars.value.tolist() == [1.0, 2.0]
        assert lab.counters.value("headrace_dropped_points", {"reason": "cardinality_limit"}) == 1
