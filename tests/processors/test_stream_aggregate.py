"""Aggregates of streams: each output by hand, counters over resets, a plain model, state."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.pipeline.component import Draining, StatefulProcessor
from headrace.pipeline.counters import Counters
from headrace.pipeline.identity import Kind, MetricType, Series, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.processors.stream_aggregate import FACTORY
from headrace.processors.stream_aggregate.config import StreamAggregateConfig
from headrace.processors.stream_aggregate.processor import StreamAggregate
from headrace.testing.batches import make_batch, make_settings, with_native
from stream_points import Number, batch_of, numbers_of, otlp

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

SECOND = 1_000_000_000
BEGUN = 60_000 * SECOND


def series(name: str, **labels: str) -> Series:
    return Series.of({"__name__": name}, **labels)


class Lab:
    """A processor with a clock that begins at a whole minute; one rule of 10 seconds unless told otherwise."""

    def __init__(self, config: dict[str, Any] | None = None, now_ns: int = BEGUN, **rule: Any) -> None:
        self.now_ns = now_ns
        self.counters = Counters()
        settings = make_settings("stream_aggregate", counters=self.counters, clock_ns=lambda: self.now_ns)
        rules = {"rules": [{"interval": "10s", **rule}]} if rule else {}
        self.processor = StreamAggregate(settings, StreamAggregateConfig(**{**rules, **(config or {})}))
        self.table = SeriesTable()

    def run(self, *points: Number) -> MetricBatch:
        return self.processor.process(batch_of(self.table, points))

    def add(self, name: str = "m", *, at: float = 0.0, value: float, **labels: str) -> None:
        self.run(Number(series(name, **labels), BEGUN + int(at * SECOND), value))

    def after(self, seconds: float) -> dict[str, float]:
        """Let time pass; return what is passed on."""
        self.now_ns += int(seconds * SECOND)
        found = [one for batch in self.processor.tick(self.now_ns) for one in numbers_of(batch)]
        assert len({(str(one.series), one.time) for one in found}) == len(found)
        return {str(one.series): one.value for one in found}


def test_names_and_kinds() -> None:
    """The graph finds tick, snapshot, restore and drain."""
    assert FACTORY.name == "stream_aggregate"
    processor = Lab(outputs=["total"]).processor
    assert isinstance(processor, StatefulProcessor)
    assert isinstance(processor, Draining)


def test_outputs_over_samples() -> None:
    """Of all samples of an interval, of all series of a group."""
    outputs = [
        "sum_samples", "count_samples", "count_series", "min", "max", "avg", "last", "stddev", "stdvar",
        "quantiles(0, 0.5, 0.75, 1)",
    ]  # fmt: skip
    lab = Lab(outputs=outputs, without=["i"])
    lab.add(i="1", at=1, value=1)
    lab.add(i="2", at=3, value=2)
    lab.add(i="1", at=2, value=6)
    found = lab.after(10)
    name = "m:10s_without_i"
    quantiles = {f'{name}_quantiles{{quantile="{q}"}}': value for q, value in ((0, 1), (0.5, 2), (0.75, 4), (1, 6))}
    assert found == {
        f"{name}_sum_samples": 9, f"{name}_count_samples": 3, f"{name}_count_series": 2, f"{name}_min": 1,
        f"{name}_max": 6, f"{name}_avg": 3, f"{name}_last": 2, f"{name}_stdvar": 14 / 3,
        f"{name}_stddev": math.sqrt(14 / 3), **quantiles,
    }  # fmt: skip
    assert lab.after(10) == {}


def test_short_names_of_outputs() -> None:
    """They mean the long ones and stand in the names."""
    lab = Lab(outputs=["sum", "count", "rate", "histogram"])
    lab.add(value=3)
    found = lab.after(10)
    assert found["m:10s_sum"] == 3
    assert found["m:10s_count"] == 1
    assert found["m:10s_rate"] == 0
    assert found['m:10s_histogram_bucket{le="+Inf"}'] == 1


def test_counters_over_resets() -> None:
    """``total`` grows by what its members grow by; one that is new has grown from 0, once the beginning is over."""
    lab = Lab(outputs=["total", "increase", "total_prometheus", "increase_prometheus"], by=["job"])

    def step(**values: float) -> tuple[float, ...]:
        at = (lab.now_ns - BEGUN) / SECOND + 1
        for i, value in values.items():
            lab.add(i=i, job="x", at=at, value=value)
        found = lab.after(10)
        return tuple(found[f'm:10s_by_job_{output}{{job="x"}}'] for output in (
            "total", "increase", "total_prometheus", "increase_prometheus",
        ))  # fmt: skip

    assert step(a=100, b=50) == (0, 0, 0, 0)
    assert step(a=110, b=53) == (13, 13, 13, 13)
    assert step(a=4, b=54) == (18, 5, 18, 5)
    assert step(a=5, b=54, c=7) == (26, 8, 19, 1)
    assert step() == (26, 0, 19, 0)
    assert step(a=6) == (27, 1, 20, 1)


def test_the_first_sample_in_the_beginning() -> None:
    """It says nothing for `ignore_first_sample_interval`, by default that of staleness."""
    lab = Lab(outputs=["total"], ignore_first_sample_interval="0s")
    lab.add(value=5)
    assert lab.after(10) == {"m:10s_total": 5}
    lab = Lab(outputs=["total"])
    for expected in (0, 0, 7):
        lab.add(value=7, i=str(lab.now_ns))
        total = sum(lab.after(10).values())
        assert total == expected


def test_rates() -> None:
    """From each counter's last sample before the interval, or its first in it, to its last."""
    lab = Lab(outputs=["rate_sum", "rate_avg"], without=["i"])
    lab.add(i="a", at=2, value=10)
    lab.add(i="a", at=6, value=30)
    lab.add(i="b", at=4, value=1)
    assert lab.after(10) == {"m:10s_without_i_rate_sum": 5, "m:10s_without_i_rate_avg": 5}
    lab.add(i="a", at=16, value=50)
    lab.add(i="b", at=14, value=31)
    assert lab.after(10) == {"m:10s_without_i_rate_sum": 2 + 3, "m:10s_without_i_rate_avg": 2.5}
    assert lab.after(10) == {"m:10s_without_i_rate_sum": 0, "m:10s_without_i_rate_avg": 0}


