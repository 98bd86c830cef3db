"""The ``otlp_http`` exporter, against a server that answers as it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from pydantic import ValidationError

from headrace.exporters.otlp_http import FACTORY, OtlpHttpExporterConfig
from headrace.pipeline.counters import Counters
from headrace.pipeline.host import Host
from headrace.pipeline.to_otlp import warm_up
from headrace.testing.batches import make_batch, make_settings
from otlp_server import arrived, http_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.exporters.otlp_http import OtlpHttpExporter
    from otlp_server import OtlpServer


@pytest.fixture(autouse=True, scope="module")
def _kernels() -> None:
    """Compile before any time counts."""
    warm_up()


RETRY = {"initial_interval": "1ms", "max_interval": "1ms", "max_elapsed_time": "1m", "randomization_factor": 0}


def make(server: OtlpServer, counters: Counters | None = None, **settings: Any) -> OtlpHttpExporter:
    endpoint = f"http://127.0.0.1:{server.port}"
    config = OtlpHttpExporterConfig.model_validate({"endpoint": endpoint, "retry_on_failure": RETRY, **settings})
    made = make_settings("otlp_http", kind="exporters", counters=counters)
    exporter: OtlpHttpExporter = FACTORY.create(made, config)  # type: ignore[assignment]
    return exporter


async def send(exporter: OtlpHttpExporter, host: Host | None = None) -> None:
    """Deliver a batch of two points, and have it sent."""
    await exporter.start(host or Host())
    await exporter.deliver(make_batch(["a", "b"], time_ns=[1, 2], value=[0.5, 1.5]))
    await exporter.shutdown()
    await exporter.shutdown()


POINTS = [("a", 1, 0.5), ("b", 2, 1.5)]


@pytest.mark.parametrize("encoding", ["proto", "json"])
@pytest.mark.parametrize(
    "compression", ["gzip", "zstd", "snappy", "x-snappy-framed", "zlib", "deflate", "lz4", "none", ""]
)
async def test_export(encoding: str, compression: str) -> None:
    """A batch becomes a request, however it is encoded and compressed."""
    async with http_server() as server:
        await send(make(server, encoding=encoding, compression=compression))
    assert server.points() == POINTS
    (headers,) = server.headers
    assert headers["path"] == "/v1/metrics"
    assert headers.get("content-encoding", "") == compression.replace("none", "")
    assert headers["content-type"] == {"proto": "application/x-protobuf", "json": "application/json"}[encoding]


async def test_defaults() -> None:
    """Bodies are compressed by gzip, headers are added, and a whole URL wins over the endpoint."""
    async with http_server() as server:
        url = f"http://127.0.0.1:{server.port}/else/where"
        await send(make(server, metrics_endpoint=url, endpoint="http://192.0.2.1", headers={"X-Team": "a"}))
    (headers,) = server.headers
    assert (headers["path"], headers["content-encoding"], headers["x-team"]) == ("/else/where", "gzip", "a")


@pytest.mark.parametrize("level", [-2, 1, 6, 9])
async def test_levels(level: int) -> None:
    """All levels of gzip are read again."""
    async with http_server() as server:
        await send(make(server, compression_params={"level": level}))
    assert server.points() == POINTS


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_is_sent_again(status: int) -> None:
    """These answers mean: later."""
    async with http_server() as server:
        server.answers = [(status, {}, b"busy"), (status, {"Retry-After": "0"}, b"")]
        exporter = make(server)
        await exporter.start(Host())
        await exporter.deliver(make_batch(["a"], time_ns=1, value=0.5))
        await arrived(server)
        await exporter.shutdown()
    assert len(server.headers) == 3
    assert server.points() == [("a", 1, 0.5)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500, 501, 307])
async def test_what_is_final(status: int) -> None:
    """All other answers drop the points, and count them; no redirect is followed."""
    counters = Counters()
    async with http_server() as server:
        server.answers = [(status, {"Location": "/v1/metrics"}, b"no")]
        await send(make(server, counters))
    assert len(server.headers) == 1
    assert not server.requests
    assert counters.value("otelcol_exporter_send_failed_metric_points", {"exporter": "otlp_http"}) == 2


async def test_retry_after_is_honoured() -> None:
    """The next try comes after as long as the server says."""
    waits: list[float] = []
    async with http_server() as server:
        server.answers = [(503, {"Retry-After": "7"}, b"")]
        exporter = make(server)

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        _sleep_by(exporter, sleep)
        await send(exporter)
    assert waits == [7.0]
    assert server.points() == POINTS


def _sleep_by(exporter: OtlpHttpExporter, sleep: Any) -> None:
    """Have an exporter wait by `sleep`."""
    exporter._sender._attempts._sleep = sleep


@pytest.mark.parametrize("encoding", ["proto", "json"])
async def test_partial_success(encoding: str, caplog: pytest.LogCaptureFixture) -> None:
    """What the server has not taken is counted and told, and not sent again."""
    counters = Counters()
    async with http_server() as server:
        server.response.partial_success.rejected_data_points = 1
        server.response.partial_success.error_message = "too old"
        exporter = make(server, counters, encoding=encoding)
        await send(exporter)
    assert len(server.headers) == 1
    assert "too old" in caplog.text
    assert exporter._settings.drops.by_reason() == {"partial_success": 1}
    assert counters.value("otelcol_exporter_sent_metric_points", {"exporter": "otlp_http"}) == 1
    assert counters.value("otelcol_exporter_send_failed_metric_points", {"exporter": "otlp_http"}) == 1


async def test_who_waits_hears_of_a_partial_success() -> None:
    """Without a queue it comes back to the sender; a server that rejects more than it was sent is not believed."""
    async with http_server() as server:
        server.response.partial_success.rejected_data_points = 7
        exporter = make(server, sending_queue={"enabled": False})
        await exporter.start(Host())
        outcome = await exporter.deliver(make_batch(["a", "b"], time_ns=[1, 2], value=[0.5, 1.5]))
        await exporter.shutdown()
    assert outcome.rejected == {"partial_success": 2}


async def test_the_password_of_an_endpoint_is_shown_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Neither where there is no answer nor where there is one, nor in what is printed of the settings."""
    counters = Counters()
    async with http_server() as server:
        server.answers = [(400, {}, b"no")]
        for port in (server.port, 1):
            endpoint = f"http://me:s3cret@127.0.0.1:{port}"
            exporter = make(server, counters, endpoint=endpoint, retry_on_failure={"enabled": False})
            await send(exporter)
    assert caplog.text.count("http://me:[REDACTED]@127.0.0.1") == 2
    assert "s3cret" not in caplog.text
    assert "s3cret" not in str(exporter._config.model_dump(mode="json"))
    assert exporter._config.url == "http://me:s3cret@127.0.0.1:1/v1/metrics"


