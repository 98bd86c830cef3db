"""What the exporters of OTLP have in common, whatever they speak it over."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from headrace.pipeline.sending import Loss, SendingExporter
from headrace.pipeline.sending.exporter import Client
from headrace.pipeline.to_otlp.edge import OtlpEdge
from headrace.pipeline.wire.otlp_encode import OtlpEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Outcome, Settings
    from headrace.pipeline.http.config import AuthConfig
    from headrace.pipeline.sending import SendingConfig
    from headrace.pipeline.wire.otlp_answers import PartialSuccess

C = TypeVar("C", bound=Client)


class OtlpSendingExporter(SendingExporter[C]):
    """Converts batches, and knows what a partial success means.

    Args:
        settings: Of the exporter.
        config: Of its queue.
        auth: Names the extension that authenticates; None for none.
    """

    def __init__(self, settings: Settings, config: SendingConfig, auth: AuthConfig | None) -> None:
        super().__init__(settings, config, auth)
        self._edge = OtlpEdge(settings.drops)
        self._encoder = OtlpEncoder()

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Take a batch into the queue; what has no place in OTLP is rejected now."""
        converted = self._edge.convert(batch)
        outcome = await self._sender.deliver(converted.batch)
        return converted.merged(len(batch), outcome)

    def losses(self, partial: PartialSuccess, batches: Sequence[MetricBatch]) -> list[Loss]:
        """Return what a server has not taken of a request; it is told, and sending it again would be in vain.

        Which points they are it does not say, so that no dead letter is made of them.
        """
        rejected = min(partial.rejected, sum(map(len, batches)))
        why = partial.message or "it did not say why"
        if rejected or partial.message:
            self._settings.logger.warning("the server rejected %d points: %s", rejected, why)
        return [Loss(rejected, why, None, "partial_success")] if rejected else []
