"""Reading OTLP metrics requests: the decoder, and protobuf's classes with a Python loop over the points.

Both turn the same bytes, 10,000 number points with six string attributes in 20 metrics, into streams with time and
value: the decoder into a batch of known series, the loop into (name, attributes, time, value) tuples, which is less
than a batch holds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from headrace.pipeline.batch import BatchContext
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.otlp import OtlpDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

METRICS = 20
POINTS = 500
NOW = 1_700_000_000_000_000_000


def run() -> list[dict[str, object]]:
    """Return samples a second, and how many times as many the decoder reads."""
    return [measure("numbers", numbers()), measure("explicit_histograms", histograms())]


def measure(name: str, data: bytes) -> dict[str, object]:
    table = SeriesTable()
    decoder = OtlpDecoder(table)
    began = time.process_time()
    decoded = decoder.decode(data, BatchContext())
    first_s = time.process_time() - began
    decoder.confirm(decoded)
    points = decoded.points
    fresh = OtlpDecoder(SeriesTable())
    began = time.process_time()
    fresh.decode(data, BatchContext())
    new_s = time.process_time() - began
    ours_s = cpu_s(lambda: decoder.decode(data, BatchContext()), 50)
    plain_s = cpu_s(lambda: plain(data), 5)
    return {
        "request": name,
        "points": points,
        "bytes": len(data),
        "decoder_samples_per_s": points / ours_s,
        "protobuf_and_loop_samples_per_s": points / plain_s,
        "times_faster": plain_s / ours_s,
        "first_sight_us_per_series": new_s / points * 1e6,
        "first_call_s": first_s,
    }


def cpu_s(work: Callable[[], object], times: int) -> float:
    """Return the least CPU time that one call takes."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def plain(data: bytes) -> list[tuple[object, ...]]:
    """Read a request the way one would without kernels."""
    out: list[tuple[object, ...]] = []
    for resource in ExportMetricsServiceRequest.FromString(data).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                which = metric.WhichOneof("data")
                for point in getattr(metric, which).data_points if which else ():
                    attributes = {one.key: one.value.string_value for one in point.attributes}
                    if which == "histogram":
                        buckets = (list(point.bucket_counts), list(point.explicit_bounds))
                        out.append((metric.name, attributes, point.time_unix_nano, point.count, point.sum, buckets))
                    else:
                        value = point.as_double if point.HasField("as_double") else point.as_int
                        out.append((metric.name, attributes, point.time_unix_nano, value))
    return out


def numbers() -> bytes:
    """Make the request of sums."""
    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = resource.scope_metrics.add()
    scope.scope.name = "lib"
    for m in range(METRICS):
        metric = scope.metrics.add(name=f"http.server.requests.{m}", unit="{request}")
        metric.sum.aggregation_temporality = 2  # type: ignore[assignment]  # the enumeration is an integer
        metric.sum.is_monotonic = True
        for i in range(POINTS):
            point = metric.sum.data_points.add(
                time_unix_nano=NOW, start_time_unix_nano=NOW - 10**12, as_double=i * 1.25
            )
            label(point.attributes, i)
    return message.SerializeToString()


def histograms() -> bytes:
    """Make the request of histograms with 15 buckets."""
    message = ExportMetricsServiceRequest()
    scope = message.resource_metrics.add().scope_metrics.add()
    for m in range(METRICS):
        metric = scope.metrics.add(name=f"http.server.duration.{m}", unit="s")
        metric.histogram.aggregation_temporality = 2  # type: ignore[assignment]  # the enumeration is an integer
        for i in range(POINTS // 5):
            point = metric.histogram.data_points.add(time_unix_nano=NOW, count=15 * i, sum=i * 1.5)
            point.bucket_counts.extend([i] * 15)
            point.explicit_bounds.extend(float(b) for b in range(14))
            label(point.attributes, i)
    return message.SerializeToString()


def label(attributes: object, i: int) -> None:
    for key, value in (
        ("http.request.method", ("GET", "POST")[i % 2]),
        ("http.response.status_code", str(200 + i % 7)),
        ("http.route", f"/api/v1/things/{i % 50}"),
        ("server.address", f"host-{i}.example.com"),
        ("server.port", "8080"),
        ("url.scheme", "https"),
    ):
        attributes.add(key=key).value.string_value = value  # type: ignore[attr-defined]  # a repeated field
