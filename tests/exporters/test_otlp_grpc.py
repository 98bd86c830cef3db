"""The ``otlp`` exporter, against a gRPC server that answers as it is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from pydantic import ValidationError

from headrace.exporters.otlp import FACTORY, OtlpExporterConfig
from headrace.pipeline.grpc.client import channel_options
from headrace.pipeline.host import Host
from headrace.pipeline.to_otlp import warm_up
from headrace.pipeline.wire.otlp_answers import retry_delay_s
from headrace.testing.batches import make_batch, make_settings
from otlp_server import grpc_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.exporters.otlp import OtlpExporter
    from otlp_server import OtlpServer


@pytest.fixture(autouse=True, scope="module")
def _kernels() -> None:
    """Compile before any time counts."""
    warm_up()


RETRY = {"initial_interval": "1ms", "max_interval": "1ms", "max_elapsed_time": "1m", "randomization_factor": 0}
POINTS = [("a", 1, 0.5), ("b", 2, 1.5)]


def make(server: OtlpServer, **settings: Any) -> OtlpExporter:
    given = {"endpoint": f"127.0.0.1:{server.port}", "tls": {"insecure": True}, "retry_on_failure": RETRY, **settings}
    config = OtlpExporterConfig.model_validate(given)
    exporter: OtlpExporter = FACTORY.create(make_settings("otlp", kind="exporters"), config)  # type: ignore[assignment]
    return exporter


def drops(exporter: OtlpExporter) -> Mapping[str, int]:
    return exporter._settings.drops.by_reason()


async def send(exporter: OtlpExporter, host: Host | None = None) -> None:
    """Deliver a batch of two points, and have it sent."""
    await exporter.start(host or Host())
    await exporter.deliver(make_batch(["a", "b"], time_ns=[1, 2], value=[0.5, 1.5]))
    await exporter.shutdown()
    await exporter.shutdown()


@pytest.mark.parametrize("compression", ["gzip", "deflate", "none", ""])
async def test_export(compression: str) -> None:
    """A batch becomes a call, however it is compressed, with the metadata of the settings."""
    async with grpc_server() as server:
        await send(make(server, compression=compression, headers={"X-Team": "a"}, authority="collector.test"))
    assert server.points() == POINTS
    assert server.headers[0]["x-team"] == "a"


@pytest.mark.parametrize(
    "code", ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
)
async def test_what_is_sent_again(code: str) -> None:
    """These codes mean: later."""
    async with grpc_server() as server:
        server.answers = [(grpc.StatusCode[code], "busy", ())] * 2
        await send(make(server))
    assert len(server.headers) == 3
    assert server.points() == POINTS


@pytest.mark.parametrize(
    "code", ["RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "INTERNAL", "UNAUTHENTICATED", "UNIMPLEMENTED"]
)
async def test_what_is_final(code: str) -> None:
    """All others drop the points, and count them; so does RESOURCE_EXHAUSTED that does not say when to come again."""
    async with grpc_server() as server:
        server.answers = [(grpc.StatusCode[code], "no", ())]
        exporter = make(server)
        await send(exporter)
    assert len(server.headers) == 1
    assert drops(exporter) == {"rejected_by_server": 2}


def details(seconds: float) -> tuple[tuple[str, bytes], ...]:
    """Return trailing metadata with a RetryInfo."""
    status = Status(code=8, message="later")
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    status.details.add().Pack(RetryInfo(retry_delay=delay))
    return (("grpc-status-details-bin", status.SerializeToString()),)


async def test_resource_exhausted_that_says_when_is_sent_again() -> None:
    """A RetryInfo makes it a matter of time."""
    async with grpc_server() as server:
        server.answers = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "later", details(0.001))]
        await send(make(server))
    assert server.points() == POINTS


@pytest.mark.parametrize("seconds", [0.0, 0.25, 3.5])
def test_retry_info(seconds: float) -> None:
    """The delay is read as Google's own classes write it."""
    assert retry_delay_s(details(seconds)[0][1]) == seconds


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x1a\xff", b"\x1a\x02\x0a\xff", Status(code=8).SerializeToString()])
def test_no_retry_info(data: bytes) -> None:
    """What does not decode asks for nothing."""
    assert retry_delay_s(data) is None


