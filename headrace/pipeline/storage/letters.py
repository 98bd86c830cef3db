"""Dead letters: files of what no destination takes, each with the reason.

A file ``TIME-NUMBER.letters`` is one of records (`headrace.pipeline.storage.records`), each of them a batch with what
is known about it: when, why, by which exporter. Next to it ``letters.jsonl`` has a line for each letter, for people. A
file that is being written is called ``.open``; one that is full, or older than an hour, is closed, and may be moved
away or replayed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from headrace.pipeline.config import ByteSize, ComponentConfig
from headrace.pipeline.errors import StoreFailed
from headrace.pipeline.storage.batches import BatchDecoder, BatchEncoder
from headrace.pipeline.storage.records import MAGIC, Head, heads, pack, payload_of
from headrace.pipeline.storage.segments import write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Settings
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.storage.record_log import Record

CLOSED = ".letters"

REPLAYED = ".replayed"
"""What follows in the name of a file of which all was taken again."""

_OPEN = ".open"
_INDEX = "letters.jsonl"
_INDEX_BEFORE = "letters.1.jsonl"
_MAX_AGE_S = 3600.0
_NS = 1_000_000_000


class LettersConfig(ComponentConfig):
    """Where dead letters are kept."""

    directory: str
    """Where the files are; made where it does not exist."""

    max_file_size: Annotated[ByteSize, Field(ge=1)] = 16 << 20
    """A file that is larger is closed, and another one begun."""

    max_size: Annotated[ByteSize, Field(ge=1)] = 1 << 30
    """Bytes of all files at most: those that were replayed make room, and without any letters are only counted."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        batch: What was not delivered.
        about: ``time``, ``exporter``, ``reason`` and ``why``.
    """

    batch: MetricBatch
    about: dict[str, Any]


class LetterWriter:
    """Writes dead letters.

    Args:
        settings: Of the component.
        directory: Where.
        max_file_size: Bytes of a file.
        max_size: Bytes of all.
    """

    def __init__(self, settings: Settings, directory: Path, max_file_size: int, max_size: int) -> None:
        self._settings = settings
        self._directory = directory
        self._max_file_size = max_file_size
        self._max_size = max_size
        self._encoder = BatchEncoder()
        self._fd = -1
        self._path = directory
        self._began_s = 0.0
        self._size = 0
        self._total = 0
        self._number = 0
        self._turn = asyncio.Lock()
        self._letters = settings.counters.counter(
            "headrace_dead_letter_points", "Points kept as dead letters.", {"component": settings.id}, "{datapoint}"
        )

    async def start(self) -> None:
        """Make the folder, and close what a process before this one left open.

        Raises:
            StoreFailed: It cannot be made or read.
        """
        await asyncio.to_thread(self._attempt, self._open_directory)

    async def close(self) -> None:
        """Close the file that is open; safe before `start` and twice."""
        async with self._turn:
            if self._fd >= 0:
                await asyncio.to_thread(self._attempt, self._close_file)

    async def write(self, batch: MetricBatch, reason: str, why: str, exporter: str) -> None:
        """Write a letter; it survives the end of the process on return.

        Raises:
            StoreFailed: There is no room, or the disk failed.
        """
        about = {"time": self._time(), "exporter": exporter, "reason": reason, "why": why}
        async with self._turn:
            if self._total >= self._max_size:
                await asyncio.to_thread(self._attempt, self._make_room)
            if self._total >= self._max_size:
                raise StoreFailed(f"dead letters {self._directory}: {self._total} bytes, and no more are kept")
            if self._is_full():
                await asyncio.to_thread(self._attempt, self._close_file)
            if self._fd < 0:
                self._encoder.reset()
            record = self._encoder.encode(batch, about)
            example = str(batch.table.series(int(batch.series[0]))) if len(batch.series) else ""
            await asyncio.to_thread(self._attempt, lambda: self._put(record, {**about, "example": example}))
        self._letters.add(len(batch))

    def _time(self) -> str:
        return datetime.fromtimestamp(self._settings.clock_ns() / _NS, UTC).isoformat()

    def _is_full(self) -> bool:
        old = self._settings.monotonic_s() - self._began_s > _MAX_AGE_S
        return self._fd >= 0 and (old or self._size >= self._max_file_size)

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            # The file may end in a part of a record: it is closed, and what follows goes into another one.
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    self._close_file()
            raise StoreFailed(f"dead letters {self._directory}: {error.strerror}") from None

    def _open_directory(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._directory.glob(f"*{_OPEN}"):
            path.rename(path.with_suffix(CLOSED))
        self._make_room()

    def _make_room(self) -> None:
        """Find out how much there is: files may have gone; those that were replayed make room, oldest first."""
        kept = [*self._directory.glob(f"*{_OPEN}"), *self._directory.glob(f"*{CLOSED}")]
        replayed = sorted(self._directory.glob(f"*{CLOSED}{REPLAYED}"), reverse=True)
        self._total = sum(path.stat().st_size for path in (*kept, *replayed))
        while replayed and self._total >= self._max_size:
            path = replayed.pop()
            self._total -= path.stat().st_size
            path.unlink(missing_ok=True)

    def _close_file(self) -> None:
        os.close(self._fd)
        self._fd = -1
        self._path.rename(self._path.with_suffix(CLOSED))

    def _put(self, record: Record, line: dict[str, Any]) -> None:
        if self._fd < 0:
            self._begin()
        data = pack(self._number, record.points, record.flags, record.size, record.payload)
        self._number += 1
        write_all(self._fd, data)
        self._size += len(data)
        self._total += len(data)
        self._note({**line, "points": record.points, "file": self._path.stem})

    def _note(self, line: dict[str, Any]) -> None:
        """Write a line of the index; a long one makes way for a new one."""
        path = self._directory / _INDEX
        if path.exists() and path.stat().st_size >= self._max_file_size:
            path.rename(path.with_name(_INDEX_BEFORE))
        with path.open("a") as index:
            index.write(json.dumps(line) + "\n")

    def _begin(self) -> None:
        stamp = datetime.fromtimestamp(self._settings.clock_ns() / _NS, UTC).strftime("%Y%m%dT%H%M%S.%f")
        self._path = self._directory / f"{stamp}-{self._number}{_OPEN}"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        write_all(self._fd, MAGIC)
        self._size, self._began_s = len(MAGIC), self._settings.monotonic_s()


def letters_in(
    path: Path, table_of: Callable[[str], SeriesTable], lost: Callable[[int, str], None]
) -> Iterator[Letter]:
    """Yield the letters of a closed file; what is damaged is told to `lost`.

    Args:
        path: Of the file.
        table_of: Returns the table of a workspace.
        lost: Called with a number of points that cannot be read, and why.
    """
    decoder = BatchDecoder(table_of, lost)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for head in heads(fd, len(MAGIC), os.fstat(fd).st_size):
            if not isinstance(head, Head):
                lost(0, "storage_damaged")
                continue
            try:
                yield Letter(*decoder.decode_with(payload_of(fd, head) or b""))
            except ValueError:
                lost(head.points, "storage_damaged")
    finally:
        os.close(fd)
