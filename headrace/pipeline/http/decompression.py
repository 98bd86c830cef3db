"""Decompression of request bodies that stops at a limit, whatever the sender packed.

Source:
    RFC 1950 (zlib, which HTTP calls deflate), RFC 1952 (gzip), RFC 8878 (Zstandard); snappy's
    ``format_description.txt`` and ``framing_format.txt``; LZ4 frame format 1.6.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Protocol

import cramjam

from headrace.pipeline.errors import InvalidInput, TooLarge, Unsupported
from headrace.pipeline.http.inflate import GZIP_BITS, ZLIB_BITS, Corrupt, inflater

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

ALGORITHMS: Final = ("gzip", "zstd", "zlib", "snappy", "deflate", "lz4", "x-snappy-framed")
"""What can be undone."""

_LZ4_RATIO = 255
"""How many times longer than its input what LZ4 makes can be."""

_FRAME_STREAM, _FRAME_COMPRESSED, _FRAME_PLAIN = 0xFF, 0x00, 0x01
_FRAME_SKIPPABLE = 0x80
_CHECKSUM = 4

_WINDOW_LOG = 23
"""Most memory of a Zstandard window, 8 MiB: what RFC 8878 asks decoders to take."""


class _Decompressor(Protocol):
    """What zlib and Zstandard have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def unused_data(self) -> bytes:
        """What follows it."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return so many bytes of it at most."""


_PARTS = 1000
"""Members of a gzip or frames of a zstd body; empty ones cost time and take next to nothing to send."""


def decompress(data: bytes, encoding: str, limit: int, allowed: Collection[str] = ALGORITHMS) -> bytes:
    """Undo a Content-Encoding.

    Args:
        data: The body as sent.
        encoding: One of ALGORITHMS, ``identity`` or nothing.
        limit: Most bytes to decompress to.
        allowed: Which of ALGORITHMS are taken.

    Raises:
        Unsupported: The encoding is another one.
        TooLarge: There would be more bytes; found before they are made.
        InvalidInput: It does not decompress.
    """
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return data
    undo = _BY_ENCODING.get(encoding)
    if undo is None or encoding not in allowed:
        known = ", ".join(name for name in ALGORITHMS if name in allowed) or "none but identity"
        raise Unsupported(f"Content-Encoding {encoding[:100]!r} is not supported; taken are: {known}")
    out = undo(data, limit)
    if len(out) > limit:
        raise TooLarge("decompressed body", len(out), limit)
    return out


def _gunzip(data: bytes, limit: int) -> bytes:
    return _undo(data, limit, "gzip", lambda: inflater(GZIP_BITS), Corrupt)


def _unzlib(data: bytes, limit: int) -> bytes:
    return _undo(data, limit, "deflate", lambda: inflater(ZLIB_BITS), Corrupt)


def _unzstd(data: bytes, limit: int) -> bytes:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    return _undo(data, limit, "zstd", lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError)


def _undo(data: bytes, limit: int, name: str, begin: Callable[[], _Decompressor], corrupt: type[Exception]) -> bytes:
    """Undo a compression whose bodies may be several streams, one after the other; at most one byte past `limit`."""
    pieces: list[bytes] = []
    room = limit + 1
    while data and room > 0:
        if len(pieces) == _PARTS:
            raise InvalidInput(f"{name}: more than {_PARTS} streams in one body")
        part = begin()
        try:
            piece = part.decompress(data, room)
        except corrupt as error:
            raise InvalidInput(f"{name}: corrupt input: {error}") from None
        pieces.append(piece)
        room -= len(piece)
        if not part.eof and room > 0:
            raise InvalidInput(f"{name}: corrupt input: it ends too early")
        data = part.unused_data
    if not pieces:
        raise InvalidInput(f"{name}: corrupt input: it is empty")
    return b"".join(pieces)


def _unsnappy(data: bytes, limit: int) -> bytes:
    try:
        size = cramjam.snappy.decompress_raw_len(data)
        if size > limit:
            raise TooLarge("decompressed body", size, limit)
        return bytes(cramjam.snappy.decompress_raw(data))
    except cramjam.DecompressionError as error:
        raise InvalidInput(f"snappy: corrupt input: {error}") from None


def _unframe(data: bytes, limit: int) -> bytes:
    """Undo snappy's framing; checksums are left to the transport."""
    pieces: list[bytes] = []
    room = limit
    at = 0
    while at < len(data):
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "little")
        body = data[at + 4 : at + 4 + size]
        at += 4 + size
        if len(body) < size or (kind in {_FRAME_COMPRESSED, _FRAME_PLAIN} and size < _CHECKSUM):
            raise InvalidInput("snappy: corrupt input: it ends too early")
        if kind == _FRAME_COMPRESSED:
            pieces.append(_unsnappy(body[_CHECKSUM:], room))
            room -= len(pieces[-1])
        elif kind == _FRAME_PLAIN:
            pieces.append(body[_CHECKSUM:])
            room -= len(pieces[-1])
        elif kind < _FRAME_SKIPPABLE:
            raise InvalidInput(f"snappy: corrupt input: a chunk of the unknown kind {kind}")
        if room < 0:
            raise TooLarge("decompressed body", limit - room, limit)
    return b"".join(pieces)


def _unlz4(data: bytes, limit: int) -> bytes:
    out = bytearray(min(limit, _LZ4_RATIO * len(data)) + 1)
    try:
        size: int = cramjam.lz4.decompress_into(data, out)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise TooLarge("decompressed body", len(out), limit) from None
        raise InvalidInput(f"lz4: corrupt input: {error}") from None
    return bytes(out[:size])


_BY_ENCODING: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "zstd": _unzstd,
    "deflate": _unzlib,
    "zlib": _unzlib,
    "snappy": _unsnappy,
    "x-snappy-framed": _unframe,
    "lz4": _unlz4,
}