class Token:
    """An extension that adds a header."""

    async def start(self, host: Host) -> None:
        del host

    async def shutdown(self) -> None:
        pass

    def client_headers(self) -> Mapping[str, str]:
        return {"Authorization": "Bearer t"}


async def test_credentials() -> None:
    """They come from an extension."""
    host = Host(extensions={"token": Token()})
    async with http_server() as server:
        await send(make(server, auth={"authenticator": "token"}), host)
    assert server.headers[0]["authorization"] == "Bearer t"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


async def test_tls(authority: trustme.CA, tmp_path: Path) -> None:
    """A server is checked against the authority of the settings, and shown who the client is, by files or by text."""
    served = authority.issue_cert("collector.test")
    mine = authority.issue_cert("me")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    chain = "".join(one.bytes().decode() for one in mine.cert_chain_pems)
    tls = {
        "ca_file": str(ca), "cert_pem": chain, "key_pem": mine.private_key_pem.bytes().decode(),
        "server_name_override": "collector.test", "min_version": "1.3", "curve_preferences": ["P256"],
    }  # fmt: skip
    async with http_server(ssl_context=context) as server:
        await send(make(server, endpoint=f"https://127.0.0.1:{server.port}", tls=tls))
        assert server.points() == POINTS
        without = {"ca_pem": authority.cert_pem.bytes().decode(), "server_name_override": "collector.test"}
        exporter = make(
            server, endpoint=f"https://127.0.0.1:{server.port}", tls=without, retry_on_failure={"enabled": False}
        )
        await send(exporter)
    assert len(server.requests) == 1
    assert exporter._settings.drops.by_reason() == {"send_failed": 2}


