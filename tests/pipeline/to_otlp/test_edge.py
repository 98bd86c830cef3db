"""Prometheus samples as OTLP points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from headrace.pipeline.batch import STALE_BITS, BatchContext, Flag, Metadata, MetricBatch
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import MetricType
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.series import SeriesLimits, SeriesTable
from headrace.pipeline.to_otlp import Converted, OtlpEdge
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.pipeline.wire.otlp_encode import OtlpEncoder
from headrace.testing.batches import make_batch, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

MS = 1_000_000


def edge() -> OtlpEdge:
    return OtlpEdge(Drops(Counters(), "exporters.otlp"))


def converted(
    samples: Mapping[str, float], types: Mapping[str, MetricType] | None = None, table: SeriesTable | None = None
) -> Converted:
    """Convert samples given as ``name{label=value,...}`` and value, all at one time."""
    table = SeriesTable() if table is None else table
    table.families.note([Metadata(family, type_) for family, type_ in (types or {}).items()])
    series = []
    for text in samples:
        name, _, rest = text.partition("{")
        pairs = [pair.partition("=") for pair in rest.rstrip("}").split(",") if pair]
        series.append({"__name__": name, **{key: value for key, _, value in pairs}})
    return edge().convert(make_batch(series, table=table, time_ns=5 * MS, value=list(samples.values())))


def metrics(batch: MetricBatch) -> dict[str, Any]:
    """Return the metrics of a batch as encoded, by name; there is one resource and one scope."""
    message = ExportMetricsServiceRequest.FromString(bytes(OtlpEncoder().encode([batch])))
    (resource,) = message.resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def test_types() -> None:
    """Counters are monotonic sums, info and stateset sums that are not, everything else gauges; names stay."""
    types = {
        "a_total": MetricType.COUNTER, "b": MetricType.COUNTER, "c": MetricType.GAUGE, "d": MetricType.INFO,
        "e": MetricType.STATESET, "f": MetricType.UNKNOWN,
    }  # fmt: skip
    samples = {"a_total": 1.0, "b_total": 2.0, "c": 3.0, "d_info": 1.0, "e": 0.0, "f": 4.0, "g": 5.0}
    found = metrics(converted(samples, types).batch)
    assert list(found) == list(samples)
    for name in ("a_total", "b_total"):
        assert found[name].sum.is_monotonic
        assert found[name].sum.aggregation_temporality == 2
    for name in ("d_info", "e"):
        assert not found[name].sum.is_monotonic
        assert found[name].sum.aggregation_temporality == 2
    assert [found[name].WhichOneof("data") for name in "cfg"] == ["gauge"] * 3
    assert found["g"].gauge.data_points[0].as_double == 5.0


def test_a_type_that_comes_later() -> None:
    """A series whose family becomes known is decided about again."""
    table, one = SeriesTable(), edge()
    batch = make_batch(["a_total"], table=table)
    assert metrics(one.convert(batch).batch)["a_total"].WhichOneof("data") == "gauge"
    table.families.note([Metadata("a", MetricType.COUNTER)])
    assert metrics(one.convert(batch).batch)["a_total"].WhichOneof("data") == "sum"


def test_target_and_scope() -> None:
    """Labels of the target become the resource, labels of the scope become the scope."""
    labels = {
        "__name__": "a", "job": "shop", "instance": "h:1", "otel_scope_name": "lib", "otel_scope_version": "2",
        "otel_scope_k": "v", "zone": "eu",
    }  # fmt: skip
    batch = edge().convert(make_batch([labels])).batch
    message = ExportMetricsServiceRequest.FromString(bytes(OtlpEncoder().encode([batch])))
    (resource,) = message.resource_metrics
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes == {"service.name": "shop", "service.instance.id": "h:1"}
    scope = resource.scope_metrics[0].scope
    assert (scope.name, scope.version, scope.attributes[0].key) == ("lib", "2", "k")
    (point,) = resource.scope_metrics[0].metrics[0].gauge.data_points
    assert [one.key for one in point.attributes] == ["zone"]


@pytest.mark.parametrize("known", [True, False])
def test_classic_histograms(known: bool) -> None:
    """Samples of one time become one point, with counts that are not cumulative; buckets alone tell it is one."""
    samples = {
        "h_bucket{le=1,k=v}": 2.0, "h_bucket{le=5,k=v}": 5.0, "h_bucket{le=+Inf,k=v}": 6.0, "h_sum{k=v}": 12.5,
        "h_count{k=v}": 6.0,
    }  # fmt: skip
    found = metrics(converted(samples, {"h": MetricType.HISTOGRAM} if known else {}).batch)
    assert list(found) == ["h"]
    assert found["h"].histogram.aggregation_temporality == 2
    (point,) = found["h"].histogram.data_points
    assert list(point.explicit_bounds) == [1.0, 5.0]
    assert list(point.bucket_counts) == [2, 3, 1]
    assert (point.count, point.sum, point.time_unix_nano) == (6, 12.5, 5 * MS)
    assert [(one.key, one.value.string_value) for one in point.attributes] == [("k", "v")]


def test_histograms_with_missing_parts() -> None:
    """A count stands for the last bucket, the last bucket for the count; with neither there is no point."""
    whole = metrics(converted({"h_bucket{le=1}": 2.0, "h_count": 3.0}).batch)["h"].histogram.data_points[0]
    assert (list(whole.bucket_counts), whole.count, whole.HasField("sum")) == ([2, 1], 3, False)
    whole = metrics(converted({"h_bucket{le=1}": 2.0, "h_bucket{le=+Inf}": 3.0}).batch)["h"].histogram.data_points[0]
    assert (list(whole.bucket_counts), whole.count) == ([2, 1], 3)
    lost = converted({"h_bucket{le=1}": 2.0})
    assert lost.rejected == {"histogram_without_count": 1}
    assert len(lost.batch) == 0


def test_summaries() -> None:
    """Quantiles, sum and count of one time become one point."""
    samples = {"s{quantile=0.5}": 1.0, "s{quantile=0.9}": 2.0, "s_sum": 9.0, "s_count": 4.0}
    (point,) = metrics(converted(samples, {"s": MetricType.SUMMARY}).batch)["s"].summary.data_points
    assert [(one.quantile, one.value) for one in point.quantile_values] == [(0.5, 1.0), (0.9, 2.0)]
    assert (point.count, point.sum) == (4, 9.0)


def test_several_times() -> None:
    """Each time of each histogram is a point of its own, whatever the order of the rows."""
    table = SeriesTable()
    labels = [{"__name__": "h_bucket", "le": le, "k": k} for k in "ab" for le in ("1", "+Inf")]
    rng = np.random.default_rng(1)
    picks = rng.permutation(20)
    ids = make_batch(labels, table=table).series
    times = 1 + picks // 4
    values = ((picks % 4 % 2 + 1) * times).astype(np.float64)
    batch = MetricBatch.of(table, ids[picks % 4], times.astype(np.int64), values)
    points = metrics(edge().convert(batch).batch)["h"].histogram.data_points
    got = sorted((p.attributes[0].value.string_value, p.time_unix_nano, *p.bucket_counts) for p in points)
    assert got == [(k, time, time, time) for k in "ab" for time in range(1, 6)]


def test_stale_markers() -> None:
    """A marker of one part ends the whole histogram."""
    batch = make_batch([{"__name__": "h_bucket", "le": "+Inf"}, "h_sum", "g"])
    batch.value.view(np.uint64)[:] = STALE_BITS
    batch = batch.with_columns(flags=np.full(3, Flag.STALE, np.uint8))
    found = metrics(edge().convert(batch).batch)
    assert found["h"].histogram.data_points[0].flags == 1
    assert found["g"].gauge.data_points[0].flags == 1


def test_native_histograms_return() -> None:
    """Exponential histograms that became native ones are the same again."""
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="e").exponential_histogram
    metric.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    point = metric.data_points.add(time_unix_nano=5 * MS, count=12, sum=7.5, scale=3, zero_count=1, zero_threshold=0.25)
    point.positive.offset = -2
    point.positive.bucket_counts.extend([1, 0, 0, 0, 2, 3])
    point.negative.offset = 4
    point.negative.bucket_counts.extend([5])
    table = SeriesTable()
    batch = OtlpDecoder(table).decode(message.SerializeToString(), BatchContext()).batch
    native = PrometheusEdge(Drops(Counters(), "edge")).flatten(batch).batch
    assert native.native is not None
    (got,) = metrics(edge().convert(native).batch)["e"].exponential_histogram.data_points
    assert got == point


def test_otlp_passes() -> None:
    """What came by OTLP is the same batch."""
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="a_total")
    metric.gauge.data_points.add(time_unix_nano=1, as_double=math.pi)
    batch = OtlpDecoder(SeriesTable()).decode(message.SerializeToString(), BatchContext()).batch
    assert edge().convert(batch).batch is batch


def test_a_full_table() -> None:
    """Points whose series find no room are rejected, and the others pass."""
    table = SeriesTable(SeriesLimits(max_series=3))
    found = converted({"a": 1.0, "b": 2.0}, table=table)
    assert found.rejected == {"series_limit": 1}
    assert [name for name, _, _ in rows(found.batch)] == ["a"]


def test_freed_series() -> None:
    """An id that means another series is decided about anew."""
    now = 0.0
    table, one = SeriesTable(clock_s=lambda: now), edge()
    for name in ("a", "h_count", "c"):
        batch = make_batch([name], table=table)
        out = one.convert(batch).batch
        assert list(metrics(out)) == [name]
        del batch, out
        now += 100
        for _ in range(3):
            table.collect(10)
