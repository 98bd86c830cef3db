"""The files of a log: one after the other, each called by the first sequence number in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.errors import StoreFailed
from headrace.pipeline.storage.records import FAMILY, MAGIC, Head, RecordFlag, heads, payload_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUFFIX = ".queue"

ASIDE = ".damaged"
"""Of files that are done and had damaged bytes."""

_MOST_ASIDE = 4


@dataclass(slots=True)
class Segment:
    """A file of records.

    Attributes:
        path: Of the file.
        first: Sequence number that the first record has, or would have.
        end: Offset up to which whole records are written.
        counted: Bytes of it that are in the storage's usage.
        is_damaged: Whether bytes in it are no records that once were.
    """

    path: Path
    first: int
    end: int = 0
    counted: int = 0
    is_damaged: bool = False

    @classmethod
    def at(cls, directory: Path, first: int) -> Segment:
        """Name a segment."""
        return cls(directory / f"{first:020d}{SUFFIX}", first)

    def create(self) -> int:
        """Make the file and return its descriptor, open for appending.

        Raises:
            OSError: It cannot be made; nothing is left of it.
        """
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, MAGIC)
        except OSError:
            os.close(fd)
            self.path.unlink(missing_ok=True)
            raise
        self.end = len(MAGIC)
        return fd

    @property
    def is_empty(self) -> bool:
        """Whether no record was written to it."""
        return self.end <= len(MAGIC)

    def check_version(self) -> None:
        """Refuse a file of another version.

        Raises:
            StoreFailed: It is one.
        """
        with self.path.open("rb") as file:
            begin = file.read(len(MAGIC))
        if begin != MAGIC and len(begin) == len(MAGIC) and begin.startswith(FAMILY):
            raise StoreFailed(f"{self.path}: version {begin[len(FAMILY) :]!r} of the format, and only 1 is known")

    def set_aside(self) -> None:
        """Keep a damaged file under another name, instead of older ones of its folder where there are too many."""
        self.path.rename(self.path.with_suffix(ASIDE))
        for path in sorted(self.path.parent.glob(f"*{ASIDE}"))[:-_MOST_ASIDE]:
            path.unlink(missing_ok=True)

    def heads(self) -> Iterator[Head | tuple[int, int]]:
        """Yield what is in the file, see `records.heads`."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield from heads(fd, len(MAGIC), self.end)
        finally:
            os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; raises OSError, then part of it may be written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


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