def test_histogram_buckets_grow_for_ever() -> None:
    """Samples up to and with the bound; a count of samples in all."""
    lab = Lab(outputs=["histogram_bucket(1, 2.5)"])
    for value in (0.5, 1, 1.5, 9):
        lab.add(value=value)
    name = "m:10s_histogram_bucket"
    assert lab.after(10) == {f'{name}{{le="1.0"}}': 2, f'{name}{{le="2.5"}}': 3, f'{name}{{le="+Inf"}}': 4}
    lab.add(value=2)
    assert lab.after(10) == {f'{name}{{le="1.0"}}': 2, f'{name}{{le="2.5"}}': 4, f'{name}{{le="+Inf"}}': 5}


def test_match_and_what_passes() -> None:
    """Series that no rule matches pass; those that one does are taken, unless they are kept."""
    rule = {"interval": "10s", "match": ['a{x="1"}', '{__name__=~"b.+"}'], "outputs": ["last"]}
    points = [Number(series("a", x="1"), 1, 1.0), Number(series("a", x="2"), 1, 2.0), Number(series("bc"), 1, 3.0)]
    for config, passed in (({}, points[1:2]), ({"keep_input": True}, points), ({"drop_input": True}, [])):
        lab = Lab({"rules": [rule], **config})
        assert numbers_of(lab.run(*points)) == passed
        assert lab.after(10) == {'a:10s_last{x="1"}': 1, "bc:10s_last": 3}
        assert lab.processor._settings.drops.by_reason() == ({"drop_input": 1} if "drop_input" in config else {})


