"""Long queries make way for others."""

from __future__ import annotations

import os
import threading
import time

import pytest

from headrace.store.api import ticket as tickets
from headrace.store.api.errors import ApiError
from headrace.store.api.query_threads import QueryThreads
from headrace.store.api.ticket import LongTurns, Ticket
from running import wait_until


def test_long_queries_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One goes on, the other rests until the first is over; what is short does not wait."""
    monkeypatch.setattr(tickets, "lower_priority", lambda _thread: None)
    monkeypatch.setattr(tickets, "LONG_S", -1.0)
    turns = LongTurns(1)
    first, second, short = (Ticket(60.0, turns=turns) for _ in range(3))
    first.begin()
    second.begin()
    first.check()
    short.check()
    passed = threading.Event()

    def go_on() -> None:
        second.check()
        passed.set()
        second.end()

    thread = threading.Thread(target=go_on)
    thread.start()
    assert not passed.wait(0.1)
    first.end()
    assert passed.wait(5)
    thread.join()
    assert (first.is_long, second.is_long, short.is_long) == (True, True, False)
    assert turns._free.acquire(blocking=False)


@pytest.mark.parametrize("late", [True, False])
def test_one_that_rests_is_stopped_in_time(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """By its deadline, or because nobody waits for it; its place is nobody's then."""
    monkeypatch.setattr(tickets, "lower_priority", lambda _thread: None)
    monkeypatch.setattr(tickets, "LONG_S", -1.0)
    turns = LongTurns(0)
    one = Ticket(0.05 if late else 60.0, turns=turns)
    one.begin()
    if not late:
        threading.Timer(0.05, one.cancel).start()
    started = time.monotonic()
    with pytest.raises(ApiError) as error:
        one.check()
    assert error.value.kind == ("timeout" if late else "canceled")
    assert time.monotonic() - started < 5
    one.end()
    assert not turns._free.acquire(blocking=False)


async def test_a_thread_that_lost_its_priority_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next query has one with its own."""
    monkeypatch.setattr(tickets, "LONG_S", -1.0)
    threads = QueryThreads()
    usual = os.getpriority(os.PRIO_PROCESS, 0)

    def work(*, long: bool) -> tuple[tuple[int, int, int], bool]:
        one = Ticket(60.0)
        if long:
            one.begin()
        one.check()
        me = threading.get_native_id()
        return (me, os.getpriority(os.PRIO_PROCESS, me), threading.get_ident()), one.end()

    first, priority, _ = await threads.run(lambda: work(long=False))
    same, _, _ = await threads.run(lambda: work(long=False))
    lowered, low, number = await threads.run(lambda: work(long=True))
    wait_until(lambda: all(thread.ident != number for thread in threading.enumerate()), "it ends", 5)
    after, again, _ = await threads.run(lambda: work(long=False))
    assert first == same == lowered
    assert priority == again == usual
    assert low == min(usual + 10, 19)
    assert after != lowered
    threads.shutdown()


async def test_errors_come_out_and_threads_stay() -> None:
    """Whatever is raised on a thread is raised where it is awaited."""
    threads = QueryThreads()

    def fail() -> tuple[None, bool]:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await threads.run(fail)
    assert await threads.run(lambda: (threading.current_thread().name, False)) == "headrace-query"
    threads.shutdown()
    threads.shutdown()
