"""A small OTLP request with a point of every kind, for warming up."""

from __future__ import annotations

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE


def sample_request() -> bytes:
    """Return an ExportMetricsServiceRequest that every kernel has something to do with."""
    message = ExportMetricsServiceRequest()
    scope = message.resource_metrics.add().scope_metrics.add()
    point = scope.metrics.add(name="a").gauge.data_points.add(time_unix_nano=1, as_int=1)
    point.attributes.add(key="k").value.string_value = "v"
    exemplar = point.exemplars.add(time_unix_nano=1, as_double=1, span_id=b"12345678", trace_id=b"1234567812345678")
    exemplar.filtered_attributes.add(key="k").value.int_value = 1
    point = scope.metrics.add(name="b").gauge.data_points.add(time_unix_nano=1, as_double=1)
    point.attributes.add(key="k").value.int_value = 1
    histogram = scope.metrics.add(name="c").histogram
    histogram.aggregation_temporality = CUMULATIVE
    buckets = histogram.data_points.add(time_unix_nano=1, count=2, sum=1, bucket_counts=[1, 1], explicit_bounds=[1])
    buckets.exemplars.add(time_unix_nano=1, as_double=1)
    exponential = scope.metrics.add(name="d").exponential_histogram
    exponential.aggregation_temporality = CUMULATIVE
    exponential.data_points.add(time_unix_nano=1, count=1).positive.bucket_counts.append(1)
    summary = scope.metrics.add(name="e").summary
    summary.data_points.add(time_unix_nano=1, count=1, sum=1).quantile_values.add(quantile=0.5, value=1)
    # A part that is known again when it comes once more: it has nothing but numbers.
    plain = message.resource_metrics.add().scope_metrics.add().metrics.add(name="f")
    plain.gauge.data_points.add(time_unix_nano=1, as_double=1)
    return message.SerializeToString()
