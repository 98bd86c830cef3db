"""The queue and the loop that empties it.

One consumer: points of a series leave in the order in which they came. An acknowledgement says that a batch is in the
queue, in memory; what is in it when the process dies is lost, and what is left at shutdown is counted.

Source:
    OpenTelemetry Collector, ``exporterhelper``.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING

from headrace.pipeline.component import Outcome
from headrace.pipeline.errors import DeliveryError, Refused
from headrace.pipeline.room import Room

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation, Settings
    from headrace.pipeline.room import Granted
    from headrace.pipeline.sending.config import SendingConfig

_DRAIN_S = 10.0
_UNIT = "{datapoint}"


class Permanent(DeliveryError):  # noqa: N818 -- named for the condition
    """Sending again would fail the same way."""


class Throttled(DeliveryError):  # noqa: N818 -- named for the condition
    """Send again, but not at once.

    Args:
        why: What happened.
        retry_after_s: What the server asked for; 0 where it did not.
    """

    def __init__(self, why: str, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Sender:
    """Keeps batches and sends them.

    Args:
        settings: Of the exporter.
        config: Queue and retries.
        send: Sends some batches as one; raises `Permanent`, `Throttled`, ConnectionError or TimeoutError.
        sleep: Waits; replaced in tests.
        spread: Random numbers from 0 to 1.
    """

    def __init__(
        self,
        settings: Settings,
        config: SendingConfig,
        send: Callable[[Sequence[MetricBatch]], Awaitable[None]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[], float] = random.random,  # noqa: S311 -- spreads load, guards nothing
    ) -> None:
        self._settings = settings
        self._config = config
        self._send = send
        self._sleep = sleep
        self._spread = spread
        self._queue: deque[tuple[MetricBatch, Granted]] = deque()
        self._room = Room(config.sending_queue.queue_size, config.sending_queue.queue_bytes)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        attributes = {"exporter": settings.id}
        counters = settings.counters
        self._sent = counters.counter("otelcol_exporter_sent_metric_points", "Points delivered.", attributes, _UNIT)
        self._failed = counters.counter(
            "otelcol_exporter_send_failed_metric_points", "Points given up.", attributes, _UNIT
        )
        self._not_queued = counters.counter(
            "otelcol_exporter_enqueue_failed_metric_points", "Points that found the queue full.", attributes, _UNIT
        )
        counters.observe("otelcol_exporter_queue_size", "Points that wait.", lambda: self._room.points, attributes)
        size = config.sending_queue.queue_size
        counters.observe("otelcol_exporter_queue_capacity", "Points that may wait.", lambda: size, attributes)

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run(), name=f"{self._settings.id} queue")

    async def shutdown(self, drain_s: float = _DRAIN_S) -> None:
        """Send what waits, as far as `drain_s` seconds allow; count the rest. Safe before `start` and twice."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            _, late = await asyncio.wait([self._task], timeout=drain_s)
            for task in late:
                task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        left = sum(len(batch) for batch, _ in self._queue)
        if left:
            self._settings.drops.add("shutdown", left)
            self._failed.add(left)
            self._settings.logger.warning("%d points could not be sent before the end", left)
        for _, held in self._queue:
            held.release()
        self._queue.clear()

    # -- delivery ------------------------------------------------------------------------------------------

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room in the queue.

        Raises:
            Refused: It is full.
        """
        try:
            return self._room.take(points, size_bytes)
        except Refused:
            self._not_queued.add(points)
            raise Refused(f"the sending queue is full: {self._room.points} points wait", 5) from None

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Take a batch.

        Raises:
            Refused: There is no queue, and it could not be delivered now.
        """
        if not len(batch) and not batch.exemplars:
            return Outcome(0)
        if self._config.sending_queue.enabled:
            self._queue.append((batch, self._room.hold(len(batch), batch.size_bytes)))
            self._wake.set()
            return Outcome(len(batch))
        try:
            await self._send([batch])
        except Permanent as error:
            self._give_up("rejected_by_server", len(batch), str(error))
            return Outcome(len(batch), {"rejected_by_server": len(batch)}, str(error))
        except (Throttled, ConnectionError, TimeoutError) as error:
            raise Refused(str(error) or "timeout", getattr(error, "retry_after_s", 0.0) or 1.0) from None
        self._sent.add(len(batch))
        return Outcome(len(batch))

    # -- the consumer --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batches = self._next()
            points = sum(map(len, batches))
            if await self._send_with_retries(batches, points):
                self._sent.add(points)
            for _ in batches:
                self._queue.popleft()[1].release()

    def _next(self) -> list[MetricBatch]:
        """Return the batches to send together; they stay in the queue until they have left."""
        chosen: list[MetricBatch] = []
        points = 0
        for batch, _ in self._queue:
            points += len(batch)
            if chosen and (points > self._config.sending_queue.max_batch_points or batch.table is not chosen[0].table):
                break
            chosen.append(batch)
        return chosen

    async def _send_with_retries(self, batches: Sequence[MetricBatch], points: int) -> bool:
        """Return whether the batches were delivered; they are counted where they were not."""
        retry = self._config.retry_on_failure
        began = self._settings.monotonic_s()
        limit = retry.max_elapsed_time.total_seconds()
        attempt = 0
        while True:
            try:
                await self._send(batches)
            except Permanent as error:
                self._give_up("rejected_by_server", points, str(error))
                return False
            except (Throttled, ConnectionError, TimeoutError) as error:
                why = str(error) or type(error).__name__
                asked = getattr(error, "retry_after_s", 0.0)
                wait = max(asked, retry.interval_s(attempt, self._spread()))
                elapsed = self._settings.monotonic_s() - began
                if not retry.enabled or (limit and elapsed + wait > limit):
                    self._give_up("send_failed", points, why)
                    return False
                self._settings.logger.info("will send again in %.1f s: %s", wait, why)
                attempt += 1
                await self._sleep(wait)
            else:
                return True

    def _give_up(self, reason: str, points: int, why: str) -> None:
        self._failed.add(points)
        self._settings.drops.add(reason, points)
        self._settings.logger.error("%d points dropped (%s): %s", points, reason, why)
