"""Batches as OTLP requests, compared with what protobuf's classes read out of them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    Metric,
)

import otlp_model as model
from headrace.pipeline.batch import BatchContext, Metadata, MetricBatch
from headrace.pipeline.identity import Kind, MetricType, Resource, Scope, Series, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.pipeline.wire.otlp_encode import OtlpEncoder
from headrace.testing.batches import make_batch


def encode(*batches: MetricBatch, encoder: OtlpEncoder | None = None) -> ExportMetricsServiceRequest:
    data = (encoder or OtlpEncoder()).encode(batches)
    return ExportMetricsServiceRequest.FromString(bytes(data))


def decode(message: ExportMetricsServiceRequest, table: SeriesTable) -> MetricBatch:
    return OtlpDecoder(table).decode(message.SerializeToString(), BatchContext()).batch


def shown(read: model.Read) -> list[str]:
    """Return the points as texts, since NaN is not equal to itself, in an order that does not matter.

    Of a histogram without a recorded value only identity and times mean anything.
    """
    return sorted(repr(row) for row in [*read.numbers, *(row[:5] if row[3] else row for row in read.histograms)])


def header(metric: Metric) -> tuple[Any, ...]:
    """Return what tells one metric of a scope from others."""
    which = metric.WhichOneof("data") or ""
    data = getattr(metric, which)
    temporality = getattr(data, "aggregation_temporality", 0)
    return metric.name, metric.unit, which, temporality, getattr(data, "is_monotonic", False)


def exemplars(message: ExportMetricsServiceRequest) -> list[tuple[Any, ...]]:
    """Return the exemplars of points that can be taken, with their attributes as text."""
    out = []
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                which = metric.WhichOneof("data") or ""
                for point in getattr(metric, which).data_points if which else ():
                    for one in getattr(point, "exemplars", ()):
                        labels = sorted((pair.key, pair.value.string_value) for pair in one.filtered_attributes)
                        ids = (one.trace_id, one.span_id)
                        out.append((metric.name, which, one.time_unix_nano, one.as_double, *ids, labels))
    return sorted(out)


def test_random_requests_survive() -> None:
    """What was decoded is encoded to the same points, whatever they are; one encoder takes all of them."""
    rng = random.Random(6)
    table, encoder = SeriesTable(), OtlpEncoder()
    points = 0
    for _ in range(1500):
        message = model.make(rng)
        expected = model.read(message)
        got = model.read(encode(decode(message, table), encoder=encoder))
        assert shown(got) == shown(expected)
        assert got.rejected == 0
        points += len(expected.numbers) + len(expected.histograms)
    assert points > 2000


def test_batches_are_joined() -> None:
    """Points of one metric come together, in order, from whichever batch they are."""
    rng = random.Random(7)
    table = SeriesTable()
    messages = [model.make(rng) for _ in range(40)]
    read = [model.read(message) for message in messages]
    message = encode(*(decode(message, table) for message in messages))
    assert shown(model.read(message)) == sorted(text for one in read for text in shown(one))
    metrics = [
        (str(resource.resource), resource.schema_url, str(scope.scope), scope.schema_url, *header(metric))
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    assert len(metrics) == len(set(metrics))


def test_the_shape_of_a_request() -> None:
    """Resources and scopes are there once, with their schemas; a metric has its unit and what its points cover."""
    kind = Kind(MetricType.COUNTER, Temporality.DELTA)
    resource = Resource((("service.name", "shop"), ("n", 7), ("ok", True), ("xs", ["a", 1.5])), "https://r")
    scopes = [Scope("a", "1", (("k", "v"),), "https://s"), Scope("b")]
    series = [
        Series.of(__name__="sold", colour=colour)
        .__class__(Series.of(__name__="sold", colour=colour).labels, form=1, kind=kind, unit="1",  # type: ignore[arg-type]
                   resource=resource, scope=scope)
        for scope in scopes for colour in ("red", "blue")
    ]  # fmt: skip
    message = encode(make_batch(series, time_ns=[1, 2, 3, 4], value=[1.0, 2.0, 3.0, 4.0]))
    (one,) = message.resource_metrics
    assert one.schema_url == "https://r"
    assert [pair.key for pair in one.resource.attributes] == ["service.name", "n", "ok", "xs"]
    assert [scope.scope.name for scope in one.scope_metrics] == ["a", "b"]
    assert one.scope_metrics[0].schema_url == "https://s"
    for scope in one.scope_metrics:
        (metric,) = scope.metrics
        assert (metric.name, metric.unit) == ("sold", "1")
        assert metric.sum.is_monotonic
        assert metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
    points = [p for scope in one.scope_metrics for p in scope.metrics[0].sum.data_points]
    assert [(p.attributes[0].value.string_value, p.time_unix_nano, p.as_double) for p in points] == [
        ("red", 1, 1.0),
        ("blue", 2, 2.0),
        ("red", 3, 3.0),
        ("blue", 4, 4.0),
    ]


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**53 + 1, 0, -1])
def test_integers_stay_exact(value: int) -> None:
    """They travel as 64 bits."""
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="n")
    metric.gauge.data_points.add(time_unix_nano=1, as_int=value).attributes.add(key="k").value.int_value = value
    (point,) = encode(decode(message, SeriesTable())).resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    assert point.as_int == value
    assert point.attributes[0].value.int_value == value


def test_an_integer_that_became_a_fraction_is_one() -> None:
    """A processor that scales values need not know what they were on the wire."""
    batch = make_batch(["n"], value=[0.5]).with_columns(flags=np.array([1], np.uint8))
    metric = encode(batch).resource_metrics[0].scope_metrics[0].metrics[0]
    assert metric.gauge.data_points[0].as_double == 0.5


def test_descriptions_come_when_they_are_known() -> None:
    """One that a source gives later, or changes, is in the next request."""
    batch, encoder = make_batch(["n"]), OtlpEncoder()
    told = []
    for text in ("", "How many.", "How much."):
        if text:
            batch.table.families.note([Metadata("n", MetricType.GAUGE, text)])
        told.append(encode(batch, encoder=encoder).resource_metrics[0].scope_metrics[0].metrics[0].description)
    assert told == ["", "How many.", "How much."]


def test_exemplars_go_to_their_points() -> None:
    """Each goes to the first point of its series that is not before it; ids are bytes again, attributes are text."""
    message = ExportMetricsServiceRequest()
    scope = message.resource_metrics.add().scope_metrics.add()
    points = scope.metrics.add(name="n").gauge.data_points
    for time in (10, 20):
        point = points.add(time_unix_nano=time, as_double=1)
        one = point.exemplars.add(time_unix_nano=time - 1, as_double=time, trace_id=b"t" * 16, span_id=b"s" * 8)
        one.filtered_attributes.add(key="user").value.string_value = "ann"
        point.exemplars.add(time_unix_nano=time - 2, as_double=0.5)
    histogram = scope.metrics.add(name="h").histogram
    histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    histogram.data_points.add(time_unix_nano=5, count=1).exemplars.add(as_double=3, time_unix_nano=4)
    exponential = scope.metrics.add(name="e").exponential_histogram
    exponential.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    exponential.data_points.add(time_unix_nano=5, count=1).exemplars.add(as_double=4)
    got = encode(decode(message, SeriesTable()))
    assert exemplars(got) == exemplars(message)
    assert [len(p.exemplars) for p in got.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points] == [2, 2]


def test_freed_series_are_encoded_again() -> None:
    """An id that means another series does not keep the old attributes."""
    now = 0.0
    table, encoder = SeriesTable(clock_s=lambda: now), OtlpEncoder()
    for name in ("a", "b", "c"):
        batch = make_batch([{"__name__": name, "k": name}], table=table)
        metric = encode(batch, encoder=encoder).resource_metrics[0].scope_metrics[0].metrics[0]
        assert (metric.name, metric.gauge.data_points[0].attributes[0].value.string_value) == (name, name)
        del batch
        now += 100
        for _ in range(3):
            table.collect(10)
