"""One client connection, bounded in time and number.

aiohttp's protocol parses requests and closes idle connections. This subclass adds what it lacks: a deadline for
request heads that trickle in, one for clients that do not take their answers, a limit on open connections, quiet and
counted answers to garbage, and a call to whoever waits when the client goes away.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from headrace.pipeline.http.auth import ANONYMOUS, Peer, Principal
from headrace.pipeline.http.tls import certificate_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.pipeline.http.config import ServerConfig
    from headrace.pipeline.http.counts import HttpCounts

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n"
    b"Content-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n"
)
FOREVER_S = 365 * 24 * 3600.0
"""What a limit of 0 stands for."""

_READ_BUFFER_BYTES = 256 * 1024
"""Bytes of a body taken before the component reads on. Four times aiohttp's, for fewer wake-ups by large bodies."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the connections of one listener; seconds and bytes, see `ServerConfig`."""

    header_size: int
    connections: int
    read_header_s: float
    read_s: float
    write_s: float
    idle_s: float

    @classmethod
    def of(cls, config: ServerConfig) -> Bounds:
        """Take the limits from a configuration."""
        return cls(
            config.max_header_size,
            config.max_connections,
            config.read_header_timeout.total_seconds() or FOREVER_S,
            config.read_timeout.total_seconds() or FOREVER_S,
            config.write_timeout.total_seconds() or FOREVER_S,
            config.idle_timeout.total_seconds() or FOREVER_S,
        )


class Server(web.Server):
    """Makes connections, and knows those that are open.

    Args:
        handler: Answers a request.
        bounds: Limits.
        counts: Where refusals are counted.
    """

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], bounds: Bounds, counts: HttpCounts
    ) -> None:
        super().__init__(handler)
        self.bounds = bounds
        self.counts = counts
        self.open = 0
        """Connections that are served now."""

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return Connection(self)


class Connection(RequestHandler):
    """The server's side of a connection."""

    __slots__ = ("_answering", "_counted", "_deadline", "_gone", "_server", "_write_deadline", "peer", "principal")

    def __init__(self, server: Server) -> None:
        bounds = server.bounds
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=bounds.idle_s,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for no log
            max_line_size=bounds.header_size,
            max_field_size=bounds.header_size,
            read_bufsize=_READ_BUFFER_BYTES,
            lingering_time=min(bounds.read_s, 2.0),
            # Bodies are compressed with more than aiohttp knows, and their bombs are ours to refuse.
            auto_decompress=False,
        )
        self._server = server
        self._answering = False
        self._counted = False
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._gone: list[Callable[[], None]] = []
        self.peer = Peer("")
        """The other end, known once connected."""
        self.principal: Principal = ANONYMOUS
        """Who the client certificate names; anonymous without one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the connection, or turn it away where too many are open."""
        server = self._server
        if server.open >= server.bounds.connections:
            server.counts.refused("connections")
            stream = cast("asyncio.Transport", transport)
            stream.write(_BUSY)
            stream.close()
            return
        server.open += 1
        self._counted = True
        address = transport.get_extra_info("peername")
        subject = certificate_name(transport.get_extra_info("peercert"))
        self.peer = Peer(address[0] if isinstance(address, tuple) else "", subject)
        if subject is not None:
            self.principal = Principal(subject, "mtls")
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the place, and tell whoever waits."""
        if self._counted:
            self._counted = False
            self._server.open -= 1
        self._cancel_deadlines()
        for callback in self._gone:
            callback()
        self._gone.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request head has begun where none is being answered."""
        super().data_received(data)
        if not self._answering and self._deadline is None and data:
            self._expect_head()

    def begin(self) -> None:
        """Say that a whole request head has arrived."""
        self._answering = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def end(self) -> None:
        """Say that its answer is made."""
        self._answering = False
        self._gone.clear()

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Have `callback` called if the client goes away before the present request is answered."""
        self._gone.append(callback)

    def _expect_head(self) -> None:
        self._deadline = self._loop.call_later(self._server.bounds.read_header_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._deadline = None
        if not self._answering:
            self._server.counts.refused("header_timeout")
            self.force_close()

    def pause_writing(self) -> None:
        """Begin to wait for the client to take its answer."""
        super().pause_writing()
        self._write_deadline = self._loop.call_later(self._server.bounds.write_s, self._answer_is_stuck)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _answer_is_stuck(self) -> None:
        self._write_deadline = None
        self._server.counts.refused("write_timeout")
        if self.transport is not None:
            self.transport.abort()

    def _cancel_deadlines(self) -> None:
        for deadline in (self._deadline, self._write_deadline):
            if deadline is not None:
                deadline.cancel()
        self._deadline = self._write_deadline = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- aiohttp passes it; it may quote the request
    ) -> web.StreamResponse:
        """Answer what does not parse as HTTP; overrides aiohttp's way of logging each with a traceback."""
        if isinstance(exc, LineTooLong):
            status, text = 431, f"request line or header longer than {self._server.bounds.header_size} bytes"
        elif status == 400:
            text = "malformed HTTP request"
        else:
            self.logger.error("bug: request not answered", exc_info=exc)
            text = "internal error"
        self._server.counts.refused("malformed")
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        response: Any = web.Response(status=status, text=f"{text}\n")
        response.force_close()
        return cast("web.StreamResponse", response)
