"""How far a queue has been worked off, in a file of two slots that are written in turn.

A slot of 8 KiB holds its number, the lowest sequence number that is not done, how many above it are done, these,
and the CRC-32 of all that. A write that is cut off damages one slot; the other says what was true before. It is never
synced: an old cursor makes records come twice, none be lost.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SLOT_BYTES = 8192
_FRONT = struct.Struct("<IIQQ")

MOST_DONE = 1000
"""Records done above the lowest that is not, that a slot has room for; of more, the higher ones may come twice."""


class Cursor:
    """Reads and writes the file.

    Args:
        path: Made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._turn = 0

    def read(self) -> tuple[int, set[int]] | None:
        """Return the lowest number that is not done, and those above it that are; None where there is no cursor."""
        slots = [slot for slot in (self._slot(0), self._slot(1)) if slot is not None]
        if not slots:
            return None
        self._turn, low, done = max(slots, key=lambda slot: slot[0])
        return low, done

    def write(self, low: int, done: set[int]) -> None:
        """Replace what `read` returns."""
        self._turn += 1
        some = sorted(done)[:MOST_DONE] if done else ()
        body = _FRONT.pack(0, len(some), self._turn, low) + struct.pack(f"<{len(some)}Q", *some)
        data = zlib.crc32(body[4:]).to_bytes(4, "little") + body[4:]
        os.pwrite(self._fd, data, self._turn % 2 * _SLOT_BYTES)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _slot(self, number: int) -> tuple[int, int, set[int]] | None:
        data = os.pread(self._fd, _SLOT_BYTES, number * _SLOT_BYTES)
        if len(data) < _FRONT.size:
            return None
        check, count, turn, low = _FRONT.unpack_from(data)
        end = _FRONT.size + 8 * count
        if count > MOST_DONE or end > len(data) or zlib.crc32(data[4:end]) != check:
            return None
        return turn, low, set(struct.unpack_from(f"<{count}Q", data, _FRONT.size))
