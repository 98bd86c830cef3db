"""A queue of records on disk: appended in order, done in any order, gone when all before them are done.

Appending runs on a thread, and takes whatever waits at once: with `fsync` one sync serves all of them. An append
returns when its record survives the end of the process, and with `fsync` that of the machine. What is done is noted
at once and never synced, so that after a crash a record may come twice and none is lost.

The log knows nothing of what is in a record but whether it defines series for later ones of its file: a reader gets
these as well, although they are done, as long as the file is needed. Files are begun anew at each start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.errors import StoreFailed
from headrace.pipeline.storage.cursor import Cursor
from headrace.pipeline.storage.records import Head, pack
from headrace.pipeline.storage.segments import Found, Segment, SegmentReader, found_in, write_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.pipeline.storage.usage import Usage

_SEGMENT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """What is appended.

    Attributes:
        points: Points in it.
        size: Bytes that the batch takes in memory.
        flags: Of `RecordFlag`.
        payload: Any bytes.
    """

    points: int
    size: int
    flags: int
    payload: bytes


@dataclass(slots=True)
class Waiting:
    """What is not done: records, points, and bytes that the batches take in memory."""

    records: int = 0
    points: int = 0
    size: int = 0

    def add(self, records: int, points: int, size: int) -> None:
        """Count more; less, where they are negative."""
        self.records += records
        self.points += points
        self.size += size


@dataclass(frozen=True, slots=True)
class _Append:
    segment: Segment
    seq: int
    data: bytes
    then: Callable[[], None]
    written: asyncio.Future[None]


class RecordLog:
    """The records of one owner.

    Args:
        directory: Its own; made where it does not exist.
        usage: Bytes on disk, shared with the other logs, and what was damaged.
        fsync: Whether an append waits for the disk.
        segment_bytes: A file that is larger is followed by a new one.
    """

    def __init__(self, directory: Path, usage: Usage, *, fsync: bool, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self.waiting = Waiting()
        """What was found at the start."""
        self._directory = directory
        self._usage = usage
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._segments: list[Segment] = []
        self._reader = SegmentReader()
        self._reading = threading.Lock()
        self._next = 0
        self._low = 0
        self._done: set[int] = set()
        self._broken = False
        self._assigned = 0
        self._pending: list[_Append] = []
        self._writer: asyncio.Task[None] | None = None
        self._fd = -1
        self._open_segment: Segment | None = None

    # -- start and end -------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Read what is there; blocks.

        Raises:
            StoreFailed: The folder or a file cannot be read.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._cursor = Cursor(self._directory / "cursor")
            self._segments = found_in(self._directory)
            self._recover()
        except OSError as error:
            raise StoreFailed(f"queue {self._directory}: {error.strerror}") from None

    def _recover(self) -> None:
        noted = self._cursor.read()
        first = self._segments[0].first if self._segments else 0
        self._low, self._done = noted or (first, set())
        self._next = max(self._low, max(self._done, default=-1) + 1)
        for number, segment in enumerate(self._segments):
            self._count(segment)
            self._take_stock(segment, last=number == len(self._segments) - 1)
        self._retire()

    def _take_stock(self, segment: Segment, *, last: bool) -> None:
        """Count what is not done in one file, and the bytes of it that are no records."""
        segment.check_version()
        # One more than its first, though it may be empty: no other file can have its name.
        self._next = max(self._next, segment.first + 1)
        for found in segment.heads():
            if not isinstance(found, Head):
                offset, size = found
                torn = last and offset + size == segment.end
                segment.is_damaged |= not torn
                self._usage.damaged(segment.path, offset, size, torn=torn)
                continue
            self._next = max(self._next, found.seq + 1)
            if not self.is_done(found.seq):
                self.waiting.add(1, found.points, found.size)

    async def close(self) -> None:
        """Write what was appended, and close all files."""
        if self._writer is not None:
            await self._writer
        self._close_segment()
        self._usage.bytes -= sum(segment.counted for segment in self._segments)
        await asyncio.to_thread(self._close_reader)
        await asyncio.to_thread(self._close_reader)
        self._cursor.close()

    def _close_reader(self) -> None:
        with self._reading:  # A thread may still read for somebody who has gone.
            self._segments = []
            self._reader.close()

    # -- appending -----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise `Refused` where the storage is full."""
        self._usage.check()

    def rotate(self) -> bool:
        """Begin a new file where the last one is full or failed.

        Returns:
            Whether the next record is the first of its file, so that it cannot name what others define.
        """
        if self._assigned and not self._broken and self._assigned < self._segment_bytes:
            return False
        self._broken = False
        self._assigned = 0
        if not self._segments or self._segments[-1].first != self._next:
            self._segments.append(Segment.at(self._directory, self._next))
        return True

    async def append(self, record: Record, then: Callable[[int], None]) -> None:
        """Append a record to the file that `rotate` spoke of last; calls have to follow each other in that order.

        Args:
            record: What to write.
            then: Called with its number, in order of numbers, when it is written; also when the caller has gone.

        Raises:
            StoreFailed: It could not be written.
        """
        seq = self._next
        self._next += 1
        data = pack(seq, record.points, record.flags, record.size, record.payload)
        self._assigned += len(data)
        written = asyncio.get_running_loop().create_future()
        self._pending.append(_Append(self._segments[-1], seq, data, lambda: then(seq), written))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_pending(), name=f"writer of {self._directory.name}")
        await written

    async def _write_pending(self) -> None:
        while self._pending:
            group, self._pending = self._pending, []
            try:
                await asyncio.to_thread(self._write, group)
            except OSError as error:
                # What was encoded since may name series that the failed records define.
                self._fail([*group, *self._pending], error)
                continue
            for one in group:
                self._count(one.segment)
                one.then()
                if not one.written.done():
                    one.written.set_result(None)
        self._writer = None

    def _write(self, group: list[_Append]) -> None:
        """Write records; runs on a thread."""
        start = 0
        while start < len(group):
            segment = group[start].segment
            end = start
            while end < len(group) and group[end].segment is segment:
                end += 1
            self._write_to(segment, b"".join(one.data for one in group[start:end]))
            start = end

    def _write_to(self, segment: Segment, data: bytes) -> None:
        if self._open_segment is not segment:
            self._close_segment()
            self._fd = segment.create()
            self._open_segment = segment
            if self._fsync:
                _sync_directory(self._directory)
        write_all(self._fd, data)
        if self._fsync:
            os.fdatasync(self._fd)
        segment.end += len(data)

    def _fail(self, group: list[_Append], error: OSError) -> None:
        self._pending = []
        self._broken = True
        if self._open_segment is not None:
            with contextlib.suppress(OSError):  # What is left of the record is told apart by its head.
                os.ftruncate(self._fd, self._open_segment.end)
        self._usage.failed(self._directory, error)
        self._drop_empty()
        for one in group:
            self.acknowledge(one.seq)
            if not one.written.done():
                one.written.set_exception(StoreFailed(f"queue {self._directory}: {error.strerror}"))

    def _drop_empty(self) -> None:
        """Let go of files to which nothing was written: while a disk is full there is one for each attempt."""
        if self._open_segment is not None and self._open_segment.is_empty:
            self._close_segment()
        for segment in [one for one in self._segments if one.is_empty]:
            self._segments.remove(segment)
            with contextlib.suppress(OSError):
                segment.path.unlink(missing_ok=True)
                self._usage.bytes -= segment.counted

    def _close_segment(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self._open_segment = -1, None

    # -- reading and ending --------------------------------------------------------------------------------

    def read(self, after: int) -> Found | None:
        """Return the first record with a number of more than `after` that is not done; blocks.

        `after` never goes back. A file that somebody has removed holds none.

        Raises:
            OSError: A file cannot be read.
        """
        with self._reading:
            for segment in self._after(after):
                with contextlib.suppress(FileNotFoundError):
                    found = self._reader.next(segment, lambda seq: seq > after and not self.is_done(seq))
                    if found is not None:
                        return found
        return None

    def failed(self, error: OSError) -> None:
        """Count, and log, a fault of the disk; nothing is taken for a moment."""
        self._usage.failed(self._directory, error)

    def _after(self, seq: int) -> list[Segment]:
        """Return the segments that may have a record with a number of more than `seq`."""
        segments = list(self._segments)
        while len(segments) > 1 and segments[1].first <= seq + 1:
            segments.pop(0)
        return [segment for segment in segments if segment.end]

    def is_done(self, seq: int) -> bool:
        """Return whether the record with this number is done."""
        return seq < self._low or seq in self._done

    def skip(self, first: int, until: int) -> None:
        """Take the numbers from `first` to one before `until` as done: no record has them."""
        for seq in range(max(first, self._low), until):
            self._done.add(seq)

    def acknowledge(self, seq: int) -> None:
        """Note that a record is done; files of which all are done go."""
        self._done.add(seq)
        while self._low in self._done:
            self._done.discard(self._low)
            self._low += 1
        try:
            self._cursor.write(self._low, self._done)
            self._retire()
        except OSError as error:
            # It is noted by the next one; until then a crash repeats what is done.
            self._usage.failed(self._directory, error)

    @property
    def low(self) -> int:
        """The lowest number that is not done."""
        return self._low

    def _retire(self) -> None:
        while self._segments and self._segments[0] is not self._open_segment and self._last_of_first() < self._low:
            segment = self._segments[0]
            if segment.is_damaged:
                segment.set_aside()
            else:
                segment.path.unlink(missing_ok=True)
            self._segments.pop(0)
            self._usage.bytes -= segment.counted

    def _count(self, segment: Segment) -> None:
        self._usage.bytes += segment.end - segment.counted
        segment.counted = segment.end

    def _last_of_first(self) -> int:
        """Return the highest number that a record of the oldest segment can have."""
        return (self._segments[1].first if len(self._segments) > 1 else self._next) - 1


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
