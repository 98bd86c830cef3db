"""Decompression of request bodies that stops at a limit, whatever the sender packed.

Source:
    RFC 1950 (zlib, which HTTP calls deflate), RFC 1952 (gzip), RFC 8878 (Zstandard); snappy's
    ``format_description.txt`` and ``framing_format.txt``; LZ4 frame format 1.6.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

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


def _inflate(data: bytes, limit: int, bits: int, name: str) -> bytes:
    pieces: list[bytes] = []
    room = limit + 1
    while data and room > 0:
        # A gzip body may be several members, one after the other.
        member = inflater(bits)
        try:
            piece = member.decompress(data, room)
        except Corrupt as error:
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
    return _inflate(data, limit, GZIP_BITS, "gzip")


def _unzlib(data: bytes, limit: int) -> bytes:
    return _inflate(data, limit, ZLIB_BITS, "deflate")


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
