"""The sending queue of exporters: bounded, with retries, in memory or on disk.

A sender is answered once its points are in the queue. What a queue in memory holds is lost when the process dies; what
is lost on purpose (retries given up, the end of the process with a full queue) is counted. A queue on disk outlives the
process: points may come twice after a crash, none is lost.

Source:
    OpenTelemetry Collector, ``exporterhelper``: the names and defaults of the settings.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from headrace.pipeline.component import NoReservation, Outcome
from headrace.pipeline.errors import Refused
from headrace.pipeline.sending.attempts import Attempts, Result
from headrace.pipeline.sending.counts import SendingCounts
from headrace.pipeline.sending.gathering import Gathering
from headrace.pipeline.sending.letters import DeadLetters
from headrace.pipeline.sending.metadata import ClientMetadata
from headrace.pipeline.sending.queues import Entry, MemoryQueue, StoredQueue
from headrace.pipeline.sending.results import NOT_MADE, Loss
from headrace.pipeline.sending.room import QueueRoom
from headrace.pipeline.storage import QueueStorage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation, Settings
    from headrace.pipeline.host import Host
    from headrace.pipeline.sending.config import SendingConfig
    from headrace.pipeline.sending.gathering import Part
    from headrace.pipeline.sending.queues import SendingQueue
    from headrace.pipeline.sending.results import Send
    from headrace.pipeline.storage import RecordLog

_DRAIN_S = 10.0

JOINED_POINTS = 50_000
"""Points that are sent together where they wait anyway, by exporters that keep order."""

_HAND_OVER_S = 2.0
"""How long requests on their way may take when another exporter takes over; batches wait meanwhile."""

_TOUCH_S = 600.0
"""How often the series of what waits are kept from being freed: well below the hour after which idle ones are."""

_NO_ROOM = NoReservation()


class Sender:
    """Keeps batches and sends them.

    Args:
        settings: Of the exporter.
        config: Queue and retries.
        send: Sends some batches as one.
        ordered: Whether points of a series must not overtake each other: then one request follows the other, and what
            waits is joined. The exporter may send parts of a request side by side.
        sleep: Waits; replaced in tests.
        spread: Random numbers from 0 to 1.
    """

    def __init__(
        self,
        settings: Settings,
        config: SendingConfig,
        send: Send,
        *,
        ordered: bool = False,
        joined_points: int = JOINED_POINTS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[], float] = random.random,  # noqa: S311 -- spreads load, guards nothing
    ) -> None:
        self._settings = settings
        self._queue_config = config.sending_queue
        self._joined_points = joined_points if ordered else 0
        self._key = f"{settings.kind}.{settings.id}"
        self._room = QueueRoom(config.sending_queue)
        self._counts = SendingCounts(settings, self._room, config.sending_queue.queue_size)
        self._letters = DeadLetters(settings, config.sending_queue.dead_letter)
        queue = config.sending_queue
        self._stored = bool(queue.storage) and queue.enabled
        batch = queue.batch
        self._metadata = ClientMetadata(batch.partition.metadata_keys if batch else ())
        self._stopping = asyncio.Event()
        # At the end what is in memory is still tried, as long as there is time; on disk it can wait.
        self._interrupted = self._stopping if self._stored else asyncio.Event()
        self._attempts = Attempts(settings, config, send, self._interrupted, sleep=sleep, spread=spread)
        self._queue: SendingQueue | None = None if self._stored else MemoryQueue()
        self._inherited: list[Entry] = []
        self._opened = asyncio.Event()
        self._closed = False
        self._storage: QueueStorage | None = None
        self._log: RecordLog | None = None
        self._consumers = asyncio.Semaphore(1 if ordered else config.sending_queue.num_consumers)
        self._working: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life ----------------------------------------------------------------------------------------------

    async def start(self, host: Host) -> None:
        """Open the queue and begin to send.

        Raises:
            ConfigError: An extension or exporter that the queue names is not there.
            StoreFailed: The storage cannot be read.
        """
        self._letters.find(host, f"{self._key}.sending_queue.dead_letter")
        self._metadata.find(host)
        if not self._queue_config.enabled and not self._inherited:
            return
        storage = self._queue_config.storage
        if storage is not None and self._stored:
            self._storage = host.extension(
                storage,
                QueueStorage,  # type: ignore[type-abstract]
                f"{self._key}.sending_queue.storage",
            )
            if self._storage.is_free(self._key):
                await self._open(host, self._storage)
        if self._queue is not None:
            await self._inherit(self._queue)
        run = asyncio.create_task(self._run(host), name=f"{self._settings.id} queue")
        run.add_done_callback(self._ended)
        self._tasks.append(run)
        self._tasks.append(asyncio.create_task(self._touch(), name=f"{self._settings.id} series"))

    async def shutdown(self, drain_s: float = _DRAIN_S) -> None:
        """Send what waits in memory, as far as `drain_s` seconds allow, and count the rest; keep what is on disk.

        Safe before `start` and twice.
        """
        await self._stop(drain_s)
        self._closed = True
        # Whoever still waits for a delivery without a queue, or for the queue to be opened, hears that there is none.
        self._interrupted.set()
        self._opened.set()
        if self._queue is not None:
            self._counts.lost_at_end(await self._queue.close() + sum(len(entry.batch) for entry in self._inherited))
            self._inherited = []
        if self._storage is not None and self._log is not None:
            self._log = None
            await self._storage.close_log(self._key)

    async def take_over(self, predecessor: Sender) -> None:
        """Take what `predecessor` has in memory, in its order; before `start`, while nothing is delivered to either."""
        self._inherited = await predecessor.hand_over()

    async def hand_over(self) -> list[Entry]:
        """Stop sending and return what is in memory, oldest first; what was on its way may come twice."""
        self._interrupted.set()
        await self._stop(_HAND_OVER_S)
        self._closed = True
        inherited, self._inherited = self._inherited, []
        return inherited + (self._queue.give_up() if self._queue is not None else [])

    async def _stop(self, drain_s: float) -> None:
        """End the tasks, after as many seconds at the latest."""
        self._stopping.set()
        if self._tasks:
            run, touch = self._tasks
            touch.cancel()
            await asyncio.wait([run], timeout=drain_s)
            late = [task for task in (run, *self._working) if not task.done()]
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, *late, return_exceptions=True)
            self._tasks = []

    async def _inherit(self, queue: SendingQueue) -> None:
        """Put what was taken over where what comes is put."""
        inherited, self._inherited = self._inherited, []
        for place, entry in enumerate(inherited):
            entry.renew(self._room.hold(len(entry.batch), entry.batch.size_bytes))
            try:
                await queue.put(entry)
            except Refused:
                entry.place.release()
                self._counts.lost_at_end(sum(len(one.batch) for one in inherited[place:]))
                return

    async def _open(self, host: Host, storage: QueueStorage) -> SendingQueue:
        self._log = await storage.open_log(self._key)
        drops = self._settings.drops
        self._queue = queue = StoredQueue(
            self._log,
            self._room,
            self._queue_config.queue_bytes,
            host.workspaces.table,
            lambda points, why: drops.add(why, points),
        )
        self._opened.set()
        return queue

    # -- delivery ------------------------------------------------------------------------------------------

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room in the queue.

        Raises:
            Refused: It is full.
        """
        if not self._queue_config.enabled:
            return _NO_ROOM
        try:
            if self._log is not None:
                self._log.check()
            if self._queue_config.block_on_overflow:
                return _NO_ROOM
            return self._room.take(points, size_bytes)
        except Refused:
            self._counts.refuse(points)
            raise

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Take a batch.

        Raises:
            Refused: It could not be written, or somebody waits for the result and it could not be delivered.
        """
        if batch.is_empty:
            return Outcome(0)
        batch = self._metadata.narrowed(batch)
        if not self._queue_config.enabled:
            return await self._deliver_now(batch)
        try:
            place = await self._place(batch)
        except Refused:
            self._counts.refuse(len(batch))
            raise
        entry = Entry(batch, place)
        if self._queue_config.wait_for_result:
            entry.result = asyncio.get_running_loop().create_future()
        try:
            await (await self._open_queue()).put(entry)
        except Refused:
            place.release()
            self._counts.refuse(len(batch))
            raise
        return Outcome(len(batch)) if entry.result is None else _outcome(batch, await entry.result, entry.failure)

    async def _open_queue(self) -> SendingQueue:
        """Return the queue, waiting for it to be opened.

        Raises:
            Refused: It is closed: nobody would send what is put into it.
        """
        if self._queue is None:
            await self._opened.wait()
        if self._closed or self._queue is None:
            raise Refused("the exporter has been stopped")
        return self._queue

    async def _place(self, batch: MetricBatch) -> Reservation:
        if self._queue_config.block_on_overflow:
            return await self._room.wait(len(batch), batch.size_bytes)
        return self._room.hold(len(batch), batch.size_bytes)

    async def _deliver_now(self, batch: MetricBatch) -> Outcome:
        result = await self._attempts.run([batch])
        failure = result.failure or ("the daemon stops" if result.interrupted else "")
        if not failure:
            self._counts.finish(len(batch), result.losses)
            await self._letters.keep(result.losses)
        return _outcome(batch, result.losses, failure)

    # -- the consumers -------------------------------------------------------------------------------------

    async def _run(self, host: Host) -> None:
        queue = self._queue
        if queue is None:
            if self._storage is None:
                raise AssertionError("bug: there is neither a queue nor a storage")
            # Another exporter of this name, of the configuration before this one, still has it open.
            queue = await self._open(host, self._storage)
            await self._inherit(queue)
        gathering = Gathering(
            queue, self._queue_config, self._stopping, self._interrupted, joined_points=self._joined_points
        )
        try:
            while parts := await self._next(gathering):
                task = asyncio.create_task(self._work(queue, parts))
                self._working.add(task)
                task.add_done_callback(self._worked)
        finally:
            await gathering.close()
        if self._working:
            await asyncio.wait(self._working)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Have what comes refused where nobody is left to send it."""
        if not task.cancelled() and task.exception() is not None:
            self._settings.logger.error("nothing is sent any more", exc_info=task.exception())
            self._closed = True
            self._opened.set()
            self._room.close("nothing is sent any more")
            for entry in self._queue.held if self._queue is not None else ():
                if entry.result is not None and not entry.result.done():
                    entry.failure = "nothing is sent any more"
                    entry.result.set_result([])

    async def _next(self, gathering: Gathering) -> list[Part]:
        """Return the parts of a request as soon as one may be sent; nothing at the end."""
        await self._consumers.acquire()
        parts = await gathering.gather()
        if not parts:
            self._consumers.release()
        return parts

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self._consumers.release()
        if not task.cancelled() and task.exception() is not None:
            self._settings.logger.error("a request failed", exc_info=task.exception())

    async def _work(self, queue: SendingQueue, parts: list[Part]) -> None:
        batches = [part.batch for part in parts]
        try:
            result = await self._attempts.run(batches)
        except Exception as error:
            # It would fail the same way again, and everything behind it would wait for ever.
            self._settings.logger.exception("no request could be made of %d points", sum(map(len, batches)))
            result = Result([Loss(len(one), repr(error), one, NOT_MADE) for one in batches], repr(error))
        if result.interrupted:
            return
        self._counts.finish(sum(map(len, batches)), result.losses)
        try:
            await self._letters.keep(result.losses)
        finally:
            # Whatever becomes of the letters, nobody waits for what is over.
            _share(result.losses, result.failure, parts)
            _finish(queue, parts)

    async def _touch(self) -> None:
        while True:
            await asyncio.sleep(_TOUCH_S)
            if self._queue is not None:
                self._queue.touch()


