"""Take every batch and forget it; the Collector's ``nop``, for tests of configurations and for measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.component import ExporterFactory, NoReservation, Outcome, Settings
from headrace.pipeline.config import ComponentConfig

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host


class NopConfig(ComponentConfig):
    """The ``nop`` exporter has no settings."""


class NopExporter:
    """Acknowledges all points."""

    optional = False

    def __init__(self, settings: Settings, config: NopConfig) -> None:
        del config
        self._sent = settings.counters.counter(
            "otelcol_exporter_sent_metric_points", "Points taken.", {"exporter": settings.id}, "{datapoint}"
        )

    async def start(self, host: Host) -> None:
        """Do nothing."""

    async def shutdown(self) -> None:
        """Do nothing."""

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant everything."""
        del points, size_bytes
        return NoReservation()

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Count the points."""
        self._sent.add(len(batch))
        return Outcome(len(batch))


FACTORY = ExporterFactory(name="nop", config=NopConfig, create=NopExporter)
