"""Queue and retries, with a clock that only moves when somebody sleeps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import Refused
from headrace.pipeline.host import Host
from headrace.pipeline.sending import Permanent, RetryConfig, Sender, SendingConfig, Throttled
from headrace.testing.batches import make_batch, make_settings, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch


class Network:
    """Answers what it is told to; then takes everything."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.taken: list[tuple[str, int, float]] = []
        self.requests = 0
        self.now_s = 0.0
        self.slept: list[float] = []
        self.open = asyncio.Event()
        self.open.set()
        self.counters = Counters()

    async def send(self, batches: Sequence[MetricBatch]) -> None:
        await self.open.wait()
        self.requests += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        for batch in batches:
            self.taken += rows(batch)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)

    def sender(self, **config: Any) -> Sender:
        settings = make_settings("out", kind="exporters", counters=self.counters, monotonic_s=lambda: self.now_s)
        return Sender(settings, SendingConfig(**config), self.send, ordered=True, sleep=self.sleep, spread=lambda: 0.5)

    def count(self, name: str) -> float:
        return self.counters.value(f"otelcol_exporter_{name}")


async def deliver(sender: Sender, *batches: MetricBatch) -> None:
    for batch in batches:
        granted = sender.reserve(len(batch), batch.size_bytes)
        await sender.deliver(batch)
        granted.release()


async def test_order_and_counts() -> None:
    """What waits is sent together, in order."""
    network = Network()
    network.open.clear()
    sender = network.sender()
    await sender.start(Host())
    first = make_batch(["a", "b"])
    await deliver(sender, first, make_batch(["c"], table=first.table), make_batch(["d"], table=first.table))
    assert network.count("queue_size") == 3
    assert network.counters.value("headrace_exporter_queue_points") == 4
    network.open.set()
    await sender.shutdown()
    assert [name for name, _, _ in network.taken] == ["a", "b", "c", "d"]
    assert network.count("sent_metric_points") == 4
    assert network.count("queue_size") == 0


async def test_retries_until_it_works() -> None:
    """Times grow; what the server asks for is the least."""
    network = Network(ConnectionError("gone"), Throttled("busy", 40.0), TimeoutError(), None)
    sender = network.sender(retry_on_failure={"initial_interval": "1s", "multiplier": 2})
    await sender.start(Host())
    await deliver(sender, make_batch(["a"]))
    await sender.shutdown()
    assert network.slept == [1.0, 40.0, 4.0]
    assert len(network.taken) == 1
    assert network.count("send_failed_metric_points") == 0


async def test_giving_up() -> None:
    """After max_elapsed_time the points are dropped and counted, and the next ones go."""
    network = Network(*[ConnectionError("gone")] * 4, None)
    sender = network.sender(retry_on_failure={"initial_interval": "1s", "multiplier": 1, "max_elapsed_time": "3s"})
    await sender.start(Host())
    batch = make_batch(["a"])
    await deliver(sender, batch)
    while network.requests < 4:  # noqa: ASYNC110 -- turns of the loop, no time passes
        await asyncio.sleep(0)
    await deliver(sender, make_batch(["b"], table=batch.table))
    await sender.shutdown()
    assert [name for name, _, _ in network.taken] == ["b"]
    assert network.count("send_failed_metric_points") == 1
    assert network.counters.value("headrace_dropped_points", {"reason": "send_failed"}) == 1


async def test_what_the_server_never_takes() -> None:
    """It is not sent again."""
    network = Network(Permanent("no"))
    sender = network.sender()
    await sender.start(Host())
    await deliver(sender, make_batch(["a", "b"]))
    await sender.shutdown()
    assert network.requests == 1
    assert network.counters.value("headrace_dropped_points", {"reason": "rejected_by_server"}) == 2


async def test_a_full_queue_refuses() -> None:
    """In points and in bytes."""
    network = Network()
    network.open.clear()
    sender = network.sender(sending_queue={"queue_size": 3, "sizer": "items"})
    await sender.start(Host())
    await deliver(sender, make_batch(["a", "b"]))
    with pytest.raises(Refused, match="the sending queue is full: 2 points wait"):
        sender.reserve(2, 1)
    assert network.count("enqueue_failed_metric_points") == 2
    small = Network().sender(sending_queue={"queue_bytes": 100})
    small.reserve(1, 60)
    with pytest.raises(Refused):
        small.reserve(1, 60)
    network.open.set()
    await sender.shutdown()


