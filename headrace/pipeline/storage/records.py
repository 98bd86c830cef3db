"""Records in a file: framing, and finding them again after a crash.

A file begins with MAGIC. Each record has a head of 40 bytes, little-endian, and a payload:

====== ===== =====================================================================================
offset bytes
====== ===== =====================================================================================
0      4     ``0x31515248``
4      4     CRC-32 of bytes 8 to 39 of the head
8      8     sequence number
16     4     points in it
20     4     flags, see `RecordFlag`
24     8     bytes that the batch takes in memory
32     4     bytes of the payload
36     4     CRC-32 of the payload
====== ===== =====================================================================================

A head that does not check is skipped byte by byte up to the next one that does: what lies between is lost, and
nothing else.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FAMILY = b"HRQUEUE"
"""What files of every version begin with."""

MAGIC = FAMILY + b"1"

HEAD_BYTES = 40

_MARK = 0x31515248
_MARK_BYTES = _MARK.to_bytes(4, "little")
_FRONT = struct.Struct("<II")
_BODY = struct.Struct("<QIIQII")

_SEARCH_BYTES = 1 << 20
"""Bytes that are searched at a time for the next head."""


class RecordFlag(IntFlag):
    """Bits of a record's flags."""

    DEFINES = 1
    """It defines series that later records of the file name by number."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a record is, and what its head says.

    Attributes:
        offset: Of the head.
        seq: Sequence number.
        points: Points in it.
        flags: Of `RecordFlag`.
        size: Bytes that the batch takes in memory.
        length: Bytes of the payload.
        check: Its CRC-32.
    """

    offset: int
    seq: int
    points: int
    flags: int
    size: int
    length: int
    check: int

    @property
    def end(self) -> int:
        """Offset of what follows."""
        return self.offset + HEAD_BYTES + self.length


def pack(seq: int, points: int, flags: int, size: int, payload: bytes) -> bytes:
    """Return a record as bytes."""
    body = _BODY.pack(seq, points, flags, size, len(payload), zlib.crc32(payload))
    return b"".join((_FRONT.pack(_MARK, zlib.crc32(body)), body, payload))


def heads(fd: int, start: int, end: int) -> Iterator[Head | tuple[int, int]]:
    """Yield the records between two offsets of a file; for bytes that are no record, their offset and number.

    The last record is yielded only where its payload is there, to the last byte.
    """
    offset = start
    while offset < end:
        found = _head_at(fd, offset)
        if found is not None and found.end <= end:
            yield found
            offset = found.end
            continue
        following = _search(fd, offset + 1, end)
        yield offset, following - offset
        offset = following


def payload_of(fd: int, head: Head) -> bytes | None:
    """Return the payload of a record, None where it is damaged."""
    payload = os.pread(fd, head.length, head.offset + HEAD_BYTES)
    return payload if len(payload) == head.length and zlib.crc32(payload) == head.check else None


def _head_at(fd: int, offset: int) -> Head | None:
    data = os.pread(fd, HEAD_BYTES, offset)
    if len(data) < HEAD_BYTES:
        return None
    mark, check = _FRONT.unpack_from(data)
    if mark != _MARK or zlib.crc32(data[_FRONT.size :]) != check:
        return None
    return Head(offset, *_BODY.unpack_from(data, _FRONT.size))


def _search(fd: int, start: int, end: int) -> int:
    """Return the offset of the next whole record at or after `start`, `end` without one."""
    while start < end:
        data = os.pread(fd, _SEARCH_BYTES + HEAD_BYTES, start)
        place = data.find(_MARK_BYTES)
        while 0 <= place < _SEARCH_BYTES:
            found = _head_at(fd, start + place)
            if found is not None and found.end <= end:
                return start + place
            place = data.find(_MARK_BYTES, place + 1)
        start += _SEARCH_BYTES
    return end
