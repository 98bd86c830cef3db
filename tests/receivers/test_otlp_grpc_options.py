"""Settings of the gRPC server: each does what its documentation says."""

from __future__ import annotations

import asyncio
import gzip
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from pydantic import ValidationError

from headrace.pipeline.grpc.server import GrpcServerConfig, channel_options
from headrace.pipeline.host import Host
from headrace.receivers.otlp import FACTORY, OtlpConfig
from headrace.testing.batches import make_settings
from headrace.testing.sinks import MemorySink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Outcome
    from headrace.receivers.otlp import OtlpReceiver

EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class SlowSink(MemorySink):
    """Takes batches once it is told to, and knows how many wait."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.full = asyncio.Event()
        self.waiting = 0
        self.most = 0

    async def send(self, batch: MetricBatch) -> Outcome:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        if self.waiting == 3:
            self.full.set()
        await self.go.wait()
        self.waiting -= 1
        return await super().send(batch)


@asynccontextmanager
async def serving(sink: MemorySink, **settings: Any) -> AsyncIterator[OtlpReceiver]:
    config = OtlpConfig.model_validate({"protocols": {"grpc": {"endpoint": "127.0.0.1:0", **settings}}})
    receiver: OtlpReceiver = FACTORY.create(make_settings("otlp", kind="receivers"), config, sink)  # type: ignore[assignment]
    await receiver.start(Host())
    try:
        yield receiver
    finally:
        await receiver.shutdown()


def target(receiver: OtlpReceiver) -> str:
    assert receiver.grpc is not None
    return f"127.0.0.1:{receiver.grpc.port}"


def request(size: int = 0) -> bytes:
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="a", description="x" * size)
    metric.gauge.data_points.add(time_unix_nano=1, as_double=1)
    return message.SerializeToString()


async def test_calls_at_a_time() -> None:
    """A client has so many calls under way on a connection; others wait at the client, or are to be repeated."""
    sink = SlowSink()
    async with (
        serving(sink, max_concurrent_streams=3) as receiver,
        grpc.aio.insecure_channel(target(receiver)) as channel,
    ):
        export = channel.unary_unary(EXPORT)
        await channel.channel_ready()
        calls = [asyncio.ensure_future(export(request(), timeout=20)) for _ in range(10)]
        async with asyncio.timeout(20):
            await sink.full.wait()
        await asyncio.sleep(0.1)
        sink.go.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sink.most == 3
    failed = [one.code() for one in answers if isinstance(one, grpc.aio.AioRpcError)]
    assert set(failed) <= {grpc.StatusCode.UNAVAILABLE}
    assert len(sink.batches) == 10 - len(failed) >= 3


@pytest.mark.parametrize("setting", ["max_connection_idle", "max_connection_age"])
async def test_connections_end(setting: str) -> None:
    """One that is not used, or is old, is closed by the server; the client makes another and loses nothing."""
    sink = MemorySink()
    keepalive = {"server_parameters": {setting: "300ms", "max_connection_age_grace": "1s"}}
    async with (
        serving(sink, keepalive=keepalive) as receiver,
        grpc.aio.insecure_channel(target(receiver), options=[("grpc.idle_timeout_ms", 2**31 - 1)]) as channel,
    ):
        export = channel.unary_unary(EXPORT)
        await export(request(), timeout=20)
        async with asyncio.timeout(20):
            state = channel.get_state()
            while state is grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(state)
                state = channel.get_state()
        await export(request(), timeout=20)
    assert len(sink.batches) == 2


def frame(kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """Return a frame of HTTP/2 of the connection itself."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + bytes(4) + payload


async def pinged(receiver: OtlpReceiver, pings: int) -> bytes:
    """Send pings to a server on a connection without calls; return what it says until it closes, or is silent."""
    assert receiver.grpc is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.grpc.port)
    writer.write(PREFACE + frame(4) + frame(6, bytes(8)) * pings)
    told = b""
    try:
        while piece := await asyncio.wait_for(reader.read(4096), 1):
            told += piece
    except TimeoutError:
        pass
    writer.close()
    return told


@pytest.mark.parametrize(
    ("policy", "cut"),
    [
        ({"min_time": "1h", "permit_without_stream": True}, True),
        ({"min_time": "0s", "permit_without_stream": True}, False),
        ({"min_time": "0s", "permit_without_stream": False}, True),
    ],
)
async def test_clients_that_ask_too_often(policy: dict[str, Any], cut: bool) -> None:
    """They are told ``too_many_pings`` and cut off; so are those that ask without a call, unless they may."""
    async with serving(MemorySink(), keepalive={"enforcement_policy": policy}) as receiver:
        assert (b"too_many_pings" in await pinged(receiver, 8)) is cut