async def test_what_is_left_at_shutdown_is_counted() -> None:
    """The network does not answer in time."""
    network = Network()
    network.open.clear()
    sender = network.sender()
    await sender.start(Host())
    await deliver(sender, make_batch(["a", "b"]))
    await sender.shutdown(drain_s=0.01)
    assert network.counters.value("headrace_dropped_points", {"reason": "shutdown"}) == 2
    await sender.shutdown()


async def test_who_waits_for_room_at_shutdown_is_refused() -> None:
    """Nobody would send what is put into a queue then: its sender must not take it for delivered."""
    network = Network()
    network.open.clear()
    sender = network.sender(sending_queue={"queue_size": 1, "block_on_overflow": True})
    await sender.start(Host())
    await deliver(sender, make_batch(["a"]))
    waiting = asyncio.create_task(deliver(sender, make_batch(["b"])))
    await asyncio.sleep(0.01)
    await sender.shutdown(drain_s=0.01)
    with pytest.raises(Refused, match="stopped"):
        await waiting
    assert network.counters.value("headrace_dropped_points", {"reason": "shutdown"}) == 1


async def test_who_waits_for_a_delivery_at_shutdown_is_refused() -> None:
    """Without a queue, a delivery that is tried again and again ends with the exporter."""
    network = Network(*[ConnectionError("gone")] * 1000)
    sender = network.sender(sending_queue={"enabled": False})
    await sender.start(Host())
    sleeps = asyncio.Event()
    sender._attempts._sleep = lambda _: sleeps.wait()  # type: ignore[assignment,return-value]
    waiting = asyncio.create_task(deliver(sender, make_batch(["a"])))
    await asyncio.sleep(0.01)
    await sender.shutdown()
    with pytest.raises(Refused, match="stops"):
        await asyncio.wait_for(waiting, 1)


async def test_without_a_queue() -> None:
    """The pipeline waits, and hears what happened."""
    network = Network(None, ConnectionError("gone"), Permanent("no"))
    sender = network.sender(sending_queue={"enabled": False}, retry_on_failure={"enabled": False})
    batch = make_batch(["a"])
    assert (await sender.deliver(batch)).accepted == 1
    with pytest.raises(Refused, match="gone"):
        await sender.deliver(batch)
    assert (await sender.deliver(batch)).rejected == {"rejected_by_server": 1}


def test_intervals() -> None:
    """They grow to a limit, and are spread."""
    retry = RetryConfig()
    assert [retry.interval_s(i, 0.5) for i in range(3)] == [5.0, 7.5, 11.25]
    assert retry.interval_s(50, 0.5) == 30.0
    assert (retry.interval_s(0, 0.0), retry.interval_s(0, 1.0)) == (2.5, 7.5)


async def _broken(*_: Any) -> Any:
    raise RuntimeError("bug")


async def test_nobody_waits_for_a_queue_that_nobody_empties() -> None:
    """Where its task breaks: not for room, not for a result, and not later on either."""
    network = Network()
    network.open.clear()
    queue = {"queue_size": 1, "sizer": "requests", "block_on_overflow": True, "wait_for_result": True}
    sender = network.sender(sending_queue=queue)
    await sender.start(Host())
    for_result = asyncio.create_task(deliver(sender, make_batch(["a"])))
    await asyncio.sleep(0.01)
    for_room = asyncio.create_task(deliver(sender, make_batch(["b"])))
    await asyncio.sleep(0.01)
    sender._ended(await _failed(_broken()))
    for waiting in (for_result, for_room, asyncio.create_task(deliver(sender, make_batch(["c"])))):
        with pytest.raises(Refused, match="nothing is sent any more"):
            await asyncio.wait_for(waiting, 1)
    assert network.count("enqueue_failed_metric_points") == 2
    network.open.set()
    await sender.shutdown(drain_s=0.01)


async def _failed(work: Any) -> asyncio.Task[None]:
    task: asyncio.Task[None] = asyncio.ensure_future(work)
    await asyncio.wait([task])
    return task


async def test_letters_that_break_hold_nothing_up() -> None:
    """The result is told, and the queue gets its room back."""
    network = Network(Permanent("no"))
    sender = network.sender(sending_queue={"wait_for_result": True})
    await sender.start(Host())
    sender._letters.keep = _broken  # type: ignore[method-assign,assignment]
    batch = make_batch(["a"])
    outcome = await asyncio.wait_for(sender.deliver(batch), 1)
    assert outcome.rejected == {"rejected_by_server": 1}
    assert network.counters.value("headrace_exporter_queue_points") == 0
    await sender.shutdown()
