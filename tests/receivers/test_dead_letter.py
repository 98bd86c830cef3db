"""The receiver ``dead_letter`` keeps its contract; what it replays is tested with the storage."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from headrace.pipeline.storage.letters import LetterWriter
from headrace.receivers.dead_letter import FACTORY
from headrace.testing.batches import make_batch, make_settings
from headrace.testing.receivers import ReceiverContract


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