def test_rules_beside_each_other() -> None:
    """A series may be part of several; each has an interval of its own."""
    rules = [
        {"interval": "10s", "outputs": ["count_samples"]},
        {"interval": "20s", "outputs": ["sum_samples"], "by": ["job"], "match": "a"},
    ]
    lab = Lab({"rules": rules})
    lab.add("a", job="x", i="1", value=2)
    lab.add("b", job="x", i="1", value=2)
    assert lab.after(10) == {'a:10s_count_samples{i="1", job="x"}': 1, 'b:10s_count_samples{i="1", job="x"}': 1}
    assert lab.after(10) == {'a:20s_by_job_sum_samples{job="x"}': 2}


def test_the_time_of_aggregates_is_the_end_of_the_interval() -> None:
    """A multiple of it, also where the tick is late; totals say since when they count."""
    lab = Lab(outputs=["total"])
    lab.add(value=1)
    lab.now_ns += int(10.7 * SECOND)
    (batch,) = lab.processor.tick(lab.now_ns)
    (one,) = numbers_of(batch)
    assert (one.time, one.start) == (BEGUN + 10 * SECOND, BEGUN)


def test_samples_belong_to_the_interval_in_which_they_come() -> None:
    """Also when the tick is behind."""
    lab = Lab(outputs=["count_samples"])
    lab.add(value=1)
    lab.now_ns += int(10.2 * SECOND)
    lab.add(value=1)
    lab.add(value=1)
    assert lab.after(0.1) == {"m:10s_count_samples": 1}
    assert lab.after(9.8) == {"m:10s_count_samples": 2}


def test_a_clock_that_is_set_back() -> None:
    """Does not stop the aggregates until it is there again."""
    lab = Lab(outputs=["count_samples"])
    lab.add(value=1)
    assert lab.after(10) == {"m:10s_count_samples": 1}
    assert lab.after(-1000) == {}
    lab.add(value=1)
    assert lab.after(10) == {"m:10s_count_samples": 1}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [{}, {"m:10s_sum_samples": 2}]),
        ({"flush_on_shutdown": True}, [{"m:10s_sum_samples": 1}, {"m:10s_sum_samples": 2}]),
        ({"no_align_flush_to_interval": True}, [{}, {"m:10s_sum_samples": 1}]),
    ],
)
def test_the_first_interval(options: dict[str, Any], expected: list[dict[str, float]]) -> None:
    """One that began before the processor did is left out, unless it is wanted."""
    lab = Lab(outputs=["sum_samples"], now_ns=BEGUN + 4 * SECOND, **options)
    lab.add(value=1)
    found = [lab.after(6)]
    if "no_align_flush_to_interval" not in options:
        lab.add(value=2)
        found.append(lab.after(10))
    else:
        found.append(lab.after(4))
    assert found == expected


def test_first_intervals_may_be_ignored() -> None:
    """Totals count all the same."""
    lab = Lab(outputs=["total"], ignore_first_intervals=2)
    found = []
    for value in (5, 7, 9, 12):
        lab.add(at=value, value=value)
        found.append(lab.after(10))
    assert found == [{}, {}, {"m:10s_total": 4}, {"m:10s_total": 7}]


def test_the_last_interval() -> None:
    """It is passed on at the end where that is wanted, and else kept for the next start."""
    for wanted in (False, True):
        lab = Lab(outputs=["sum_samples"], flush_on_shutdown=wanted)
        lab.add(value=1)
        lab.now_ns += 3 * SECOND
        found = [one for batch in lab.processor.drain(lab.now_ns) for one in numbers_of(batch)]
        assert [one.value for one in found] == ([1.0] if wanted else [])


def test_deduplication() -> None:
    """Only the newest sample of each series in an interval; of samples of one time, the largest."""
    lab = Lab(outputs=["sum_samples", "count_samples"], without=["i"], dedup_interval="5s")
    for at, value in ((1, 10), (2, 20), (2, 15)):
        lab.add(i="a", at=at, value=value)
    lab.add(i="b", at=1, value=100)
    lab.now_ns += 5 * SECOND
    lab.add(i="a", at=6, value=1)
    found = lab.after(5)
    assert found == {"m:10s_without_i_sum_samples": 121, "m:10s_without_i_count_samples": 3}