async def test_changed_certificates_are_taken_over(authority: trustme.CA, tmp_path: Path) -> None:
    """An authority that replaces the one before is trusted without a restart."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca)
    async with http_server(ssl_context=context) as server:
        tls = {"ca_file": str(ca), "reload_interval": "0s"}
        exporter = make(server, endpoint=f"https://127.0.0.1:{server.port}", tls=tls)
        await exporter.start(Host())
        await exporter.deliver(make_batch(["a"], time_ns=1, value=0.5))
        await asyncio.sleep(0.05)
        assert not server.requests
        authority.cert_pem.write_to_path(ca)
        await arrived(server)
        await exporter.shutdown()
    assert server.points() == [("a", 1, 0.5)]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "needs endpoint or metrics_endpoint"),
        ({"endpoint": "collector:4318"}, "must be an http:// or https:// URL"),
        ({"endpoint": "http://h", "traces_endpoint": "http://h/v1/traces"}, "only metrics are sent"),
        ({"endpoint": "http://h", "headers": {"Content-Type": "x"}}, "is part of OTLP"),
        ({"endpoint": "http://h", "compression": "snappy", "compression_params": {"level": 3}}, "cannot be chosen"),
        ({"endpoint": "http://h", "compression": "brotli"}, "gzip"),
        ({"endpoint": "http://h", "tls": {"ca_file": "ca.pem"}}, "tls has no effect on an http:// endpoint"),
        ({"endpoint": "https://h", "tls": {"cert_file": "c.pem"}}, "certificate and key are set together"),
        ({"endpoint": "https://h", "tls": {"cipher_suites": ["RC4"]}}, "unknown suite"),
        ({"endpoint": "http://example.org", "auth": {"authenticator": "a"}}, "credentials in the clear"),
    ],
)
def test_refused_settings(settings: dict[str, Any], why: str) -> None:
    """Each is named, and why."""
    with pytest.raises(ValidationError, match=why):
        OtlpHttpExporterConfig.model_validate(settings)


def test_collector_settings_are_taken() -> None:
    """Configurations of the Collector load unchanged."""
    config = OtlpHttpExporterConfig.model_validate(
        {
            "endpoint": "http://collector:4318", "tls": {"insecure": True}, "timeout": "10s", "read_buffer_size": 0,
            "write_buffer_size": 524288, "max_idle_conns": 10, "max_idle_conns_per_host": 2, "max_conns_per_host": 3,
            "idle_conn_timeout": "30s", "disable_keep_alives": True, "force_attempt_http2": True, "proxy_url": "",
            "cookies": {"enabled": True}, "headers": {"X-Scope-OrgID": "1"},
        }
    )  # fmt: skip
    assert config.url == "http://collector:4318/v1/metrics"


async def test_json_has_hexadecimal_ids() -> None:
    """Ids are not base64, and enums are numbers."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

    from headrace.pipeline.wire.otlp_json_encode import to_json

    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="n")
    metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    metric.sum.data_points.add(time_unix_nano=2**60, as_int=7).exemplars.add(trace_id=b"\1" * 16, span_id=b"\2" * 8)
    document = json.loads(to_json(message.SerializeToString()))
    data = document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]
    assert data["aggregationTemporality"] == 2
    assert data["dataPoints"][0]["timeUnixNano"] == str(2**60)
    assert data["dataPoints"][0]["asInt"] == "7"
    assert data["dataPoints"][0]["exemplars"] == [{"traceId": "01" * 16, "spanId": "02" * 8}]
