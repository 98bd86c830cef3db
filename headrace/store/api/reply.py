"""What handlers of the HTTP API return, and how it is sent: at once or, where it is long, piece by piece."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http import HttpVersion11

from headrace.pipeline.http.request import add_cors
from headrace.store.api.envelope import notes, success
from headrace.store.api.errors import STATUS
from headrace.store.api.packing import Packer, chosen, pack, packer_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from headrace.pipeline.http.request import Request
    from headrace.store.api.json_writer import Piece
    from headrace.store.api.result_cache import Bodies

_log = logging.getLogger(__name__)

_PACKED_FROM_BYTES = 1024
_PACKED_ON_THREAD_FROM_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers.

    Attributes:
        data: JSON, or its beginning where it is long; 204 without any.
        warnings: Annotations.
        infos: Lesser annotations.
        rest: What goes on where `data` stops; made while it is sent.
        end: What follows that.
        bodies: The whole answer as it was sent before, or where it is to be kept for the next time.
    """

    data: bytes = b""
    warnings: Sequence[str] = ()
    infos: Sequence[str] = ()
    rest: Iterator[Piece] | None = None
    end: bytes = b""
    bodies: Bodies | None = None


async def send(request: Request, reply: Reply, level: int) -> web.StreamResponse:
    """Answer a request with what its handler returned; see `respond`."""
    if reply.rest is not None:
        return await _stream(request, reply, level)
    body = success(reply.data + reply.end, reply.warnings, reply.infos) if reply.data else b""
    if reply.bodies is not None:
        return await _respond_with(request, reply.bodies, body, level)
    return await respond(request, body, 200, level) if body else web.Response(status=204)


async def respond(request: Request, body: bytes, status_code: int, level: int) -> web.Response:
    """Answer with JSON, packed where the client takes that.

    Args:
        request: The request.
        body: Envelope and all.
        status_code: HTTP status.
        level: 1 to 9 to pack with gzip or zstd; 0 for never.
    """
    response = web.Response(status=status_code, content_type="application/json")
    coding = _negotiated(request, response) if level and len(body) >= _PACKED_FROM_BYTES else ""
    response.body = await _pack(body, coding, level)
    return response


async def _respond_with(request: Request, bodies: Bodies, body: bytes, level: int) -> web.Response:
    """Answer with what is kept, or with `body`, and keep what was missing."""
    response = web.Response(content_type="application/json")
    plain = body or bodies.find("") or b""
    coding = _negotiated(request, response) if level and len(plain) >= _PACKED_FROM_BYTES else ""
    packed = None if body else bodies.find(coding)
    if packed is None:
        packed = await _pack(plain, coding, level)
        bodies.keep("", plain)
        bodies.keep(coding, packed)
    response.body = packed
    return response


async def _pack(body: bytes, coding: str, level: int) -> bytes:
    """Compress an answer, on a thread where that takes long."""
    if not coding:
        return body
    if len(body) < _PACKED_ON_THREAD_FROM_BYTES:
        return pack(body, coding, level)
    return await asyncio.to_thread(pack, body, coding, level)


def _negotiated(request: Request, response: web.StreamResponse) -> str:
    """Choose a coding, and tell of it in the headers."""
    response.headers["Vary"] = "Accept-Encoding"
    coding = chosen(request.headers.get("Accept-Encoding", ""))
    if coding:
        response.headers["Content-Encoding"] = coding
    return coding


async def _stream(request: Request, reply: Reply, level: int) -> web.StreamResponse:
    """Send a long answer; each piece is made and packed on a thread while the client takes the one before."""
    response = web.StreamResponse()
    response.content_type = "application/json"
    coding = _negotiated(request, response) if level else ""
    if request.raw.version >= HttpVersion11:
        response.enable_chunked_encoding()
    add_cors(response, request)
    await response.prepare(request.raw)
    pieces = _packed(reply, packer_of(coding, level))
    try:
        while request.method != "HEAD" and (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            if len(piece):
                await response.write(piece)
    except ConnectionError:
        pieces.close()
        return web.Response(status=STATUS["canceled"])  # to be counted; it reaches nobody
    except Exception:  # noqa: BLE001 -- the edge: whatever a writer raises ends the answer
        # The status is sent: all that is left to say is that the answer is not whole.
        _log.exception("bug: an answer broke off")
        if request.raw.transport is not None:
            request.raw.transport.abort()
        return web.Response(status=STATUS["internal"])
    return response


def _packed(reply: Reply, packer: Packer) -> Generator[Piece]:
    for piece in _whole(reply):
        yield packer.compress(piece)
    yield packer.flush()


def _whole(reply: Reply) -> Iterator[Piece]:
    """Yield the envelope around an answer that is made piece by piece."""
    yield b'{"status":"success","data":' + reply.data
    yield from reply.rest or ()
    yield reply.end + notes(reply.warnings, reply.infos) + b"}"
