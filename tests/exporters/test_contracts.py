"""The exporters keep their contract."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import cramjam
import pytest
from aiohttp import web

from headrace.exporters.debug import FACTORY as DEBUG
from headrace.exporters.nop import FACTORY as NOP
from headrace.exporters.prometheus_remote_write import FACTORY as REMOTE_WRITE
from headrace.exporters.store import FACTORY as STORE
from headrace.kernels.buffers import padded
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.remote_write import RemoteWriteDecoder
from headrace.store.engine import EngineOptions
from headrace.store.log import Sync
from headrace.store.promql.evaluate import Evaluator
from headrace.store.promql.values import Vector
from headrace.store.store import Store, StoreOptions
from headrace.testing.exporters import ExporterContract
from running import free_port


class TestNop(ExporterContract):
    """Counts what it forgets."""

    factory = NOP

    def arrived(self) -> int:
        return int(self.host.counters.value("otelcol_exporter_sent_metric_points", {"exporter": "nop"}))


class TestDebug(ExporterContract):
    """Prints a line for each point."""

    factory = DEBUG
    config: ClassVar[dict[str, Any]] = {"verbosity": "normal", "use_internal_logger": False}

    @pytest.fixture(autouse=True)
    def _captured(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.output = capsys

    def arrived(self) -> int:
        return self.output.readouterr().out.count("@")


class Endpoint:
    """Takes remote write requests."""

    def __init__(self, port: int) -> None:
        self.points = 0
        self._port = port
        self._decoder = RemoteWriteDecoder(SeriesTable(), v2=False)

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        return runner

    async def _take(self, request: web.Request) -> web.Response:
        data = bytes(cramjam.snappy.decompress_raw(await request.read()))
        self.points += len(self._decoder.decode(padded(data), len(data), BatchContext()).batch)
        return web.Response(status=204)


class TestRemoteWrite(ExporterContract):
    """Into an endpoint that counts."""

    factory = REMOTE_WRITE

    def renew(self) -> None:
        super().renew()
        self.port = free_port()
        self.endpoint = Endpoint(self.port)

    def configuration(self) -> dict[str, Any]:
        return {"endpoint": f"http://127.0.0.1:{self.port}/api/v1/write"}

    async def open(self) -> None:
        self._runner = await self.endpoint.start()

    async def close(self) -> None:
        await self._runner.cleanup()

    def arrived(self) -> int:
        return self.endpoint.points


class TestStore(ExporterContract):
    """Into a directory that is opened again."""

    factory = STORE

    def configuration(self) -> dict[str, Any]:
        return {"directory": str(self.directory / "data"), "endpoint": "127.0.0.1:0", "retention": "100y"}

    def arrived(self) -> int:
        """Ask for all samples, and for the end of the last of them."""
        store = Store(self.directory / "data", StoreOptions(Sync.NEVER, 0, EngineOptions(retention_ms=1 << 50)))
        store.open()
        try:
            query = 'sum(count_over_time({__name__=~".+"}[1h]))'
            found = Evaluator(store.engine("default")).instant(query, 1_700_000_060_000).value
            assert isinstance(found, Vector)
            return int(found.values[0, 0])
        finally:
            asyncio.run(store.close())