async def test_dead_clients_are_found() -> None:
    """One that does not answer the server's own pings is cut off, with calls or, where the settings say so, without."""
    keepalive = {
        "server_parameters": {"time": "1s", "timeout": "200ms"},
        "enforcement_policy": {"permit_without_stream": True},
    }
    async with serving(MemorySink(), keepalive=keepalive) as receiver:
        assert receiver.grpc is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.grpc.port)
        writer.write(PREFACE + frame(4))
        async with asyncio.timeout(20):
            while await reader.read(4096):
                pass
        writer.close()


@pytest.mark.parametrize("tries", [1, 2])
async def test_a_socket_of_this_machine(tmp_path: Path, tries: int) -> None:
    """The endpoint is a path, which may be left from before; no credentials are needed."""
    path = tmp_path / "otlp.sock"
    for _ in range(tries):
        sink = MemorySink()
        async with (
            serving(sink, endpoint=str(path), transport="unix"),
            grpc.aio.insecure_channel(f"unix:{path}") as channel,
        ):
            await channel.unary_unary(EXPORT)(request(), timeout=20)
        assert len(sink.batches) == 1


@pytest.mark.parametrize("mib", [1, 0])
async def test_long_messages(mib: int) -> None:
    """What is longer is refused from its announcement; 0 stands for 4 MiB."""
    sink = MemorySink()
    limit = (mib or 4) << 20
    async with (
        serving(sink, max_recv_msg_size_mib=mib) as receiver,
        grpc.aio.insecure_channel(target(receiver)) as channel,
    ):
        export = channel.unary_unary(EXPORT)
        await export(request(limit - 100), timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await export(request(limit), timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(sink.batches) == 1


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_bombs(compression: Any) -> None:
    """Messages that decompress to more than the limit are refused before that is made."""
    sink = MemorySink()
    async with (
        serving(sink, max_recv_msg_size_mib=1) as receiver,
        grpc.aio.insecure_channel(target(receiver), compression=compression) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(EXPORT)(bytes(200 << 20), timeout=60)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert sink.batches == []


async def test_bombs_within_bombs() -> None:
    """Only one layer is undone."""
    async with serving(MemorySink()) as receiver, grpc.aio.insecure_channel(target(receiver)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(EXPORT)(gzip.compress(gzip.compress(bytes(100))), timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_options_of_the_core() -> None:
    """Settings become options of gRPC's core; what is not set is left to it."""
    config = GrpcServerConfig.model_validate(
        {
            "endpoint": "localhost:1", "max_concurrent_streams": 7, "read_buffer_size": 1000,
            "write_buffer_size": 2000, "max_recv_msg_size_mib": 3,
            "keepalive": {
                "server_parameters": {
                    "max_connection_idle": "1s", "max_connection_age": "2s", "max_connection_age_grace": "3s",
                    "time": "4s", "timeout": "5s",
                },
                "enforcement_policy": {"min_time": "6s", "permit_without_stream": True},
            },
        }
    )  # fmt: skip
    options = dict(channel_options(config))
    expected = {
        "grpc.max_concurrent_streams": 7, "grpc.http2.write_buffer_size": 2000,
        "grpc.experimental.tcp_read_chunk_size": 1000, "grpc.max_receive_message_length": 3 << 20,
        "grpc.max_connection_idle_ms": 1000, "grpc.max_connection_age_ms": 2000,
        "grpc.max_connection_age_grace_ms": 3000, "grpc.keepalive_time_ms": 4000, "grpc.keepalive_timeout_ms": 5000,
        "grpc.http2.min_ping_interval_without_data_ms": 6000, "grpc.keepalive_permit_without_calls": 1,
    }  # fmt: skip
    assert options.items() >= expected.items()
    plain = dict(channel_options(GrpcServerConfig(endpoint="localhost:1", read_buffer_size=0)))
    assert not plain.keys() & (expected.keys() - {"grpc.max_receive_message_length"})


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"transport": "tcp6"}, "'tcp' or 'unix'"),
        ({"transport": "unix", "endpoint": ""}, "must be a path"),
        ({"endpoint": "/run/x.sock"}, "must be host:port"),
        ({"endpoint": "0.0.0.0:4317"}, "nobody is asked for credentials"),
        ({"max_recv_msg_size_mib": -1}, "greater than or equal to 0"),
        ({"tls": {"cert_file": "c", "key_file": "k", "curve_preferences": ["P256"]}}, "curve_preferences cannot be"),
        ({"tls": {"cert_file": "c", "key_file": "k", "max_version": "1.2"}}, "max_version 1.2 cannot be asked"),
    ],
)
def test_refused_settings(settings: dict[str, Any], why: str) -> None:
    """Each is named, and why."""
    with pytest.raises(ValidationError, match=why):
        GrpcServerConfig.model_validate({"endpoint": "localhost:4317", **settings})
