"""The ``otlp`` receiver over gRPC."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from headrace.pipeline.component import Outcome
from headrace.pipeline.errors import ConfigError, Refused
from headrace.pipeline.host import Host
from headrace.pipeline.http.auth import Peer, Principal, Unauthenticated
from headrace.testing.batches import rows
from headrace.testing.sinks import MemorySink
from otlp_grpc_lab import EXPORT, make, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


@asynccontextmanager
async def serving(sink: MemorySink, host: Host | None = None, **settings: Any) -> AsyncIterator[int]:
    receiver = make(sink, **settings)
    await receiver.start(host or Host())
    assert receiver.grpc is not None
    try:
        yield receiver.grpc.port
    finally:
        await receiver.shutdown()
        await receiver.shutdown()


async def call(
    port: int,
    data: bytes,
    *,
    method: str = EXPORT,
    metadata: tuple[tuple[str, str], ...] = (),
    compression: Any = grpc.Compression.NoCompression,
) -> bytes:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", compression=compression) as channel:
        answer: bytes = await channel.unary_unary(method)(data, metadata=metadata, timeout=20)
        return answer


@pytest.mark.parametrize("compression", list(grpc.Compression))
async def test_export(compression: Any) -> None:
    """A request becomes a batch, however it is compressed."""
    sink = MemorySink()
    async with serving(sink) as port:
        assert await call(port, request(), compression=compression) == b""
    assert rows(sink.batches[0]) == [("queue.size", 1000, 0.5), ("queue.size", 1001, 1.5)]


async def test_an_empty_request_succeeds() -> None:
    """Nothing to take is no mistake."""
    sink = MemorySink()
    async with serving(sink) as port:
        assert await call(port, b"") == b""
    assert sink.batches == []


@pytest.mark.parametrize("signal", ["trace.v1.TraceService", "logs.v1.LogsService"])
async def test_other_signals_are_unimplemented(signal: str) -> None:
    """Their exporters are told, and can stop."""
    async with serving(MemorySink()) as port:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(port, b"", method=f"/opentelemetry.proto.collector.{signal}/Export")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_partial_success() -> None:
    """What the pipeline rejects and what cannot be read are counted together, and explained."""
    sink = MemorySink()
    sink.outcome = Outcome(1, {"out_of_order": 1}, "sample is too old")
    message = ExportMetricsServiceRequest.FromString(request())
    message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].ClearField("time_unix_nano")
    async with serving(sink) as port:
        answer = ExportMetricsServiceResponse.FromString(await call(port, message.SerializeToString()))
    assert answer.partial_success.rejected_data_points == 2
    assert "time_unix_nano is missing: metric 'queue.size'" in answer.partial_success.error_message
    assert "sample is too old" in answer.partial_success.error_message


async def test_refused() -> None:
    """Try later: UNAVAILABLE, with the delay as RetryInfo."""
    sink = MemorySink()
    sink.refusal = Refused("the queue is full", 2.5)
    async with serving(sink) as port:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(port, request())
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    details = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
    status = Status.FromString(details)
    assert (status.code, status.message) == (14, "the queue is full")
    info = RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.retry_delay.ToMilliseconds() == 2500


async def test_garbage() -> None:
    """INVALID_ARGUMENT tells never to send it again."""
    async with serving(MemorySink()) as port:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(port, b"\x0a\xff")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "at byte 0" in (caught.value.details() or "")


@pytest.mark.parametrize("compression", list(grpc.Compression))
async def test_large_requests(compression: Any) -> None:
    """A request that is or decompresses to more than the limit is refused; a bomb is small on the wire."""
    async with serving(MemorySink(), max_recv_msg_size_mib=1) as port:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(port, bytes(2 << 20), compression=compression)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


class Token:
    """An authentication extension that knows one token."""

    async def start(self, host: Host) -> None:
        pass

    async def shutdown(self) -> None:
        pass

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        assert peer.address == "127.0.0.1"
        if headers.get("authorization") != "Bearer x":
            raise Unauthenticated("the token is wrong")
        return Principal("ann", "token")


async def test_credentials() -> None:
    """They are asked for in the call's metadata, and the batch says whose they are."""
    sink = MemorySink()
    host = Host(extensions={"token": Token()})
    async with serving(sink, host, auth={"authenticator": "token"}) as port:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(port, request())
        await call(port, request(), metadata=(("authorization", "Bearer x"),))
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert [batch.context.principal for batch in sink.batches] == ["ann"]


async def test_an_authenticator_that_is_not_there() -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError, match=r"receivers\.otlp\.protocols\.grpc\.auth\.authenticator.*'token'"):
        await make(MemorySink(), auth={"authenticator": "token"}).start(Host())


async def test_a_taken_address() -> None:
    """Two servers cannot share a port."""
    async with serving(MemorySink()) as port:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            await make(MemorySink(), endpoint=f"127.0.0.1:{port}").start(Host())


def test_an_open_address_needs_authentication() -> None:
    """So that nobody opens the daemon to the network by accident."""
    with pytest.raises(ValueError, match="nobody is asked for credentials"):
        make(MemorySink(), endpoint="0.0.0.0:4317")
    make(MemorySink(), endpoint="0.0.0.0:4317", allow_unauthenticated=True)
    make(MemorySink(), endpoint="0.0.0.0:4317", auth={"authenticator": "token"})


async def test_mutual_tls(tmp_path: Path) -> None:
    """Clients need a certificate, whose name is the principal."""
    authority = trustme.CA()
    served, client = authority.issue_cert("127.0.0.1"), authority.issue_cert(common_name="agent-7")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    served.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    served.private_key_pem.write_to_path(tmp_path / "key.pem")
    sink = MemorySink()
    tls = {name: str(tmp_path / file) for name, file in (("cert_file", "cert.pem"), ("key_file", "key.pem"))}
    async with serving(sink, tls={**tls, "client_ca_file": str(tmp_path / "ca.pem")}) as port:
        root = authority.cert_pem.bytes()
        own = (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(root, *own)) as channel:
            await channel.unary_unary(EXPORT)(request(), timeout=20)
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(root)) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(EXPORT)(request(), timeout=20)
    assert [batch.context.principal for batch in sink.batches] == ["agent-7"]


async def test_missing_certificates(tmp_path: Path) -> None:
    """The daemon does not start, and says which file."""
    tls = {"cert_file": str(tmp_path / "none.pem"), "key_file": str(tmp_path / "none.pem")}
    with pytest.raises(ConfigError, match=r"protocols\.grpc\.tls: cannot read .*none\.pem"):
        await make(MemorySink(), tls=tls).start(Host())
