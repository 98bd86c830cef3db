"""What handlers of the HTTP API return, and how it is sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from headrace.store.api.packing import chosen, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.http.request import Request

_PACKED_FROM_BYTES = 1024
_ON_THREAD_FROM_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers: JSON data with its annotations; 204 without data."""

    data: bytes = b""
    warnings: Sequence[str] = ()
    infos: Sequence[str] = ()


async def respond(request: Request, body: bytes, status_code: int, gzip_level: int) -> web.Response:
    """Answer with JSON, packed where the client takes that.

    Args:
        request: The request.
        body: Envelope and all.
        status_code: HTTP status.
        gzip_level: 1 to 9, also where the coding is another one; 0 for none at all.
    """
    response = web.Response(status=status_code, content_type="application/json")
    if gzip_level and len(body) >= _PACKED_FROM_BYTES:
        response.headers["Vary"] = "Accept-Encoding"
        coding = chosen(request.headers.get("Accept-Encoding", ""))
        if coding:
            response.headers["Content-Encoding"] = coding
            large = len(body) >= _ON_THREAD_FROM_BYTES
            body = await asyncio.to_thread(pack, body, coding, gzip_level) if large else pack(body, coding, gzip_level)
    response.body = body
    return response
