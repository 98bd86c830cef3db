"""Take OpenTelemetry metrics: OTLP over gRPC and HTTP.

Gauges, sums, histograms, exponential histograms and summaries; protobuf and JSON; gzip, zstd and deflate. Points that
cannot be taken are answered as a partial success that says how many and why. Traces and logs are not taken.

Source:
    OpenTelemetry Protocol specification 1.x; the Collector's ``otlp`` receiver, for its settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import field_validator, model_validator

from headrace.pipeline.batch import DEFAULT_WORKSPACE, BatchContext
from headrace.pipeline.component import ReceiverFactory, Settings, Sink
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.grpc.server import GrpcServerConfig
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.receivers.otlp_grpc import OtlpGrpc
from headrace.receivers.otlp_http import OtlpHttp
from headrace.receivers.otlp_ingest import Ingest

if TYPE_CHECKING:
    from headrace.pipeline.host import Host


class OtlpHttpConfig(ServerConfig):
    """Settings of OTLP over HTTP."""

    endpoint: str = "127.0.0.1:4318"
    """Where to listen; components that name the same endpoint share it."""

    metrics_url_path: str = "/v1/metrics"
    """Path of the first workspace. It is at ``/api/v1/otlp/v1/metrics`` as well, and each workspace at
    ``/workspaces/{id}/api/v1/otlp/v1/metrics``."""

    @field_validator("metrics_url_path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not path.startswith("/") or "{" in path:
            raise ValueError(f"must start with a slash and hold no braces, got {path!r}")
        return path


class OtlpGrpcConfig(GrpcServerConfig):
    """Settings of OTLP over gRPC."""

    endpoint: str = "127.0.0.1:4317"
    """Where to listen. An address other machines can reach needs `auth`, ``tls.client_ca_file``, or
    ``allow_unauthenticated``."""


class OtlpProtocolsConfig(ComponentConfig):
    """The protocols to serve. One that is there without settings has its defaults; one that is not there is off."""

    grpc: OtlpGrpcConfig | None = None
    """OTLP over gRPC."""

    http: OtlpHttpConfig | None = None
    """OTLP over HTTP."""

    @model_validator(mode="before")
    @classmethod
    def _enable(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return {name: {} if value is None else value for name, value in given.items()}
        return given

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if self.grpc is None and self.http is None:
            raise ValueError("must name at least one of grpc and http")
        return self


class OtlpConfig(ComponentConfig):
    """Settings of the ``otlp`` receiver."""

    protocols: OtlpProtocolsConfig = OtlpProtocolsConfig(grpc=OtlpGrpcConfig(), http=OtlpHttpConfig())
    """What to listen with; without it both protocols, at 127.0.0.1:4317 and 127.0.0.1:4318."""

    workspaces: tuple[str, ...] = (DEFAULT_WORKSPACE,)
    """Ids of the workspaces that are written to, besides those that the ``workspaces`` extension manages. The first is
    written to where a request names none."""


class OtlpReceiver:
    """Answers export requests."""

    def __init__(self, settings: Settings, config: OtlpConfig, sink: Sink) -> None:
        self._settings = settings
        self._config = config
        self._ingest = Ingest(settings, config.workspaces, sink)
        owner = f"{settings.kind}.{settings.id}"
        protocols = config.protocols
        self.grpc = OtlpGrpc(self._ingest, protocols.grpc, owner) if protocols.grpc is not None else None
        self._predecessor: OtlpReceiver | None = None

    async def start(self, host: Host) -> None:
        """Open the protocols.

        Raises:
            ConfigError: One of them cannot be opened.
        """
        self._start_http(host)
        if self.grpc is not None:
            await self.grpc.start(host)

    def can_succeed(self, predecessor: OtlpReceiver) -> bool:
        """Return whether the gRPC server of a predecessor can go on under these settings."""
        before = predecessor.grpc
        return self.grpc is not None and before is not None and self.grpc.can_succeed(before)

    async def start_after(self, host: Host, predecessor: OtlpReceiver) -> None:
        """Do all of `start` but open the gRPC endpoint, which is there; see `headrace.pipeline.component.Succeeding`.

        Raises:
            ConfigError: It cannot be done.
        """
        self._start_http(host)
        if self.grpc is not None:
            self.grpc.prepare(host)
        self._predecessor = predecessor

    def succeed(self) -> None:
        """Take the gRPC server over."""
        before, self._predecessor = self._predecessor, None
        if self.grpc is not None and before is not None and before.grpc is not None:
            self.grpc.succeed(before.grpc)

    async def leave(self) -> None:
        """Do nothing: there is nothing to be sent at the end."""

    def _start_http(self, host: Host) -> None:
        self._ingest.start(host)
        http = self._config.protocols.http
        if http is not None:
            routes = OtlpHttp(self._ingest, http, http.metrics_url_path).routes()
            owner = f"{self._settings.kind}.{self._settings.id}"
            host.service("listeners", Listeners).add(http, routes, owner)

    async def shutdown(self) -> None:
        """Let the gRPC calls finish; the HTTP listener has done so already."""
        if self.grpc is not None:
            await self.grpc.shutdown()


def warm_up() -> None:
    """Compile the kernels of the decoder and of the Prometheus edge by a small request of every kind of point."""
    from headrace.pipeline.counters import Counters, Drops
    from headrace.pipeline.prometheus_edge import PrometheusEdge
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.otlp_sample import sample_request

    decoder = OtlpDecoder(SeriesTable())
    edge = PrometheusEdge(Drops(Counters(), "warm-up"))
    # New series, known ones, and parts that are recalled.
    for _ in range(3):
        decoded = decoder.decode(sample_request(), BatchContext())
        decoder.confirm(decoded)
        edge.flatten(decoded.batch)


FACTORY = ReceiverFactory(name="otlp", config=OtlpConfig, create=OtlpReceiver, warm_up=warm_up)
