"""Write what comes into files of dead letters: the last resort of a `failover`, or the end of a `routing`.

What an exporter's destination refuses goes to the extension of the same name instead. The receiver of that name
replays the files of both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.pipeline.component import ExporterFactory, NoReservation, Outcome, Settings
from headrace.pipeline.errors import Refused, StoreFailed
from headrace.pipeline.storage.letters import LettersConfig, LetterWriter

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host

_NO_ROOM = NoReservation()


class DeadLetterExporterConfig(LettersConfig):
    """Settings of the ``dead_letter`` exporter."""


class DeadLetterExporter:
    """Writes batches."""

    optional = False

    def __init__(self, settings: Settings, config: DeadLetterExporterConfig) -> None:
        self._settings = settings
        self._writer = LetterWriter(settings, Path(config.directory), config.max_file_size, config.max_size)

    async def start(self, host: Host) -> None:
        """Make the folder."""
        del host
        await self._writer.start()

    async def shutdown(self) -> None:
        """Close the file that is open."""
        await self._writer.close()

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room; what does not fit on the disk is refused by `deliver`."""
        del points, size_bytes
        return _NO_ROOM

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Write a batch; return when it survives the end of the process.

        Raises:
            Refused: It cannot be written.
        """
        if batch.is_empty:
            return Outcome(0)
        try:
            await self._writer.write(batch, "exported", "", self._settings.id)
        except StoreFailed as error:
            raise Refused(str(error), 5) from None
        return Outcome(len(batch))


FACTORY = ExporterFactory(name="dead_letter", config=DeadLetterExporterConfig, create=DeadLetterExporter)
