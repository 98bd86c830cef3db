"""The pull exporter with 100,000 series: CPU for each point that is taken, and for each page in each format."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from headrace.exporters.prometheus.config import PrometheusExporterConfig
from headrace.exporters.prometheus.exporter import PrometheusExporter
from headrace.exporters.prometheus.negotiation import Format, Kind
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.testing.batches import make_settings

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

RESOURCES, METRICS, POINTS = 20, 50, 100
ROUNDS = 5
BEGUN_NS = 1_700_000_000_000_000_000
FORMATS = {
    "text": Format(),
    "openmetrics": Format(Kind.OPENMETRICS, "1.0.0", "allow-utf-8"),
    "protobuf": Format(Kind.PROTOBUF, "", "allow-utf-8"),
}


def run() -> dict[str, float]:
    """Measure CPU microseconds a point, and CPU milliseconds a page: the first of a format, and those after."""
    return asyncio.run(_run())


async def _run() -> dict[str, float]:
    settings = make_settings("prometheus", kind="exporters")
    exporter = PrometheusExporter(settings, PrometheusExporterConfig(endpoint="127.0.0.1:0", enable_open_metrics=True))
    table = SeriesTable()
    batches = [_batch(table, number) for number in range(RESOURCES)]
    points = sum(map(len, batches))
    found = {"series": float(points)}
    began = time.process_time()
    await _deliver(exporter, batches)
    found["first_sight_us"] = (time.process_time() - began) / points * 1e6
    began = time.process_time()
    for _ in range(ROUNDS):
        await _deliver(exporter, batches)
    found["deliver_us"] = (time.process_time() - began) / points / ROUNDS * 1e6
    for name, form in FORMATS.items():
        times = []
        for _ in range(ROUNDS):
            await _deliver(exporter, batches)
            began = time.process_time()
            page = await exporter.page("default", form)
            times.append((time.process_time() - began) * 1e3)
        found |= {f"{name}_first_page_ms": times[0], f"{name}_page_ms": min(times), f"{name}_mb": len(page) / 1e6}
    return found


async def _deliver(exporter: PrometheusExporter, batches: list[MetricBatch]) -> None:
    for batch in batches:
        await exporter.deliver(batch)


def _batch(table: SeriesTable, number: int) -> MetricBatch:
    """Return the points of one resource."""
    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    for key, value in (("service.name", "shop"), ("service.instance.id", f"i{number}")):
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_metrics.add()
    for metric in range(METRICS):
        data = scope.metrics.add(name=f"http.server.requests.{metric}", unit="1", description="Requests.").sum
        data.aggregation_temporality, data.is_monotonic = AGGREGATION_TEMPORALITY_CUMULATIVE, True
        for point in range(POINTS):
            one = data.data_points.add(time_unix_nano=BEGUN_NS + point, as_double=point * 1.25)
            for key, value in (("route", f"/r/{point}"), ("method", "GET"), ("zone", "eu-west-1a")):
                one.attributes.add(key=key).value.string_value = value
    return OtlpDecoder(table).decode(message.SerializeToString(), BatchContext()).batch
