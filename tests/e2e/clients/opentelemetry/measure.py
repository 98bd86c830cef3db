"""Measure and export as an application does, with OpenTelemetry's SDK; measure.mjs does the same in JavaScript.

Usage: python measure.py grpc|protobuf URL cumulative|delta SERVICE
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions
    from opentelemetry.sdk.metrics.export import MetricExporter

DELTA: dict[type, AggregationTemporality] = dict.fromkeys(
    (Counter, Histogram, ObservableCounter), AggregationTemporality.DELTA
)
RESOURCE: dict[str, str | int | list[str]] = {
    "service.name": "",
    "service.namespace": "shop",
    "service.instance.id": "one",
    "deployment.environment.name": "test",
    "host.cpu.count": 8,
    "host.names": ["a", "b"],
}


def exporter_of(protocol: str, url: str, temporality: str) -> MetricExporter:
    preferred = DELTA if temporality == "delta" else {}
    if protocol == "grpc":
        return GrpcExporter(url, insecure=True, preferred_temporality=preferred)
    return HttpExporter(url, preferred_temporality=preferred)


def observe(value: Callable[[], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _options: [Observation(value(), {"zone": "a"}), Observation(-2 * value(), {"zone": "b"})]


def main(protocol: str, url: str, temporality: str, service: str) -> None:
    reader = PeriodicExportingMetricReader(exporter_of(protocol, url, temporality), 3_600_000)
    view = View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation(max_size=20))
    resource = Resource({**RESOURCE, "service.name": service})
    provider = MeterProvider([reader], resource, views=[view], shutdown_on_exit=False)
    meter = provider.get_meter("shop.web", "1.2", "https://example.com/schema")
    requests = meter.create_counter("http.requests", unit="{request}", description="Requests.")
    payload = meter.create_counter("payload", unit="By")
    jobs = meter.create_up_down_counter("jobs")
    ratio = meter.create_gauge("load", unit="1", description="How busy it is.")
    latency = meter.create_histogram("latency", unit="s", explicit_bucket_boundaries_advisory=[0.25, 0.5, 1, 5])
    size = meter.create_histogram("size", unit="By")
    seen = 0
    meter.create_observable_counter("cpu.time", [lambda _: [Observation(seen * 1.5, {"zone": "a"})]], unit="s")
    meter.create_observable_up_down_counter("queue.length", [observe(lambda: seen)])
    meter.create_observable_gauge("temperature", [observe(lambda: 20.5 + seen)], unit="Cel")
    for number in range(3):
        seen += 1
        for i in range(5):
            requests.add(2, {"http.request.method": "GET", "status": 200, "ok": True})
            payload.add(i + 0.5)
            jobs.add(3 if i % 2 else -1, {"kind": "mail"})
            latency.record(i * 0.25, {"http.request.method": "GET"})
            size.record(2**i)
        size.record(0)
        ratio.set(0.25 * (number + 1))
        assert provider.force_flush(20_000)
    provider.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
