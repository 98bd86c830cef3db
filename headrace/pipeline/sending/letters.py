"""Where points go that their destination will never take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from headrace.pipeline.errors import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Settings
    from headrace.pipeline.host import Host
    from headrace.pipeline.sending.results import Loss


@runtime_checkable
class LetterBox(Protocol):
    """Keeps dead letters."""

    async def keep(self, batch: MetricBatch, reason: str, why: str, exporter: str) -> None:
        """Write a batch with the reason why nobody takes it.

        Args:
            batch: What was not delivered.
            reason: In a word, as drops are counted.
            why: What the destination said.
            exporter: Id of the exporter that could not deliver it.

        Raises:
            StoreFailed: It cannot be written.
        """
        ...


class DeadLetters:
    """Passes losses on to the letter box that the settings name.

    Args:
        settings: Of the exporter.
        box_id: Id of a `dead_letter` extension; None for none.
    """

    def __init__(self, settings: Settings, box_id: str | None) -> None:
        self._settings = settings
        self._box_id = box_id
        self._box: LetterBox | None = None

    def find(self, host: Host, asked_by: str) -> None:
        """Find the letter box.

        Raises:
            ConfigError: There is none of that name.
        """
        if self._box_id is not None:
            self._box = host.extension(self._box_id, LetterBox, asked_by)  # type: ignore[type-abstract]

    async def keep(self, losses: Sequence[Loss]) -> None:
        """Write what was lost; what cannot be written is only counted, as without a letter box."""
        if self._box is None:
            return
        for loss in losses:
            if loss.batch is None:
                continue
            try:
                await self._box.keep(loss.batch, loss.reason, loss.why, self._settings.id)
            except StoreFailed as error:
                self._settings.drops.add("dead_letter_failed", loss.points)
                self._settings.logger.warning("a dead letter could not be written: %s", error)
