"""Every action and operation by hand, aggregation against a plain model."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.pipeline.identity import METRIC_NAME, MetricType, Series, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.processors.metricstransform import FACTORY
from headrace.processors.metricstransform.config import MetricsTransformConfig
from headrace.processors.metricstransform.processor import MetricsTransform
from headrace.testing.batches import make_batch, make_settings, with_native
from stream_points import Histogram, Number, Side, batch_of, histograms_of, numbers_of, otlp

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.batch import MetricBatch

TIME = 1_700_000_000_000_000_000
GAUGE = (MetricType.GAUGE, Temporality.UNSPECIFIED)


class Lab:
    """A processor of some transforms."""

    def __init__(self, *transforms: dict[str, Any]) -> None:
        config = MetricsTransformConfig(transforms=transforms)
        self.processor = MetricsTransform(make_settings("metricstransform"), config)
        self.table = SeriesTable()

    def run(self, *points: Number | Histogram) -> MetricBatch:
        return self.processor.process(batch_of(self.table, points))

    def values(self, *points: Number) -> list[tuple[str, float]]:
        return [(str(one.series), one.value) for one in numbers_of(self.run(*points))]

    def drops(self) -> dict[str, int]:
        return self.processor._drops.by_reason()


def point(name: str, value: float = 1.0, time: int = TIME, **labels: str) -> Number:
    return Number(otlp(name, *GAUGE).set(labels), time, value)


def update(*operations: dict[str, Any], include: str = "m", **more: Any) -> dict[str, Any]:
    return {"include": include, "action": "update", "operations": operations, **more}


def test_names() -> None:
    """They are the Collector's."""
    assert (FACTORY.name, FACTORY.aliases) == ("metricstransform", ("metrics_transform",))


def test_renaming() -> None:
    """By the whole name, or by a pattern whose groups the new name may use; the rest is the same batch."""
    lab = Lab({"include": "a.b", "action": "update", "new_name": "c"})
    assert lab.values(point("a.b", x="1"), point("a.bc"), point("d")) == [('c{x="1"}', 1), ("a.bc", 1), ("d", 1)]
    batch = batch_of(lab.table, [point("d")])
    assert lab.processor.process(batch) is batch
    pattern = {"include": "^system\\.(\\w+)\\.(?P<rest>.*)$", "match_type": "regexp", "action": "update"}
    lab = Lab({**pattern, "new_name": "$1/${rest}"})
    assert lab.values(point("system.cpu.time"), point("my.system.cpu.time")) == [
        ("cpu/time", 1),
        ("my.system.cpu.time", 1),
    ]


def test_a_pattern_is_looked_for_anywhere() -> None:
    """As in the Collector."""
    lab = Lab({"include": "cpu", "match_type": "regexp", "action": "update", "new_name": "c"})
    assert lab.values(point("system.cpu.time")) == [("c", 1)]


def test_labels_that_have_to_match() -> None:
    """All of them, whole or as patterns; an absent label has the empty value."""
    lab = Lab(update(include="m", new_name="n", experimental_match_labels={"x": "1", "y": ""}))
    assert [name for name, _ in lab.values(point("m", x="1"), point("m", x="2"), point("m", x="1", y="z"))] == [
        'n{x="1"}', 'm{x="2"}', 'm{x="1", y="z"}',
    ]  # fmt: skip
    lab = Lab(update(include="m", match_type="regexp", new_name="n", experimental_match_labels={"x": "^1"}))
    assert [name for name, _ in lab.values(point("m", x="12"), point("m", x="21"))] == ['n{x="12"}', 'm{x="21"}']


def test_insert() -> None:
    """A changed copy beside the metric; later transforms see it."""
    lab = Lab(
        {
            "include": "m",
            "action": "insert",
            "new_name": "n",
            "operations": [{"action": "add_label", "new_label": "x", "new_value": "1"}],
        },
        {"include": "n", "action": "update", "new_name": "o"},
    )
    assert lab.values(point("m", 3), point("z", 4)) == [("m", 3), ("z", 4), ('o{x="1"}', 3)]


