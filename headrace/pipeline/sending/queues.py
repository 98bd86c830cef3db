"""Where batches wait: in memory, or on disk with as much as fits in memory beside.

One task takes them out, in the order in which they came; they count as waiting until `finish`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from headrace.pipeline.errors import Refused, StoreFailed
from headrace.pipeline.storage.batches import BatchDecoder, BatchEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.sending.results import Loss
    from headrace.pipeline.sending.room import Place, QueueRoom
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.storage import RecordLog
    from headrace.pipeline.storage.record_log import Waiting
    from headrace.pipeline.storage.segments import Found

_PAUSE_S = 1.0
"""How long a disk that cannot be read is left alone."""


@dataclass(slots=True, eq=False)
class Entry:
    """A batch that waits.

    Attributes:
        batch: What waits.
        place: The room it takes.
        seq: Its number in the log, -1 in memory.
        result: Set when it is finished, where somebody waits for that: what was lost of it.
        parts: Parts of it that are on their way.
        whole: Whether all of it is.
        losses: What was lost of it so far.
        failure: Why it was given up, empty where it was not.
    """

    batch: MetricBatch
    place: Reservation
    seq: int = -1
    result: asyncio.Future[list[Loss]] | None = None
    parts: int = 0
    whole: bool = False
    losses: list[Loss] = field(default_factory=list)
    failure: str = ""

    def renew(self, place: Reservation) -> None:
        """Wait again, from the beginning, in another room."""
        self.place = place
        self.parts, self.whole = 0, False
        self.losses, self.failure = [], ""


class SendingQueue(Protocol):
    """What both kinds of queues have."""

    async def put(self, entry: Entry) -> None:
        """Take an entry; return when it is where it survives what the queue survives.

        Raises:
            Refused: It could not be written.
        """

    async def next(self) -> Entry:
        """Return the next entry, waiting for one; one caller."""

    def next_now(self) -> Entry | None:
        """Return the next entry where that takes no time, else None; not while somebody waits for `next`."""

    def is_ready(self) -> bool:
        """Return whether `next` would return at once, or nearly."""

    def finish(self, entry: Entry) -> None:
        """Let go of an entry that is delivered or given up."""

    @property
    def held(self) -> list[Entry]:
        """Those in memory, those on their way first."""

    def touch(self) -> None:
        """Keep the series of what waits from being freed."""

    def give_up(self) -> list[Entry]:
        """Return everything that does not outlive the queue, oldest first, for another one."""

    async def close(self) -> int:
        """Let go of everything; return how many points are lost by that."""


class MemoryQueue:
    """Keeps entries in memory."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._out: dict[Entry, None] = {}
        self._came = asyncio.Event()

    async def put(self, entry: Entry) -> None:
        """Take an entry."""
        self._entries.append(entry)
        self._came.set()

    async def next(self) -> Entry:
        """Return the next entry, waiting for one."""
        while True:
            entry = self.next_now()
            if entry is not None:
                return entry
            self._came.clear()
            await self._came.wait()

    def next_now(self) -> Entry | None:
        """Return the next entry, None where there is none."""
        if not self._entries:
            return None
        entry = self._entries.popleft()
        self._out[entry] = None
        return entry

    def is_ready(self) -> bool:
        """Return whether there is an entry."""
        return bool(self._entries)

    def finish(self, entry: Entry) -> None:
        """Let go of an entry."""
        self._out.pop(entry, None)
        entry.place.release()

    @property
    def held(self) -> list[Entry]:
        """Those in memory, those on their way first."""
        return [*self._out, *self._entries]

    def touch(self) -> None:
        """Keep the series of what waits from being freed."""
        for entry in self.held:
            _touch(entry.batch)

    def give_up(self) -> list[Entry]:
        """Return all entries, those on their way first."""
        left = self.held
        self._out.clear()
        self._entries.clear()
        for entry in left:
            entry.place.release()
        return left

    async def close(self) -> int:
        """Give everything up; return its points."""
        left = self.give_up()
        for entry in left:
            if entry.result is not None and not entry.result.done():
                entry.failure = "the daemon stops"
                entry.result.set_result([])
        return sum(len(entry.batch) for entry in left)


