"""Take OpenTelemetry metrics: OTLP over gRPC and HTTP.

Gauges, sums, histograms, exponential histograms and summaries; protobuf and JSON; gzip, zstd and deflate. Points that
cannot be taken are answered as a partial success that says how many and why. Traces and logs are not taken.

Source:
    OpenTelemetry Protocol specification 1.x; the Collector's ``otlp`` receiver, for its settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.batch import DEFAULT_WORKSPACE
from headrace.pipeline.component import ReceiverFactory, Settings, Sink
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.listeners import Listeners
from headrace.receivers.otlp_http import OtlpHttp
from headrace.receivers.otlp_ingest import Ingest

if TYPE_CHECKING:
    from headrace.pipeline.host import Host
    from headrace.pipeline.http.listener import Listener


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


class OtlpProtocolsConfig(ComponentConfig):
    """The protocols to serve. One that is there without settings has its defaults; one that is not there is off."""

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
        if self.http is None:
            raise ValueError("must name at least one of grpc and http")
        return self


class OtlpConfig(ComponentConfig):
    """Settings of the ``otlp`` receiver."""

    protocols: OtlpProtocolsConfig = OtlpProtocolsConfig(http=OtlpHttpConfig())
    """What to listen with; without it both protocols, at 127.0.0.1:4317 and 127.0.0.1:4318."""

    workspaces: Annotated[tuple[str, ...], Field(min_length=1)] = (DEFAULT_WORKSPACE,)
    """Ids of the workspaces that are written to."""


class OtlpReceiver:
    """Answers export requests."""

    def __init__(self, settings: Settings, config: OtlpConfig, sink: Sink) -> None:
        self._settings = settings
        self._config = config
        self._ingest = Ingest(settings, config.workspaces, sink)
        self.listener: Listener | None = None

    async def start(self, host: Host) -> None:
        """Open the protocols."""
        self._ingest.start(host)
        owner = f"{self._settings.kind}.{self._settings.id}"
        http = self._config.protocols.http
        if http is not None:
            routes = OtlpHttp(self._ingest, http.metrics_url_path).routes()
            self.listener = host.service("listeners", Listeners).add(http, routes, owner)

    async def shutdown(self) -> None:
        """Do nothing: the listener has let the requests finish."""


FACTORY = ReceiverFactory(name="otlp", config=OtlpConfig, create=OtlpReceiver)
