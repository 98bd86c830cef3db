"""Decompression of request bodies that stops at a limit, whatever the sender packed.

Source:
    RFC 1950 (zlib, which HTTP calls deflate), RFC 1952 (gzip), RFC 8878 (Zstandard).
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput, TooLarge, Unsupported

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

_ZLIB_BITS = 15
_GZIP_BITS = 31
_WINDOW_LOG = 23
"""Most memory of a Zstandard window, 8 MiB: what RFC 8878 asks decoders to take."""


def decompress(data: bytes, encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding.

    Args:
        data: The body as sent.
        encoding: ``gzip``, ``zstd``, ``deflate`` (or ``zlib``), ``identity`` or nothing.
        limit: Most bytes to decompress to.

    Raises:
        Unsupported: The encoding is another one.
        TooLarge: There would be more bytes; found before they are made.
        InvalidInput: It does not decompress.
    """
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return data
    undo = _BY_ENCODING.get(encoding)
    if undo is None:
        raise Unsupported(f"Content-Encoding {encoding[:100]!r} is not supported: gzip, zstd, deflate and identity are")
    out = undo(data, limit)
    if len(out) > limit:
        raise TooLarge("decompressed body", len(out), limit)
    return out


def _inflate(data: bytes, limit: int, bits: int, name: str) -> bytes:
    pieces: list[bytes] = []
    room = limit + 1
    while data and room > 0:
        # A gzip body may be several members, one after the other.
        member = zlib.decompressobj(bits)
        try:
            piece = member.decompress(data, room)
        except zlib.error as error:
            raise InvalidInput(f"{name}: corrupt input: {error}") from None
        pieces.append(piece)
        room -= len(piece)
        if not member.eof and room > 0:
            raise InvalidInput(f"{name}: corrupt input: it ends too early")
        data = member.unused_data
    if not pieces:
        raise InvalidInput(f"{name}: corrupt input: it is empty")
    return b"".join(pieces)


def _gunzip(data: bytes, limit: int) -> bytes:
    return _inflate(data, limit, _GZIP_BITS, "gzip")


def _unzlib(data: bytes, limit: int) -> bytes:
    return _inflate(data, limit, _ZLIB_BITS, "deflate")


def _unzstd(data: bytes, limit: int) -> bytes:
    pieces: list[bytes] = []
    room = limit + 1
    while data and room > 0:
        frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
        try:
            piece = frame.decompress(data, room)
        except zstd.ZstdError as error:
            raise InvalidInput(f"zstd: corrupt input: {error}") from None
        pieces.append(piece)
        room -= len(piece)
        if not frame.eof and room > 0:
            raise InvalidInput("zstd: corrupt input: it ends too early")
        data = frame.unused_data
    if not pieces:
        raise InvalidInput("zstd: corrupt input: it is empty")
    return b"".join(pieces)


_BY_ENCODING: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "zstd": _unzstd,
    "deflate": _unzlib,
    "zlib": _unzlib,
}