class StoredQueue:
    """Keeps entries in a log, and the newest ones in memory too as long as there is room.

    Args:
        log: Recovered.
        room: Of the queue; takes what the log had waiting.
        memory_bytes: Bytes of batches in memory.
        table_of: Returns the table of a workspace.
        lost: Called with a number of points that cannot be read, and why.
    """

    def __init__(
        self,
        log: RecordLog,
        room: QueueRoom,
        memory_bytes: int,
        table_of: Callable[[str], SeriesTable],
        lost: Callable[[int, str], None],
    ) -> None:
        self._log = log
        self._room = room
        self._memory_bytes = memory_bytes
        self._lost = lost
        self._encoder = BatchEncoder()
        self._decoder = BatchDecoder(table_of, lost)
        self._entries: deque[Entry] = deque()
        self._out: dict[Entry, None] = {}
        self._bytes = 0
        self._came = asyncio.Event()
        self._taken = log.low - 1
        self._unread = replace(log.waiting)
        room.hold(self._unread.points, self._unread.size, self._unread.records)

    async def put(self, entry: Entry) -> None:
        """Take an entry; return when it is on disk.

        Raises:
            Refused: It could not be written.
        """
        if self._log.rotate():
            self._encoder.reset()
        record = self._encoder.encode(entry.batch)
        try:
            await self._log.append(record, lambda seq: self._written(entry, seq))
        except StoreFailed as error:
            raise Refused(str(error), 5) from None

    def _written(self, entry: Entry, seq: int) -> None:
        entry.seq = seq
        size = entry.batch.size_bytes
        if self._bytes + size <= self._memory_bytes:
            self._entries.append(entry)
            self._bytes += size
        else:
            # `finish` of what is read back gives the room back.
            self._unread.add(1, len(entry.batch), size)
        self._came.set()

    def is_ready(self) -> bool:
        """Return whether there is an entry."""
        return bool(self._entries or self._unread.records)

    async def next(self) -> Entry:
        """Return the next entry, waiting for one; what is not in memory is read back. Not to be cancelled half-way."""
        while True:
            if not self.is_ready():
                self._came.clear()
                await self._came.wait()
            entry = await self._read() if self._unread.records and not self._follows() else self._pop()
            if entry is not None:
                return self._handed_out(entry)

    def next_now(self) -> Entry | None:
        """Return the next entry where it is in memory."""
        return self._handed_out(self._pop()) if self._follows() else None

    def _handed_out(self, entry: Entry) -> Entry:
        self._bytes -= entry.batch.size_bytes
        self._out[entry] = None
        return entry

    def _follows(self) -> bool:
        """Return whether the first entry in memory is the next one."""
        return bool(self._entries) and self._entries[0].seq == self._taken + 1

    def _pop(self) -> Entry:
        entry = self._entries.popleft()
        self._take(entry.seq)
        return entry

    def _take(self, seq: int) -> None:
        """Note that a record is taken; numbers before it that were not taken were never written."""
        self._log.skip(self._taken + 1, seq)
        self._taken = seq

    async def _read(self) -> Entry | None:
        expected = replace(self._unread)
        try:
            found = await asyncio.to_thread(self._log.read, self._taken)
        except OSError as error:
            self._log.failed(error)
            await asyncio.sleep(_PAUSE_S)
            return None
        if found is None:
            self._forget(expected)
            return None
        if found.opens:
            self._decoder.reset()
        for payload in found.defines:
            self._decoder.define(payload)
        if self._entries and found.head.seq == self._entries[0].seq:
            if found.payload is not None:
                self._decoder.define(found.payload)
            return self._pop()
        self._take(found.head.seq)
        self._unread.add(-1, -found.head.points, -found.head.size)
        return self._decoded(found)

    def _forget(self, missing: Waiting) -> None:
        """Take note that records that were counted are not there: files were damaged while the daemon ran.

        What was written since somebody looked is not among them.
        """
        self._room.give_back(missing.records, missing.points, missing.size)
        self._lost(missing.points, "storage_damaged")
        self._unread.add(-missing.records, -missing.points, -missing.size)

    def _decoded(self, found: Found) -> Entry | None:
        """Return the entry of a record, None where it is damaged: then it is counted, and done."""
        head = found.head
        place = self._place(head.points, head.size)
        try:
            # No payload fails as a damaged one does.
            batch = self._decoder.decode(found.payload or b"")
        except ValueError:
            self._lost(head.points, "storage_damaged")
            place.release()
            self._log.acknowledge(head.seq)
            return None
        self._bytes += batch.size_bytes
        return Entry(batch, place, head.seq)

    def _place(self, points: int, size: int) -> Place:
        """Return the room that a record on disk has been taking."""
        self._room.give_back(1, points, size)
        return self._room.hold(points, size)

    def finish(self, entry: Entry) -> None:
        """Let go of an entry, also on disk."""
        self._out.pop(entry, None)
        entry.place.release()
        self._log.acknowledge(entry.seq)

    @property
    def held(self) -> list[Entry]:
        """Those in memory, those on their way first."""
        return [*self._out, *self._entries]

    def touch(self) -> None:
        """Keep the series of what is in memory from being freed."""
        for entry in self.held:
            _touch(entry.batch)

    def give_up(self) -> list[Entry]:
        """Return nothing: what is on disk stays there."""
        return []

    async def close(self) -> int:
        """Let go of memory; nothing is lost by that. Who opened the log closes it."""
        self._entries.clear()
        self._out.clear()
        return 0


def _touch(batch: MetricBatch) -> None:
    for ids in _ids_of(batch):
        batch.table.touch(ids)


def _ids_of(batch: MetricBatch) -> list[NDArray[np.int32]]:
    sides = (batch.histograms, batch.native, batch.exemplars)
    return [batch.series, *(side.series for side in sides if side is not None)]