def test_labels_that_are_dropped_first() -> None:
    """Replicas are one series then: deduplicated, counted once, with one state."""
    lab = Lab(outputs=["count_series", "total"], drop_input_labels=["replica"], ignore_first_sample_interval="0s")
    for replica in "ab":
        lab.add(job="x", replica=replica, at=1, value=5)
    assert lab.after(10) == {'m:10s_count_series{job="x"}': 1, 'm:10s_total{job="x"}': 5}


def test_relabelling() -> None:
    """Of what comes in, and of what goes out; dropped series are not aggregated."""
    lab = Lab(
        outputs=["sum_samples"],
        input_relabel_configs=[
            {"source_labels": ["env"], "regex": "test", "action": "drop"},
            {"source_labels": ["path"], "regex": "/(\\w+)/.*", "target_label": "path"},
        ],
        output_relabel_configs=[{"target_label": "made", "replacement": "here"}],
    )
    lab.add(path="/a/1", value=1)
    lab.add(path="/a/2", value=2)
    lab.add(path="/a/2", env="test", value=4)
    assert lab.after(10) == {'m:10s_sum_samples{made="here", path="a"}': 3}


def test_metric_names_may_stay() -> None:
    """With a single output."""
    lab = Lab(outputs=["total"], keep_metric_names=True, without=["i"])
    lab.add(i="1", value=1)
    assert lab.after(10) == {"m": 0}


def test_old_samples() -> None:
    """They are taken, unless they shall not be; then they are counted."""
    for ignored in (False, True):
        lab = Lab(outputs=["count_samples"], ignore_old_samples=ignored)
        lab.now_ns += 10 * SECOND
        lab.add(at=9.9, value=1)
        lab.add(at=10, value=1)
        assert lab.after(10) == {"m:10s_count_samples": 1 if ignored else 2}
        assert lab.processor._settings.drops.by_reason() == ({"old_sample": 1} if ignored else {})


def test_late_samples_say_nothing_of_growth() -> None:
    """They are samples all the same."""
    lab = Lab(outputs=["increase", "count_samples"])
    for at, value in ((1, 10), (3, 30), (2, 20), (4, 40)):
        lab.add(at=at, value=value)
    assert lab.after(10) == {"m:10s_increase": 30, "m:10s_count_samples": 4}
    assert lab.counters.value("headrace_stream_aggregate_late_samples") == 1


def test_unsorted_samples_of_a_batch() -> None:
    """They are taken in the order of their times."""
    lab = Lab(outputs=["increase", "last"])
    lab.run(*(Number(series("m"), BEGUN + at, value) for at, value in ((3, 30.0), (1, 10.0), (4, 35.0), (2, 5.0))))
    assert lab.after(10) == {"m:10s_increase": 5 + 25 + 5, "m:10s_last": 35}


def test_stale_markers_and_nan_are_no_samples() -> None:
    """A counter goes on where it was when its target is back."""
    lab = Lab(outputs=["increase", "count_samples"])
    lab.add(value=10)
    lab.run(Number(series("m"), BEGUN + 1, 0, stale=True), Number(series("m"), BEGUN + 2, math.nan))
    lab.add(at=3, value=12)
    assert lab.after(10) == {"m:10s_increase": 2, "m:10s_count_samples": 2}


def test_idle_series_and_aggregates_are_forgotten() -> None:
    """After `staleness_interval`, two intervals by default."""
    cases: list[tuple[dict[str, Any], list[float | None]]] = [
        ({}, [0, 0, 0, None, 50]),
        ({"staleness_interval": "1m"}, [0, 0, 0, 0, 1]),
    ]
    for options, totals in cases:
        lab = Lab(outputs=["total"], ignore_first_sample_interval="20s", **options)
        lab.add(value=49)
        found = [lab.after(10).get("m:10s_total") for _ in range(4)]
        lab.add(at=41, value=50)
        found.append(lab.after(10).get("m:10s_total"))
        assert found == totals


