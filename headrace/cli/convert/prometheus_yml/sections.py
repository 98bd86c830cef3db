"""Sections of a ``prometheus.yml`` about alerts, storage, OTLP, tracing and the runtime.

Source:
    Prometheus 3.14, "Configuration", sections alertmanager_config, tsdb, exemplars, otlp, tracing_config.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from headrace.cli.convert.prometheus_yml.clients import (
    HttpClient,
    HttpSd,
    KubernetesSd,
    Name,
    Tls,
    check_headers,
)
from headrace.cli.convert.prometheus_yml.discoveries import OtherDiscoveries
from headrace.cli.convert.prometheus_yml.remote import Sigv4
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.discovery import TargetGroupConfig
from headrace.pipeline.discovery.dns import DnsSdConfig
from headrace.pipeline.discovery.file import FileSdConfig
from headrace.pipeline.naming import Strategy
from headrace.pipeline.prometheus_http.texts import NUMBERS_ARE_TEXTS, SecretText
from headrace.pipeline.prometheus_values import Duration, Size
from headrace.pipeline.relabel import RelabelConfig


class Alertmanager(OtherDiscoveries, HttpClient):
    """Servers that alerts are sent to."""

    static_configs: tuple[TargetGroupConfig, ...] = ()
    file_sd_configs: tuple[FileSdConfig, ...] = ()
    http_sd_configs: tuple[HttpSd, ...] = ()
    dns_sd_configs: tuple[DnsSdConfig, ...] = ()
    kubernetes_sd_configs: tuple[KubernetesSd, ...] = ()
    sigv4: Sigv4 | None = None
    scheme: str = "http"
    path_prefix: str = ""
    timeout: Duration | None = None
    api_version: Literal["v2"] = "v2"
    relabel_configs: tuple[RelabelConfig, ...] = ()
    alert_relabel_configs: tuple[RelabelConfig, ...] = ()

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if self.sigv4 is not None and (self.basic_auth or self.authorization or self.oauth2):
            raise ValueError("at most one of basic_auth, authorization, oauth2 and sigv4 may be set")
        return self


class Alerting(ComponentConfig):
    """How alerts are sent."""

    alert_relabel_configs: tuple[RelabelConfig, ...] = ()
    alertmanagers: tuple[Alertmanager, ...] = ()


class Retention(ComponentConfig):
    """How long samples are kept."""

    time: Duration | None = None
    size: Size = 0
    percentage: Annotated[float, Field(ge=0, le=100)] = 0.0


class ChunkEncoding(ComponentConfig):
    """How samples are encoded."""

    floats: Literal["", "xor", "xor2"] = ""


class Tsdb(ComponentConfig):
    """The database."""

    out_of_order_time_window: Duration | None = None
    stale_series_compaction_threshold: float = 0.0
    chunk_encoding: ChunkEncoding = ChunkEncoding()
    retention: Retention = Retention()


class Exemplars(ComponentConfig):
    """Exemplars in memory."""

    max_exemplars: int = 100_000


class Storage(ComponentConfig):
    """What is kept."""

    tsdb: Tsdb = Tsdb()
    exemplars: Exemplars = Exemplars()


class Tracing(ComponentConfig):
    """Where traces of Prometheus itself are sent."""

    model_config = NUMBERS_ARE_TEXTS

    client_type: Literal["http", "grpc"] = "grpc"
    endpoint: Name
    sampling_fraction: float = 0.0
    insecure: bool = False
    tls_config: Tls = Tls()
    headers: dict[str, SecretText] = Field(default_factory=dict)
    compression: Literal["", "gzip"] = ""
    timeout: Duration | None = None

    @field_validator("headers")
    @classmethod
    def _check_request_headers(cls, headers: dict[str, Secret]) -> dict[str, Secret]:
        return check_headers(headers)


class Otlp(ComponentConfig):
    """What becomes of OTLP."""

    model_config = NUMBERS_ARE_TEXTS

    promote_all_resource_attributes: bool = False
    promote_resource_attributes: tuple[str, ...] = ()
    ignore_resource_attributes: tuple[str, ...] = ()
    translation_strategy: Strategy | Literal[""] = Strategy.ESCAPE_AND_SUFFIX
    keep_identifying_resource_attributes: bool = False
    convert_histograms_to_nhcb: bool = False
    promote_scope_metadata: bool = False
    label_name_underscore_sanitization: bool = True
    label_name_preserve_multiple_underscores: bool = True

    @field_validator("promote_resource_attributes", "ignore_resource_attributes")
    @classmethod
    def _check_attributes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        seen = set()
        for name in map(str.strip, names):
            if not name or name in seen:
                raise ValueError(f"attribute {name!r} stands there twice" if name else "an attribute is empty")
            seen.add(name)
        return names

    @model_validator(mode="after")
    def _check_lists(self) -> Self:
        if self.promote_all_resource_attributes and self.promote_resource_attributes:
            raise ValueError("promote_all_resource_attributes and promote_resource_attributes exclude each other")
        if self.ignore_resource_attributes and not self.promote_all_resource_attributes:
            raise ValueError("ignore_resource_attributes needs promote_all_resource_attributes")
        return self


class Runtime(ComponentConfig):
    """Go's runtime."""

    gogc: int = 0
