"""A proxy that signs: takes plain HTTP on loopback, signs it with Signature Version 4 and forwards it.

For senders that do not sign by themselves. The flags are those of AWS' own signing proxy. Whoever reaches the proxy
acts with its credentials, so it listens on loopback addresses only, and web pages are kept out.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http import guard
from headrace.pipeline.http.endpoint import Endpoint
from headrace.pipeline.sigv4.sign import Credentials, Signer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_log = logging.getLogger("headrace.sigv4_proxy")

_MAX_BODY_BYTES = 64 << 20
_CONNECT_S = 10.0
_PIECE_BYTES = 64 * 1024
_LOGGED_BYTES = 2048

# RFC 9110 section 7.6.1: they speak of one connection, and end here.
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
     "upgrade", "proxy-connection")
)  # fmt: skip
_REPLACED = frozenset(("host", "content-length", "authorization", "x-amz-date", "x-amz-security-token", "expect"))
_SIGNED = ("content-type", "content-encoding", "x-prometheus-remote-write-version")


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """Settings of the proxy.

    Attributes:
        listen: Loopback address.
        host: Host and port to forward to.
        scheme: ``http`` or ``https``, towards `host`.
        region: To sign for.
        service: To sign for.
        sign_host: Host to sign and send as Host header; empty for `host`.
        strip: Headers that are not forwarded, lower case.
        log_failed_requests: Log the answers of 400 and above, with the beginning of their body.
        log_signing_process: Log for each request what is signed; no secret is in it.
    """

    listen: Endpoint
    host: str
    scheme: str
    region: str
    service: str = "aps"
    sign_host: str = ""
    strip: frozenset[str] = frozenset()
    log_failed_requests: bool = False
    log_signing_process: bool = False


class SigningProxy:
    """Serves until it is closed.

    Args:
        options: Settings.
        credentials: Gives the present credentials.
    """

    def __init__(self, options: ProxyOptions, credentials: Callable[[], Credentials]) -> None:
        if not options.listen.is_loopback:
            why = f"{options.listen} can be reached from other machines, whose requests would be signed as well"
            raise ConfigError("--port", f"{why}: listen on a loopback address")
        self._options = options
        self._credentials = credentials
        self._signer = Signer(options.region, options.service)
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None
        self.port = options.listen.port
        """The port; once started, the one that the system gave where 0 was asked for."""

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: The address is taken.
        """
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=300),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        server = web.Server(self._answer, access_log=None, auto_decompress=False)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._options.listen.host or "127.0.0.1", self._options.listen.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError("--port", f"cannot listen on {self._options.listen}: {error.strerror}") from None
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop; safe before `start` and twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        why = guard.foreign_host(request.headers) or guard.foreign_origin(request.headers)
        if why:
            return web.Response(status=403, text=f"{why}\n")
        if request.path == "/health":
            return web.Response(text="OK\n")
        if (request.content_length or 0) > _MAX_BODY_BYTES:
            return web.Response(status=413, text=f"request body passes the limit of {_MAX_BODY_BYTES} bytes\n")
        body = b"".join([piece async for piece in _bounded(request)])
        if len(body) > _MAX_BODY_BYTES:
            return web.Response(status=413, text=f"request body passes the limit of {_MAX_BODY_BYTES} bytes\n")
        try:
            return await self._forward(request, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.warning("%s %s: %s", request.method, request.path, error)
            return web.Response(status=502, text=f"{self._options.host} cannot be reached: {error}\n")

    async def _forward(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if self._session is None:
            raise AssertionError("bug: a request before start")
        options = self._options
        raw = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs
        url = URL(f"{options.scheme}://{options.host}{raw}", encoded=True)
        headers = self._headers(request, raw, body)
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            if options.log_failed_requests and answer.status >= 400:
                data = await answer.content.read(_LOGGED_BYTES)
                text = data.decode("utf-8", "replace")
                _log.warning("%s %s: %d %s", request.method, raw, answer.status, text)
                return _whole(answer, data + await answer.content.read())
            return await _relay(request, answer)

    def _headers(self, request: web.BaseRequest, raw: str, body: bytes) -> CIMultiDict[str]:
        options = self._options
        named = {name.strip().lower() for name in request.headers.get("Connection", "").split(",")}
        left_out = _HOP_BY_HOP | _REPLACED | options.strip | named
        kept = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in left_out)
        kept["Host"] = options.sign_host or options.host
        path, _, query = raw.partition("?")
        signed = {name: kept[name] for name in _SIGNED if name in kept}
        signed["host"] = kept["Host"]
        now = datetime.now(UTC)
        added = self._signer.sign(request.method, path, query, signed, body, self._credentials(), now)
        if options.log_signing_process:
            scope = added["Authorization"].partition(", Signature=")[0]
            _log.info("%s %s?%s with %d bytes: %s", request.method, path, query, len(body), scope)
        kept.update(added)
        return kept


async def _bounded(request: web.BaseRequest) -> AsyncIterator[bytes]:
    total = 0
    async for piece in request.content.iter_any():
        total += len(piece)
        yield piece
        if total > _MAX_BODY_BYTES:
            return


def _kept(answer: aiohttp.ClientResponse) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP)


def _whole(answer: aiohttp.ClientResponse, body: bytes) -> web.Response:
    headers = _kept(answer)
    headers.popall("Content-Length", None)
    return web.Response(status=answer.status, headers=headers, body=body)


async def _relay(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_kept(answer))
    await response.prepare(request)
    async for piece in answer.content.iter_chunked(_PIECE_BYTES):
        await response.write(piece)
    await response.write_eof()
    return response


def parse_port(text: str) -> Endpoint:
    """Return where to listen: ``8000``, ``:8000`` (both on loopback) or ``127.0.0.1:8000``.

    Raises:
        ConfigError: It is none of these.
    """
    try:
        return Endpoint.parse(
            f"127.0.0.1:{text.removeprefix(':')}" if text.count(":") <= text.startswith(":") else text
        )
    except ValueError as error:
        raise ConfigError("--port", str(error)) from None


async def serve(options: ProxyOptions, credentials: Callable[[], Credentials], say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigError: The address is taken, or not a loopback one.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop.set)
    proxy = SigningProxy(options, credentials)
    try:
        await proxy.start()
        where = f"{options.scheme}://{options.host}"
        say(f"signing for {options.service} in {options.region}: http://127.0.0.1:{proxy.port} -> {where}")
        await stop.wait()
    finally:
        await proxy.close()
