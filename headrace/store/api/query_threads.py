"""Threads that queries run on.

A thread that was made to give way to others cannot be given its priority back without special rights, so it ends, and
another one begins where it is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

T = TypeVar("T")

_Job = tuple[Callable[[], tuple[object, bool]], "Future[object]", "AbstractEventLoop"]


class QueryThreads:
    """Begins threads as they are needed, and keeps them; whoever calls `run` bounds their number."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle = 0
        self._alive = 0
        self._lock = threading.Lock()
        self._closed = False

    async def run(self, work: Callable[[], tuple[T, bool]]) -> T:
        """Return the first of what `work` returns; the second says whether its thread must end.

        Raises:
            Exception: Whatever `work` raises, whose thread stays.
        """
        loop = asyncio.get_running_loop()
        done: Future[T] = loop.create_future()
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                self._alive += 1
                threading.Thread(target=self._serve, name="headrace-query", daemon=True).start()
        self._jobs.put((work, done, loop))  # type: ignore[arg-type]  # of one type inside each job
        return await done

    def shutdown(self) -> None:
        """Have the threads end, those at work after it; safe twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in range(self._alive):
                self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done, loop = job
            found, error, ends = _outcome(work)
            with self._lock:
                # Before anybody hears of it: the next query may come at once.
                self._alive -= ends
                self._idle += not ends
            _tell(loop, done, found, error)
            del job, work, done, found, error
            if ends:
                return


def _outcome(work: Callable[[], tuple[object, bool]]) -> tuple[object, BaseException | None, bool]:
    """Return what `work` returns or raises, and whether its thread must end."""
    try:
        found, ends = work()
    except BaseException as error:  # noqa: BLE001 -- whoever awaits it gets it
        return None, error, False
    return found, None, ends


def _tell(loop: AbstractEventLoop, done: Future[object], found: object, error: BaseException | None) -> None:
    def settle() -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(found)

    # A loop that is closed has nobody waiting.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle)
