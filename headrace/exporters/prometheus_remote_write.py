"""Send points by remote write 1.0.

Source:
    Prometheus Remote-Write specification 1.0.
"""

from __future__ import annotations

import asyncio
import weakref
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Self

import cramjam
import numpy as np
from pydantic import Field, model_validator

from headrace.pipeline.batch import NS_PER_MS
from headrace.pipeline.component import ExporterFactory, Outcome, Settings
from headrace.pipeline.config import ByteSize, PositiveDuration  # noqa: TC001 -- pydantic reads them
from headrace.pipeline.http.auth import ClientAuthenticator
from headrace.pipeline.http.client import ClientConfig, HttpClient
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.sending import Permanent, QueueConfig, RetryConfig, Sender, SendingConfig, Throttled
from headrace.pipeline.wire.remote_write_encode import LabelArena, requests
from headrace.pipeline.wire.remote_write_encode_more import exemplar_requests, histogram_requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host
    from headrace.pipeline.http.client import Reply
    from headrace.pipeline.series import SeriesTable

_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
_LOCKED = {name.lower() for name in _HEADERS}
_TOO_MANY = 429
_SERVER_ERRORS = 500


class RemoteWriteExporterConfig(ClientConfig, SendingConfig):
    """Settings of the ``prometheus_remote_write`` exporter."""

    timeout: PositiveDuration = timedelta(seconds=5)
    """Time for one request."""

    external_labels: dict[str, str] = Field(default_factory=dict)
    """Labels added to series that lack them."""

    max_batch_size_bytes: Annotated[ByteSize, Field(ge=1000)] = 3_000_000
    """Bytes of a request before compression."""

    sending_queue: QueueConfig = QueueConfig()
    """The queue."""

    retry_on_failure: RetryConfig = RetryConfig(initial_interval=timedelta(milliseconds=50))
    """When a request is sent again: after 5xx, 429 and broken connections."""

    @model_validator(mode="after")
    def _check_headers(self) -> Self:
        for name in self.headers:
            if name.lower() in _LOCKED:
                raise ValueError(f"headers: {name} is part of remote write and cannot be set")
        return self


class RemoteWriteExporter:
    """Translates, encodes and sends."""

    optional = False

    def __init__(self, settings: Settings, config: RemoteWriteExporterConfig) -> None:
        self._settings = settings
        self._config = config
        self._edge = PrometheusEdge(settings.drops)
        self._arenas: weakref.WeakKeyDictionary[SeriesTable, LabelArena] = weakref.WeakKeyDictionary()
        self._sender = Sender(settings, config, self._send)
        self._client: HttpClient | None = None

    async def start(self, host: Host) -> None:
        """Open the client and begin to empty the queue."""
        key = f"{self._settings.kind}.{self._settings.id}"
        auth = self._config.auth
        authenticator = None
        if auth is not None:
            authenticator = host.extension(
                auth.authenticator,
                ClientAuthenticator,  # type: ignore[type-abstract]
                f"{key}.auth.authenticator",
            )
        self._client = HttpClient(self._config, key, authenticator)
        await self._client.start()
        self._sender.start()

    async def shutdown(self) -> None:
        """Send what waits, then close."""
        await self._sender.shutdown()
        if self._client is not None:
            await self._client.shutdown()
            self._client = None

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room in the queue."""
        return self._sender.reserve(points, size_bytes)

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Take a batch into the queue; what has no place in remote write is rejected now."""
        flat = self._edge.flatten(batch)
        outcome = await self._sender.deliver(flat.batch)
        rejected = {**flat.rejected, **outcome.rejected}
        return Outcome(len(batch), rejected, flat.message or outcome.message, flat.rejected_histograms)

    async def _send(self, batches: Sequence[MetricBatch]) -> None:
        table = batches[0].table
        arena = self._arenas.get(table)
        if arena is None:
            arena = self._arenas[table] = LabelArena(table, self._config.external_labels)
        series = np.concatenate([batch.series for batch in batches])
        times_ms = np.concatenate([batch.time_ms for batch in batches])
        values = np.concatenate([batch.value for batch in batches])
        limit = self._config.max_batch_size_bytes
        for request, _ in requests(arena, series, times_ms, values, limit):
            await self._compress_and_post(request)
        native = NativeHistograms.joined([batch.native for batch in batches if batch.native])
        for request in histogram_requests(arena, native, limit):
            await self._compress_and_post(request)
        for batch in batches:
            if batch.exemplars:
                now_ms = batch.context.received_ns // NS_PER_MS
                for request in exemplar_requests(arena, batch.exemplars, now_ms, limit):
                    await self._compress_and_post(request)

    async def _compress_and_post(self, request: memoryview) -> None:
        await self._post(await asyncio.to_thread(lambda: bytes(cramjam.snappy.compress_raw(request))))

    async def _post(self, body: bytes) -> None:
        if self._client is None:
            raise ConnectionError("the exporter is not started")
        reply = await self._client.post(body, _HEADERS)
        if reply.status < 300:
            return
        why = f"{self._config.endpoint} answered {reply.status}: {reply.text}"
        if reply.status == _TOO_MANY or reply.status >= _SERVER_ERRORS:
            raise Throttled(why, self._retry_after_s(reply))
        raise Permanent(why)

    def _retry_after_s(self, reply: Reply) -> float:
        text = reply.headers.get("Retry-After", "")
        if text.isdecimal():
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._settings.clock_ns() / 1e9) if text else 0.0
        except ValueError:
            return 0.0


FACTORY = ExporterFactory(
    name="prometheus_remote_write",
    config=RemoteWriteExporterConfig,
    create=RemoteWriteExporter,
    aliases=("prometheusremotewrite",),
)
