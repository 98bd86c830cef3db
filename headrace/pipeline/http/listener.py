"""One address that is listened on, with the routes of all components that name it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aiohttp import web

from headrace.pipeline.errors import ConfigError, InvalidInput, Refused, Rejected, TooLarge, Unsupported
from headrace.pipeline.http import guard
from headrace.pipeline.http.auth import Authenticator, Denied, Gate, Principal, Unauthenticated
from headrace.pipeline.http.connection import Bounds, Connection, Server
from headrace.pipeline.http.cors import Cors
from headrace.pipeline.http.counts import HttpCounts
from headrace.pipeline.http.form import parse_form
from headrace.pipeline.http.request import BodyBudget, BodyTimeout, Request, add_cors, json_bytes, text
from headrace.pipeline.http.routes import Mounted, RouteTable
from headrace.pipeline.http.tls import ServerTls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from multidict import CIMultiDictProxy

    from headrace.pipeline.counters import Counters
    from headrace.pipeline.http.config import ServerConfig

_log = logging.getLogger(__name__)

_FAMILIES = {"tcp": socket.AF_UNSPEC, "tcp4": socket.AF_INET, "tcp6": socket.AF_INET6}
_BACKLOG = 1024
"""Connections that wait to be taken."""

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})

CLIENT_CLOSED_REQUEST = 499
"""Counted when the client went away; nobody reads the answer."""


class Listener:
    """Serves the routes of `table` at one address.

    Args:
        config: Settings; those of several components, merged.
        owner: First component that named the address, for errors.
        authenticator: Who checks credentials; None where the settings name none.
        budget: Memory for request bodies, shared among listeners.
        counters: The daemon's registry.
        table: Its routes; none yet where it is left out.
    """

    def __init__(
        self,
        config: ServerConfig,
        owner: str,
        authenticator: Authenticator | None,
        budget: BodyBudget,
        counters: Counters,
        table: RouteTable | None = None,
    ) -> None:
        self.table = RouteTable() if table is None else table
        self.port = config.address.port
        """The port; once started, the one that the system gave where 0 was asked for."""
        self.tls: ServerTls | None = None
        self._owner = owner
        self._budget = budget
        self._counts = HttpCounts(counters, config.endpoint)
        self._server: Server | None = None
        self._listening: list[asyncio.Server] = []
        self._socket = 0
        self.configure(config, authenticator)

    def configure(self, config: ServerConfig, authenticator: Authenticator | None) -> None:
        """Take other settings; only before `start`."""
        self.config = config
        self._authenticator = authenticator
        self._gate: Gate | None = authenticator if isinstance(authenticator, Gate) else None
        self._bounds = Bounds.of(config)
        self._cors = Cors(config.cors) if config.cors else None
        # Checked for every request, so decided once.
        self._extra = {name: value.reveal() for name, value in config.response_headers.items()}
        self._query_names = config.auth.request_params if config.auth is not None else ()
        # A web page cannot reach a socket that is a file.
        self._checks_host = config.address.is_loopback and not config.authenticates and not config.address.path

    def reconfigure(self, config: ServerConfig, authenticator: Authenticator | None) -> None:
        """Take other settings while open, the same TLS among them: connections go on, and new requests obey them."""
        self.configure(config, authenticator)
        if self._server is not None:
            self._server.bounds = self._bounds

    def check(self) -> None:
        """Raise ConfigError where a certificate does not load."""
        if self.config.tls is not None:
            ServerTls(self.config.tls)

    @property
    def running(self) -> bool:
        """Whether the address is open."""
        return bool(self._listening)

    def sockets(self) -> list[socket.socket]:
        """Return duplicates of the sockets that are listened on, for a listener that takes this one's place.

        The file of a socket is the other listener's from now on: this one does not remove it.
        """
        self._socket = 0
        return [one.dup() for server in self._listening for one in server.sockets]

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the listener."""
        if self.config.address.path:
            return str(self.config.address)
        scheme = "https" if self.config.tls else "http"
        host = self.config.address.host or "127.0.0.1"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    async def start(self, inherited: Sequence[socket.socket] = ()) -> None:
        """Listen; do nothing where that is so already.

        Args:
            inherited: Sockets of the listener before, which may go on for a while; else the address is opened.

        Raises:
            ConfigError: The address is taken or not this machine's, or a certificate does not load.
        """
        if self._listening:
            return
        if self.config.tls is not None:
            self.tls = ServerTls(self.config.tls)
        self._server = server = Server(self._serve, self._bounds, self._counts)
        address = self.config.address
        try:
            self._listening = [await self._listen(server, sock=one) for one in inherited] or [await self._open(server)]
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigError(f"{self._owner}.endpoint", f"cannot listen on {self.config.endpoint}: {why}") from None
        if address.path:
            self._socket = _inode(address.path)
        else:
            self.port = self._listening[0].sockets[0].getsockname()[1]

    async def _open(self, server: Server) -> asyncio.Server:
        address = self.config.address
        if address.path:
            return await self._listen(server, path=address.path)
        family = _FAMILIES[self.config.transport]
        return await self._listen(
            server, host=address.host or None, port=address.port, family=family, reuse_address=True
        )

    async def _listen(self, server: Server, **where: Any) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        is_file = bool(self.config.address.path)
        if is_file and sys.version_info >= (3, 13):
            where["cleanup_socket"] = False  # it may be another listener's by then
        return await (loop.create_unix_server if is_file else loop.create_server)(
            server,
            ssl=self.tls.context if self.tls else None,
            ssl_handshake_timeout=self._bounds.read_header_s if self.tls else None,
            backlog=_BACKLOG,
            **where,
        )

    def close(self) -> None:
        """Take no new connections; those that are open go on until `shutdown`."""
        for one in self._listening:
            one.close()

    async def shutdown(self, grace_s: float) -> None:
        """Take no new connections, let requests under way finish for `grace_s` seconds, then cut the rest."""
        if not self._listening or self._server is None:
            return
        self.close()
        self._server.pre_shutdown()
        await self._server.shutdown(max(grace_s, 0.01))  # to aiohttp, 0 means for ever
        self._listening, self._server = [], None
        self._unlink()

    def _unlink(self) -> None:
        """Remove the socket's file, where it is still this listener's."""
        path = self.config.address.path
        if path and _inode(path) == self._socket:
            Path(path).unlink()

    async def _serve(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; everything raised below becomes an answer here."""
        connection: Connection = raw.protocol  # type: ignore[assignment]  # `Server` makes nothing else
        connection.begin()
        path = raw.raw_path.partition("?")[0]
        if not path.startswith("/"):  # the form that proxies are sent: GET http://host/path
            path = raw.rel_url.raw_path
        mounted, params = self.table.find(path) or (None, _NO_PARAMS)
        owner = mounted.owner if mounted else ""
        limit = mounted.max_body_bytes if mounted else self.config.max_request_body_size
        request = Request(raw, path, params, connection.principal, self._budget, limit, self._bounds.read_s)
        if self._cors is not None:
            request.cors_headers = self._cors.headers(raw.headers.get("Origin"))
        status = CLIENT_CLOSED_REQUEST
        try:
            response = await self._answer(request, connection, mounted)
            status = response.status
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 -- the edge: whatever a handler raises is an answer and a count
            response = self._explain(error, path)
            status = response.status
        finally:
            connection.end()
            self._counts.answered(owner, status)
            request.finish(status)
        if not response.prepared:
            add_cors(response, request)
            response.headers.update(self._extra)
            if not self.config.keep_alives_enabled:
                response.force_close()
        return response

    async def _answer(self, request: Request, connection: Connection, mounted: Mounted | None) -> web.StreamResponse:
        if self._cors is not None and self._cors.asks(request.headers, request.method):
            return self._tell_allowed(request, self._cors)
        request.principal = await self._admit(request, connection, mounted)
        if mounted is None:
            return text("404 page not found", 404)
        if request.method not in mounted.route.methods:
            return _other_method(request.method, mounted)
        return await mounted.route.handler(request)

    async def _admit(self, request: Request, connection: Connection, mounted: Mounted | None) -> Principal:
        """Return who sends the request, or raise `Unauthenticated`, `Denied` or `_Turned`."""
        headers = request.headers
        self._check_host(headers)
        if self._cors is None or not self._cors.allows(headers.get("Origin")):
            why = guard.foreign_origin(headers)
            if why:
                raise _Turned("foreign_origin", why)
        if self._authenticator is None or (mounted is not None and mounted.route.open_to_all):
            return connection.principal
        if self._gate is not None:
            return await self._gate.admit(request, mounted.route.action if mounted is not None else None)
        if self._query_names:
            return await self._authenticator.authenticate(self._with_query(request), connection.peer)
        return await self._authenticator.authenticate(headers, connection.peer)

    def _with_query(self, request: Request) -> Mapping[str, str]:
        """Return the headers of a request and the parameters of its query string that the settings name."""
        query = parse_form(request.query_string)
        found = {name.lower(): query.get(name) for name in self._query_names if query.all(name)}
        return {**{name.lower(): value for name, value in request.headers.items()}, **found}

    def _tell_allowed(self, request: Request, cors: Cors) -> web.StreamResponse:
        """Answer a browser that asks whether a page may send a request; it does so without credentials."""
        self._check_host(request.headers)
        request.cors_headers = cors.headers(request.headers.get("Origin"), asked=True)
        return web.Response(status=204)

    def _check_host(self, headers: CIMultiDictProxy[str]) -> None:
        why = guard.foreign_host(headers) if self._checks_host else ""
        if why:
            raise _Turned("foreign_host", why)

    def _explain(self, error: Exception, path: str) -> web.Response:
        if isinstance(error, _Turned):
            self._counts.refused(error.reason)
            return text(str(error), 403)
        if isinstance(error, Denied):
            self._counts.refused(error.reason)
            response = json_bytes(error.body, error.status)
            response.headers.update(error.headers)
            return response
        if isinstance(error, Unauthenticated):
            self._counts.refused("unauthenticated")
            headers = {"WWW-Authenticate": error.challenge} if error.challenge else {}
            return text(error.why, 401, headers)
        answer = answer_error(error)
        if answer is None:
            _log.error("bug: %s failed", path, exc_info=error)
            return text("internal error", 500)
        if isinstance(error, TooLarge | BodyTimeout):
            self._counts.refused("too_large" if isinstance(error, TooLarge) else "body_timeout")
            answer.force_close()  # what is left of the body is not worth reading
        return answer


def _inode(path: str) -> int:
    """Return which file a path leads to, 0 for none."""
    with contextlib.suppress(FileNotFoundError):
        return Path(path).stat().st_ino
    return 0


def answer_error(error: Exception) -> web.Response | None:
    """Return the plain-text answer to a deliberate error; None where `error` is none that a sender causes."""
    if isinstance(error, Refused):
        return text(error.why, 503, _retry_after(error))
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return text(str(error), status)
    return None


_STATUS: dict[type[Exception], int] = {
    TooLarge: 413,
    Unsupported: 415,
    BodyTimeout: 408,
    InvalidInput: 400,
    Rejected: 400,
}


class _Turned(Exception):  # noqa: N818 -- named for the condition
    """The request comes from where none may come."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


def _retry_after(error: Refused) -> Mapping[str, str]:
    return {"Retry-After": str(max(1, round(error.retry_after)))}


def _other_method(method: str, mounted: Mounted) -> web.Response:
    if method == "OPTIONS":
        response = text("", 204, {"Allow": mounted.allow})
        response.body = None
        return response
    return text("Method Not Allowed", 405, {"Allow": mounted.allow})