def _finish(queue: SendingQueue, parts: Sequence[Part]) -> None:
    """Let go of the entries of a request of which no part is left to send."""
    for part in parts:
        entry = part.entry
        entry.parts -= 1
        if entry.whole and not entry.parts:
            queue.finish(entry)
            if entry.result is not None and not entry.result.done():
                entry.result.set_result(entry.losses)


def _share(losses: Sequence[Loss], failure: str, parts: Sequence[Part]) -> None:
    """Tell the entries of a request what was lost; which of them had it is not always known."""
    for loss in losses:
        left = loss.points
        for part in parts:
            taken = min(left, len(part.batch) - sum(one.points for one in part.entry.losses))
            if taken > 0:
                part.entry.losses.append(Loss(taken, loss.why, None, loss.reason))
                left -= taken
    for part in parts:
        part.entry.failure = part.entry.failure or failure


def _outcome(batch: MetricBatch, losses: Sequence[Loss], failure: str) -> Outcome:
    """Return what a sender hears that waited for the result.

    Raises:
        Refused: The batch was given up, so that its sender may try again.
    """
    if failure:
        raise Refused(failure, 1.0)
    rejected: dict[str, int] = {}
    for loss in losses:
        rejected[loss.reason] = rejected.get(loss.reason, 0) + loss.points
    return Outcome(len(batch), rejected, losses[0].why if losses else "")
