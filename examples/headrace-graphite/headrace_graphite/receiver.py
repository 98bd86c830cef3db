"""Take lines of Graphite's plaintext protocol over TCP."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from headrace.pipeline.batch import BatchContext, MetricBatch
from headrace.pipeline.component import ReceiverFactory, Settings, Sink
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.errors import Refused
from headrace.pipeline.host import Host
from headrace.pipeline.http.endpoint import Endpoint
from headrace_graphite.lines import Point, read_line

_MAX_BYTES = 1 << 16


class GraphiteReceiverConfig(ComponentConfig):
    """Settings of the ``graphite`` receiver."""

    endpoint: str = "127.0.0.1:2003"
    """Where to listen, as ``host:port``. The protocol has no authentication: listen on loopback."""


class GraphiteReceiver:
    """Sends what came in one piece as one batch."""

    def __init__(self, settings: Settings, config: GraphiteReceiverConfig, sink: Sink) -> None:
        self._settings = settings
        self._endpoint = Endpoint.parse(config.endpoint)
        self._sink = sink
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: Host) -> None:
        """Listen."""
        self._table = host.workspaces.table("default")
        self._server = await asyncio.start_server(self._serve, self._endpoint.host, self._endpoint.port)

    async def shutdown(self) -> None:
        """Stop listening, and end the connections."""
        if self._server is not None:
            self._server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            self._server = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(ConnectionError):
                await self._read(reader)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        left = b""
        while piece := await reader.read(_MAX_BYTES):
            *lines, left = (left + piece).split(b"\n")
            if len(left) > _MAX_BYTES:
                self._settings.drops.add("malformed", 1)
                return
            await self._send(list(self._points(lines)))
        await self._send(list(self._points([left])))

    def _points(self, lines: list[bytes]) -> Iterator[Point]:
        for line in filter(None, map(bytes.strip, lines)):
            try:
                yield read_line(line.decode())
            except ValueError:  # of the text or of its encoding
                self._settings.drops.add("malformed", 1)

    async def _send(self, points: list[Point]) -> None:
        """Send a batch; wait where the pipelines are full, and so does the client."""
        if not points:
            return
        now_ns = self._settings.clock_ns()
        ids = self._table.intern([point.series for point in points])
        times = np.array([now_ns if point.time_ns is None else point.time_ns for point in points], np.int64)
        values = np.array([point.value for point in points])
        known = ids >= 0
        if not known.all():
            self._settings.drops.add("series_limit", int((~known).sum()))
        context = BatchContext(source=self._settings.id, received_ns=now_ns)
        batch = MetricBatch.of(self._table, ids[known], times[known], values[known], context=context)
        while True:
            try:
                await self._sink.send(batch)
            except Refused as refusal:
                await asyncio.sleep(refusal.retry_after)
            else:
                return


FACTORY = ReceiverFactory(name="graphite", config=GraphiteReceiverConfig, create=GraphiteReceiver)
