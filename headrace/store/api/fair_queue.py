"""Whose turn it is to query: first come, first served within a workspace, and none before others that had less time.

The last free places are for queries that were short the last time, so that a dashboard goes on beside heavy queries of
the same workspace; those known to be long get none of them, unknown ones a few.

Source:
    Demers, Keshav and Shenker, "Analysis and Simulation of a Fair Queueing Algorithm", SIGCOMM 1989; here, what a query
    costs is known only when it is over, and is charged then and while it runs.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKED_AT = 64
"""Queries of a workspace that are considered when a place is free."""

_REMEMBERED = 4096
"""Queries whose last duration is known."""

_RESERVED_TENTHS = 3
"""Tenths of the places that long queries cannot take."""


class Expected(IntEnum):
    """How long a query will take; the value is the rank among those that want the last places."""

    SHORT = 0
    UNKNOWN = 1
    LONG = 2


class Durations:
    """What queries took the last time.

    Args:
        long_s: Seconds from which a query is long.
    """

    def __init__(self, long_s: float) -> None:
        self._long_s = long_s
        self._seconds: OrderedDict[tuple[str, str], float] = OrderedDict()

    def expected(self, workspace: str, query: str) -> Expected:
        """Return how long a query of a workspace may take."""
        seconds = self._seconds.get((workspace, query))
        if seconds is None:
            return Expected.UNKNOWN
        return Expected.LONG if seconds > self._long_s else Expected.SHORT

    def learn(self, workspace: str, query: str, seconds: float) -> None:
        """Take note of what one took."""
        self._seconds[workspace, query] = seconds
        self._seconds.move_to_end((workspace, query))
        if len(self._seconds) > _REMEMBERED:
            self._seconds.popitem(last=False)


@dataclass(slots=True, eq=False)
class Place:
    """One query in the queue or under way.

    Attributes:
        workspace: Whose it is.
        expected: How long it may take.
        ready: Done once it may run.
        started_s: When it began, by the queue's clock.
    """

    workspace: str
    expected: Expected
    ready: asyncio.Future[None]
    started_s: float = 0.0


@dataclass(slots=True)
class _Line:
    """One workspace: seconds it was given, and who waits and who runs."""

    used_s: float
    waiting: deque[Place] = field(default_factory=deque)
    running: set[Place] = field(default_factory=set)

    def spent_s(self, now_s: float) -> float:
        return self.used_s + sum(now_s - place.started_s for place in self.running)


class QueueFull(Exception):  # noqa: N818 -- named for the condition
    """Too many queries of a workspace are waiting."""


class FairQueue:
    """Places to run, given out in fairness. The event loop's thread alone.

    Args:
        places: Queries at the same time.
        most_waiting: Queries of one workspace that may wait.
        clock_s: Seconds that never go back.
    """

    def __init__(self, places: int, most_waiting: int, clock_s: Callable[[], float]) -> None:
        self._free = places
        self._most_waiting = most_waiting
        self._clock_s = clock_s
        reserved = places * _RESERVED_TENTHS // 10
        # How many places stay free after one was given to a query of which kind.
        self._left = {Expected.SHORT: 0, Expected.UNKNOWN: reserved // 2, Expected.LONG: reserved}
        self._lines: dict[str, _Line] = {}
        self._floor_s = 0.0
        self.waiting = 0
        """Queries that wait now."""

    def enter(self, workspace: str, expected: Expected) -> Place:
        """Stand in line, or take a place at once.

        Raises:
            QueueFull: Too many of the workspace do.
        """
        line = self._lines.get(workspace)
        if line is not None and len(line.waiting) >= self._most_waiting:
            raise QueueFull(len(line.waiting))
        if line is None:
            # Who was away comes back as one of those that had least, without credit for the time.
            line = self._lines[workspace] = _Line(self._least_s())
        place = Place(workspace, expected, asyncio.get_running_loop().create_future())
        line.waiting.append(place)
        self.waiting += 1
        self._serve()
        return place

    def leave(self, place: Place) -> None:
        """Give a place back, or give up waiting."""
        line = self._lines[place.workspace]
        if place in line.running:
            line.running.remove(place)
            line.used_s += self._clock_s() - place.started_s
            self._free += 1
        else:
            line.waiting.remove(place)
            self.waiting -= 1
        if not line.running and not line.waiting:
            self._floor_s = max(self._floor_s, line.used_s)
            del self._lines[place.workspace]
        self._serve()

    def _least_s(self) -> float:
        now_s = self._clock_s()
        return min((line.spent_s(now_s) for line in self._lines.values()), default=self._floor_s)

    def _serve(self) -> None:
        """Give out the free places."""
        while self._free and self.waiting:
            place = self._next()
            if place is None:
                return
            line = self._lines[place.workspace]
            line.waiting.remove(place)
            self.waiting -= 1
            self._free -= 1
            line.running.add(place)
            place.started_s = self._clock_s()
            place.ready.set_result(None)

    def _next(self) -> Place | None:
        """Return who may have a place now, of the workspace that had least time; None where nobody may."""
        now_s = self._clock_s()
        for line in sorted(self._lines.values(), key=lambda line: line.spent_s(now_s)):
            for number, place in enumerate(line.waiting):
                if number == _LOOKED_AT:
                    break
                if self._free > self._left[place.expected]:
                    return place
        return None