def test_combine() -> None:
    """One metric with a label for each group of the pattern; points that become the same are put together."""
    combine = {
        "include": "^disk\\.(?P<way>.*)\\.(.)$", "match_type": "regexp", "action": "combine", "new_name": "disk",
        "submatch_case": "upper",
    }  # fmt: skip
    lab = Lab(combine)
    assert lab.values(point("disk.read.a", 1, d="x"), point("disk.write.b", 2, d="x"), point("z")) == [
        ("z", 1), ('disk{$2="A", d="x", way="READ"}', 1), ('disk{$2="B", d="x", way="WRITE"}', 2),
    ]  # fmt: skip
    merged = {
        "include": "^[ab]$",
        "match_type": "regexp",
        "action": "combine",
        "new_name": "c",
        "aggregation_type": "max",
    }
    assert Lab(merged).values(point("a", 1), point("b", 2)) == [("c", 2)]


def test_group() -> None:
    """More attributes of the resource, or labels where there is no resource."""
    lab = Lab({"include": "m", "action": "group", "group_resource_labels": {"k": "v"}})
    found = numbers_of(lab.run(Number(otlp("m", resource={"host": "h"}), 1, 1), Number(Series.of(__name__="m"), 1, 2)))
    assert found[0].series.resource is not None
    assert found[0].series.resource.attributes == (("host", "h"), ("k", "v"))
    assert str(found[1].series) == 'm{k="v"}'


def test_label_operations() -> None:
    """Set, renamed, values renamed, and points dropped by value."""
    lab = Lab(
        update(
            {"action": "add_label", "new_label": "new", "new_value": "1"},
            {"action": "update_label", "label": "a", "new_label": "b"},
            {"action": "update_label", "label": "b", "value_actions": [{"value": "x", "new_value": "y"}]},
            {"action": "delete_label_value", "label": "b", "label_value": "gone"},
        )
    )
    assert lab.values(point("m", a="x"), point("m", a="z"), point("m", a="gone"), point("m")) == [
        ('m{b="y", new="1"}', 1), ('m{b="z", new="1"}', 1), ('m{new="1"}', 1),
    ]  # fmt: skip
    assert lab.drops() == {"delete_label_value": 1}


def test_scaling_and_types() -> None:
    """Integers stay integers, cut off; a toggle makes them floats, and floats integers."""
    lab = Lab(update({"action": "experimental_scale_value", "experimental_scale": 0.5}))
    found = numbers_of(lab.run(replace(point("m", 5), integer=True), point("m", 5), replace(point("m"), stale=True)))
    assert [(one.value, one.integer, one.stale) for one in found] == [
        (2, True, False),
        (2.5, False, False),
        (0, False, True),
    ]
    lab = Lab(update({"action": "toggle_scalar_data_type"}))
    found = numbers_of(lab.run(replace(point("m", 5), integer=True), point("m", -5.7), point("m", math.inf)))
    assert [(one.value, one.integer) for one in found] == [(5, False), (-5, True), (math.inf, False)]


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("sum", 12), ("mean", 4), ("average", 4), ("min", 1), ("max", 9), ("count", 3), ("median", 2)],
)
def test_aggregate_labels(aggregation: str, expected: float) -> None:
    """Points of the labels that are kept, of one time; the type is integer where the result is."""
    operation = {"action": "aggregate_labels", "label_set": ["keep"], "aggregation_type": aggregation}
    lab = Lab(update(operation))
    points = [
        replace(point("m", value, keep="a", drop=str(value), time=TIME), integer=True, start=10 - int(value))
        for value in (1, 9, 2)
    ]
    other = point("m", 7, keep="a", time=TIME + 1)
    found = numbers_of(lab.run(*points, other, point("z", 1)))
    assert [(str(one.series), one.time) for one in found] == [
        ("z", TIME),
        ('m{keep="a"}', TIME),
        ('m{keep="a"}', TIME + 1),
    ]
    assert (found[1].value, found[1].integer, found[1].start) == (expected, True, 1)
    assert found[2].value == (1 if aggregation == "count" else 7)


def test_aggregate_label_values() -> None:
    """Points of these values become points of the new one; the others stay."""
    operation = {
        "action": "aggregate_label_values", "label": "state", "aggregated_values": ["a", "b"], "new_value": "ab",
        "aggregation_type": "sum",
    }  # fmt: skip
    found = Lab(update(operation)).values(*(point("m", i + 1.0, state=state) for i, state in enumerate("abc")))
    assert sorted(found) == [('m{state="ab"}', 3), ('m{state="c"}', 3)]


