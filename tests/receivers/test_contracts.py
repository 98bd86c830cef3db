"""The receivers keep their contract."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import aiohttp
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from headrace.receivers.hostmetrics import FACTORY as HOSTMETRICS
from headrace.receivers.hostmetrics import HostmetricsReceiver
from headrace.receivers.otlp import FACTORY as OTLP
from headrace.receivers.prometheus import FACTORY as PROMETHEUS
from headrace.receivers.prometheus_remote_write import FACTORY as REMOTE_WRITE
from headrace.testing.hosts import first_url
from headrace.testing.receivers import ReceiverContract
from remote_write_messages import packed, request_v1
from running import free_port


async def post(url: str, body: bytes, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        await answer.read()


class TestHostmetrics(ReceiverContract):
    """Measures when it is told."""

    factory = HOSTMETRICS
    config: ClassVar[dict[str, Any]] = {"scrapers": {"load": None}, "initial_delay": "1h"}

    async def provoke(self, receiver: HostmetricsReceiver) -> None:
        await receiver.collect()


class TestOtlpHttp(ReceiverContract):
    """OTLP over HTTP."""

    factory = OTLP
    config: ClassVar[dict[str, Any]] = {"protocols": {"http": {"endpoint": "127.0.0.1:0"}}}

    async def provoke(self, receiver: Any) -> None:
        request = ExportMetricsServiceRequest()
        metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="queue.size")
        metric.gauge.data_points.add(time_unix_nano=1_000, as_double=0.5)
        await post(
            f"{first_url(self.host)}/v1/metrics",
            request.SerializeToString(),
            {"Content-Type": "application/x-protobuf"},
        )


class TestRemoteWrite(ReceiverContract):
    """Remote write 1."""

    factory = REMOTE_WRITE
    config: ClassVar[dict[str, Any]] = {"endpoint": "127.0.0.1:0"}

    async def provoke(self, receiver: Any) -> None:
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        request = request_v1([({"__name__": "up", "job": "a"}, [(1_700_000_000_000, 1.0)])])
        await post(f"{first_url(self.host)}/api/v1/write", packed(request), headers)


class TestPrometheus(ReceiverContract):
    """A target that is scraped again and again."""

    factory = PROMETHEUS

    def configuration(self) -> dict[str, Any]:
        targets = [{"targets": [f"127.0.0.1:{self.port}"]}]
        job = {"job_name": "a", "scrape_interval": "100ms", "scrape_timeout": "100ms", "static_configs": targets}
        return {"config": {"scrape_configs": [job]}}

    def renew(self) -> None:
        super().renew()
        self.port = free_port()

    async def provoke(self, receiver: Any) -> None:
        scraped = asyncio.Semaphore(0)

        async def answer(request: web.Request) -> web.Response:
            scraped.release()
            return web.Response(text="up_since 1\n")

        app = web.Application()
        app.router.add_get("/metrics", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            for _ in range(2):  # With the second request the first answer has been sent on.
                await scraped.acquire()
        finally:
            await runner.cleanup()
