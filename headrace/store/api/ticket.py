"""A query under way: its deadline, whether anybody still waits for it, and how it makes way for others."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from headrace.store.api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

LONG_S = 0.5
"""Seconds after which a query is a long one: it gives way to those that may be short."""

_NICER_BY = 10
_PAUSE_S = 0.02
"""How often a query that waits for its turn looks whether it is still wanted."""


class LongTurns:
    """Places of long queries: so many go on at a time, the others rest where they are.

    Args:
        places: How many.
    """

    def __init__(self, places: int) -> None:
        self._free = threading.Semaphore(places)

    def take(self, check: Callable[[], None]) -> None:
        """Wait for a place; `check` raises where the query should stop."""
        while not self._free.acquire(timeout=_PAUSE_S):
            check()

    def give_back(self) -> None:
        """Let another one go on."""
        self._free.release()


class Ticket:
    """Deadline and cancel flag of one query.

    Args:
        timeout_s: Seconds from now; waiting for a thread counts.
        monotonic_s: Seconds that never go back.
        turns: Places of long queries; None where these need none.
    """

    __slots__ = (
        "_monotonic_s",
        "_niced",
        "_place",
        "_turns",
        "cancelled",
        "deadline_s",
        "is_long",
        "long_from_s",
        "queued_s",
        "samples",
        "timeout_s",
    )

    def __init__(
        self, timeout_s: float, monotonic_s: Callable[[], float] = time.monotonic, turns: LongTurns | None = None
    ) -> None:
        self._monotonic_s = monotonic_s
        self._turns = turns
        self._place = threading.Lock()
        self._niced: set[int] = set()
        self.timeout_s = timeout_s
        self.deadline_s = monotonic_s() + timeout_s
        """When it is late, by the monotonic clock."""
        self.cancelled = False
        """Whether nobody waits for it any more."""
        self.queued_s = 0.0
        """Seconds it waited for a thread."""
        self.samples = 0
        """Samples it looked at, once it is done."""
        self.is_long = False
        """Whether it was found to be long."""
        self.long_from_s = float("inf")
        """When it is a long one; never, before it has begun."""

    def begin(self) -> None:
        """Say that it runs from now on."""
        self.long_from_s = self._monotonic_s() + LONG_S

    def cancel(self) -> None:
        """Say that nobody waits any more."""
        self.cancelled = True

    def check(self, where: str = "expression evaluation") -> None:
        """Raise where the query should stop, and rest where others go first. Any thread that works on it.

        Raises:
            ApiError: ``canceled`` or ``timeout``, with Prometheus' text.
        """
        self._check(where)
        if self._monotonic_s() > self.long_from_s:
            self._make_way(where)

    def _check(self, where: str) -> None:
        if self.cancelled:
            raise ApiError("canceled", f"query was canceled in {where}")
        if self._monotonic_s() > self.deadline_s:
            raise ApiError("timeout", f"query timed out in {where}")

    def _make_way(self, where: str) -> None:
        """Go on with less of the processor, and only when it is this query's turn among the long ones."""
        thread = threading.get_native_id()
        if thread not in self._niced:
            self._niced.add(thread)
            lower_priority(thread)
        if not self.is_long and self._turns is not None:
            with self._place:
                if not self.is_long:
                    self._turns.take(lambda: self._check(where))
                    self.is_long = True
        self.is_long = True

    def end(self) -> bool:
        """Say that it is over, on the thread it ran on; return whether that thread has lost priority for good."""
        if self.is_long and self._turns is not None:
            self._turns.give_back()
        return threading.get_native_id() in self._niced


def lower_priority(thread: int) -> None:
    """Have the system prefer other threads where it can; without the right to, nothing changes."""
    try:
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICER_BY)
    except (AttributeError, OSError):
        return
