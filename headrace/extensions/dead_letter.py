"""Keep what destinations will never take, and what was given up, in files with the reason.

Exporters name it in `sending_queue.dead_letter`. The receiver of the same name replays the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.storage.letters import LettersConfig, LetterWriter

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.host import Host


class DeadLetterExtensionConfig(LettersConfig):
    """Settings of the ``dead_letter`` extension."""


class DeadLetterBox:
    """Keeps dead letters of exporters."""

    def __init__(self, settings: Settings, config: DeadLetterExtensionConfig) -> None:
        self._writer = LetterWriter(settings, Path(config.directory), config.max_file_size, config.max_size)

    async def start(self, host: Host) -> None:
        """Make the folder."""
        del host
        await self._writer.start()

    async def shutdown(self) -> None:
        """Close the file that is open."""
        await self._writer.close()

    async def keep(self, batch: MetricBatch, reason: str, why: str, exporter: str) -> None:
        """Write a letter; see `headrace.pipeline.sending.LetterBox`."""
        await self._writer.write(batch, reason, why, exporter)


FACTORY = ExtensionFactory(name="dead_letter", config=DeadLetterExtensionConfig, create=DeadLetterBox)