def test_operations_behind_an_aggregation() -> None:
    """See what it has made, and may aggregate again: the largest of sums."""
    lab = Lab(
        update(
            {"action": "aggregate_labels", "label_set": ["a", "b"], "aggregation_type": "sum"},
            {"action": "update_label", "label": "a", "new_label": "c"},
            {"action": "aggregate_labels", "label_set": ["c"], "aggregation_type": "max"},
            {"action": "experimental_scale_value", "experimental_scale": 10},
        )
    )
    points = [point("m", value, a="1", b=b, i=i) for value, b, i in ((1, "x", "1"), (2, "x", "2"), (2.5, "y", "1"))]
    assert lab.values(*points) == [('m{c="1"}', 30)]


def test_stale_markers_among_the_aggregated() -> None:
    """They count where there is nothing else."""
    lab = Lab(update({"action": "aggregate_labels", "label_set": ["a"], "aggregation_type": "sum"}))
    points = [
        replace(point("m", a="1", i="1"), stale=True), point("m", 2, a="1", i="2"), point("m", 3, a="1", i="3"),
        replace(point("m", a="2", i="1"), stale=True), replace(point("m", a="2", i="2"), stale=True),
    ]  # fmt: skip
    found = numbers_of(lab.run(*points))
    assert [(one.series["a"], one.value, one.stale) for one in found] == [("1", 5, False), ("2", 0, True)]


def test_only_points_of_one_batch_are_aggregated() -> None:
    """Nothing is remembered."""
    lab = Lab(update({"action": "aggregate_labels", "aggregation_type": "sum"}))
    assert lab.values(point("m", 1, i="1")) == [("m", 1)]
    assert lab.values(point("m", 2, i="2")) == [("m", 2)]


def test_histograms_are_summed_and_scaled() -> None:
    """Explicit ones by their bounds, exponential ones at the coarser scale; the latter cannot be scaled."""
    explicit, exponential = (otlp("m", MetricType.HISTOGRAM, exponential=one, i="1") for one in (False, True))
    bounds = (1.0, math.inf)
    rows = [
        Histogram(explicit, 5, 3, 2.0, 2, 0.5, 7.0, bounds, (1, 2)),
        Histogram(replace(explicit, labels=(*explicit.labels, ("z", "1"))), 5, 2, 4.0, 1, 0.25, 3.0, bounds, (2, 0)),
        Histogram(replace(explicit, labels=(*explicit.labels, ("z", "2"))), 5, 1, 4.0, 1, bounds=(2.0,), counts=(1,)),
        Histogram(exponential, 5, 2, 1.0, scale=1, positive=Side(2, (1, 1))),
        Histogram(replace(exponential, labels=(*exponential.labels, ("z", "1"))), 5, 1, 1.0, positive=Side(1, (1,))),
    ]
    lab = Lab(update({"action": "aggregate_labels", "aggregation_type": "sum"}))
    one, two, three = sorted(
        histograms_of(lab.run(*rows)), key=lambda row: (row.series.kind.is_exponential, -row.count)
    )
    assert (one.count, one.sum, one.counts, one.start, one.minimum, one.maximum) == (5, 6.0, (3, 2), 1, 0.25, 7.0)
    assert (two.count, two.bounds, two.counts) == (1, (2.0,), (1,))
    assert (three.count, three.scale, three.buckets()[0]) == (3, 0, {1: 3})
    lab = Lab(update({"action": "experimental_scale_value", "experimental_scale": 10}))
    found = histograms_of(lab.run(*rows))
    assert [row.bounds for row in found] == [(10.0, math.inf), (10.0, math.inf), (20.0,)]
    assert (found[0].sum, found[0].minimum, found[0].counts) == (20.0, 5.0, (1, 2))
    assert lab.drops() == {"histogram_not_scaled": 2}


def test_native_histograms() -> None:
    """They are renamed, and dropped where they would have to be summed or scaled."""
    lab = Lab({"include": "h", "action": "update", "new_name": "g"})
    batch = with_native(make_batch([], table=lab.table), ["h", "i"])
    out = lab.processor.process(batch)
    assert out.native is not None
    assert sorted(str(lab.table.series(one)) for one in out.native.series.tolist()) == ["g", "i"]
    lab = Lab(update({"action": "aggregate_labels", "aggregation_type": "sum"}, include="h"))
    batch = with_native(make_batch([], table=lab.table), [{METRIC_NAME: "h", "i": i} for i in "12"])
    out = lab.processor.process(batch)
    assert out.native is not None
    assert (len(out.native), lab.drops()) == (1, {"native_histogram_not_aggregated": 1})
    lab = Lab(update({"action": "experimental_scale_value", "experimental_scale": 2}, include="h"))
    assert lab.processor.process(with_native(make_batch([], table=lab.table), ["h"])).native is None
    assert lab.drops() == {"histogram_not_scaled": 1}


