"""What a ``prometheus.yml`` may say beside its jobs: checked as Prometheus does, whether or not it can be carried over.

Source:
    Prometheus 3.5, "Configuration".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from headrace.cli.convert.prometheus_remotes import Remote, RemoteRead, RemoteWrite, Section, Sigv4
from headrace.pipeline.discovery import TargetGroupConfig
from headrace.pipeline.prometheus_http import HttpConfig
from headrace.pipeline.prometheus_http.config import check_header
from headrace.pipeline.prometheus_http.tls import TlsConfig
from headrace.pipeline.prometheus_values import Duration, Size
from headrace.pipeline.relabel import RelabelConfig
from headrace.receivers.prometheus.unsupported import JOB

_DISCOVERIES = {name for name in JOB if name.endswith("_sd_configs")} | {
    f"{kind}_sd_configs" for kind in ("file", "http", "dns", "kubernetes")
}


class Alertmanager(HttpConfig):
    """Where alerts are sent."""

    timeout: Duration | None = None
    """Time for a request."""

    api_version: Literal["v2"] = "v2"
    """Of its API."""

    path_prefix: str = ""
    """In front of its paths."""

    scheme: Literal["http", "https"] = "http"
    """How it is asked."""

    sigv4: Sigv4 | None = None
    """Sign for AWS."""

    static_configs: tuple[TargetGroupConfig, ...] = ()
    """Servers."""

    relabel_configs: tuple[RelabelConfig, ...] = ()
    """Rules for servers."""

    alert_relabel_configs: tuple[RelabelConfig, ...] = ()
    """Rules for alerts that are sent there."""

    discoveries: dict[str, tuple[dict[str, Any], ...]] = Field(default_factory=dict, init=False)
    """What finds servers, as it is written."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, options: Any) -> Any:
        if not isinstance(options, dict):
            return options
        found = {name: options[name] or () for name in options if name in _DISCOVERIES}
        return {**{name: value for name, value in options.items() if name not in found}, "discoveries": found}


class Alerting(Section):
    """Alerts."""

    alert_relabel_configs: tuple[RelabelConfig, ...] = ()
    """Rules for alerts."""

    alertmanagers: tuple[Alertmanager, ...] = ()
    """Where they are sent."""


class Retention(Section):
    """How much is kept."""

    time: Duration | None = None
    """How long."""

    size: Size | None = None
    """How much."""

    percentage: Annotated[float, Field(ge=0, le=100)] | None = None
    """How much of the disk."""


class ChunkEncoding(Section):
    """How samples are packed."""

    floats: Literal["xor", "xor2"] | None = None
    """Those of floats."""


class Tsdb(Section):
    """The store."""

    out_of_order_time_window: Duration | None = None
    """How late samples may come."""

    stale_series_compaction_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of series that are stale, from which on they are taken out of memory."""

    retention: Retention | None = None
    """How much it keeps."""

    chunk_encoding: ChunkEncoding | None = None
    """How samples are packed."""


class Exemplars(Section):
    """Exemplars of the store."""

    max_exemplars: int = 100_000
    """How many."""


class Storage(Section):
    """The store and its exemplars."""

    tsdb: Tsdb | None = None
    """The store."""

    exemplars: Exemplars | None = None
    """Exemplars."""


class Tracing(Section):
    """Where traces are sent."""

    client_type: Literal["grpc", "http"] = "grpc"
    """How."""

    endpoint: Annotated[str, Field(min_length=1)]
    """Where to."""

    sampling_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How many."""

    insecure: bool = False
    """Whether without TLS."""

    headers: dict[str, str] = Field(default_factory=dict)
    """More headers."""

    compression: Literal["", "gzip"] = ""
    """How requests are compressed."""

    timeout: Duration | None = None
    """Time for a request."""

    tls_config: TlsConfig = TlsConfig()
    """TLS."""

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            check_header(name)
        return headers


class Otlp(Section):
    """What is made of OTLP."""

    promote_all_resource_attributes: bool = False
    """Whether all attributes of resources become labels."""

    promote_resource_attributes: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Those that do."""

    ignore_resource_attributes: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Those that do not, where all others do."""

    translation_strategy: Literal[
        "UnderscoreEscapingWithSuffixes", "UnderscoreEscapingWithoutSuffixes", "NoUTF8EscapingWithSuffixes",
        "NoTranslation",
    ] | None = None  # fmt: skip
    """How names are made."""

    keep_identifying_resource_attributes: bool = False
    """Whether ``target_info`` has them too."""

    convert_histograms_to_nhcb: bool = False
    """Whether histograms become native ones."""

    promote_scope_metadata: bool = False
    """Whether scopes become labels."""

    label_name_underscore_sanitization: bool = True
    """Whether an underscore is put before names that begin with one."""

    label_name_preserve_multiple_underscores: bool = True
    """Whether those that follow each other stay."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for one in ("promote_resource_attributes", "ignore_resource_attributes"):
            names = getattr(self, one)
            if len(set(names)) < len(names):
                raise ValueError(f"{one} has an attribute twice")
        if self.promote_all_resource_attributes and self.promote_resource_attributes:
            raise ValueError("promote_all_resource_attributes and promote_resource_attributes cannot both be set")
        if self.ignore_resource_attributes and not self.promote_all_resource_attributes:
            raise ValueError("ignore_resource_attributes needs promote_all_resource_attributes")
        return self


class Runtime(Section):
    """Go's runtime."""

    gogc: int = 75
    """When memory is collected."""


class Rest(Section):
    """All but ``global`` and ``scrape_configs``."""

    scrape_config_files: tuple[str, ...] = ()
    """Files with more jobs."""

    rule_files: tuple[str, ...] = ()
    """Files with rules."""

    alerting: Alerting | None = None
    """Alerts."""

    remote_write: tuple[RemoteWrite, ...] = ()
    """Where samples are sent."""

    remote_read: tuple[RemoteRead, ...] = ()
    """What queries read beside the store."""

    storage: Storage | None = None
    """The store."""

    tracing: Tracing | None = None
    """Where traces are sent."""

    otlp: Otlp | None = None
    """What is made of OTLP."""

    runtime: Runtime | None = None
    """Go's runtime."""

    @field_validator("scrape_config_files", "rule_files")
    @classmethod
    def _check_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if any(letter in pattern.rpartition("/")[0] for letter in "*?["):
                raise ValueError(f"{pattern!r}: only the last part of a path may be a pattern")
        return patterns

    @field_validator("remote_write", "remote_read")
    @classmethod
    def _check_names(cls, remotes: tuple[Remote, ...]) -> tuple[Remote, ...]:
        seen = set()
        for one in remotes:
            if one.name and one.name in seen:
                raise ValueError(f"{one.name!r} is the name of another one")
            seen.add(one.name)
        return remotes
