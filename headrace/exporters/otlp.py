"""Send points by OTLP over gRPC.

Source:
    OpenTelemetry Protocol specification, "OTLP/gRPC"; the Collector's ``otlp`` (``otlp_grpc``) exporter, for its
    settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from headrace.pipeline.component import ExporterFactory, Settings
from headrace.pipeline.grpc.client import GrpcClient, GrpcClientConfig
from headrace.pipeline.sending import Permanent, SendingConfig, Throttled
from headrace.pipeline.to_otlp import OtlpSendingExporter, warm_up
from headrace.pipeline.wire.otlp_answers import read_response, retry_delay_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.http.auth import ClientAuthenticator
    from headrace.pipeline.sending import Loss

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


class OtlpExporter(OtlpSendingExporter[GrpcClient]):
    """Encodes and calls."""

    def __init__(self, settings: Settings, config: OtlpExporterConfig) -> None:
        super().__init__(settings, config, config.auth)
        self._config = config

    def make_client(self, key: str, authenticator: ClientAuthenticator | None) -> GrpcClient:
        """Return a client."""
        return GrpcClient(self._config, key, _EXPORT, authenticator)

    async def _send(self, batches: Sequence[MetricBatch]) -> list[Loss]:
        client = self.client
        try:
            answer = await client.call(bytes(self._encoder.encode(batches)))
        except grpc.aio.AioRpcError as error:
            raise self._meaning(error) from None
        return self.losses(read_response(answer), batches)

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
