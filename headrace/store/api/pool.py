"""Threads for queries: so many at a time, the others wait, each has a deadline and can be cancelled.

A query is cancelled when its client goes away: nobody would read the answer, and dashboards that reload would pile up
work otherwise.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from headrace.store.api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.http.request import Request

T = TypeVar("T")


class Ticket:
    """Deadline and cancel flag of one query.

    Args:
        timeout_s: Seconds from now; waiting for a thread counts.
        monotonic_s: Seconds that never go back.
    """

    __slots__ = ("_monotonic_s", "cancelled", "deadline_s", "queued_s", "timeout_s")

    def __init__(self, timeout_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self.timeout_s = timeout_s
        self.deadline_s = monotonic_s() + timeout_s
        """When it is late, by the monotonic clock."""
        self.cancelled = False
        """Whether nobody waits for it any more."""
        self.queued_s = 0.0
        """Seconds it waited for a thread."""

    def cancel(self) -> None:
        """Say that nobody waits any more."""
        self.cancelled = True

    def check(self, where: str = "expression evaluation") -> None:
        """Raise where the query should stop.

        Raises:
            ApiError: ``canceled`` or ``timeout``, with Prometheus' text.
        """
        if self.cancelled:
            raise ApiError("canceled", f"query was canceled in {where}")
        if self._monotonic_s() > self.deadline_s:
            raise ApiError("timeout", f"query timed out in {where}")


class QueryPool:
    """Runs queries on threads.

    Args:
        concurrency: Queries at the same time.
        waiting: Queries that may wait for a thread; more are answered 503.
        timeout_s: Longest time of a query; a request may ask for less.
    """

    def __init__(self, concurrency: int = 20, waiting: int = 1000, timeout_s: float = 120.0) -> None:
        self._threads = ThreadPoolExecutor(concurrency, "headrace-query")
        self._free = asyncio.Semaphore(concurrency)
        self._max_waiting = waiting
        self._timeout_s = timeout_s
        self.waiting = 0
        """Queries that wait now."""
        self.running: set[Ticket] = set()
        """Queries that run now."""

    async def run(self, work: Callable[[Ticket], T], request: Request, timeout_s: float | None = None) -> T:
        """Return ``work(ticket)``, computed on a thread.

        Raises:
            ApiError: ``timeout`` while it waits, ``unavailable`` where too many wait, and whatever `work` raises.
        """
        ticket = Ticket(self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s))
        request.on_disconnect(ticket.cancel)
        started = time.monotonic()
        await self._wait(ticket)
        ticket.queued_s = time.monotonic() - started
        self.running.add(ticket)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, _checked, work, ticket)
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        finally:
            self.running.discard(ticket)
            self._free.release()

    async def _wait(self, ticket: Ticket) -> None:
        if self.waiting >= self._max_waiting:
            raise ApiError("unavailable", f"too many queries are waiting ({self.waiting})", 503)
        self.waiting += 1
        try:
            async with asyncio.timeout(max(0.0, ticket.timeout_s)):
                await self._free.acquire()
        except TimeoutError:
            raise ApiError("timeout", "query timed out in query queue") from None
        finally:
            self.waiting -= 1

    def shutdown(self) -> None:
        """Cancel what runs and end the threads; safe twice."""
        for ticket in self.running:
            ticket.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _checked(work: Callable[[Ticket], T], ticket: Ticket) -> T:
    ticket.check("query queue")
    return work(ticket)
