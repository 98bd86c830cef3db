"""One request until it is delivered, given up, or the daemon stops."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.pipeline.sending.metadata import sending
from headrace.pipeline.sending.results import GIVEN_UP, REJECTED, Loss, Permanent, Rest, Throttled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Settings
    from headrace.pipeline.sending.config import SendingConfig
    from headrace.pipeline.sending.results import Send


@dataclass(slots=True)
class Result:
    """How a request ended.

    Attributes:
        losses: What of it will not be delivered.
        failure: Why it, or the rest of it, was given up; empty where it was not.
        interrupted: Whether sending ended before it was delivered; it is on disk, or somebody takes over.
    """

    losses: list[Loss] = field(default_factory=list)
    failure: str = ""
    interrupted: bool = False


class Attempts:
    """Sends requests, and sends them again.

    Args:
        settings: Of the exporter.
        config: When to send again.
        send: Sends some batches as one.
        interrupted: Set when nothing is to be sent again.
        sleep: Waits.
        spread: Random numbers from 0 to 1.
    """

    def __init__(
        self,
        settings: Settings,
        config: SendingConfig,
        send: Send,
        interrupted: asyncio.Event,
        *,
        sleep: Callable[[float], Awaitable[None]],
        spread: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._retry = config.retry_on_failure
        self._limit_s = config.max_elapsed_s
        self._send = send
        self._interrupted = interrupted
        self._sleep = sleep
        self._spread = spread

    async def run(self, batches: Sequence[MetricBatch]) -> Result:
        """Send `batches` as one request."""
        with sending(batches[0]):
            return await self._run(batches)

    async def _run(self, batches: Sequence[MetricBatch]) -> Result:
        result = Result()
        rest = Rest(lambda: self._send(batches), sum(map(len, batches)), lambda: batches)
        began = self._settings.monotonic_s()
        attempt = 0
        while True:
            try:
                result.losses += await rest.send() or ()
            except Permanent as error:
                self._lose(result, rest, str(error), REJECTED)
                return result
            except (Throttled, ConnectionError, TimeoutError) as error:
                why = str(error) or type(error).__name__
                rest = getattr(error, "rest", None) or rest
                wait_s = max(getattr(error, "retry_after_s", 0.0), self._retry.interval_s(attempt, self._spread()))
                elapsed = self._settings.monotonic_s() - began
                if not self._retry.enabled or (self._limit_s and elapsed + wait_s > self._limit_s):
                    result.failure = why
                    self._lose(result, rest, why, GIVEN_UP)
                    return result
                self._settings.logger.info("will send again in %.1f s: %s", wait_s, why)
                attempt += 1
                if not await self._wait(wait_s):
                    result.interrupted = True
                    return result
            else:
                return result

    def _lose(self, result: Result, rest: Rest, why: str, reason: str) -> None:
        """Note that the rest of a request is lost; the log says so, and why."""
        self._settings.logger.error("%d points dropped (%s): %s", rest.points, reason, why)
        left = rest.points
        for batch in rest.batches():
            points = min(left, len(batch))
            result.losses.append(Loss(points, why, batch, reason))
            left -= points

    async def _wait(self, seconds: float) -> bool:
        """Wait; return whether to go on."""
        tasks = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._interrupted.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return not self._interrupted.is_set()
