"""The receiver ``dead_letter`` keeps its contract; what it replays is tested with the storage."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.pipeline.host import Host
from headrace.pipeline.storage.letters import LetterWriter
from headrace.receivers.dead_letter import FACTORY, DeadLetterReceiver, DeadLetterReceiverConfig
from headrace.testing.batches import make_batch, make_settings
from headrace.testing.receivers import ReceiverContract
from headrace.testing.sinks import MemorySink

if TYPE_CHECKING:
    import pytest


async def test_a_fault_does_not_end_the_replay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file is replayed again."""
    writer = LetterWriter(make_settings("box", kind="extensions"), tmp_path, 1 << 20, 1 << 20)
    await writer.start()
    await writer.write(make_batch(["a"]), "test", "", "out")
    await writer.close()
    sink = MemorySink()
    faults, send = [RuntimeError("broken")], sink.send

    async def faulty(batch: Any) -> Any:
        if faults:
            raise faults.pop()
        return await send(batch)

    sink.send = faulty  # type: ignore[method-assign]
    config = DeadLetterReceiverConfig(include=(str(tmp_path / "*.letters"),), poll_interval="1ms")
    receiver = DeadLetterReceiver(make_settings("dead_letter", kind="receivers"), config, sink)
    await receiver.start(Host())
    async with asyncio.timeout(5):
        while not sink.batches:  # noqa: ASYNC110 -- nothing tells
            await asyncio.sleep(0.001)
    await receiver.shutdown()
    assert len(sink.batches) == 1
    assert "broke" in caplog.text


class TestDeadLetter(ReceiverContract):
    """Finds a file that appears."""

    factory = FACTORY

    def configuration(self) -> dict[str, Any]:
        return {"include": [str(self.directory / "*.letters")], "poll_interval": "1ms"}

    async def provoke(self, receiver: Any) -> None:
        """Write a file; return when its letter was taken, or was refused and waits."""
        writer = LetterWriter(make_settings("box", kind="extensions"), Path(self.directory), 1 << 20, 1 << 20)
        await writer.start()
        await writer.write(make_batch(["a"]), "test", "", "out")
        await writer.close()
        while not self.sink.batches and self.sink.refusal is None:  # noqa: ASYNC110 -- nothing tells
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05 if self.sink.refusal else 0)
