"""The local ingest log: WAL segments with group commit. Layout: docs/format/wal.md.

Every record carries a checksum, and a mark by which reading finds its way again after damage. A daemon never appends
to a segment that it did not begin, so that a torn tail stays where it is and is cut off at most once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import xxhash

from headrace.pipeline.errors import StoreFailed
from headrace.store.files import Files
from headrace.store.interfaces import Offset, Record
from headrace.store.records import METADATA, SERIES
from headrace.store.stopwatch import spent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAGIC = b"HRWAL\x00\x01\x00"
"""First bytes of a segment: name and version of the format."""

_MARK = b"\xf5HRr"
_HEAD = struct.Struct("<4sIBBHIQ")
"""Mark, payload size, kind, cipher (0: none), workspace size, key id (0: none), checksum."""

SEGMENT_BYTES = 128 << 20
_MAX_RECORD = 1 << 30
_DEFINITIONS = {SERIES, METADATA}


class Sync(StrEnum):
    """When a write counts as durable."""

    ALWAYS = "always"
    """After fdatasync: survives kill -9 and power loss."""

    INTERVAL = "interval"
    """At once; fdatasync follows within a second. Survives kill -9, and may lose a second to power loss."""

    NEVER = "never"
    """At once; the operating system writes when it likes. Survives kill -9."""


@dataclass
class LogStatistics:
    """What the log has done since it was opened.

    Attributes:
        records: Records appended.
        bytes: Bytes appended.
        commits: Writes to disk, each of one or more appends.
        corrupt_records: Records that reading had to skip.
        torn_tails: Segments that end within a record: what a write leaves that was cut off.
        missing_segments: Segments that are not there though earlier and later ones are.
        failures: Writes that the disk refused.
        sync_seconds: Time of making commits durable.
    """

    records: int = 0
    bytes: int = 0
    commits: int = 0
    corrupt_records: int = 0
    torn_tails: int = 0
    missing_segments: int = 0
    failures: int = 0
    sync_seconds: float = 0.0


@dataclass
class _Waiting:
    data: bytes
    done: asyncio.Future[Offset] | None
    records: int = 1


@dataclass
class _Segment:
    number: int
    fd: int
    size: int


@dataclass
class WriteAheadLog:
    """Segments ``00000001.wal``, ``00000002.wal``, … in one directory.

    Attributes:
        directory: Exists.
        sync: When `append` returns.
        files: Does the writing.
        segment_bytes: A segment is closed once it is larger.
    """

    directory: Path
    sync: Sync = Sync.ALWAYS
    files: Files = field(default_factory=Files)
    segment_bytes: int = SEGMENT_BYTES
    statistics: LogStatistics = field(default_factory=LogStatistics)

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wal")
        self._segment: _Segment | None = None
        self._waiting: list[_Waiting] = []
        self._unwritten: list[bytes] = []
        self._failing = False
        self._busy = False
        self._logger = logging.getLogger("headrace.store")
        self._lock = threading.Lock()
        self._rewriting = threading.Lock()
        self._dirty = False
        self._floor = 0

    # -- writing -------------------------------------------------------------------------------------------

    async def append(self, records: Sequence[Record]) -> Offset:
        """Write `records`; return when they, and all appended before them, are durable.

        Raises:
            StoreFailed: The disk failed. The records are kept in memory and go first when the next write is tried.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Offset] = loop.create_future()
        self._waiting.append(_Waiting(b"".join(map(encode, records)), done, len(records)))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._commit_next, loop)
        return await done

    def _commit_next(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            self._busy = False
            return
        work = loop.run_in_executor(self._thread, self._commit, [w.data for w in waiting])
        work.add_done_callback(lambda result: self._committed(loop, waiting, result))

    def _committed(
        self, loop: asyncio.AbstractEventLoop, waiting: list[_Waiting], result: asyncio.Future[Offset]
    ) -> None:
        error = result.exception()
        for one in waiting:
            if one.done is not None and not one.done.done():
                if error is None:
                    one.done.set_result(result.result())
                else:
                    one.done.set_exception(StoreFailed(f"write-ahead log: {error}"))
        self.statistics.records += sum(one.records for one in waiting)
        self._commit_next(loop)

    def _commit(self, data: list[bytes]) -> Offset:
        """Write and sync; runs on the log's thread. What fails stays in `_unwritten` and is written first next time."""
        with self._lock:
            self._unwritten += data
            whole = b"".join(self._unwritten)
            try:
                segment = self._writable(len(whole))
                self.files.write(segment.fd, whole)
                if self.sync is Sync.ALWAYS:
                    with spent(self.statistics, "sync_seconds"):
                        self.files.sync(segment.fd)
                else:
                    self._dirty = True
            except OSError:
                self.statistics.failures += 1
                self._failing = True
                # Part of it may have been written: that goes, and what comes goes into a new segment.
                self._cut_segment()
                raise
            self._unwritten.clear()
            self._failing = False
            segment.size += len(whole)
            self.statistics.bytes += len(whole)
            self.statistics.commits += 1
            return Offset(segment.number, segment.size)

    def _writable(self, size: int) -> _Segment:
        segment = self._segment
        if segment is not None and segment.size + size > self.segment_bytes and segment.size > len(MAGIC):
            self._close_segment()
            segment = None
        if segment is None:
            number = max((n for n, _ in self.segments()), default=0) + 1
            fd = self.files.create(self._path(number))
            self._floor = number
            segment = self._segment = _Segment(number, fd, 0)
            self.files.write(fd, MAGIC)
            segment.size = len(MAGIC)
        return segment

    def _close_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            with contextlib.suppress(OSError):
                self.files.sync(segment.fd)
            with contextlib.suppress(OSError):
                self.files.close(segment.fd)

    def _cut_segment(self) -> None:
        """Close the segment without what the disk refused, so that trying again does not fill the disk with pieces."""
        segment = self._segment
        if segment is not None:
            with contextlib.suppress(OSError):
                if segment.size > len(MAGIC):
                    self.files.truncate(segment.fd, segment.size)
                else:
                    self.files.remove(self._path(segment.number))
        self._close_segment()

    @property
    def floor(self) -> int:
        """No later record lies in a segment with a smaller number."""
        return self._floor

    async def sync_now(self) -> None:
        """Make durable what `Sync.INTERVAL` has left; called about every second.

        Raises:
            StoreFailed: The disk failed.
        """
        if self.sync is Sync.INTERVAL and self._dirty:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sync_segment)

    def _sync_segment(self) -> None:
        with self._lock:
            self._dirty = False
            if self._segment is None:
                return
            try:
                self.files.sync(self._segment.fd)
            except OSError as error:
                # What was lost is lost, and a later sync of this file would not say so.
                self.statistics.failures += 1
                self._close_segment()
                raise StoreFailed(
                    f"write-ahead log: up to a second of it may not survive a power loss: {error}"
                ) from None

    @property
    def failed(self) -> bool:
        """Whether records wait in memory because the disk refused them."""
        return self._failing

    async def retry(self) -> None:
        """Try again to write what the disk refused.

        Raises:
            StoreFailed: It still does.
        """
        if self.failed:
            await self.append([])

    def rotate(self) -> int:
        """Close the present segment; return the number below which no later record will be. Any thread."""
        with self._lock:
            self._close_segment()
            self._floor = max((n for n, _ in self.segments()), default=0) + 1
            return self._floor

    def trim(self, below: int, keep: Sequence[Record]) -> None:
        """Remove the segments numbered below `below`; `keep` is written durably before. Any thread.

        The oldest goes first, durably, so that what a crash leaves is an end of the log: a deletion never goes before
        what it is about.
        """
        with self._rewriting, self._lock:
            old = [path for number, path in self.segments() if number < below]
            if not old:
                return
            if keep:
                first, *old = old
                self.files.write_whole(first, MAGIC + b"".join(map(encode, keep)))
            for path in old[:-1] if keep else old:
                self.files.remove(path)
                self.files.sync_directory(self.directory)
            if keep and old:
                # In the place of the last one, so that numbers have no gaps.
                self.files.replace(first, old[-1])

    def erase(self, workspace: str, below: int) -> None:
        """Rewrite the segments numbered below `below` without the records of a workspace, the oldest first.

        Any thread; writes go on meanwhile. `below` is what `rotate` returned, so nobody appends to these segments.
        """
        name = workspace.encode()
        with self._rewriting:
            for number, path in self.segments():
                data = path.read_bytes() if number < below else b""
                if name not in data:
                    continue
                kept = [
                    encode(record) for _, record in self._read_segment(number, data) if record.workspace != workspace
                ]
                self.files.write_whole(path, MAGIC + b"".join(kept))

    async def close(self) -> None:
        """Write what waits and close; safe to call twice."""
        with contextlib.suppress(StoreFailed, RuntimeError):
            await self.append([])
        with self._lock:
            self._close_segment()
        self._thread.shutdown()

    # -- reading -------------------------------------------------------------------------------------------

    def segments(self) -> list[tuple[int, Path]]:
        """Return numbers and paths, ascending."""
        # Not `glob`, which takes a directory that may not be read for an empty one.
        try:
            paths = [path for path in self.directory.iterdir() if path.suffix == ".wal" and path.stem.isdecimal()]
        except FileNotFoundError:
            return []
        found = [(int(path.stem), path) for path in paths]
        return sorted(found)

    def read(self) -> Iterator[tuple[Offset, Record]]:
        """Yield all intact records, oldest first; damaged ones are skipped and counted."""
        before = None
        kinds: set[int] = set()
        for number, path in self.segments():
            # A trim that was cut off leaves a gap behind the definitions that it has written.
            if before is not None and not kinds <= _DEFINITIONS:
                self._check_gap(before, number)
            before = number
            for offset, record in self._read_segment(number, path.read_bytes()):
                kinds.add(record.kind)
                yield offset, record

    def remove_leftovers(self) -> None:
        """Remove what a trim that was cut off has left."""
        for path in list(self.directory.iterdir()):
            if path.name.endswith(".wal.tmp"):
                self.files.remove(path)

    def _check_gap(self, before: int, number: int) -> None:
        if number > before + 1:
            self.statistics.missing_segments += number - before - 1
            self._logger.error(
                "%s: segments %d to %d are missing; what they held and no block holds is lost",
                self.directory, before + 1, number - 1,
            )  # fmt: skip

    def read_segment(self, path: Path) -> Iterator[tuple[Offset, Record]]:
        """Yield the intact records of one segment; damaged ones are skipped and counted."""
        yield from self._read_segment(int(path.stem), path.read_bytes())

    def size_bytes(self) -> int:
        """Return the bytes of all segments."""
        total = 0
        for _, path in self.segments():
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def _read_segment(self, number: int, data: bytes) -> Iterator[tuple[Offset, Record]]:
        at = len(MAGIC) if data.startswith(MAGIC) else 0
        while at < len(data):
            record, end = decode(data, at)
            if record is not None:
                yield Offset(number, end), record
                at = end
                continue
            found = _next_record(data, at + 1)
            # Nothing intact behind it: a write that was cut short, which nobody was told had succeeded.
            if found is None:
                self.statistics.torn_tails += 1
                self._logger.warning("%s ends within a record, at byte %d", self._path(number), at)
                return
            self.statistics.corrupt_records += 1
            self._logger.error("%s: damaged from byte %d to %d; skipped", self._path(number), at, found)
            at = found

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:08d}.wal"


