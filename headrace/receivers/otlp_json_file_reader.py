"""Reads the requests that are appended to a file, each once."""

from __future__ import annotations

import hashlib
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

from headrace.pipeline.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_REQUEST_BYTES = 256 << 20
"""A request that is longer, as it is or decompressed, ends the reading of its file."""

HEAD_BYTES = 1000
"""Bytes at the begin of a file that tell it from another one in its place; as many as the Collector takes."""

_CHUNK_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")


class Head(NamedTuple):
    """What is known of the first bytes of a file.

    Attributes:
        size: How many they are, `HEAD_BYTES` at most.
        digest: BLAKE2b of them, hexadecimal.
    """

    size: int
    digest: str

    @classmethod
    def of(cls, data: bytes) -> Head:
        """Make it of the bytes."""
        return cls(len(data), hashlib.blake2b(data, digest_size=16).hexdigest())

    def fits(self, path: Path) -> bool:
        """Return whether a file begins with these bytes."""
        with path.open("rb") as file:
            return Head.of(file.read(self.size)) == self


class Found(NamedTuple):
    """A request in a file.

    Attributes:
        data: Its bytes; may be none.
        end: Offset past it.
    """

    data: bytes
    end: int


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
        self.fault = ""
        """Why the rest of the file cannot be read."""
        self.torn_bytes = 0
        """Bytes past the last whole request, as of the last look."""
        self.head = Head.of(b"")
        self._cut = _frame if framed or compressed else _line
        self._compressed = compressed
        self._size = 0
        self._buffer = bytearray()
        self._read = 0
        self._searched = 0
        """Bytes of the buffer that were looked through for an end and have none, so that each is looked at once."""

    def rewind(self) -> None:
        """Begin anew."""
        self.position = 0
        self.fault = ""
        self._forget()

    def look(self) -> bool:
        """Find out whether there is more to read.

        Raises:
            OSError: The file cannot be read.
        """
        size = self.path.stat().st_size
        if size == self._size and self.position + self.torn_bytes == size:
            return False
        if size < self.position or not self.head.fits(self.path):  # cut off, or another one in its place
            self.rewind()
            self.head = Head.of(b"")
        self._note_head()
        self._size = size
        self._forget()
        return not self.fault

    def next(self) -> Found | None:
        """Return the next whole request; None where there is none yet. The caller sets `position` once it is taken.

        Raises:
            OSError: The file cannot be read.
            TooLarge: The request is too long.
            InvalidInput: It does not decompress.
        """
        while True:
            cut = self._cut(self._buffer, self._read, self._searched)
            if cut is not None:
                begin, end, past = cut
                data = bytes(memoryview(self._buffer)[begin:end])
                self._read = past
                return Found(_decompressed(data) if self._compressed else data, self._begin + past)
            if not self._fill():
                self.torn_bytes = len(self._buffer) - self._read
                self._buffer = bytearray()
                self._note_head()
                return None

    def _note_head(self) -> None:
        """Remember the first of the bytes that were taken; what comes after them may still be cut off."""
        size = min(self.position, HEAD_BYTES)
        if self.head.size < size:
            with self.path.open("rb") as file:
                self.head = Head.of(file.read(size))

    def _fill(self) -> bool:
        """Read more of the file behind what is left; return whether there was more."""
        del self._buffer[: self._read]
        left = self._searched = len(self._buffer)
        if left > MAX_REQUEST_BYTES:
            raise TooLarge("request in a file", left, MAX_REQUEST_BYTES)
        self._begin += self._read
        self._read = 0
        with self.path.open("rb", 0) as file:
            file.seek(self._begin + left)
            more = file.read(_CHUNK_BYTES)
        self._buffer += more
        return bool(more)

    def _forget(self) -> None:
        self._buffer, self._read, self._begin, self.torn_bytes = bytearray(), 0, self.position, 0
        self._searched = 0


def _line(data: bytearray, begin: int, searched: int) -> tuple[int, int, int] | None:
    """Return where a line begins and ends, and where the next one begins; before `searched` it does not end."""
    end = data.find(b"\n", max(begin, searched))
    return None if end < 0 else (begin, end, end + 1)


def _frame(data: bytearray, begin: int, _searched: int) -> tuple[int, int, int] | None:
    """Return where the message behind a length begins and ends, and where the next length stands.

    Raises:
        TooLarge: By its length.
    """
    start = begin + _LENGTH.size
    if len(data) < start:
        return None
    (size,) = _LENGTH.unpack_from(data, begin)
    if size > MAX_REQUEST_BYTES:
        raise TooLarge("request in a file", size, MAX_REQUEST_BYTES)
    end = start + size
    return None if len(data) < end else (start, end, end)


def _decompressed(data: bytes) -> bytes:
    decompressor = zstd.ZstdDecompressor()
    try:
        out: bytes = decompressor.decompress(data, MAX_REQUEST_BYTES)
    except zstd.ZstdError as error:
        raise InvalidInput(f"a request in a file does not decompress: {error}") from None
    if not decompressor.eof:
        raise TooLarge("decompressed request in a file", len(out) + 1, MAX_REQUEST_BYTES)
    return out
