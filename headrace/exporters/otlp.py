"""Send points by OTLP over gRPC.

Source:
    OpenTelemetry Protocol specification, "OTLP/gRPC"; the Collector's ``otlp`` (``otlp_grpc``) exporter, for its
    settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from headrace.pipeline.component import ExporterFactory, Outcome, Settings
from headrace.pipeline.grpc.client import GrpcClient, GrpcClientConfig
from headrace.pipeline.http.auth import ClientAuthenticator
from headrace.pipeline.sending import Permanent, Sender, SendingConfig, Throttled
from headrace.pipeline.to_otlp import OtlpEdge, warm_up
from headrace.pipeline.wire.otlp_answers import read_response, retry_delay_s
from headrace.pipeline.wire.otlp_encode import OtlpEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host

_EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_DETAILS = "grpc-status-details-bin"

_AGAIN = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
"""Codes after which a request may be sent again; RESOURCE_EXHAUSTED is one only where a RetryInfo says when."""


class OtlpExporterConfig(GrpcClientConfig, SendingConfig):
    """Settings of the ``otlp`` exporter."""


class OtlpExporter:
    """Encodes and calls."""

    optional = False

    def __init__(self, settings: Settings, config: OtlpExporterConfig) -> None:
        self._settings = settings
        self._config = config
        self._edge = OtlpEdge(settings.drops)
        self._encoder = OtlpEncoder()
        self._sender = Sender(settings, config, self._send)
        self._client: GrpcClient | None = None

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
        self._client = GrpcClient(self._config, key, _EXPORT, authenticator)
        await self._client.start()
        await self._sender.start(host)

    async def take_over(self, predecessor: OtlpExporter) -> None:
        """Take what waits in the predecessor's queue in memory; see `headrace.pipeline.component.Inheriting`."""
        await self._sender.take_over(predecessor._sender)

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
        """Take a batch into the queue; what has no place in OTLP is rejected now."""
        converted = self._edge.convert(batch)
        outcome = await self._sender.deliver(converted.batch)
        return converted.merged(len(batch), outcome)

    async def _send(self, batches: Sequence[MetricBatch]) -> None:
        if self._client is None:
            raise ConnectionError("the exporter is not started")
        try:
            answer = await self._client.call(bytes(self._encoder.encode(batches)))
        except grpc.aio.AioRpcError as error:
            raise self._meaning(error) from None
        partial = read_response(answer)
        if partial.rejected:
            # Sending them again would be in vain.
            self._settings.drops.add("partial_success", partial.rejected)
        if partial.rejected or partial.message:
            self._settings.logger.warning(
                "the server rejected %d points: %s", partial.rejected, partial.message or "it did not say why"
            )

    def _meaning(self, error: grpc.aio.AioRpcError) -> Permanent | Throttled:
        """Return what a failed call means for the request."""
        why = f"{self._config.endpoint} answered {error.code().name}: {error.details()}"
        details = dict(error.trailing_metadata() or ()).get(_DETAILS)
        delay_s = retry_delay_s(details) if isinstance(details, bytes) else None
        if error.code() in _AGAIN:
            return Throttled(why, delay_s or 0.0)
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and delay_s is not None:
            return Throttled(why, delay_s)
        return Permanent(why)


FACTORY = ExporterFactory(
    name="otlp", config=OtlpExporterConfig, create=OtlpExporter, aliases=("otlp_grpc",), warm_up=warm_up
)
