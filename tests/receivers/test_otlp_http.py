"""The ``otlp`` receiver over HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from headrace.pipeline.host import Host
from headrace.receivers.otlp import FACTORY, OtlpConfig
from headrace.testing.batches import make_settings, rows
from headrace.testing.sinks import MemorySink
from http_lab import Lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.pipeline.component import Settings

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


def request(*, points: int = 2, name: str = "queue.size") -> ExportMetricsServiceRequest:
    """Make a request of one gauge."""
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name=name, description="Waiting.")
    for i in range(points):
        point = metric.gauge.data_points.add(time_unix_nano=1_000 + i, as_double=i + 0.5)
        point.attributes.add(key="n").value.string_value = str(i)
    return message


class Served:
    """A receiver that listens."""

    def __init__(self, url: str, sink: MemorySink, settings: Settings) -> None:
        self.url = url
        self.sink = sink
        self.settings = settings

    async def post(
        self, body: bytes, headers: dict[str, str], path: str = "/v1/metrics"
    ) -> tuple[int, bytes, dict[str, str]]:
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(self.url + path, data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.read(), dict(answer.headers)


@asynccontextmanager
async def serving(**http: Any) -> AsyncIterator[Served]:
    lab = Lab()
    host = Host()
    host.services["listeners"] = lab.listeners
    sink = MemorySink()
    config = OtlpConfig.model_validate(
        {"protocols": {"http": {"endpoint": "127.0.0.1:0", **http}}, "workspaces": ["default", "ws-1"]}
    )
    settings = make_settings("otlp", kind="receivers")
    receiver = FACTORY.create(settings, config, sink)
    await receiver.start(host)
    await lab.listeners.start()
    try:
        yield Served(lab.listeners.open[0].url, sink, settings)
    finally:
        await lab.listeners.shutdown(1)
        await receiver.shutdown()


async def test_protobuf() -> None:
    """A request becomes a batch, and an empty response says that all was taken."""
    async with serving() as served:
        status, body, headers = await served.post(request().SerializeToString(), PROTOBUF)
        assert (status, body, headers["Content-Type"]) == (200, b"", "application/x-protobuf")
        (batch,) = served.sink.batches
        assert rows(batch) == [('queue.size{n="0"}', 1000, 0.5), ('queue.size{n="1"}', 1001, 1.5)]
        assert batch.context.source == "otlp"
        assert batch.metadata[0].help == "Waiting."
