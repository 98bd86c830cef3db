"""One OpenTelemetry MeterProvider, three ways out: all name, label and count alike.

OTLP over gRPC and over HTTP to Headrace, and the SDK's Prometheus exporter, scraped by a real Prometheus.
"""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from running import HEADRACE, Programs, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.peer, pytest.mark.slow]

# What the ways differ in by design: the target's labels, and the scope's, which Headrace adds only when it is told to.
_OF_THE_WAY = ("job", "instance", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url")


def ask(base: str, query: str, at: float | None = None) -> list[dict[str, Any]]:
    form = {"query": query, **({"time": f"{at:.3f}"} if at else {})}
    with urllib.request.urlopen(f"{base}/api/v1/query?" + urllib.parse.urlencode(form), timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def final(base: str, job: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Return the newest value of every series of the instruments below."""
    names = "requests_total|payload_bytes_total|queue_length|temperature_celsius|latency_seconds_.+|ratio_ratio"
    out = {}
    for series in ask(base, f'{{__name__=~"{names}",job="{job}"}}'):
        labels = {name: value for name, value in series["metric"].items() if name not in _OF_THE_WAY}
        out[tuple(sorted(labels.items()))] = float(series["value"][1])
    return out


def record(provider: MeterProvider) -> None:
    """Use each kind of instrument."""
    meter = provider.get_meter("shop", "1.2")
    requests = meter.create_counter("requests", description="Requests.")
    payload = meter.create_counter("payload", unit="By")
    queue = meter.create_up_down_counter("queue.length")
    temperature = meter.create_gauge("temperature", unit="Cel")
    ratio = meter.create_gauge("ratio", unit="1")
    latency = meter.create_histogram("latency", unit="s", explicit_bucket_boundaries_advisory=[0.1, 0.5, 1.0])
    for i in range(200):
        attributes: dict[str, str | bool | int] = {"http.route": f"/{i % 3}", "ok": i % 2 == 0, "code": 200 + i % 2}
        requests.add(1, attributes)
        payload.add(i * 100, {"direction": "in"})
        queue.add(1 if i % 3 else -1)
        latency.record(i / 150, {"http.route": f"/{i % 3}"})
    temperature.set(21.5, {"room": "a"})
    ratio.set(0.25)


def test_three_ways_agree(programs: Programs, peers: Path, tmp_path: Path) -> None:
    """Names, labels and final values."""
    port, grpc, http, own, sdk, oracle = (free_port() for _ in range(6))
    config = tmp_path / "otlp.yaml"
    protocols = {"grpc": {"endpoint": f"127.0.0.1:{grpc}"}, "http": {"endpoint": f"127.0.0.1:{http}"}}
    reader = {"pull": {"exporter": {"prometheus": {"port": own}}}}
    document = {
        "receivers": {"otlp": {"protocols": protocols}},
        "exporters": {"store": {"endpoint": f"127.0.0.1:{port}", "directory": str(tmp_path / "data")}},
        "service": {
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["store"]}},
            "telemetry": {"metrics": {"readers": [reader]}},
        },
    }
    config.write_text(json.dumps(document))
    base, prometheus = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{oracle}"
    programs.start("headrace", [HEADRACE, "run", "--config", config]).wait_http(f"{base}/-/ready", 120)
    scrape = tmp_path / "prometheus.yml"
    scrape.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"  - job_name: shop\n    static_configs: [{{targets: ['127.0.0.1:{sdk}']}}]\n"
    )
    options = [
        f"--config.file={scrape}", f"--storage.tsdb.path={tmp_path / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{oracle}",
    ]  # fmt: skip
    programs.start("prometheus", [peers / "prometheus", *options]).wait_http(f"{prometheus}/-/ready")

    def provider(name: str, reader: Any) -> MeterProvider:
        return MeterProvider([reader], Resource({"service.name": name}), shutdown_on_exit=False)

    server, thread = prometheus_client.start_http_server(sdk, "127.0.0.1")
    providers = [
        provider("shop", PrometheusMetricReader()),
        provider("grpc", PeriodicExportingMetricReader(GrpcExporter(f"http://127.0.0.1:{grpc}", insecure=True), 10**9)),
        provider("http", PeriodicExportingMetricReader(HttpExporter(f"http://127.0.0.1:{http}/v1/metrics"), 10**9)),
    ]
    try:
        for one in providers:
            record(one)
        assert providers[1].force_flush(20_000)
        assert providers[2].force_flush(20_000)
        flushed = time.time()
        wait_until(
            lambda: bool(ask(prometheus, f"timestamp(latency_seconds_count) > {flushed}")), "a scrape after the flush"
        )
        expected = final(prometheus, "shop")
        assert len(expected) > 20
        assert final(base, "grpc") == expected
        assert final(base, "http") == expected
    finally:
        for one in providers:
            one.shutdown()
        server.shutdown()
        server.server_close()
        thread.join(10)
