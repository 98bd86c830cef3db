"""Which of what waits is sent as one request: joining and cutting."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.sending.config import QueueConfig
    from headrace.pipeline.sending.queues import Entry, SendingQueue

_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Part:
    """An entry, or a piece of it, on its way."""

    entry: Entry
    batch: MetricBatch


class Gathering:
    """Takes parts out of a queue.

    Args:
        queue: Where they wait.
        config: How much is sent together.
        stopping: Once it is set nothing is waited for.
        interrupted: Once it is set nothing is taken any more, also of what waits.
        joined_points: Points of what waits anyway that are joined where `config` says nothing about it; 0 for none.
    """

    def __init__(
        self,
        queue: SendingQueue,
        config: QueueConfig,
        stopping: asyncio.Event,
        interrupted: asyncio.Event,
        *,
        joined_points: int,
    ) -> None:
        self._queue = queue
        self._stopping = stopping
        self._interrupted = interrupted
        self._sizer = config.batch_sizer
        batch = config.batch
        self._min = batch.min_size if batch else joined_points
        self._max = batch.max_size if batch else 0
        self._wait_s = batch.flush_timeout.total_seconds() if batch else 0.0
        self._held: Part | None = None
        self._coming: asyncio.Task[Entry] | None = None

    async def gather(self) -> list[Part]:
        """Return the parts of one request, of one table and of like clients; nothing at the end."""
        first = await self._first()
        if first is None:
            return []
        parts: list[Part] = []
        size = 0
        deadline = asyncio.get_running_loop().time() + self._wait_s
        part: Part | None = first
        while part is not None:
            if parts and not _go_together(part.batch, parts[0].batch):
                self._held = part
                break
            part = self._fitted(part, size)
            part.entry.parts += 1
            parts.append(part)
            size += self._size(part.batch)
            if self._held is not None or size >= self._min:
                break
            part = await self._more(deadline)
        return parts

    async def close(self) -> None:
        """Let go of what was on its way out of the queue."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
            self._coming = None

    async def _first(self) -> Part | None:
        if self._interrupted.is_set() or (self._stopping.is_set() and not self._has_more()):
            return None
        if self._held is not None:
            held, self._held = self._held, None
            return held
        waiting = self._waiting()
        if waiting is not None:
            return waiting
        stop = asyncio.create_task(self._stopping.wait())
        coming = self._next()
        await asyncio.wait((coming, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not self._interrupted.is_set():
            await self._ready(coming)
        return self._came(coming)

    async def _more(self, deadline: float) -> Part | None:
        """Return what comes until `deadline`; what waits already in any case."""
        waiting = self._waiting()
        if waiting is not None:
            return waiting
        coming = self._next()
        left = deadline - asyncio.get_running_loop().time()
        await self._ready(coming)
        if not coming.done() and left > 0 and not self._stopping.is_set():
            await asyncio.wait((coming,), timeout=left)
        return self._came(coming)

    def _waiting(self) -> Part | None:
        """Return an entry that can be had without a turn of the event loop; those are long when much waits."""
        entry = self._queue.next_now() if self._coming is None else None
        return None if entry is None else Part(entry, entry.batch)

    async def _ready(self, coming: asyncio.Task[Entry]) -> None:
        """Wait for an entry as long as the queue says that there is one; it may turn out to be damaged."""
        while self._queue.is_ready() and not coming.done():
            await asyncio.wait((coming,), timeout=_LOOK_S)

    def _has_more(self) -> bool:
        return self._held is not None or self._coming_done() or self._queue.is_ready()

    def _coming_done(self) -> bool:
        return self._coming is not None and self._coming.done()

    def _next(self) -> asyncio.Task[Entry]:
        if self._coming is None:
            self._coming = asyncio.create_task(self._queue.next())
        return self._coming

    def _came(self, coming: asyncio.Task[Entry]) -> Part | None:
        if not coming.done():
            return None
        self._coming = None
        entry = coming.result()
        return Part(entry, entry.batch)

    def _fitted(self, part: Part, size: int) -> Part:
        """Return as much of a part as there is room for, one point at least; the rest is held back."""
        own = self._size(part.batch)
        points = len(part.batch)
        if self._max and size + own > self._max and points > 1:
            room = max(1, points * (self._max - size) // own)
            if room < points:
                head, tail = cut(part.batch, room)
                self._held = Part(part.entry, tail)
                return Part(part.entry, head)
        part.entry.whole = True
        return part

    def _size(self, batch: MetricBatch) -> int:
        return len(batch) if self._sizer == "items" else batch.size_bytes


def _go_together(one: MetricBatch, other: MetricBatch) -> bool:
    """Return whether two batches may be in one request: of one table, and of clients that are told apart by nothing."""
    return one.table is other.table and one.context.metadata == other.context.metadata


def cut(batch: MetricBatch, points: int) -> tuple[MetricBatch, MetricBatch]:
    """Return the first points of a batch, and the others; exemplars and metadata go with the first."""
    head = batch
    tail = batch.with_columns(exemplars=None, metadata=())
    left = points
    keep = np.arange(len(batch.series)) < left
    head, tail = head.select(keep), tail.select(~keep)
    left -= int(keep.sum())
    for name in ("histograms", "native"):
        side = getattr(batch, name)
        if side is not None:
            keep = np.arange(len(side)) < left
            left -= int(keep.sum())
            head = head.with_columns(**{name: side.select(keep) if keep.any() else None})
            tail = tail.with_columns(**{name: None if keep.all() else side.select(~keep)})
    return head, tail
