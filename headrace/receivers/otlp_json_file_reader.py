"""Reads the requests that are appended to a file, each once."""

from __future__ import annotations

import os
import struct
import sys
from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_REQUEST_BYTES = 64 << 20
"""A request that is longer, as it is or decompressed, ends the reading of its file."""

_CHUNK_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")


class RequestFile:
    """A file as far as it was read.

    Args:
        path: The file.
        position: Where to begin.
        framed: Whether requests stand behind their lengths; else each is a line.
        compressed: Whether they are compressed with zstd.
    """

    def __init__(self, path: Path, position: int, *, framed: bool, compressed: bool) -> None:
        self.path = path
        self.position = position
        """Offset past the last request that was taken."""
        self._framed = framed or compressed
        self._compressed = compressed
        self.fault = ""
        """Why the rest of the file cannot be read."""

    def next(self) -> tuple[bytes, int] | None:
        """Return the next whole request, which may be empty, and the offset past it; None where there is none yet.

        Raises:
            OSError: The file cannot be read.
            TooLarge: The request is too long.
            InvalidInput: It does not decompress.
        """
        size = self.path.stat().st_size
        if size < self.position:  # cut off: begun anew
            self.position = 0
            self.fault = ""
        if self.fault or size == self.position:
            return None
        with self.path.open("rb", 0) as file:
            file.seek(self.position)
            found = _frame(file.fileno()) if self._framed else _line(file.fileno())
        if found is None:
            return None
        data, used = found
        return _decompressed(data) if self._compressed else data, self.position + used


def _frame(file: int) -> tuple[bytes, int] | None:
    head = _read(file, _LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > MAX_REQUEST_BYTES:
        raise TooLarge("request in a file", size, MAX_REQUEST_BYTES)
    data = _read(file, size)
    return (data, _LENGTH.size + size) if len(data) == size else None


def _line(file: int) -> tuple[bytes, int] | None:
    pieces: list[bytes] = []
    total = 0
    while total <= MAX_REQUEST_BYTES:
        piece = os.read(file, _CHUNK_BYTES)
        if not piece:
            return None
        end = piece.find(b"\n")
        if end >= 0:
            line = b"".join([*pieces, piece[:end]])
            return line, len(line) + 1
        pieces.append(piece)
        total += len(piece)
    raise TooLarge("request in a file", total, MAX_REQUEST_BYTES)


def _read(file: int, size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        piece = os.read(file, min(size, _CHUNK_BYTES))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _decompressed(data: bytes) -> bytes:
    decompressor = zstd.ZstdDecompressor()
    try:
        out: bytes = decompressor.decompress(data, MAX_REQUEST_BYTES)
    except zstd.ZstdError as error:
        raise InvalidInput(f"a request in a file does not decompress: {error}") from None
    if not decompressor.eof:
        raise TooLarge("decompressed request in a file", len(out) + 1, MAX_REQUEST_BYTES)
    return out
