"""Queries that are known to be quick run where they are received, and nothing else does."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from headrace.store.api.errors import ApiError
from headrace.store.api.pool import About, QueryPool
from headrace.store.api.quick import MOST_S, QUICK_S, QuickQueries, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.store.api.ticket import Ticket

ABOUT = About("up", 1000, 2000, 10)
REQUEST = cast("Any", SimpleNamespace(params={"id": "default"}, path="/", on_disconnect=lambda _: None))


@pytest.fixture
def pool() -> Iterator[QueryPool]:
    pool = QueryPool(concurrency=2)
    yield pool
    pool.shutdown()


async def ran_here(pool: QueryPool, about: About | None = ABOUT, work: Callable[[Ticket], None] | None = None) -> bool:
    """Run a query; return whether it ran on the calling thread."""

    def evaluate(ticket: Ticket) -> int:
        if work is not None:
            work(ticket)
        return threading.get_ident()

    return await pool.run(evaluate, REQUEST, about=about) == threading.get_ident()


async def test_only_the_first_one_goes_to_a_thread(pool: QueryPool) -> None:
    assert [await ran_here(pool) for _ in range(3)] == [False, True, True]


async def test_what_takes_as_long_is_the_same_over_other_times(pool: QueryPool) -> None:
    assert not await ran_here(pool)
    assert await ran_here(pool, ABOUT._replace(start_ms=61_000, end_ms=62_000))
    assert not await ran_here(pool, ABOUT._replace(end_ms=3000))
    assert not await ran_here(pool, ABOUT._replace(step_ms=1))
    assert not await ran_here(pool, ABOUT._replace(query="down"))


async def test_what_is_no_query_goes_to_a_thread(pool: QueryPool) -> None:
    assert not any([await ran_here(pool, None) for _ in range(3)])


async def test_slow_ones_go_to_a_thread(pool: QueryPool) -> None:
    assert not any([await ran_here(pool, work=lambda _: time.sleep(2 * QUICK_S)) for _ in range(3)])


async def test_one_that_is_quick_no_more_begins_again(pool: QueryPool) -> None:
    """It leaves the event loop after a moment, is answered all the same, and is not taken for quick after that."""
    assert [await ran_here(pool) for _ in range(2)] == [False, True]
    began = []

    def slow(ticket: Ticket) -> None:
        began.append(threading.get_ident())
        until = time.monotonic() + 4 * MOST_S
        while time.monotonic() < until:
            ticket.check()

    assert not await ran_here(pool, work=slow)
    assert len(began) == 2
    assert began[0] == threading.get_ident() != began[1]
    assert not await ran_here(pool)


async def test_errors_are_those_of_a_thread(pool: QueryPool) -> None:
    def fail(_ticket: Ticket) -> None:
        raise ApiError("execution", "no")

    await ran_here(pool)
    for _ in range(2):
        with pytest.raises(ApiError, match="no"):
            await ran_here(pool, work=fail)
    assert pool.statistics.errors["execution"] == 2
    assert pool.running == set()


def test_only_so_many_are_remembered() -> None:
    quick = QuickQueries()
    shapes = [Shape("default", f"m{i}", 0, 0) for i in range(5000)]
    for shape in shapes:
        quick.learn(shape, 0.0)
    assert shapes[-1] in quick
    assert shapes[0] not in quick
