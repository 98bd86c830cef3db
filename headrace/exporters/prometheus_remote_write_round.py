"""One batch on its way: its requests side by side, and again those that failed."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from headrace.exporters.prometheus_remote_write_replies import Fate, Verdict
from headrace.pipeline.sending import Loss, Permanent, Rest, Throttled
from headrace.pipeline.sending.results import NOT_MADE, REJECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.exporters.prometheus_remote_write_encoding import Outgoing
    from headrace.pipeline.batch import MetricBatch


_log = logging.getLogger(__name__)


class Post(Protocol):
    """Sends a request."""

    async def __call__(self, outgoing: Outgoing) -> tuple[Verdict, float]:
        """Return what the answer means, and how many seconds to wait where it says so.

        Raises:
            ConnectionError: There was no answer.
            TimeoutError: There was none in time.
            Permanent: It cannot be sent, now or later.
        """


class Round:
    """The requests of one batch; at most `parallel` of them at a time.

    Args:
        batch: What to send.
        encode: Makes requests of a batch, of the version that the server knows.
        post: Sends one.
        parallel: How many at a time.
    """

    def __init__(
        self, batch: MetricBatch, encode: Callable[[MetricBatch], Iterator[Outgoing]], post: Post, parallel: int
    ) -> None:
        self._encode = encode
        self._post = post
        self._parallel = parallel
        self._coming = encode(batch)
        self._again: list[Outgoing] = []
        self._not_spoken: list[Outgoing] = []
        self._points = len(batch)
        self._losses: list[Loss] = []
        self._failure: tuple[str, float] | None = None

    async def send(self) -> list[Loss]:
        """Send what has not been sent; return what the server will never take.

        Raises:
            Throttled: Some of it has to be sent again.
        """
        while True:
            self._failure = None
            again, self._again = self._again, []
            failure = await self._send_all(chain(again, self._coming))
            if self._not_spoken:
                # In the place of those requests come others of the same points, before what is behind them.
                parts = [one.part() for one in self._not_spoken]
                self._not_spoken = []
                behind = self._coming
                self._coming = chain(*(self._encode(part) for part in parts), behind)
                if failure is None:
                    continue
            if failure is None:
                losses, self._losses = self._losses, []
                return losses
            why, wait_s = failure
            lost = sum(loss.points for loss in self._losses)
            raise Throttled(why, wait_s, Rest(self.send, self._points + lost, self._left))

    async def _send_all(self, requests: Iterator[Outgoing]) -> tuple[str, float] | None:
        """Send requests until one fails; return why, and how long to wait."""
        running: set[asyncio.Task[None]] = set()
        phase = 0
        try:
            while not self._is_halted():
                one = next(requests, None)
                if one is None:
                    break
                if one.phase != phase and running:
                    running = await _all_of(running)
                phase = one.phase
                if self._is_halted():
                    self._again.append(one)
                    break
                running.add(asyncio.create_task(self._send_one(one)))
                if len(running) >= self._parallel:
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            # What did not get its turn of those that failed before is in it, too.
            self._coming = requests
            await _all_of(running)
        except asyncio.CancelledError:
            for task in running:
                task.cancel()
            raise
        return self._failure

    def _is_halted(self) -> bool:
        """Return whether an answer says that nothing more may be sent for now."""
        return self._failure is not None or bool(self._not_spoken)

    async def _send_one(self, one: Outgoing) -> None:
        try:
            verdict, wait_s = await self._post(one)
        except (ConnectionError, TimeoutError) as error:
            self._again.append(one)
            self._failure = (str(error) or type(error).__name__, 0.0)
            return
        except Permanent as error:
            self._lose(one, one.encoded.points, str(error), REJECTED)
            return
        except Exception as error:  # noqa: BLE001 -- it is counted and logged
            # It would fail the same way again; unnoticed, its points would count as delivered.
            _log.exception("no request could be sent of %d points", one.encoded.points)
            self._lose(one, one.encoded.points, repr(error), NOT_MADE)
            return
        if verdict.fate is Fate.AGAIN:
            self._again.append(one)
            self._failure = (verdict.why, max(wait_s, self._failure[1] if self._failure else 0.0))
        elif verdict.fate is Fate.NOT_SPOKEN:
            self._not_spoken.append(one)
        else:
            self._lose(one, verdict.lost, verdict.why, verdict.reason)

    def _lose(self, one: Outgoing, lost: int, why: str, reason: str) -> None:
        """Note that a request is done, and how many of its points are lost."""
        self._points -= one.encoded.points
        if lost:
            self._losses.append(Loss(lost, why, one.part(), reason))

    def _left(self) -> list[MetricBatch]:
        """Return what has not been delivered; what the server refused is among it."""
        left = [one.part() for one in chain(self._again, self._coming) if one.encoded.points]
        return [*(loss.batch for loss in self._losses if loss.batch is not None), *left]


async def _all_of(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    if running:
        await asyncio.wait(running)
    return set()
