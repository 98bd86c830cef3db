"""A queue in memory passes to the exporter that takes another one's place in a reload."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from headrace.extensions.file_storage import FileStorage, FileStorageConfig
from headrace.pipeline.counters import Counters
from headrace.pipeline.host import Host
from headrace.pipeline.sending import Sender, SendingConfig
from headrace.testing.batches import make_batch, make_settings, rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.pipeline.batch import MetricBatch


class Lab:
    """A host, and a destination that is down until it is told otherwise."""

    def __init__(self) -> None:
        self.host = Host(counters=Counters())
        self.taken: list[float] = []
        self.up = False
        self.table = make_batch(["m"]).table

    async def send(self, batches: Sequence[MetricBatch]) -> None:
        if not self.up:
            raise ConnectionError("down")
        self.taken += [value for batch in batches for _, _, value in rows(batch)]

    def sender(self, **queue: Any) -> Sender:
        settings = make_settings("out", kind="exporters", counters=self.host.counters)
        return Sender(settings, SendingConfig(sending_queue=queue), self.send, ordered=True)

    async def give(self, sender: Sender, *values: float) -> None:
        for value in values:
            await sender.deliver(make_batch(["m"], table=self.table, value=value))

    async def storage(self, directory: Path) -> FileStorage:
        settings = make_settings("file_storage", kind="extensions", counters=self.host.counters)
        storage = FileStorage(settings, FileStorageConfig(directory=str(directory), timeout="0s"))
        await storage.start(self.host)
        self.host.extensions["file_storage"] = storage
        return storage

    def count(self, name: str) -> float:
        return self.host.counters.value(name, {})


STORED = {"storage": "file_storage"}
MEMORY: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("before", "after"),
    [(MEMORY, MEMORY), (MEMORY, STORED), (STORED, STORED), (MEMORY, {"enabled": False})],
    ids=["memory", "to-disk", "disk", "to-no-queue"],
)
async def test_what_waits_passes_on(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    """In order and once, before what comes then; nothing counts as lost."""
    lab = Lab()
    storage = await lab.storage(tmp_path)
    old, new = lab.sender(**before), lab.sender(**after)
    await old.start(lab.host)
    await lab.give(old, 1, 2)
    await asyncio.sleep(0.01)  # The first of them is on its way.
    await lab.give(old, 3)
    await new.take_over(old)
    await old.shutdown()
    lab.up = True
    await new.start(lab.host)
    if after.get("enabled", True):
        await lab.give(new, 4)
    while len(lab.taken) < 3 + after.get("enabled", True):  # noqa: ASYNC110 -- nothing tells
        await asyncio.sleep(0.001)
    await new.shutdown()
    await storage.shutdown()
    assert lab.taken == [1, 2, 3, 4][: len(lab.taken)]
    assert lab.count("headrace_dropped_points") == 0
    assert lab.count("headrace_exporter_queue_points") == 0


async def test_it_may_go_back() -> None:
    """Where the successor does not start after all."""
    lab = Lab()
    old, new, again = lab.sender(), lab.sender(), lab.sender()
    await old.start(lab.host)
    await lab.give(old, 1, 2)
    await new.take_over(old)
    await old.shutdown()
    await again.take_over(new)
    await new.shutdown()
    lab.up = True
    await again.start(lab.host)
    await again.shutdown()
    assert lab.taken == [1, 2]
    assert lab.count("headrace_dropped_points") == 0


async def test_a_storage_may_change_while_it_is_open(tmp_path: Path) -> None:
    """The extension of the next configuration starts beside the one before."""
    lab = Lab()
    first = await lab.storage(tmp_path)
    old = lab.sender(**STORED)
    await old.start(lab.host)
    await lab.give(old, 1)
    second = await lab.storage(tmp_path)
    new = lab.sender(**STORED)
    await new.take_over(old)
    await old.shutdown()
    lab.up = True
    await new.start(lab.host)
    await first.shutdown()
    await lab.give(new, 2)
    while len(lab.taken) < 2:  # noqa: ASYNC110 -- nothing tells
        await asyncio.sleep(0.001)
    await new.shutdown()
    await second.shutdown()
    assert lab.taken == [1, 2]
