"""Replay dead letters: send what the files of a `dead_letter` extension or exporter hold, and mark them as done.

A file is renamed to ``.replayed`` when all of it was taken; if the daemon ends before that, it is replayed from its
beginning. What is refused again, for good, is counted and logged.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from headrace.pipeline.component import ReceiverFactory, Settings, Sink
from headrace.pipeline.config import ComponentConfig, PositiveDuration
from headrace.pipeline.errors import Refused
from headrace.pipeline.storage.letters import REPLAYED, letters_in

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.host import Host


class DeadLetterReceiverConfig(ComponentConfig):
    """Settings of the ``dead_letter`` receiver."""

    include: Annotated[tuple[str, ...], Field(min_length=1)]
    """Files to replay, closed ones, as patterns: ``/var/lib/headrace/letters/*.letters``."""

    reasons: tuple[str, ...] = ()
    """Replay letters with these reasons alone; all of them where none is named."""

    poll_interval: PositiveDuration = timedelta(seconds=10)
    """How often to look for new files."""

    delete: bool = False
    """Remove files that are replayed instead of renaming them."""


class DeadLetterReceiver:
    """Reads files and sends what is in them."""

    def __init__(self, settings: Settings, config: DeadLetterReceiverConfig, sink: Sink) -> None:
        self._settings = settings
        self._config = config
        self._sink = sink
        self._host: Host | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: Host) -> None:
        """Begin to look for files."""
        self._host = host
        self._task = asyncio.create_task(self._run(host), name=f"{self._settings.id} replay")

    async def shutdown(self) -> None:
        """Stop; a file that was begun is replayed again the next time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self, host: Host) -> None:
        while True:
            for path in await asyncio.to_thread(self._files):
                try:
                    await self._replay(path, host)
                except OSError as error:
                    self._settings.logger.warning("%s: %s", path, error.strerror)
                except Exception:  # the edge of a task: the file is replayed again
                    self._settings.logger.exception("replaying %s broke", path)
            await asyncio.sleep(self._config.poll_interval.total_seconds())

    def _files(self) -> list[Path]:
        found = {path for pattern in self._config.include for path in glob(pattern)}  # noqa: PTH207 -- any pattern
        return [Path(path) for path in sorted(found) if not path.endswith(REPLAYED)]

    async def _replay(self, path: Path, host: Host) -> None:
        """Send the letters of a file, and mark it."""
        drops = self._settings.drops
        letters = points = 0
        for letter in letters_in(path, host.workspaces.table, lambda count, why: drops.add(why, count)):
            if self._config.reasons and letter.about.get("reason") not in self._config.reasons:
                continue
            context = replace(letter.batch.context, source=self._settings.id)
            await self._send(letter.batch.with_columns(context=context))
            letters += 1
            points += len(letter.batch)
        self._settings.logger.info("%s: %d letters with %d points replayed", path, letters, points)
        await asyncio.to_thread(self._mark, path)

    def _mark(self, path: Path) -> None:
        if self._config.delete:
            path.unlink()
        else:
            path.rename(path.with_name(path.name + REPLAYED))

    async def _send(self, batch: MetricBatch) -> None:
        while True:
            try:
                outcome = await self._sink.send(batch)
            except Refused as refusal:
                await asyncio.sleep(refusal.retry_after)
                continue
            if outcome.rejected:
                self._settings.logger.warning("refused again: %s", outcome.message)
            return


FACTORY = ReceiverFactory(name="dead_letter", config=DeadLetterReceiverConfig, create=DeadLetterReceiver)
