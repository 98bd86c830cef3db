"""How much waits in a sending queue, and how much may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headrace.pipeline.errors import Refused

if TYPE_CHECKING:
    from headrace.pipeline.sending.config import QueueConfig

_RETRY_AFTER_S = 5.0


class QueueRoom:
    """Grants room up to the limits of a queue.

    Args:
        config: Of the queue.
    """

    def __init__(self, config: QueueConfig) -> None:
        self._limit = config.queue_size
        self._sizer = config.sizer
        self._max_bytes = 0 if config.storage else config.queue_bytes
        self._freed = asyncio.Event()
        self._closed = ""
        self.requests = 0
        self.points = 0
        self.bytes = 0

    @property
    def used(self) -> int:
        """How much waits, in the unit of the limit."""
        return self._units(self.requests, self.points, self.bytes)

    def take(self, points: int, size_bytes: int) -> Place:
        """Grant room; a batch larger than the limit is granted when nothing else waits.

        Raises:
            Refused: There is none now.
        """
        if not self._fits(points, size_bytes):
            raise Refused(f"the sending queue is full: {self.points} points wait", _RETRY_AFTER_S)
        return self.hold(points, size_bytes)

    async def wait(self, points: int, size_bytes: int) -> Place:
        """Grant room as soon as there is some.

        Raises:
            Refused: There will be none.
        """
        while not self._closed and not self._fits(points, size_bytes):
            self._freed.clear()
            await self._freed.wait()
        if self._closed:
            raise Refused(self._closed, _RETRY_AFTER_S)
        return self.hold(points, size_bytes)

    def close(self, why: str) -> None:
        """Refuse whoever waits for room, now and later."""
        self._closed = why
        self._freed.set()

    def hold(self, points: int, size_bytes: int, requests: int = 1) -> Place:
        """Grant room whatever waits: for what was granted once and changes hands."""
        self.requests += requests
        self.points += points
        self.bytes += size_bytes
        return Place(self, requests, points, size_bytes)

    def give_back(self, requests: int, points: int, size_bytes: int) -> None:
        """Take back what was granted."""
        self.requests -= requests
        self.points -= points
        self.bytes -= size_bytes
        self._freed.set()

    def _fits(self, points: int, size_bytes: int) -> bool:
        if not self.requests:
            return True
        if self._max_bytes and self.bytes + size_bytes > self._max_bytes:
            return False
        return self.used + self._units(1, points, size_bytes) <= self._limit

    def _units(self, requests: int, points: int, size_bytes: int) -> int:
        return {"requests": requests, "items": points, "bytes": size_bytes}[self._sizer]


class Place:
    """Room that was granted."""

    __slots__ = ("_bytes", "_points", "_requests", "_room")

    def __init__(self, room: QueueRoom, requests: int, points: int, size_bytes: int) -> None:
        self._room = room
        self._requests = requests
        self._points = points
        self._bytes = size_bytes

    def release(self) -> None:
        """Give the room back; safe to call twice."""
        self._room.give_back(self._requests, self._points, self._bytes)
        self._requests = self._points = self._bytes = 0
