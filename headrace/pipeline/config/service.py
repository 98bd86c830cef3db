"""The ``service`` section: what runs, and how it reports on itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from headrace.pipeline.config.model import ComponentConfig, PositiveDuration
from headrace.pipeline.http.config import ServerAuthConfig, ServerConfig
from headrace.pipeline.http.endpoint import Endpoint
from headrace.pipeline.tls import TlsServerConfig


class PipelineConfig(ComponentConfig):
    """One pipeline, by ids of components."""

    receivers: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where points come from."""

    processors: tuple[str, ...] | None = ()
    """What happens to them, in order."""

    exporters: Annotated[tuple[str, ...], Field(min_length=1)]
    """Where they go."""


class PrometheusPullConfig(ComponentConfig):
    """Where the daemon's own metrics are scraped."""

    host: str = "localhost"
    """Address to listen on; one that other machines can reach needs `auth` or `tls.client_ca_file`."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8888
    """Port."""

    tls: TlsServerConfig | None = None
    """Serve HTTPS."""

    auth: ServerAuthConfig | None = None
    """Ask for credentials."""

    @property
    def server(self) -> ServerConfig:
        """The settings of the listener."""
        return ServerConfig(endpoint=str(Endpoint(self.host, self.port)), tls=self.tls, auth=self.auth)

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            server = self.server
        except ValidationError as error:
            raise ValueError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None
        del server
        return self


class PullExporterConfig(ComponentConfig):
    """How metrics are pulled."""

    prometheus: PrometheusPullConfig = PrometheusPullConfig()
    """In Prometheus' text format."""


class PullReaderConfig(ComponentConfig):
    """A reader that somebody pulls."""

    exporter: PullExporterConfig
    """How."""


class ReaderConfig(ComponentConfig):
    """A reader of the daemon's own metrics."""

    pull: PullReaderConfig
    """The only kind there is."""


class TelemetryMetricsConfig(ComponentConfig):
    """The daemon's own metrics."""

    level: Literal["none", "basic", "normal", "detailed"] = "normal"
    """``none`` turns them off; the others are alike."""

    readers: tuple[ReaderConfig, ...] = (ReaderConfig(pull=PullReaderConfig(exporter=PullExporterConfig())),)
    """Where they are read; ``http://localhost:8888/metrics`` by default."""


class TelemetryLogsConfig(ComponentConfig):
    """The daemon's own log, on standard error."""

    level: Literal["debug", "info", "warn", "error", "DEBUG", "INFO", "WARN", "ERROR"] = "info"
    """Least severity that is printed."""

    encoding: Literal["console", "json"] = "console"
    """``console`` for people, ``json`` for programs."""


class TelemetryConfig(ComponentConfig):
    """How the daemon reports on itself."""

    metrics: TelemetryMetricsConfig = TelemetryMetricsConfig()
    """Its metrics."""

    logs: TelemetryLogsConfig = TelemetryLogsConfig()
    """Its log."""


class ReloadConfig(ComponentConfig):
    """How another configuration is put in place of the one that runs."""

    watch: bool = False
    """Reload when a configuration file changes, or one that it refers to; SIGHUP reloads in any case."""

    drain_timeout: PositiveDuration = timedelta(seconds=10)
    """How long batches under way may take, where a component cannot stop before they have ended."""


class ServiceConfig(ComponentConfig):
    """What runs."""

    extensions: tuple[str, ...] | None = ()
    """Ids of the extensions that are started."""

    pipelines: Annotated[dict[str, PipelineConfig], Field(min_length=1)]
    """Pipelines by id: ``metrics`` or ``metrics/name``."""

    state_directory: str = ""
    """Where processors keep what has to survive a restart; without it they start anew."""

    reload: ReloadConfig = ReloadConfig()
    """How another configuration is put in place of this one."""

    telemetry: TelemetryConfig | None = TelemetryConfig()
    """How the daemon reports on itself."""
