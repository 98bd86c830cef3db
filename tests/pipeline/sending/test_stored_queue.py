"""A sending queue on disk: restarts, memory, damage, many consumers."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from headrace.extensions.file_storage import FileStorage, FileStorageConfig
from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import ConfigError, Locked, Refused, StoreFailed
from headrace.pipeline.host import Host
from headrace.pipeline.sending import Permanent, Sender, SendingConfig, Throttled
from headrace.testing.batches import make_batch, make_settings, rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.pipeline.batch import MetricBatch


class Process:
    """A daemon's worth of storage, exporter and series, and a destination that outlives it."""

    def __init__(self, directory: Path, taken: list[tuple[str, float]], **queue: Any) -> None:
        self.directory = directory
        self.taken = taken
        self.host = Host(counters=Counters())
        self.counters = self.host.counters
        self.up = asyncio.Event()
        self.answers: list[Exception] = []
        options = queue.pop("storage_options", {})
        self.storage = FileStorage(
            make_settings("file_storage", kind="extensions", counters=self.counters),
            FileStorageConfig(directory=str(directory), timeout="0s", **options),
        )
        config = SendingConfig(sending_queue={"storage": "file_storage", **queue})
        self.sender = Sender(
            make_settings("out", kind="exporters", counters=self.counters),
            config,
            self._send,
            ordered=queue.get("num_consumers", 1) == 1,
            sleep=lambda _: asyncio.sleep(0.001),
        )

    async def start(self, *, up: bool = True) -> Process:
        await self.storage.start(self.host)
        self.host.extensions["file_storage"] = self.storage
        await self.sender.start(self.host)
        if up:
            self.up.set()
        return self

    async def stop(self) -> None:
        await self.sender.shutdown()
        await self.storage.shutdown()

    async def kill(self) -> None:
        """End without a word: what was going on is forgotten."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
        await self.storage.shutdown()

    async def give(self, *values: float, name: str = "m") -> None:
        for value in values:
            batch = make_batch([name], table=self.host.workspaces.table("default"), value=value)
            granted = self.sender.reserve(len(batch), batch.size_bytes)
            try:
                await self.sender.deliver(batch)
            finally:
                granted.release()

    async def drained(self) -> None:
        while self.count("headrace_exporter_queue_points"):  # noqa: ASYNC110 -- nothing tells
            await asyncio.sleep(0.001)

    def count(self, name: str, **attributes: str) -> float:
        return self.counters.value(name, attributes)

    async def _send(self, batches: Sequence[MetricBatch]) -> None:
        if not self.up.is_set():
            raise ConnectionError("down")
        if self.answers:
            raise self.answers.pop(0)
        await asyncio.sleep(0)
        for batch in batches:
            self.taken += [(name, value) for name, _, value in rows(batch)]


def values(taken: list[tuple[str, float]]) -> list[float]:
    return [value for _, value in taken]


async def test_what_waits_is_there_after_a_restart(tmp_path: Path) -> None:
    """In order, once, counted as waiting; a new process finds nothing more."""
    taken: list[tuple[str, float]] = []
    process = await Process(tmp_path, taken).start(up=False)
    await process.give(*range(10))
    await process.stop()
    assert process.count("headrace_dropped_points") == 0
    process = await Process(tmp_path, taken).start(up=False)
    assert process.count("headrace_exporter_queue_points") == 10
    assert process.count("otelcol_exporter_queue_size") == 10
    await process.give(*range(10, 15))
    process.up.set()
    await process.drained()
    await process.stop()
    assert taken == [("m", float(i)) for i in range(15)]
    process = await Process(tmp_path, taken).start()
    assert process.count("headrace_exporter_queue_points") == 0
    await process.stop()
    assert len(taken) == 15


@pytest.mark.parametrize("queue_bytes", [1, 100, 10_000])
@pytest.mark.parametrize("num_consumers", [1, 4])
async def test_kill_after_kill(tmp_path: Path, queue_bytes: int, num_consumers: int) -> None:
    """Whatever of it is in memory: all that was accepted arrives, and one consumer keeps the order of what is new."""
    taken: list[tuple[str, float]] = []
    given = 0
    generator = random.Random(queue_bytes)
    for round_ in range(8):
        process = Process(tmp_path, taken, queue_bytes=queue_bytes, num_consumers=num_consumers)
        await process.start(up=round_ % 3 == 2)
        for _ in range(generator.randrange(1, 40)):
            await process.give(given)
            given += 1
            if generator.random() < 0.2:
                await asyncio.sleep(0.001)
        await process.kill()
    process = await Process(tmp_path, taken, queue_bytes=queue_bytes, num_consumers=num_consumers).start()
    await process.drained()
    await process.stop()
    assert set(values(taken)) == set(map(float, range(given)))
    if num_consumers == 1:
        newest = -1.0
        for value in values(taken):
            assert value <= newest + 1, "a value was overtaken by a later one"
            newest = max(newest, value)


async def test_more_than_memory_holds_is_read_back(tmp_path: Path) -> None:
    """In order, between what is in memory before and behind."""
    taken: list[tuple[str, float]] = []
    process = await Process(tmp_path, taken, queue_bytes=100, batch={"min_size": 0, "max_size": 1}).start(up=False)
    await process.give(*range(50))
    process.up.set()
    while len(taken) < 10:  # noqa: ASYNC110 -- nothing tells
        await asyncio.sleep(0)
    await process.give(*range(50, 60))
    await process.drained()
    await process.stop()
    assert values(taken) == list(map(float, range(60)))


async def test_it_is_kept_longer_than_retries_usually_last(tmp_path: Path) -> None:
    """On disk the default is to try for ever; a time that is set holds."""
    assert SendingConfig(sending_queue={"storage": "file_storage"}).max_elapsed_s == 0
    config = SendingConfig(sending_queue={"storage": "x"}, retry_on_failure={"max_elapsed_time": "1m"})
    assert config.max_elapsed_s == 60
    assert SendingConfig().max_elapsed_s == 300
    del tmp_path


async def test_refusals_leave_the_disk_too(tmp_path: Path) -> None:
    """What the destination never takes does not come again after a restart."""
    taken: list[tuple[str, float]] = []
    process = await Process(tmp_path, taken).start()
    process.answers = [Permanent("no"), Throttled("later", 0.001)]
    await process.give(1)
    await process.drained()
    await process.give(2)
    await process.drained()
    await process.stop()
    assert process.count("headrace_dropped_points", reason="rejected_by_server") == 1
    process = await Process(tmp_path, taken).start()
    await process.stop()
    assert values(taken) == [2.0]


@pytest.mark.parametrize("block_on_overflow", [False, True])
async def test_a_full_storage_refuses(tmp_path: Path, block_on_overflow: bool) -> None:
    """Before anything is processed, also where senders wait for room in the queue."""
    process = Process(tmp_path, [], storage_options={"max_size": 1000}, block_on_overflow=block_on_overflow)
    await process.start(up=False)
    with pytest.raises(Refused, match="the storage is full"):
        await process.give(*range(100))
    assert process.count("otelcol_exporter_enqueue_failed_metric_points") == 1
    await process.stop()


async def test_what_no_request_can_be_made_of_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is dropped, counted and told; what is behind it arrives, and it does not come again."""
    taken: list[tuple[str, float]] = []
    process = await Process(tmp_path, taken).start()
    process.answers = [KeyError("what?")]
    await process.give(1)
    await process.drained()
    await process.give(2)
    await process.drained()
    await process.stop()
    assert values(taken) == [2.0]
    assert process.count("headrace_dropped_points", reason="request_failed") == 1
    assert "no request could be made of 1 points" in caplog.text


