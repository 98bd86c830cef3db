"""A query under way: its deadline, whether anybody still waits for it, and how it makes way for others.

A query that has used a processor for some time is a long one. Long queries take turns, the one that used least first,
so that what is nearly done gets done and what never ends does not stand in its way. They rest where they look whether
they are still wanted. Their threads keep the priority they have: one that is held back by the system while it has the
interpreter's lock would hold back all others.

Source:
    Nuyens and Wierman, "The Foreground-Background queue: a survey", Performance Evaluation 65, 2008.
"""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.store.api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

LONG_S = 0.25
"""Seconds of a processor after which a query is a long one."""

_SLICE_S = 0.1
"""Seconds of a processor after which a long query lets one go on that has used less."""

_PAUSE_S = 0.02
"""How often a query that waits for its turn looks whether it is still wanted."""


@dataclass(slots=True, order=True)
class _Waiting:
    """A query that waits for its turn: those that used least come first, then those that came first."""

    used_s: float
    number: int
    ready: threading.Event = field(compare=False, default_factory=threading.Event)


class LongTurns:
    """Places of long queries: so many go on at a time, the others rest where they are.

    Args:
        places: How many.
    """

    def __init__(self, places: int) -> None:
        self.free = places
        """Places that nobody has."""
        self._waiting: list[_Waiting] = []
        self._came = 0
        self._lock = threading.Lock()

    def wanted(self, used_s: float) -> bool:
        """Return whether somebody waits who goes before a query that has used so many seconds."""
        with self._lock:
            return bool(self._waiting) and self._waiting[0].used_s < used_s

    def take(self, used_s: float, check: Callable[[], None]) -> None:
        """Wait for a place.

        Args:
            used_s: Seconds of a processor that the query has used.
            check: Called now and then; what it raises ends the waiting.
        """
        with self._lock:
            if self.free:
                self.free -= 1
                return
            self._came += 1
            own = _Waiting(used_s, self._came)
            heapq.heappush(self._waiting, own)
        try:
            while not own.ready.wait(_PAUSE_S):
                check()
        except BaseException:
            with self._lock:
                if own.ready.is_set():
                    self._hand_on()
                else:
                    self._waiting.remove(own)
                    heapq.heapify(self._waiting)
            raise

    def give_back(self) -> None:
        """Let another one go on."""
        with self._lock:
            self._hand_on()

    def _hand_on(self) -> None:
        if self._waiting:
            heapq.heappop(self._waiting).ready.set()
        else:
            self.free += 1


class Overrun(Exception):  # noqa: N818 -- no error: the query begins again elsewhere
    """A query was not as quick as it was the last time."""


class Ticket:
    """Deadline and cancel flag of one query.

    Args:
        timeout_s: Seconds from now; waiting for a thread counts.
        monotonic_s: Seconds that never go back.
        turns: Places of long queries; None where these need none.
        thread_s: Seconds that the calling thread has used a processor.
    """

    __slots__ = (
        "_began_s",
        "_has_turn",
        "_here_until_s",
        "_monotonic_s",
        "_resting",
        "_thread_s",
        "_turn_until_s",
        "_turns",
        "_used_s",
        "cancelled",
        "deadline_s",
        "is_long",
        "queued_s",
        "ran_s",
        "samples",
        "timeout_s",
    )

    def __init__(
        self,
        timeout_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
        turns: LongTurns | None = None,
        thread_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._monotonic_s = monotonic_s
        self._thread_s = thread_s
        self._turns = turns
        self._resting = threading.Lock()
        self._began_s: dict[int, float] = {}
        self._used_s: dict[int, float] = {}
        self._has_turn = False
        self._turn_until_s = LONG_S
        self._here_until_s: float | None = None
        self.timeout_s = timeout_s
        self.deadline_s = monotonic_s() + timeout_s
        """When it is late, by the monotonic clock."""
        self.cancelled = False
        """Whether nobody waits for it any more."""
        self.queued_s = 0.0
        """Seconds it waited for a thread."""
        self.ran_s = 0.0
        """Seconds it ran, once it is done."""
        self.samples = 0
        """Samples it looked at, once it is done."""
        self.is_long = False
        """Whether it was found to be long."""

    @property
    def used_s(self) -> float:
        """Seconds of a processor that its threads had used when they last looked."""
        return sum(list(self._used_s.values()))

    def hurry(self, most_s: float | None) -> None:
        """Let it run for so many seconds from now at most, and never rest; None for as long as it takes."""
        self._here_until_s = None if most_s is None else self._monotonic_s() + most_s

    def cancel(self) -> None:
        """Say that nobody waits any more."""
        self.cancelled = True

    def check(self, where: str = "expression evaluation") -> None:
        """Raise where the query should stop, and rest where others go first. Any thread that works on it.

        Raises:
            ApiError: ``canceled`` or ``timeout``, with Prometheus' text.
            Overrun: It runs where nothing may take long, and does.
        """
        self._check(where)
        if self._here_until_s is not None:
            if self._monotonic_s() > self._here_until_s:
                raise Overrun
            return
        if self._turns is None:
            return
        thread, now_s = threading.get_ident(), self._thread_s()
        self._used_s[thread] = max(0.0, now_s - self._began_s.setdefault(thread, now_s))
        if self.used_s >= self._turn_until_s:
            self._make_way(self._turns, where)

    def _check(self, where: str) -> None:
        if self.cancelled:
            raise ApiError("canceled", f"query was canceled in {where}")
        if self._monotonic_s() > self.deadline_s:
            raise ApiError("timeout", f"query timed out in {where}")

    def _make_way(self, turns: LongTurns, where: str) -> None:
        """Go on only when it is this query's turn among the long ones; its other threads rest as well."""
        with self._resting:
            self.is_long = True
            used_s = self.used_s
            if used_s < self._turn_until_s:
                return
            if self._has_turn and turns.wanted(used_s):
                self._has_turn = False
                turns.give_back()
            if not self._has_turn:
                turns.take(used_s, lambda: self._check(where))
                self._has_turn = True
            self._turn_until_s = used_s + _SLICE_S

    def end(self) -> None:
        """Say that it is over, once none of its threads works on it."""
        if self._has_turn and self._turns is not None:
            self._has_turn = False
            self._turns.give_back()
