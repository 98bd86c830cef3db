"""Stream processors between OpenTelemetry's wire format and Prometheus' series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA

from headrace.pipeline.batch import BatchContext
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.processors import cumulativetodelta, deltatocumulative
from headrace.testing.batches import make_settings, rows

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

MS = 1_000_000


def request(time_ms: int, value: int) -> bytes:
    """Return one export of a sum, an explicit and an exponential histogram, all deltas."""
    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    metrics = resource.scope_metrics.add().metrics
    total = metrics.add(name="orders")
    total.sum.is_monotonic = True
    explicit, exponential = metrics.add(name="latency"), metrics.add(name="size")
    points: list[Any] = []
    for data in (total.sum, explicit.histogram, exponential.exponential_histogram):
        data.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
        points.append(data.data_points.add(time_unix_nano=time_ms * MS, start_time_unix_nano=(time_ms - 10) * MS))
    points[0].as_int = value
    points[1].count, points[1].sum = 3 * value, 5.0 * value
    points[1].explicit_bounds.extend([1, 2])
    points[1].bucket_counts.extend([value] * 3)
    points[2].count, points[2].sum, points[2].scale = 2 * value, 1.0, 1
    points[2].positive.offset = 3
    points[2].positive.bucket_counts.extend([value, value])
    return message.SerializeToString()


def flat(batch: MetricBatch) -> dict[str, float]:
    """Return the floats as Prometheus has them, and sums of buckets of native histograms."""
    out = PrometheusEdge(Drops(Counters(), "test")).flatten(batch).batch
    found = {name: value for name, _, value in rows(out) if not name.startswith("target_info")}
    if out.native is not None:
        assert len(out.native) == 1
        found["native"] = float(out.native.buckets.sum())
    return found


def test_deltas_come_out_as_counters() -> None:
    """Sums, classic histograms and native ones, of three exports."""
    table = SeriesTable()
    decoder = OtlpDecoder(table)
    settings = make_settings("deltatocumulative")
    processor = deltatocumulative.DeltaToCumulative(settings, deltatocumulative.DeltaToCumulativeConfig())
    out = [
        processor.process(decoder.decode(request(time, value), BatchContext()).batch)
        for time, value in ((100, 1), (110, 2), (120, 4))
    ]
    assert flat(out[-1]) == {
        'orders_total{job="shop"}': 7,
        'latency_bucket{job="shop", le="1.0"}': 7,
        'latency_bucket{job="shop", le="2.0"}': 14,
        'latency_bucket{job="shop", le="+Inf"}': 21,
        'latency_count{job="shop"}': 21,
        'latency_sum{job="shop"}': 35,
        "native": 14,
    }
    assert out[-1].start_ns.tolist() == [90 * MS]


def test_there_and_back() -> None:
    """Taken apart again, sums of deltas are the deltas."""
    table = SeriesTable()
    decoder = OtlpDecoder(table)
    there = deltatocumulative.DeltaToCumulative(
        make_settings("deltatocumulative"), deltatocumulative.DeltaToCumulativeConfig()
    )
    config = cumulativetodelta.CumulativeToDeltaConfig(initial_value=cumulativetodelta.InitialValue.KEEP)
    back = cumulativetodelta.CumulativeToDelta(make_settings("cumulativetodelta"), config)
    for time, value in ((100, 1), (110, 2), (120, 4)):
        given = decoder.decode(request(time, value), BatchContext()).batch
        found = back.process(there.process(given))
        assert found.histograms is not None
        assert given.histograms is not None
        assert found.series.tolist() == given.series.tolist()
        assert found.value.tolist() == given.value.tolist()
        assert found.flags.tolist() == given.flags.tolist()
        for name in ("series", "count", "sum", "counts", "bounds", "starts", "scale", "positive_offset"):
            assert getattr(found.histograms, name).tolist() == getattr(given.histograms, name).tolist(), name