def test_time_without_a_daemon_does_not_count() -> None:
    """What counters have grown by meanwhile is part of the totals behind it."""
    lab = Lab(outputs=["total", "sum_samples"])
    lab.add(value=5)
    lab.after(10)
    lab.add(at=11, value=8)
    state = lab.processor.snapshot()
    again = Lab(outputs=["total", "sum_samples"], now_ns=lab.now_ns + 603 * SECOND)
    again.processor.restore(state)
    again.run()
    assert again.after(0) == {"m:10s_total": 3, "m:10s_sum_samples": 8}
    again.add(at=614, value=20)
    assert again.after(7) == {"m:10s_total": 15, "m:10s_sum_samples": 20}


def test_deltas_of_opentelemetry() -> None:
    """Are added as they are, from the first one on; totals are cumulative sums, the rest gauges."""
    lab = Lab(outputs=["total", "increase"], by=["service.name", "path"])
    delta = otlp("hits", MetricType.COUNTER, Temporality.DELTA, resource={"service.name": "a", "host": "h"}, path="/x")
    lab.run(Number(delta, BEGUN, 5), Number(delta, BEGUN + 1, 3))
    lab.now_ns += 10 * SECOND
    (batch,) = lab.processor.tick(lab.now_ns)
    found = {one.series.name: one for one in numbers_of(batch)}
    total = found["hits:10s_by_path_service_name_total"]
    assert (total.value, total.series.kind) == (8, Kind(MetricType.COUNTER, Temporality.CUMULATIVE))
    assert (total.series["service.name"], total.series["path"], total.series.resource) == ("a", "/x", None)
    assert found["hits:10s_by_path_service_name_increase"].series.kind == Kind(MetricType.GAUGE)


def test_without_keeps_the_rest_of_the_resource() -> None:
    """Attributes of a resource are left out like labels."""
    lab = Lab(outputs=["last"], without=["host", "i"])
    for host in "12":
        lab.run(Number(otlp("n", resource={"service.name": "a", "host": host}, i=host), BEGUN, 1))
    lab.now_ns += 10 * SECOND
    (batch,) = lab.processor.tick(lab.now_ns)
    (one,) = numbers_of(batch)
    assert one.series.resource is not None
    assert one.series.resource.attributes == (("service.name", "a"),)
    assert one.series.name == "n:10s_without_host_i_last"


def test_histograms_of_matched_series_are_counted_as_dropped() -> None:
    """There are no aggregates of them."""
    lab = Lab(outputs=["last"], match="h")
    batch = with_native(make_batch([], table=lab.table), ["h", "i", "h"])
    out = lab.processor.process(batch)
    assert out.native is not None
    assert (len(out.native), len(out.exemplars or ())) == (1, 1)
    assert lab.processor._settings.drops.by_reason() == {"histogram_not_aggregated": 2}


