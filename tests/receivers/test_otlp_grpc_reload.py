"""A reload of the ``otlp`` receiver: the gRPC server listens on, and calls are taken by the successor."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.host import Host
from headrace.pipeline.http.auth import Peer, Principal, Unauthenticated
from headrace.testing.sinks import MemorySink
from otlp_grpc_lab import EXPORT, make, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Outcome
    from headrace.receivers.otlp import OtlpReceiver


class Held(MemorySink):
    """A sink that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.came, self.gate = asyncio.Event(), asyncio.Event()

    async def send(self, batch: MetricBatch) -> Outcome:
        self.came.set()
        await self.gate.wait()
        return await super().send(batch)


class Nobody:
    """An authenticator that lets nobody in."""

    async def start(self, host: Host) -> None:
        """Do nothing."""

    async def shutdown(self) -> None:
        """Do nothing."""

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        del headers, peer
        raise Unauthenticated("nobody")


@asynccontextmanager
async def started(sink: MemorySink, host: Host | None = None, **settings: Any) -> AsyncIterator[OtlpReceiver]:
    receiver = make(sink, **settings)
    await receiver.start(host or Host())
    yield receiver
    await receiver.shutdown()


@asynccontextmanager
async def succeeded(
    before: OtlpReceiver, sink: MemorySink, host: Host | None = None, **settings: Any
) -> AsyncIterator[OtlpReceiver]:
    """Put a receiver in the place of one, as a reload does."""
    after = make(sink, **settings)
    assert after.can_succeed(before)
    await after.start_after(host or Host(), before)
    after.succeed()
    yield after
    await after.shutdown()


def port(receiver: OtlpReceiver) -> int:
    assert receiver.grpc is not None
    return receiver.grpc.port


async def test_no_call_fails() -> None:
    """While settings change again and again; each call reaches one sink."""
    sinks = [MemorySink() for _ in range(20)]
    async with started(sinks[0]) as receiver:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port(receiver)}")
        calls = 0

        async def call_once() -> None:
            nonlocal calls
            await channel.unary_unary(EXPORT)(request(), timeout=20)
            calls += 1

        async def call() -> None:
            while len(sinks[-1].batches) < 5:
                await call_once()

        await call_once()
        callers = [asyncio.create_task(call()) for _ in range(4)]
        current = receiver
        for number, sink in enumerate(sinks[1:], 1):
            after = make(sink, include_metadata=bool(number % 2))
            await after.start_after(Host(), current)
            after.succeed()
            await current.shutdown()
            assert port(after) == port(receiver)
            current = after
            await asyncio.sleep(0.01)
        await asyncio.wait_for(asyncio.gather(*callers), 30)
        await channel.close()
        await current.shutdown()
    assert sum(len(sink.batches) for sink in sinks) == calls
    assert sinks[0].batches


async def test_calls_under_way_are_finished() -> None:
    """By the receiver that took them, which ends after them; those that come later do not wait for it."""
    first, second = Held(), MemorySink()
    async with started(first) as before, grpc.aio.insecure_channel(f"127.0.0.1:{port(before)}") as channel:
        early = asyncio.ensure_future(channel.unary_unary(EXPORT)(request(), timeout=20))
        await asyncio.wait_for(first.came.wait(), 20)
        async with succeeded(before, second):
            ending = asyncio.create_task(before.shutdown())
            await channel.unary_unary(EXPORT)(request(), timeout=20)
            assert (len(first.batches), len(second.batches), ending.done()) == (0, 1, False)
            first.gate.set()
            await early
            await asyncio.wait_for(ending, 20)
            assert (len(first.batches), len(second.batches)) == (1, 1)


async def test_who_is_asked_changes_for_connections_that_are_open() -> None:
    """From the next call on."""
    host = Host()
    host.extensions["nobody"] = Nobody()
    async with started(MemorySink()) as before, grpc.aio.insecure_channel(f"127.0.0.1:{port(before)}") as channel:
        await channel.unary_unary(EXPORT)(request(), timeout=20)
        async with succeeded(before, MemorySink(), host, auth={"authenticator": "nobody"}):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(EXPORT)(request(), timeout=20)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_reload_that_fails_changes_nothing() -> None:
    """Nor one that is given up."""
    sink = MemorySink()
    async with started(sink) as before, grpc.aio.insecure_channel(f"127.0.0.1:{port(before)}") as channel:
        broken = make(MemorySink(), auth={"authenticator": "none"})
        with pytest.raises(ConfigError, match="authenticator"):
            await broken.start_after(Host(), before)
        await broken.shutdown()
        given_up = make(MemorySink(), include_metadata=True)
        await given_up.start_after(Host(), before)
        await given_up.shutdown()
        await channel.unary_unary(EXPORT)(request(), timeout=20)
        assert len(sink.batches) == 1


def _certificate(folder: Path, name: str) -> tuple[trustme.CA, dict[str, str]]:
    authority = trustme.CA()
    served = authority.issue_cert("127.0.0.1")
    files = {kind: str(folder / f"{name}-{kind}.pem") for kind in ("cert_file", "key_file")}
    served.cert_chain_pems[0].write_to_path(files["cert_file"])
    served.private_key_pem.write_to_path(files["key_file"])
    return authority, files


async def _call(where: int, authority: trustme.CA) -> None:
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    async with grpc.aio.secure_channel(f"127.0.0.1:{where}", credentials) as channel:
        await channel.unary_unary(EXPORT)(request(), timeout=20)


async def test_another_certificate(tmp_path: Path) -> None:
    """Connections made from then on see it; those that are open go on."""
    (first, ours), (second, theirs) = _certificate(tmp_path, "a"), _certificate(tmp_path, "b")
    async with started(MemorySink(), tls=ours) as before:
        await _call(port(before), first)
        credentials = grpc.ssl_channel_credentials(first.cert_pem.bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{port(before)}", credentials) as channel:
            await channel.unary_unary(EXPORT)(request(), timeout=20)
            async with succeeded(before, MemorySink(), tls=theirs) as after:
                await channel.unary_unary(EXPORT)(request(), timeout=20)
                await _call(port(after), second)
                with pytest.raises(grpc.aio.AioRpcError):
                    await _call(port(after), first)


async def test_what_needs_another_server(tmp_path: Path) -> None:
    """Another address, limits of connections, TLS at all, and who may connect."""
    authority, files = _certificate(tmp_path, "a")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with started(MemorySink()) as before:
        for settings in (
            {"endpoint": "127.0.0.1:1"}, {"max_concurrent_streams": 9}, {"max_recv_msg_size_mib": 9}, {"tls": files},
        ):  # fmt: skip
            assert not make(MemorySink(), **settings).can_succeed(before)
    assert not make(MemorySink()).can_succeed(before), "it has ended"
    async with started(MemorySink(), tls=files) as before:
        mutual = {**files, "client_ca_file": str(tmp_path / "ca.pem")}
        assert not make(MemorySink(), tls=mutual).can_succeed(before)
