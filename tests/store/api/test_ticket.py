"""Long queries take turns."""

from __future__ import annotations

import threading
import time

import pytest

from headrace.store.api.errors import ApiError
from headrace.store.api.ticket import LONG_S, LongTurns, Ticket
from running import wait_until


class Work:
    """A query whose use of a processor the test says.

    Args:
        turns: Of the long ones.
        timeout_s: Of the query.
    """

    def __init__(self, turns: LongTurns, timeout_s: float = 60.0) -> None:
        self.used_s = 0.0
        self.ticket = Ticket(timeout_s, turns=turns, thread_s=lambda: self.used_s)
        self.ticket.check()

    def use(self, seconds: float) -> None:
        self.used_s += seconds
        self.ticket.check()


class Elsewhere:
    """Uses a processor on another thread, which may have to wait."""

    def __init__(self, work: Work, seconds: float) -> None:
        self.error: ApiError | None = None
        self._work, self._seconds = work, seconds
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work.use(0.0)
            self._work.use(self._seconds)
        except ApiError as error:
            self.error = error

    def ended(self, seconds: float = 5.0) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()


def test_short_queries_never_wait() -> None:
    """What used little goes on, whoever has the places."""
    turns = LongTurns(1)
    long, short = Work(turns), Work(turns)
    long.use(LONG_S)
    short.use(LONG_S / 2)
    assert (long.ticket.is_long, short.ticket.is_long, turns.free) == (True, False, 0)
    long.ticket.end()
    short.ticket.end()
    assert turns.free == 1


def test_a_long_query_rests_until_there_is_a_place() -> None:
    """That is when the one before is over, or had its time."""
    turns = LongTurns(1)
    first, second = Work(turns), Work(turns)
    first.use(LONG_S)
    waiting = Elsewhere(second, LONG_S)
    assert not waiting.ended(0.1)
    first.ticket.end()
    assert waiting.ended()
    second.ticket.end()
    assert turns.free == 1


def test_who_used_least_goes_first() -> None:
    """One that never ends makes way for each that is nearly done, and goes on afterwards."""
    turns = LongTurns(1)
    endless, heavy, light = Work(turns), Work(turns), Work(turns)
    endless.use(LONG_S)
    slow = Elsewhere(heavy, 10 * LONG_S)
    wait_until(lambda: len(turns._waiting) == 1, "one waits", 5)
    quick = Elsewhere(light, LONG_S)
    wait_until(lambda: len(turns._waiting) == 2, "two wait", 5)
    rests = Elsewhere(endless, 100 * LONG_S)
    assert quick.ended()
    assert not slow.ended(0.1)
    light.ticket.end()
    assert slow.ended()
    heavy.ticket.end()
    assert rests.ended()
    endless.ticket.end()
    assert turns.free == 1


def test_one_that_is_nearly_done_keeps_its_place() -> None:
    """It does not make way for what has used more than it."""
    turns = LongTurns(1)
    endless, light = Work(turns), Work(turns)
    light.use(LONG_S)
    rests = Elsewhere(endless, 100 * LONG_S)
    wait_until(lambda: len(turns._waiting) == 1, "one waits", 5)
    light.use(LONG_S)
    assert turns._waiting
    light.ticket.end()
    assert rests.ended()
    endless.ticket.end()
    assert turns.free == 1


@pytest.mark.parametrize("late", [True, False])
def test_one_that_rests_is_stopped_in_time(late: bool) -> None:
    """By its deadline, or because nobody waits for it; its place is nobody's then."""
    turns = LongTurns(0)
    work = Work(turns, 0.1 if late else 60.0)
    began = time.monotonic()
    resting = Elsewhere(work, LONG_S)
    if not late:
        assert not resting.ended(0.05)
        work.ticket.cancel()
    assert resting.ended()
    assert resting.error is not None
    assert resting.error.kind == ("timeout" if late else "canceled")
    assert time.monotonic() - began < 5
    work.ticket.end()
    assert (turns.free, turns.wanted(100.0)) == (0, False)
