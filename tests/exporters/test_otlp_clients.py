"""Settings of the clients of OTLP's exporters: each does what its documentation says."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from headrace.pipeline.grpc.client import GrpcClient, GrpcClientConfig
from headrace.pipeline.http.client import ClientConfig, HttpClient
from otlp_server import EXPORT, grpc_server
from running import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class Server:
    """An HTTP server that knows its connections.

    Attributes:
        connections: Ports of the clients, in the order in which they first came.
        open: Those that are open now.
        seen: Request lines and headers.
    """

    def __init__(self) -> None:
        self.port = 0
        self.connections: list[int] = []
        self.open: set[int] = set()
        self.most = 0
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.delay_s = 0.0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")[1]
        self.connections.append(client)
        self.open.add(client)
        self.most = max(self.most, len(self.open))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._one(head, reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            self.open.discard(client)
            writer.close()

    async def _one(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *rest = head.decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
        await reader.readexactly(int(headers.get("content-length", "0")))
        self.seen.append((line, headers))
        await asyncio.sleep(self.delay_s)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: who=me; Path=/\r\n\r\n")

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not check():  # noqa: ASYNC110 -- what happens is on the other side of a socket
                await asyncio.sleep(0.01)


@asynccontextmanager
async def http() -> AsyncIterator[Server]:
    server = Server()
    made = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.port = made.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        made.close()


@asynccontextmanager
async def client(server: Server, **settings: Any) -> AsyncIterator[HttpClient]:
    config = ClientConfig.model_validate({"endpoint": f"http://127.0.0.1:{server.port}/v1/metrics", **settings})
    made = HttpClient(config, "exporters.test")
    await made.start()
    try:
        yield made
    finally:
        await made.shutdown()


async def many(made: HttpClient, requests: int) -> None:
    await asyncio.gather(*(made.post(b"x", {}) for _ in range(requests)))


async def test_connections_are_kept() -> None:
    """One after the other, requests use one connection; without keep-alive, one each, and the server is told."""
    async with http() as server, client(server) as made:
        for _ in range(3):
            await made.post(b"x", {})
        assert len(server.connections) == 1
    async with http() as server, client(server, disable_keep_alives=True) as made:
        for _ in range(3):
            await made.post(b"x", {})
        assert len(server.connections) == 3
        assert {headers["connection"] for _, headers in server.seen} == {"close"}


@pytest.mark.parametrize(("limit", "most"), [(2, 2), (0, 8)])
async def test_connections_at_a_time(limit: int, most: int) -> None:
    """``max_conns_per_host`` requests are under way, others wait."""
    async with http() as server, client(server, max_conns_per_host=limit) as made:
        server.delay_s = 0.05
        await many(made, 8)
        assert server.most == most
    assert len(server.seen) == 8


@pytest.mark.parametrize(
    ("settings", "kept"),
    [({"max_idle_conns": 2}, 2), ({"max_idle_conns_per_host": 3}, 3), ({}, 6), ({"max_idle_conns": 0}, 6)],
)
async def test_unused_connections(settings: dict[str, Any], kept: int) -> None:
    """So many are kept after a rush."""
    async with http() as server, client(server, **settings) as made:
        server.delay_s = 0.05
        await many(made, 6)
        await server.until(lambda: len(server.open) == kept)


async def test_unused_connections_end() -> None:
    """After ``idle_conn_timeout``."""
    async with http() as server, client(server, idle_conn_timeout="50ms") as made:
        await made.post(b"x", {})
        await server.until(lambda: not server.open)


@pytest.mark.parametrize("enabled", [True, False])
async def test_cookies(enabled: bool) -> None:
    """What the server sets comes back, where the settings say so."""
    async with http() as server, client(server, cookies={"enabled": enabled}) as made:
        await made.post(b"x", {})
        await made.post(b"x", {})
    assert [headers.get("cookie") for _, headers in server.seen] == [None, "who=me" if enabled else None]


async def test_a_proxy() -> None:
    """Requests go to it, for the endpoint."""
    async with http() as proxy:
        config = ClientConfig(
            endpoint="http://collector.invalid:4318/v1/metrics", proxy_url=f"http://127.0.0.1:{proxy.port}"
        )
        made = HttpClient(config, "exporters.test")
        await made.start()
        assert (await made.post(b"x", {})).status == 200
        await made.shutdown()
    assert proxy.seen[0][0] == "POST http://collector.invalid:4318/v1/metrics HTTP/1.1"


async def test_buffers() -> None:
    """Sizes that are asked for work with bodies that are longer."""
    async with http() as server, client(server, read_buffer_size=1024, write_buffer_size=4096) as made:
        assert (await made.post(bytes(1 << 20), {})).status == 200
    assert server.seen[0][1]["content-length"] == str(1 << 20)


@pytest.mark.parametrize("limit", ["50ms", "0s"])
async def test_time_for_a_request(limit: str) -> None:
    """From connecting to the end of the answer; 0 waits as long as it takes."""
    async with http() as server, client(server, timeout=limit) as made:
        server.delay_s = 0.3
        if limit == "0s":
            assert (await made.post(b"x", {})).status == 200
        else:
            with pytest.raises(TimeoutError):
                await made.post(b"x", {})


# -- gRPC ----------------------------------------------------------------------------------------------------


async def calling(target: str, **settings: Any) -> bytes:
    config = GrpcClientConfig.model_validate({"endpoint": target, "tls": {"insecure": True}, **settings})
    made = GrpcClient(config, "exporters.test", EXPORT)
    await made.start()
    try:
        return await made.call(b"")
    finally:
        await made.shutdown()


async def test_calls_wait_for_a_server() -> None:
    """Where the settings say so, for as long as a call may take; else they fail at once."""
    port = free_port()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calling(f"127.0.0.1:{port}", timeout="20s")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    waiting = asyncio.create_task(calling(f"127.0.0.1:{port}", timeout="20s", wait_for_ready=True))
    await asyncio.sleep(0.1)
    async with grpc_server(port=port) as server:
        await waiting
    assert len(server.requests) == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calling(f"127.0.0.1:{port}", timeout="100ms", wait_for_ready=True)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(("balancer", "used"), [("round_robin", 2), ("pick_first", 1)])
async def test_several_servers(balancer: str, used: int) -> None:
    """Calls go to all addresses in turn, or to one."""
    async with grpc_server() as one, grpc_server() as other:
        config = GrpcClientConfig.model_validate(
            {"endpoint": f"ipv4:127.0.0.1:{one.port},127.0.0.1:{other.port}", "tls": {"insecure": True},
             "balancer_name": balancer, "wait_for_ready": True}
        )  # fmt: skip
        made = GrpcClient(config, "exporters.test", EXPORT)
        await made.start()
        await made.call(b"")
        # Round robin begins with the first that is there.
        await asyncio.sleep(0.3)
        for _ in range(10):
            await made.call(b"")
        await made.shutdown()
    assert sum(bool(server.requests) for server in (one, other)) == used
    assert len(one.requests) + len(other.requests) == 11


async def test_a_socket_of_this_machine(tmp_path: Path) -> None:
    """An endpoint may be one; credentials may go there in the clear."""
    made = grpc.aio.server()
    took = []

    async def export(data: bytes, _context: Any) -> bytes:
        took.append(data)
        return b""

    service, _, name = EXPORT.strip("/").rpartition("/")
    handlers = {name: grpc.unary_unary_rpc_method_handler(export)}
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    made.add_insecure_port(f"unix:{tmp_path}/s")
    await made.start()
    await calling(f"unix:{tmp_path}/s", auth={"authenticator": "a"})
    await made.stop(None)
    assert took == [b""]


async def test_dead_servers_are_found() -> None:
    """A server that takes the connection and then says nothing is given up long before the call's own time is over."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with asyncio.timeout(30):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await calling(
                    f"127.0.0.1:{listening.getsockname()[1]}",
                    timeout="0s", keepalive={"time": "1s", "timeout": "200ms", "permit_without_stream": True},
                )  # fmt: skip
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