async def test_partial_success(caplog: pytest.LogCaptureFixture) -> None:
    """What the server has not taken is counted and told, and not sent again."""
    async with grpc_server() as server:
        server.response.partial_success.rejected_data_points = 1
        server.response.partial_success.error_message = "too old"
        exporter = make(server)
        await send(exporter)
    assert len(server.headers) == 1
    assert "too old" in caplog.text
    assert drops(exporter) == {"partial_success": 1}


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
    async with grpc_server() as server:
        await send(make(server, auth={"authenticator": "token"}), Host(extensions={"token": Token()}))
    assert server.headers[0]["authorization"] == "Bearer t"


async def test_tls(tmp_path: Path) -> None:
    """A server is checked, and shown who the client is; another authority that the file holds later is taken over."""
    authority = trustme.CA()
    served, mine = authority.issue_cert("collector.test"), authority.issue_cert("me")
    pair = (served.private_key_pem.bytes(), served.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair], authority.cert_pem.bytes(), require_client_auth=True)
    ca, key, cert = (tmp_path / name for name in ("ca.pem", "key.pem", "cert.pem"))
    trustme.CA().cert_pem.write_to_path(ca)
    mine.private_key_pem.write_to_path(key)
    mine.cert_chain_pems[0].write_to_path(cert)
    tls = {
        "ca_file": str(ca), "key_file": str(key), "cert_file": str(cert), "server_name_override": "collector.test",
        "reload_interval": "0s",
    }  # fmt: skip
    async with grpc_server(credentials) as server:
        exporter = make(server, tls=tls)
        await exporter.start(Host())
        await exporter.deliver(make_batch(["a"], time_ns=1, value=0.5))
        await asyncio.sleep(0.1)
        assert not server.requests
        authority.cert_pem.write_to_path(ca)
        await exporter.shutdown()
    assert server.points() == [("a", 1, 0.5)]


def test_options_of_the_channel() -> None:
    """Settings become options of gRPC's core."""
    config = OtlpExporterConfig.model_validate(
        {
            "endpoint": "https://collector:4317", "balancer_name": "pick_first", "authority": "a",
            "keepalive": {"time": "20s", "timeout": "3s", "permit_without_stream": True},
            "read_buffer_size": 1000, "write_buffer_size": 2000, "wait_for_ready": True,
        }
    )  # fmt: skip
    options = dict(channel_options(config))
    assert options["grpc.service_config"] == '{"loadBalancingConfig": [{"pick_first": {}}]}'
    assert options["grpc.default_authority"] == "a"
    assert options["grpc.keepalive_time_ms"] == 20_000
    assert options["grpc.keepalive_timeout_ms"] == 3000
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert options["grpc.experimental.tcp_max_read_chunk_size"] == 1000
    assert options["grpc.http2.write_buffer_size"] == 2000


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "Field required"),
        ({"endpoint": "collector"}, "must be host:port"),
        ({"endpoint": "http://collector/v1/metrics"}, "without a path"),
        ({"endpoint": "h:1", "compression": "zstd"}, "zstd is not supported over gRPC"),
        ({"endpoint": "h:1", "tls": {"insecure_skip_verify": True}}, "insecure_skip_verify is not supported"),
        ({"endpoint": "h:1", "tls": {"min_version": "1.3"}}, "min_version 1.3 cannot be asked of gRPC"),
        ({"endpoint": "h:1", "tls": {"cipher_suites": ["TLS_RSA_WITH_AES_128_GCM_SHA256"]}}, "cipher_suites cannot be"),
        ({"endpoint": "h:1", "balancer_name": "ring_hash"}, "round_robin"),
        (
            {"endpoint": "h:1", "tls": {"insecure": True}, "auth": {"authenticator": "a"}},
            "credentials in the clear to h",
        ),
    ],
)
def test_refused_settings(settings: dict[str, Any], why: str) -> None:
    """Each is named, and why."""
    with pytest.raises(ValidationError, match=why):
        OtlpExporterConfig.model_validate(settings)
