"""Threads for queries: so many at a time, the others wait in fairness, each has a deadline and can be cancelled.

A query is cancelled when its client goes away: nobody would read the answer, and dashboards that reload would pile up
work otherwise.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from headrace.store.api.errors import ApiError
from headrace.store.api.fair_queue import Durations, FairQueue, QueueFull
from headrace.store.api.quick import MOST_S, QuickQueries, Shape
from headrace.store.api.ticket import LONG_S, LongTurns, Overrun, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.http.request import Request
    from headrace.store.api.fair_queue import Place

T = TypeVar("T")


class About(NamedTuple):
    """What is known of a query before it runs.

    Attributes:
        query: PromQL.
        start_ms: First step.
        end_ms: Last one.
        step_ms: Between steps; 0 where there is one.
    """

    query: str
    start_ms: int
    end_ms: int
    step_ms: int


class Finished(NamedTuple):
    """What is known of a query after it ran, for those who watch.

    Attributes:
        about: The query; None for what asks for series and the like.
        request: Who asked.
        ticket: Times and samples.
        seconds: How long it ran.
        error: Kind and text of the error it ended with; None without.
    """

    about: About | None
    request: Request
    ticket: Ticket
    seconds: float
    error: ApiError | None


class Watcher:
    """Is told of queries that begin and end; does nothing itself."""

    def began(self, about: About, request: Request) -> Callable[[], None]:
        """Take note that a query runs, on its thread; what it returns is called when it does no more."""
        del about, request
        return lambda: None

    def ended(self, finished: Finished) -> None:
        """Take note that a query has ended, on the event loop's thread."""


@dataclass(slots=True)
class PoolStatistics:
    """Counts since the start."""

    queries: int = 0
    """Queries that ended, one way or other."""
    run_s: float = 0.0
    """Seconds that they ran."""
    queued_s: float = 0.0
    """Seconds that they waited for a thread."""
    long: int = 0
    """Queries that took so long that they had to make way for others."""
    samples: int = 0
    """Samples they looked at."""
    errors: Counter[str] = field(default_factory=Counter)
    """Queries that ended with an error, by its kind."""


class QueryPool:
    """Runs queries on threads.

    Args:
        concurrency: Queries at the same time.
        waiting: Queries of a workspace that may wait for a thread; more are answered 503.
        timeout_s: Longest time of a query; a request may ask for less.
        watcher: Told of queries.
    """

    def __init__(
        self, concurrency: int = 20, waiting: int = 1000, timeout_s: float = 120.0, watcher: Watcher | None = None
    ) -> None:
        self._threads = ThreadPoolExecutor(concurrency, "headrace-query")
        self._queue = FairQueue(concurrency, waiting, time.monotonic)
        self._durations = Durations(LONG_S)
        self._turns = LongTurns(max(1, len(os.sched_getaffinity(0)) // 2))
        self._quick = QuickQueries()
        self._timeout_s = timeout_s
        self._watcher = watcher or Watcher()
        self.concurrency = concurrency
        """Queries that may run at the same time."""
        self.statistics = PoolStatistics()
        self.running: set[Ticket] = set()
        """Queries that run now."""

    @property
    def waiting(self) -> int:
        """Queries that wait now."""
        return self._queue.waiting

    async def run(
        self,
        work: Callable[[Ticket], T],
        request: Request,
        timeout_s: float | None = None,
        about: About | None = None,
    ) -> T:
        """Return ``work(ticket)``, computed on a thread, or here if it is known to be quick.

        Raises:
            ApiError: ``timeout`` while it waits, ``unavailable`` where too many wait, and whatever `work` raises.
        """
        ticket = Ticket(self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s), turns=self._turns)
        request.on_disconnect(ticket.cancel)
        workspace, text = request.params.get("id", ""), about.query if about else request.path
        shape = Shape(workspace, text, about.end_ms - about.start_ms, about.step_ms) if about else None
        queued_s = time.monotonic()
        place = self._enter(workspace, text)
        error: ApiError | None = None
        try:
            await self._wait(place, ticket)
            ticket.queued_s = time.monotonic() - queued_s
            if shape is not None and shape in self._quick:
                with suppress(Overrun):
                    return self._run_here(work, request, ticket, about)
            return await self._run(work, request, ticket, about)
        except ApiError as raised:
            error = raised
            raise
        finally:
            began = place.ready.done() and not place.ready.cancelled()
            seconds = time.monotonic() - queued_s - ticket.queued_s if began else 0.0
            self._queue.leave(place)
            if began and error is None:
                self._durations.learn(workspace, text, ticket.used_s)
                if shape is not None:
                    self._quick.learn(shape, ticket.ran_s)
            self._count(Finished(about, request, ticket, seconds, error))

    def _enter(self, workspace: str, text: str) -> Place:
        try:
            return self._queue.enter(workspace, self._durations.expected(workspace, text))
        except QueueFull as full:
            self.statistics.errors["unavailable"] += 1
            raise ApiError("unavailable", f"too many queries are waiting ({full})", 503) from None

    async def _wait(self, place: Place, ticket: Ticket) -> None:
        if place.ready.done():
            return
        try:
            async with asyncio.timeout(max(0.0, ticket.timeout_s)):
                await place.ready
        except TimeoutError:
            raise ApiError("timeout", "query timed out in query queue") from None

    def _run_here(self, work: Callable[[Ticket], T], request: Request, ticket: Ticket, about: About | None) -> T:
        """Do the work on the event loop's thread, which waits for it.

        Raises:
            Overrun: It takes too long for that.
        """
        ticket.hurry(MOST_S)
        try:
            return self._work(work, request, ticket, about)
        finally:
            ticket.hurry(None)

    async def _run(self, work: Callable[[Ticket], T], request: Request, ticket: Ticket, about: About | None) -> T:
        self.running.add(ticket)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._work, work, request, ticket, about)
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        finally:
            self.running.discard(ticket)

    def _work(self, work: Callable[[Ticket], T], request: Request, ticket: Ticket, about: About | None) -> T:
        """Do the work, on its thread."""
        began_s = time.monotonic()
        over = self._watcher.began(about, request) if about else None
        try:
            ticket.check("query queue")
            return work(ticket)
        finally:
            ticket.ran_s = time.monotonic() - began_s
            ticket.end()
            if over is not None:
                over()

    def _count(self, finished: Finished) -> None:
        counted = self.statistics
        counted.queries += 1
        counted.run_s += finished.seconds
        counted.queued_s += finished.ticket.queued_s
        counted.long += finished.ticket.is_long
        counted.samples += finished.ticket.samples
        if finished.error is not None:
            counted.errors[finished.error.kind] += 1
        self._watcher.ended(finished)

    def shutdown(self) -> None:
        """Cancel what runs and end the threads; safe twice."""
        for ticket in self.running:
            ticket.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
