"""The files of a log: one after the other, each called by the first sequence number in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.storage.records import MAGIC, Head, RecordFlag, heads, payload_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUFFIX = ".queue"


@dataclass(slots=True)
class Segment:
    """A file of records.

    Attributes:
        path: Of the file.
        first: Sequence number that the first record has, or would have.
        end: Offset up to which whole records are written.
        counted: Bytes of it that are in the storage's usage.
    """

    path: Path
    first: int
    end: int = 0
    counted: int = 0

    @classmethod
    def at(cls, directory: Path, first: int) -> Segment:
        """Name a segment."""
        return cls(directory / f"{first:020d}{SUFFIX}", first)

    def create(self) -> int:
        """Make the file and return its descriptor, open for appending."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.write(fd, MAGIC)
        self.end = len(MAGIC)
        return fd

    def heads(self) -> Iterator[Head | tuple[int, int]]:
        """Yield what is in the file, see `records.heads`."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield from heads(fd, len(MAGIC), self.end)
        finally:
            os.close(fd)


def found_in(directory: Path) -> list[Segment]:
    """Return the segments of a folder, oldest first."""
    paths = [path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal()]
    segments = [Segment(path, int(path.stem), path.stat().st_size) for path in paths]
    return sorted(segments, key=lambda segment: segment.first)


@dataclass(frozen=True, slots=True)
class Found:
    """A record that was read.

    Attributes:
        head: What is known of it.
        payload: None where it is damaged.
        defines: Payloads of records before it, of the same file, that define series; oldest first.
        opens: Whether it is the first that was read of its file: what other files define does not count.
    """

    head: Head
    payload: bytes | None
    defines: list[bytes]
    opens: bool


class SegmentReader:
    """Reads records in order; definitions are brought along with the record that may need them."""

    def __init__(self) -> None:
        self._segment: Segment | None = None
        self._fd = -1
        self._offset = 0
        self._defines: list[bytes] = []
        self._opens = False

    def next(self, segment: Segment, is_wanted: Callable[[int], bool]) -> Found | None:
        """Return the next record of `segment` whose number is wanted; None where there is none."""
        self._open(segment)
        for head in heads(self._fd, self._offset, segment.end):
            if not isinstance(head, Head):
                continue
            self._offset = head.end
            if is_wanted(head.seq):
                found = Found(head, payload_of(self._fd, head), self._defines, self._opens)
                self._defines, self._opens = [], False
                return found
            if head.flags & RecordFlag.DEFINES:
                payload = payload_of(self._fd, head)
                if payload is not None:
                    self._defines.append(payload)
        return None

    def close(self) -> None:
        """Close the file that is open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self._segment = -1, None

    def _open(self, segment: Segment) -> None:
        if self._segment is segment:
            return
        self.close()
        self._fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        self._segment, self._offset, self._defines, self._opens = segment, len(MAGIC), [], True
