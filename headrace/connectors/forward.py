"""Send all that comes in to all pipelines behind it, to merge or fork pipelines; the Collector's ``forward``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.component import ConnectorFactory, Settings
from headrace.pipeline.config import ComponentConfig

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Outcome, Reservation
    from headrace.pipeline.host import Host
    from headrace.pipeline.outlets import Outlets


class ForwardConfig(ComponentConfig):
    """Settings of the ``forward`` connector: there are none."""


class ForwardConnector:
    """Passes batches on."""

    optional = False

    def __init__(self, settings: Settings, config: ForwardConfig, outlets: Outlets) -> None:
        del settings, config
        self._outlets = outlets

    async def start(self, host: Host) -> None:
        """Do nothing: a connector has no life of its own."""

    async def shutdown(self) -> None:
        """Do nothing."""

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room in all pipelines."""
        return self._outlets.reserve(self._outlets.names, points, size_bytes)

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Send a batch into all pipelines."""
        self._outlets.consumed(batch)
        return await self._outlets.send(self._outlets.names, batch)


FACTORY = ConnectorFactory(name="forward", config=ForwardConfig, create=ForwardConnector)
