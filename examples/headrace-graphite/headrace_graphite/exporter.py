"""Send lines of Graphite's plaintext protocol over TCP."""

import asyncio
import math
from contextlib import suppress

from headrace.pipeline.batch import MetricBatch
from headrace.pipeline.component import ExporterFactory, NoReservation, Outcome, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.errors import Refused
from headrace.pipeline.host import Host
from headrace.pipeline.http.endpoint import Endpoint
from headrace_graphite.lines import write_line


class GraphiteExporterConfig(ComponentConfig):
    """Settings of the ``graphite`` exporter."""

    endpoint: str
    """Where Graphite listens, as ``host:port``."""


class GraphiteExporter:
    """Keeps a connection open."""

    optional = False

    def __init__(self, settings: Settings, config: GraphiteExporterConfig) -> None:
        self._settings = settings
        self._endpoint = Endpoint.parse(config.endpoint)
        self._writer: asyncio.StreamWriter | None = None
        self._lock = asyncio.Lock()

    async def start(self, host: Host) -> None:
        """Do nothing: the first batch opens the connection."""

    async def shutdown(self) -> None:
        """Send what the connection holds, and close it."""
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
            self._writer = None

    def reserve(self, points: int, size_bytes: int) -> NoReservation:
        """Grant room: there is no queue, senders wait until the connection has taken their points."""
        return NoReservation()

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Write the points of a batch; stale markers and other NaN have no line.

        Raises:
            Refused: Graphite cannot be reached.
        """
        text = "".join(self._lines(batch))
        async with self._lock:
            try:
                if self._writer is None or self._writer.is_closing():
                    _, self._writer = await asyncio.open_connection(self._endpoint.host, self._endpoint.port)
                self._writer.write(text.encode())
                await self._writer.drain()
            except OSError as error:
                self._writer = None
                raise Refused(f"{self._endpoint}: {error}", 1) from None
        return Outcome(len(batch))

    def _lines(self, batch: MetricBatch) -> list[str]:
        rows = zip(batch.series.tolist(), batch.value.tolist(), batch.time_ns.tolist(), strict=True)
        kept = [(series, value, time_ns) for series, value, time_ns in rows if not math.isnan(value)]
        if len(kept) < len(batch):
            self._settings.drops.add("not_a_number", len(batch) - len(kept))
        return [write_line(batch.table.series(series), value, time_ns) for series, value, time_ns in kept]


FACTORY = ExporterFactory(name="graphite", config=GraphiteExporterConfig, create=GraphiteExporter)