async def test_a_damaged_record_is_counted(tmp_path: Path) -> None:
    """With its points; the others arrive."""
    taken: list[tuple[str, float]] = []
    process = await Process(tmp_path, taken).start(up=False)
    await process.give(1, 2, 3)
    await process.stop()
    (path,) = (tmp_path / "exporters.out").glob("*.queue")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    process = await Process(tmp_path, taken).start()
    await process.drained()
    await process.stop()
    assert values(taken) == [1.0, 2.0]
    assert process.count("headrace_dropped_points", reason="storage_damaged") == 1


async def test_one_process_has_a_directory(tmp_path: Path) -> None:
    """The second one says so, and ends."""
    process = await Process(tmp_path, []).start()
    with pytest.raises(Locked, match="another process has it open"):
        await Process(tmp_path, []).start()
    await process.stop()


async def test_the_successor_waits_for_the_log(tmp_path: Path) -> None:
    """An exporter of the next configuration takes over when the one before has let go."""
    taken: list[tuple[str, float]] = []
    process = await Process(tmp_path, taken).start(up=False)
    await process.give(1)
    successor = Process(tmp_path, taken)
    successor.storage = process.storage
    successor.host.extensions["file_storage"] = process.storage
    await successor.sender.start(successor.host)
    successor.up.set()
    giving = asyncio.create_task(successor.give(2))
    await asyncio.sleep(0.01)
    assert not giving.done()
    await process.sender.shutdown()
    await giving
    await successor.drained()
    await successor.stop()
    assert values(taken) == [1.0, 2.0]


