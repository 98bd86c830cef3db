"""What a handler sees of a request, and short ways to answer it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http import HttpVersion11

from headrace.pipeline.errors import InvalidInput, Refused, TooLarge
from headrace.pipeline.http.form import Form, parse_form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from multidict import CIMultiDictProxy

    from headrace.pipeline.http.auth import Peer, Principal
    from headrace.pipeline.http.connection import Connection

_FORM_BYTES = 10 << 20
"""Bytes that a posted form may have; Prometheus' limit as well."""


class BodyTimeout(InvalidInput):
    """The client took too long to send its body; the answer is 408."""


class BodyBudget:
    """Bytes of request bodies that may be held in memory at the same time, over all listeners.

    Args:
        limit: The bytes.
    """

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def take(self, size: int) -> None:
        """Count `size` bytes that have arrived.

        Raises:
            Refused: There are too many.
        """
        if self.held + size > self.limit:
            raise Refused(f"request bodies in memory would pass {self.limit} bytes")
        self.held += size

    def give_back(self, size: int) -> None:
        """Count `size` bytes that are no longer needed."""
        self.held -= size


class Request:
    """One request.

    Attributes:
        method: Upper case.
        path: Path as sent, percent-encoded.
        params: Values of the ``{name}`` parts of the route's pattern, decoded. Bytes that are not UTF-8 are
            surrogates, as by ``surrogateescape``.
        principal: Who sent it.
        failure: Name and text of the error it is answered with, where the handler tells; for those who wait
            `on_answer`.
        max_body_bytes: What `body` takes.
        cors_headers: Headers that `add_cors` adds.
    """

    __slots__ = (
        "_answered",
        "_body",
        "_budget",
        "_held",
        "_raw",
        "_read_s",
        "cors_headers",
        "failure",
        "max_body_bytes",
        "method",
        "params",
        "path",
        "principal",
    )

    def __init__(
        self,
        raw: web.BaseRequest,
        path: str,
        params: Mapping[str, str],
        principal: Principal,
        budget: BodyBudget,
        max_body_bytes: int,
        read_s: float,
    ) -> None:
        self._raw = raw
        self._budget = budget
        self._held = 0
        self._body: bytes | None = None
        self._answered: list[Callable[[int], None]] = []
        self._read_s = read_s
        self.failure: tuple[str, str] | None = None
        self.cors_headers: Mapping[str, str] = {}
        self.method = raw.method
        self.path = path
        self.params = params
        self.principal = principal
        self.max_body_bytes = max_body_bytes

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """Headers; names in any case."""
        return self._raw.headers

    @property
    def query_string(self) -> str:
        """What follows the question mark, as sent."""
        return self._raw.raw_path.partition("?")[2]

    @property
    def peer(self) -> Peer:
        """The other end of the connection."""
        return self._connection.peer

    @property
    def raw(self) -> web.BaseRequest:
        """The request as aiohttp has it, for streamed answers (``await response.prepare(request.raw)``)."""
        return self._raw

    @property
    def _connection(self) -> Connection:
        return self._raw.protocol  # type: ignore[return-value]  # `Server` makes nothing else

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Have `callback` called if the client goes away before it is answered."""
        self._connection.on_disconnect(callback)

    def on_answer(self, callback: Callable[[int], None]) -> None:
        """Have `callback` called with the HTTP status once the answer is made, 499 where the client went away."""
        self._answered.append(callback)

    async def body(self) -> bytes:
        """Read the body, still compressed as its Content-Encoding says. A second call returns the same bytes.

        Raises:
            TooLarge: It is longer than `max_body_bytes`; found from Content-Length before anything is read.
            BodyTimeout: It does not arrive in time.
            Refused: Too many bodies are in memory.
            ConnectionError: The client went away.
        """
        if self._body is None:
            self._body = await self._read()
        return self._body

    @property
    def body_read(self) -> bytes | None:
        """The body if it was read, until the request is finished; for those who wait `on_answer`."""
        return self._body

    async def _read(self) -> bytes:
        raw = self._raw
        length = raw.content_length
        if length is not None and length > self.max_body_bytes:
            raise TooLarge("request body", length, self.max_body_bytes)
        await self._continue()
        content = raw.content
        if content.is_eof():  # whole in memory: most bodies are
            data: bytes = content.read_nowait()
            self._hold(len(data), len(data))
            return data
        try:
            async with asyncio.timeout(self._read_s):
                return await self._read_pieces()
        except TimeoutError:
            raise BodyTimeout(f"the request body did not arrive within {self._read_s:g} s") from None

    async def _read_pieces(self) -> bytes:
        pieces = []
        total = 0
        while piece := await self._raw.content.readany():
            pieces.append(piece)
            total += len(piece)
            self._hold(len(piece), total)
        return b"".join(pieces)

    def _hold(self, size: int, total: int) -> None:
        if total > self.max_body_bytes:
            raise TooLarge("request body", total, self.max_body_bytes)
        self._budget.take(size)
        self._held += size

    async def _continue(self) -> None:
        """Tell a client that asked (``Expect: 100-continue``) to send its body."""
        raw = self._raw
        if raw.headers.get("Expect", "").lower() == "100-continue" and raw.version == HttpVersion11:
            await raw.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            raw.writer.output_size = 0  # of the answer proper, nothing is sent yet

    async def form(self) -> Form:
        """Return the parameters of the query string and of a posted form, those of the form first."""
        fields = parse_form(self.query_string)
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if self.method not in {"POST", "PUT", "PATCH"} or kind != "application/x-www-form-urlencoded":
            return fields
        self.max_body_bytes = min(self.max_body_bytes, _FORM_BYTES)
        posted = parse_form((await self.body()).decode("utf-8", "surrogateescape"))
        return Form(posted.pairs + fields.pairs, posted.error or fields.error)

    def finish(self, status: int) -> None:
        """Give the memory of the body back, and tell who waits; the listener calls it once the answer is made."""
        for callback in self._answered:
            callback(status)
        self._budget.give_back(self._held)
        self._held = 0
        self._body = None


def add_cors(response: web.StreamResponse, request: Request) -> None:
    """Add what tells a browser who may read an answer that is not under way yet.

    The listener calls it for answers that handlers return; those that send while they write call it themselves.
    """
    if request.cors_headers:
        vary = response.headers.get("Vary")
        response.headers.update(request.cors_headers)
        if vary is not None and vary != "Origin":
            response.headers["Vary"] = f"Origin, {vary}"


def text(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with plain text; a line end is added."""
    response = web.Response(status=status, text=f"{body}\n", headers=headers)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def json_bytes(body: bytes, status: int = 200) -> web.Response:
    """Answer with JSON that is encoded already."""
    return web.Response(status=status, body=body, content_type="application/json")
