"""The real OpenTelemetry SDK exports to the ``otlp`` receiver by both protocols."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from headrace.pipeline.batch import HistogramKind
from headrace.pipeline.host import Host
from headrace.pipeline.identity import MetricType, Temporality
from headrace.pipeline.otlp_names import canonical_float
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.receivers.otlp import FACTORY, OtlpConfig
from headrace.testing.batches import make_settings, rows
from headrace.testing.sinks import MemorySink
from http_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricExporter

    from headrace.receivers.otlp import OtlpReceiver

SCOPE = ("otel_scope_name", "otel_scope_version", "otel_scope_schema_url")

EXPORTERS: dict[str, Callable[..., MetricExporter]] = {
    "grpc": lambda ports, **more: GrpcExporter(f"127.0.0.1:{ports[0]}", insecure=True, **more),
    "grpc_gzip": lambda ports, **more: GrpcExporter(
        f"127.0.0.1:{ports[0]}", insecure=True, compression=grpc.Compression.Gzip, **more
    ),
    "http": lambda ports, **more: HttpExporter(f"http://127.0.0.1:{ports[1]}/v1/metrics", **more),
    "http_gzip": lambda ports, **more: HttpExporter(
        f"http://127.0.0.1:{ports[1]}/v1/metrics", compression=Compression.Gzip, **more
    ),
}


def measure(exporter: MetricExporter, also: PrometheusMetricReader | None = None) -> None:
    """Make some measurements and export them twice, as an application does."""
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    exponential = View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation())
    resource = Resource({"service.name": "shop", "service.instance.id": "1", "port": 80})
    provider = MeterProvider([reader, *([also] if also else [])], resource, views=[exponential], shutdown_on_exit=False)
    meter = provider.get_meter("lib", "1.2")
    requests = meter.create_counter("http.requests", unit="{request}", description="Requests.")
    running = meter.create_up_down_counter("jobs")
    latency = meter.create_histogram("latency", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1])
    size = meter.create_histogram("size", unit="By")
    meter.create_observable_gauge("load", callbacks=[lambda _: [_observed(0.25)]])
    for i in range(5):
        requests.add(2, {"method": "GET", "status": 200})
        running.add(-1)
        latency.record(0.05 * 10**i)
        if also is None:
            # The SDK's page cannot show this one.
            size.record(2.0**i)
    provider.force_flush()
    requests.add(1, {"method": "GET", "status": 200})
    # The page is read after the last export.
    (provider if also is None else reader).shutdown()


def _observed(value: float) -> Any:
    from opentelemetry.metrics import Observation

    return Observation(value, {"zone": "a"})


async def export(protocol: str, sink: MemorySink, *, also: PrometheusMetricReader | None = None, **more: Any) -> None:
    lab, host = Lab(), Host()
    host.services["listeners"] = lab.listeners
    protocols = {"grpc": {"endpoint": "127.0.0.1:0"}, "http": {"endpoint": "127.0.0.1:0"}}
    config = OtlpConfig.model_validate({"protocols": protocols})
    receiver: OtlpReceiver = FACTORY.create(make_settings("otlp", kind="receivers"), config, sink)  # type: ignore[assignment]
    await receiver.start(host)
    await lab.listeners.start()
    assert receiver.grpc is not None
    try:
        ports = (receiver.grpc.port, lab.listeners.open[0].port)
        await asyncio.to_thread(lambda: measure(EXPORTERS[protocol](ports, **more), also))
    finally:
        await lab.listeners.shutdown(1)
        await receiver.shutdown()


@pytest.mark.parametrize("protocol", EXPORTERS)
async def test_an_application(protocol: str) -> None:
    """All instruments arrive, with values, identities and metadata."""
    sink = MemorySink()
    await export(protocol, sink)
    first, second = sink.batches
    assert [(text, value) for text, _, value in rows(first)] == [
        ('http.requests{method="GET", status="200"}', 10.0),
        ("jobs", -5.0),
        ('load{zone="a"}', 0.25),
    ]
    assert rows(second)[0][2] == 11.0
    assert (first.start_ns[:2] > 0).all()
    series = first.table.series(int(first.series[0]))
    assert series.kind.type is MetricType.COUNTER
    assert series.types == (("status", "int"),)
    assert series.resource is not None
    assert dict(series.resource.attributes).items() >= {"service.name": "shop", "port": 80}.items()
    assert series.scope is not None
    assert (series.scope.name, series.scope.version) == ("lib", "1.2")
    found = first.histograms
    assert found is not None
    assert found.kind.tolist() == [HistogramKind.EXPLICIT, HistogramKind.EXPONENTIAL]
    assert found.bounds[:3].tolist() == [0.1, 1.0, np.inf]
    assert found.counts[:3].tolist() == [1.0, 1.0, 3.0]
    assert found.count.tolist() == [5.0, 5.0]
    assert found.sum.tolist() == [pytest.approx(555.55), 31.0]
    assert (found.minimum.tolist(), found.maximum.tolist()) == ([0.05, 1.0], [500.0, 16.0])
    assert found.counts[3:].sum() == 5.0
    assert {(one.family, one.help) for one in first.metadata} >= {("http_requests_total", "Requests.")}
    assert second.metadata == ()


async def test_delta_temporality() -> None:
    """It is the application's choice, and travels."""
    sink = MemorySink()
    preferred = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
    await export("grpc", sink, preferred_temporality=preferred)
    first, second = sink.batches
    assert (rows(first)[0][2], rows(second)[0][2]) == (10.0, 1.0)
    kinds = [first.table.series(i).kind.temporality for i in first.series.tolist()]
    assert kinds == [Temporality.DELTA, Temporality.CUMULATIVE, Temporality.UNSPECIFIED]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_the_names_are_those_of_the_prometheus_exporter(protocol: str) -> None:
    """What one application says by OTLP and by the SDK's own Prometheus page: the same series and values."""
    registry = CollectorRegistry()
    pages = PrometheusMetricReader(registry=registry)
    sink = MemorySink()
    await export(protocol, sink, also=pages)
    edge = PrometheusEdge(make_settings("test").drops)
    flat = edge.flatten(sink.batches[-1]).batch
    names = (flat.table.series(i).labels for i in flat.series.tolist())
    found = {_without(dict(labels), "job", "instance"): value for labels, value in zip(names, flat.value, strict=True)}
    page = generate_latest(registry).decode()
    expected = {
        _without({**one.labels, "__name__": one.name}, *SCOPE): one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if one.name != "target_info"
    }
    target = _without({"__name__": "target_info", "port": "80"})
    info = {labels for labels in found if dict(labels)["__name__"] == "target_info"}
    assert any(set(target) <= set(labels) for labels in info)
    assert {labels: value for labels, value in found.items() if labels not in info} == expected


def _without(labels: dict[str, str], *names: str) -> tuple[tuple[str, str], ...]:
    kept = ((name, value) for name, value in labels.items() if name not in names)
    return tuple(sorted((name, _bound(value) if name == "le" else value) for name, value in kept))


def _bound(text: str) -> str:
    return canonical_float(float(text))