def test_exact_integers_follow() -> None:
    """The column of exact integers says what the values do."""
    lab = Lab(update({"action": "aggregate_labels", "aggregation_type": "sum"}))
    batch = batch_of(lab.table, [replace(point("m", v, i=str(v)), integer=True) for v in (1.0, 2.0)])
    out = lab.processor.process(batch.with_columns(integers=np.array([1, 2])))
    assert out.integers is not None
    assert (out.value.tolist(), out.integers.tolist()) == ([3.0], [3])


def test_what_is_made_may_be_freed() -> None:
    """And is made again, also where only the last of several transforms leads to it."""
    clock_s = 0.0
    lab = Lab(
        {"include": "a", "action": "update", "new_name": "b"},
        {"include": "b", "action": "update", "new_name": "c", "operations": [
            {"action": "aggregate_labels", "label_set": ["x"], "aggregation_type": "sum"},
            {"action": "add_label", "new_label": "y", "new_value": "1"},
        ]},
    )  # fmt: skip
    lab.table = SeriesTable(clock_s=lambda: clock_s)
    expected = [('c{x="1", y="1"}', 1)]
    assert lab.values(point("a", x="1")) == expected
    for kept in (["a"], ["a", "b"], ["b"]):
        clock_s += 100
        ids = lab.table.intern([otlp(name, *GAUGE, x="1") for name in kept])
        lab.table.touch(ids)
        for _ in range(3):
            lab.table.collect(10)
        assert lab.values(point("a", x="1")) == expected
    assert lab.drops() == {}


@pytest.mark.parametrize(
    ("transform", "why"),
    [
        ({"action": "update"}, "include"),
        ({"include": "m", "action": "delete"}, "action"),
        ({"include": "m", "action": "insert"}, "new_name must be set for insert"),
        ({"include": "m", "action": "combine", "new_name": "n"}, "match_type must be regexp"),
        ({"include": "m", "action": "group"}, "group_resource_labels must be set"),
        ({"include": "(", "match_type": "regexp", "action": "update"}, "missing closing"),
        ({"include": "m", "action": "update", "aggregation_type": "sum"}, "mean nothing but for combine"),
        ({"include": "m", "action": "update", "group_resource_labels": {"a": "b"}}, "means nothing but for group"),
        (update({"action": "add_label", "new_label": "a"}), "new_value must be set for add_label"),
        (update({"action": "update_label", "new_label": "a"}), "label must be set for update_label"),
        (update({"action": "delete_label_value", "label": "a"}), "label_value must be set"),
        (update({"action": "experimental_scale_value"}), "experimental_scale must be set"),
        (update({"action": "aggregate_label_values", "label": "a"}), "aggregated_values must be set"),
        (update({"action": "aggregate_labels", "aggregation_type": "p99"}), "aggregation_type"),
        (update({"action": "add_label", "new_label": "a", "new_value": "b", "label": "c"}), "label means nothing"),
        (update({"action": "rename"}), "action"),
    ],
)
def test_wrong_settings_are_refused(transform: dict[str, Any], why: str) -> None:
    """Naming what is wrong."""
    with pytest.raises(ValidationError, match=why):
        MetricsTransformConfig(transforms=[transform])


points = st.builds(
    lambda a, b, time, value: point("m", float(value), time, a=a, b=b),
    st.sampled_from("xy"), st.sampled_from("123"), st.integers(1, 3), st.integers(-9, 9),
)  # fmt: skip
functions: dict[str, Callable[[list[float]], float]] = {
    "sum": sum, "mean": statistics.fmean, "min": min, "max": max, "count": len, "median": statistics.median,
}  # fmt: skip


@given(st.lists(points, max_size=20), st.sampled_from(sorted(functions)))
def test_aggregation_does_as_the_model(given_points: list[Number], aggregation: str) -> None:
    """Any points, any order, repeats."""
    lab = Lab(update({"action": "aggregate_labels", "label_set": ["a"], "aggregation_type": aggregation}))
    groups: dict[tuple[str, int], list[float]] = {}
    for one in given_points:
        groups.setdefault((one.series["a"], one.time), []).append(one.value)
    expected = {key: float(functions[aggregation](values)) for key, values in groups.items()}
    found = numbers_of(lab.run(*given_points))
    assert {(one.series["a"], one.time): pytest.approx(one.value) for one in found} == expected
    assert len(found) == len(expected)
