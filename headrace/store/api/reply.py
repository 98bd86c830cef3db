"""What handlers of the HTTP API return, and how it is sent."""

from __future__ import annotations

import asyncio
import functools
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.http.request import Request

_GZIP_FROM_BYTES = 1024
_GZIP_ON_THREAD_FROM_BYTES = 32 * 1024


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
        gzip_level: 1 to 9; 0 for never.
    """
    response = web.Response(status=status_code, content_type="application/json")
    if gzip_level and len(body) >= _GZIP_FROM_BYTES:
        response.headers["Vary"] = "Accept-Encoding"
        if accepts_gzip(request.headers.get("Accept-Encoding", "")):
            response.headers["Content-Encoding"] = "gzip"
            pack = functools.partial(gzip.compress, body, gzip_level, mtime=0)
            body = await asyncio.to_thread(pack) if len(body) >= _GZIP_ON_THREAD_FROM_BYTES else pack()
    response.body = body
    return response


def accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip."""
    for item in header.lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() in {"gzip", "x-gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
