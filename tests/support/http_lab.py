"""HTTP listeners on loopback, and raw clients for them; the fixture is ``lab``."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.request import Request, text
from headrace.pipeline.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from headrace.pipeline.http.auth import Authenticator
    from headrace.pipeline.http.listener import Listener

CLOSE = b"Host: localhost\r\nConnection: close\r\n"
"""Headers of a request that is alone on its connection."""


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


def body(reply: bytes) -> bytes:
    return reply.partition(b"\r\n\r\n")[2]


def no_extensions(extension_id: str, asked_by: str) -> Authenticator:
    raise ConfigError(asked_by, f"extension {extension_id!r} is not in service.extensions (there: none)")


async def say_who(request: Request) -> web.StreamResponse:
    return text(f"{request.principal.source}:{request.principal.name}")


async def measure_body(request: Request) -> web.StreamResponse:
    return text(str(len(await request.body())))


ROUTES = (Route("/who", ("GET",), say_who), Route("/size", ("POST",), measure_body))


class Lab:
    """Listeners of one test, closed after it."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.authenticators: dict[str, Authenticator] = {}
        self.listeners = self.make()

    def make(self, **options: Any) -> Listeners:
        def find(extension_id: str, asked_by: str) -> Authenticator:
            found = self.authenticators.get(extension_id)
            return found or no_extensions(extension_id, asked_by)

        self.listeners = Listeners(self.counters, find, **options)
        return self.listeners

    async def serve(self, routes: tuple[Route, ...] = ROUTES, **settings: Any) -> Listener:
        config = ServerConfig(**{"endpoint": "127.0.0.1:0", **settings})
        listener = self.listeners.add(config, routes, "receivers.test")
        await self.listeners.start()
        return listener

    def refusals(self, reason: str) -> float:
        return self.counters.value("headrace_http_refusals", {"reason": reason})

    @asynccontextmanager
    async def connect(self, listener: Listener) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def talk(self, listener: Listener, request: bytes) -> bytes:
        """Send bytes, half-close nothing, and return what comes until the server closes."""
        async with self.connect(listener) as (reader, writer):
            writer.write(request)
            return await asyncio.wait_for(reader.read(), 10)