def encode(record: Record) -> bytes:
    """Write one record with its head."""
    workspace = record.workspace.encode()
    head = (_MARK, len(record.payload), record.kind, 0, len(workspace), 0)
    checksum = xxhash.xxh3_64(_HEAD.pack(*head, 0))
    checksum.update(workspace)
    checksum.update(record.payload)
    return b"".join((_HEAD.pack(*head, checksum.intdigest()), workspace, record.payload))


def decode(data: bytes, at: int) -> tuple[Record | None, int]:
    """Read the record at byte `at`; None where there is no intact one. Also returns the offset one past it."""
    if at + _HEAD.size > len(data):
        return None, at
    mark, size, kind, cipher, workspace_size, key, expected = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + workspace_size + size
    if mark != _MARK or cipher or key or size > _MAX_RECORD or end > len(data):
        return None, at
    body = memoryview(data)[at + _HEAD.size : end]
    checksum = xxhash.xxh3_64(_HEAD.pack(mark, size, kind, cipher, workspace_size, key, 0))
    checksum.update(body)
    if checksum.intdigest() != expected:
        return None, at
    return Record(kind, bytes(body[:workspace_size]).decode("utf-8", "replace"), body[workspace_size:]), end


def _next_record(data: bytes, at: int) -> int | None:
    """Find the next intact record at or after byte `at`."""
    while (at := data.find(_MARK, at)) >= 0:
        if decode(data, at)[0] is not None:
            return at
        at += 1
    return None