async def test_a_storage_that_is_not_there() -> None:
    """The start fails, with the setting's name."""

    async def send(_batches: Sequence[MetricBatch]) -> None:
        raise AssertionError("nothing is sent")

    sender = Sender(make_settings("out", kind="exporters"), SendingConfig(sending_queue={"storage": "x"}), send)
    with pytest.raises(ConfigError, match=r"exporters\.out\.sending_queue\.storage: extension 'x' is not in"):
        await sender.start(Host())


async def test_a_file_that_has_gone_stops_nothing(tmp_path: Path) -> None:
    """Its points are counted as lost; what comes then is sent."""
    taken: list[tuple[str, float]] = []
    process = await Process(tmp_path, taken).start(up=False)
    await process.give(1, 2, 3)
    await process.stop()
    process = Process(tmp_path, taken)
    await process.storage.start(process.host)
    process.host.extensions["file_storage"] = process.storage
    opened = process.storage.open_log

    async def open_and_lose(owner: str) -> Any:
        log = await opened(owner)
        next((tmp_path / "exporters.out").glob("*.queue")).unlink()
        return log

    process.storage.open_log = open_and_lose  # type: ignore[method-assign]
    await process.sender.start(process.host)
    process.up.set()
    await process.give(4)
    await asyncio.wait_for(process.drained(), 5)
    await process.stop()
    assert values(taken) == [4.0]
    assert process.count("headrace_dropped_points", reason="storage_damaged") == 3


async def test_a_disk_that_cannot_be_read_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending goes on when it can be."""
    monkeypatch.setattr("headrace.pipeline.sending.queues._PAUSE_S", 0.01)
    taken: list[tuple[str, float]] = []
    process = await Process(tmp_path, taken).start(up=False)
    await process.give(1, 2)
    await process.stop()
    process = await Process(tmp_path, taken).start(up=False)
    log = process.sender._log
    assert log is not None
    read, faults = log.read, [OSError(5, "Input/output error")]

    def faulty(after: int) -> Any:
        if faults:
            raise faults.pop()
        return read(after)

    log.read = faulty  # type: ignore[method-assign]
    process.up.set()
    await asyncio.wait_for(process.drained(), 5)
    await process.stop()
    assert values(taken) == [1.0, 2.0]
    assert "Input/output error" in caplog.text


async def test_a_log_that_cannot_be_opened_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As when the exporter before let go of it, and its files are of another version: what comes is refused."""
    process = Process(tmp_path, [])
    await process.storage.start(process.host)
    process.host.extensions["file_storage"] = process.storage

    async def fail(owner: str) -> Any:
        raise StoreFailed(f"queue {owner}: of another version")

    process.storage.is_free = lambda owner: not owner  # type: ignore[method-assign]
    process.storage.open_log = fail  # type: ignore[method-assign]
    await process.sender.start(process.host)
    with pytest.raises(Refused, match="stopped"):
        await asyncio.wait_for(process.give(1), 1)
    await process.stop()
    assert "nothing is sent any more" in caplog.text