def test_quantiles_of_too_many_samples_are_of_a_random_part() -> None:
    """Whose size is bounded, and whose quantiles are close."""
    lab = Lab(outputs=["quantiles(0.5)"], max_quantile_samples=1000, without=["i"])
    values = np.arange(20_000)
    np.random.default_rng(1).shuffle(values)
    (id_,) = lab.table.intern([series("m", i="1")]).tolist()
    for part in np.split(values, 40):
        batch = make_batch(["m"], table=lab.table)
        n = len(part)
        lab.processor.process(
            batch.with_columns(
                series=np.full(n, id_, np.int32), time_ns=np.full(n, BEGUN), value=part.astype(float),
                flags=np.zeros(n, np.uint8), start_ns=np.zeros(n, np.int64),
            )
        )  # fmt: skip
        (view,) = lab.processor._views.values()
        assert view.states[0].sampled <= 1000
    (found,) = lab.after(10).values()
    assert abs(found - 10_000) < 1500


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"outputs": []}, "outputs"),
        ({"outputs": ["totals"]}, "there is no output 'totals'"),
        ({"outputs": ["unique_samples"]}, "unique_samples is not supported"),
        ({"outputs": ["quantiles"]}, "needs quantiles"),
        ({"outputs": ["quantiles(50)"]}, "needs quantiles"),
        ({"outputs": ["quantiles(x)"]}, "expected numbers"),
        ({"outputs": ["histogram_bucket(2, 1)"]}, "ascend"),
        ({"outputs": ["max(3)"]}, "takes no numbers"),
        ({"outputs": ["total", "total"]}, "stands twice"),
        ({"outputs": ["total"], "by": ["a"], "without": ["b"]}, "exclude each other"),
        ({"outputs": ["total", "max"], "keep_metric_names": True}, "single output"),
        ({"outputs": ["total"], "match": "{"}, "braces"),
        ({"outputs": ["total"], "match": 'a{b="c" d="e"}'}, "expected a matcher"),
        ({"outputs": ["total"], "match": 'a{b=~"("}'}, "missing closing"),
        ({"outputs": ["total"], "match": "{}"}, "nothing in particular"),
        ({"outputs": ["total"], "dedup_interval": "1m"}, "dedup_interval"),
        ({"outputs": ["total"], "interval": "0s"}, "more than 0"),
        ({"outputs": ["total"], "staleness_interval": "9s"}, "staleness_interval must not be shorter"),
    ],
)
def test_wrong_settings_are_refused(rule: dict[str, Any], why: str) -> None:
    """Naming what is wrong."""
    with pytest.raises(ValidationError, match=why):
        StreamAggregateConfig(rules=[{"interval": "10s", **rule}])


# -- against a model ---------------------------------------------------------------------------------------


@dataclass
class Model:
    """One rule in plain Python: without ``i``, intervals of 10 s that begin at BEGUN."""

    last: dict[str, tuple[int, float]] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    growth: dict[str, float] = field(default_factory=dict)
    samples: list[tuple[int, float]] = field(default_factory=list)
    total: float = 0.0
    increase: float = 0.0

    def add(self, i: str, time: int, value: float, *, first_counts: bool) -> None:
        self.samples.append((time, value))
        self.growth.setdefault(i, 0.0)
        if i not in self.last:
            self.before[i] = time
            grown = value if first_counts else 0.0
        elif time < self.last[i][0]:
            return
        else:
            grown = value - self.last[i][1] if value >= self.last[i][1] else value
            self.growth[i] += grown
        self.total += grown
        self.increase += grown
        self.last[i] = time, value

    def flush(self) -> dict[str, float]:
        values = [value for _, value in self.samples]
        rates = [
            self.growth[i] / ((self.last[i][0] - self.before[i]) / SECOND)
            for i in self.growth
            if self.last[i][0] > self.before[i]
        ]
        found = {"total": self.total, "increase": self.increase, "rate_sum": sum(rates)}
        if values:
            found |= {
                "sum_samples": sum(values), "count_samples": len(values), "count_series": len(self.growth),
                "min": min(values), "max": max(values), "avg": statistics.fmean(values),
                "stdvar": statistics.pvariance(values), "median": statistics.median(values),
            }  # fmt: skip
        self.before = {i: time for i, (time, _) in self.last.items()}
        self.growth, self.samples, self.increase = {}, [], 0.0
        return found


OUTPUTS = [
    "total", "increase", "rate_sum", "sum_samples", "count_samples", "count_series", "min", "max", "avg", "stdvar",
    "quantiles(0.5)",
]  # fmt: skip
samples = st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 100).map(float))


@given(st.lists(st.lists(samples, max_size=10), min_size=1, max_size=8), st.integers(0, 8))
def test_it_does_as_the_model_also_over_a_restart(steps: list[list[tuple[str, int, float]]], restart_at: int) -> None:
    """Two batches an interval, with resets, late samples, gaps; a restart in the middle of one."""
    rule: dict[str, Any] = {"outputs": OUTPUTS, "without": ["i"], "staleness_interval": "1h"}
    rule["ignore_first_sample_interval"] = "20s"
    lab, model = Lab(**rule), Model()
    seen = False
    for number, step in enumerate(steps):
        begin = BEGUN + number // 2 * 10 * SECOND
        if number == restart_at:
            state, now_ns = lab.processor.snapshot(), lab.now_ns
            lab = Lab(now_ns=now_ns, **rule)
            lab.table.intern([series("filler")])
            lab.processor.restore(state)
        points = [Number(series("m", i=i), begin + at * SECOND, value) for i, at, value in step]
        assert numbers_of(lab.run(*points)) == []
        seen = seen or bool(points)
        for one in sorted(points, key=lambda point: point.time):
            model.add(one.series["i"], one.time, one.value, first_counts=begin - BEGUN >= 20 * SECOND)
        found = {key.removeprefix("m:10s_without_i_"): value for key, value in lab.after(5).items()}
        if number % 2:
            expected = model.flush() if seen else {}
            if "median" in expected:
                expected['quantiles{quantile="0.5"}'] = expected.pop("median")
            assert found == {key: pytest.approx(value, rel=1e-9, abs=1e-9) for key, value in expected.items()}
        else:
            assert found == {}


def test_state_of_rules_that_have_changed_is_left() -> None:
    """The others go on, in whatever order they stand."""
    first = {"interval": "10s", "outputs": ["total"], "match": "m"}
    second = {"interval": "10s", "outputs": ["sum_samples"], "match": "m"}
    lab = Lab({"rules": [first, second]})
    lab.add(value=5)
    lab.add(at=1, value=9)
    changed = {**second, "match": ["m", "n"]}
    again = Lab({"rules": [changed, first]}, now_ns=lab.now_ns)
    again.processor.restore(lab.processor.snapshot())
    again.add(at=2, value=10)
    assert again.after(10) == {"m:10s_total": 5, "m:10s_sum_samples": 10}


@pytest.mark.parametrize("state", [b"", b"garbage", b"HRSTATE1" + bytes(50)])
def test_garbage_is_refused(state: bytes) -> None:
    """With an error."""
    with pytest.raises(ValueError, match=r"state|damaged"):
        Lab(outputs=["total"]).processor.restore(state)


@pytest.mark.large
def test_memory_is_bounded_by_what_lives() -> None:
    """Series and aggregates that come and go leave nothing behind, also in the memory of decisions."""
    lab = Lab(outputs=["total"])
    for generation in range(30):
        lab.run(*(Number(series("m", g=str(generation), i=str(i)), lab.now_ns, 1) for i in range(100)))
        lab.after(30)
        (view,) = lab.processor._views.values()
        (state,) = view.states
        assert len(state.inputs.slots) == len(state.groups.slots) == 0
        assert len(state.inputs.slots.ids) <= 1024
    assert lab.counters.instruments["headrace_stream_aggregate_series"].read is not None


def test_a_freed_series_takes_its_aggregate_along() -> None:
    """Ids are reused for others; nothing of them is left."""
    clock_s = 0.0
    lab = Lab(outputs=["total"], without=["i"], staleness_interval="1h")
    lab.table = SeriesTable(clock_s=lambda: clock_s)
    lab.add(i="1", value=5)
    clock_s = 1000.0
    for _ in range(3):
        lab.table.collect(10)
    lab.run(*(Number(series(f"n{i}", i="1"), BEGUN, 1) for i in range(5)))
    assert set(lab.after(10)) == {f"n{i}:10s_without_i_total" for i in range(5)}


def test_settings_that_are_no_part_of_the_state_may_change() -> None:
    """A total goes on growing from where it was."""
    rule = {"interval": "10s", "outputs": ["total"], "match": "m"}
    lab = Lab({"rules": [rule]})
    lab.add(value=5)
    lab.add(at=1, value=9)
    changed = {
        "staleness_interval": "1h", "ignore_first_sample_interval": "1m", "ignore_old_samples": True,
        "ignore_first_intervals": 0, "flush_on_shutdown": True, "max_quantile_samples": 5000,
    }  # fmt: skip
    again = Lab({"rules": [{**rule, **changed}]}, now_ns=lab.now_ns)
    again.processor.restore(lab.processor.snapshot())
    again.add(at=2, value=10)
    assert again.after(10) == {"m:10s_total": 5}
