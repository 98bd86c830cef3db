"""What the ``prometheus`` receiver is told: ``global`` and ``scrape_configs`` of prometheus.yml under ``config``.

Source:
    Prometheus, "Configuration"; the Collector's ``prometheusreceiver``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.relabel import RelabelConfig
from headrace.receivers.prometheus import unsupported
from headrace.receivers.prometheus.http_config import NUMBERS_ARE_TEXTS, HttpConfig
from headrace.receivers.prometheus.values import Duration, PositiveDuration, Size

if TYPE_CHECKING:
    from collections.abc import Iterable

Protocol = Literal["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"]
DEFAULT_PROTOCOLS: tuple[Protocol, ...] = (
    "OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4",
)  # fmt: skip

Count = Annotated[int, Field(ge=0)]
Scheme = Literal["utf8", "legacy"]

_SD_FILE = re.compile(r"[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)")
_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_DEFAULT_INTERVAL = timedelta(minutes=1)
_DEFAULT_TIMEOUT = timedelta(seconds=10)


def _check_protocols(protocols: Any) -> Any:
    """Refuse the formats that are known but not read, by name."""
    for one in protocols if isinstance(protocols, (list, tuple)) else [protocols]:
        if one == "PrometheusProto":
            raise PydanticCustomError("protocol", "PrometheusProto is not supported: the text formats are")
    return protocols


class _Limits(ComponentConfig):
    """Options that a job takes from ``global`` where it does not set them."""

    model_config = NUMBERS_ARE_TEXTS

    scrape_protocols: tuple[Protocol, ...] | None = None
    """Formats to ask for, the best first."""

    body_size_limit: Size | None = None
    """Most bytes of a page once decompressed; 0 for the receiver's own limit of 256 MiB."""

    sample_limit: Count | None = None
    """Most samples of a scrape after metric relabelling; 0 for no limit. A scrape past it fails."""

    target_limit: Count | None = None
    """Most targets of a job after relabelling; 0 for no limit. The scrapes of a job past it fail."""

    label_limit: Count | None = None
    """Most labels of a sample; 0 for no limit. A scrape past it fails."""

    label_name_length_limit: Count | None = None
    """Most bytes of a label name; 0 for no limit. A scrape past it fails."""

    label_value_length_limit: Count | None = None
    """Most bytes of a label value; 0 for no limit. A scrape past it fails."""

    keep_dropped_targets: Count | None = None
    """How many targets that relabelling dropped are remembered for the API; 0 for all."""

    extra_scrape_metrics: bool | None = None
    """Also write scrape_timeout_seconds, scrape_sample_limit and scrape_body_size_bytes."""

    metric_name_validation_scheme: Scheme | None = None
    """Which metric and label names a page may use."""

    metric_name_escaping_scheme: Literal["allow-utf-8", "underscores", "dots", "values"] | None = None
    """How a target is asked to write names that are not legacy names."""

    @field_validator("scrape_protocols", mode="before")
    @classmethod
    def _refuse_protobuf(cls, protocols: Any) -> Any:
        return _check_protocols(protocols)

    @field_validator("scrape_protocols")
    @classmethod
    def _check_distinct(cls, protocols: tuple[Protocol, ...] | None) -> tuple[Protocol, ...] | None:
        if protocols is not None and len(set(protocols)) < len(protocols):
            raise ValueError("a protocol is named twice")
        if protocols is not None and not protocols:
            raise ValueError("must not be empty")
        return protocols


class GlobalConfig(_Limits):
    """What all jobs share."""

    scrape_interval: Duration = _DEFAULT_INTERVAL
    """How often targets are scraped."""

    scrape_timeout: Duration | None = None
    """Time for one scrape; 10s, or the interval where that is less."""

    evaluation_interval: Duration | None = None
    """Accepted; there are no rules here."""

    external_labels: dict[str, str] = Field(default_factory=dict)
    """Labels to add to all series that lack them."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, unsupported.GLOBAL)

    @field_validator("external_labels")
    @classmethod
    def _check_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        return check_labels(labels)

    @model_validator(mode="after")
    def _check_timeout(self) -> Self:
        if self.scrape_timeout and self.scrape_timeout > (self.scrape_interval or _DEFAULT_INTERVAL):
            raise ValueError("global scrape timeout greater than scrape interval")
        return self


class TargetGroup(ComponentConfig):
    """Addresses that share labels."""

    model_config = NUMBERS_ARE_TEXTS

    targets: tuple[str, ...] = ()
    """Addresses, such as ``127.0.0.1:9100``."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of their series."""

    @field_validator("targets", mode="before")
    @classmethod
    def _take_nothing(cls, targets: Any) -> Any:
        return () if targets is None else targets

    @field_validator("labels", mode="before")
    @classmethod
    def _take_no_labels(cls, labels: Any) -> Any:
        return {} if labels is None else labels

    @field_validator("targets")
    @classmethod
    def _check_targets(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for target in targets:
            if "/" in target:
                raise ValueError(f'"{target}" is not a valid hostname: give host:port without a scheme or a path')
        return targets

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        return check_labels(labels)


class FileSdConfig(ComponentConfig):
    """Files with target groups."""

    model_config = NUMBERS_ARE_TEXTS

    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """Paths that end in .json, .yml or .yaml; the last part may hold one ``*``."""

    refresh_interval: PositiveDuration = timedelta(minutes=5)
    """How often they are read again even if they do not seem to have changed."""

    @field_validator("files")
    @classmethod
    def _check_files(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for path in files:
            if not _SD_FILE.fullmatch(path):
                raise ValueError(f'path name "{path}" is not valid for file discovery')
        return files


class ScrapeConfig(_Limits, HttpConfig):
    """A job: targets, and how they are scraped."""

    job_name: Annotated[str, Field(min_length=1)]
    """Label ``job`` of its targets."""

    honor_labels: bool = False
    """Where a page has a label that the target has, too: keep the page's, and do not rename it to ``exported_…``."""

    honor_timestamps: bool = True
    """Use the timestamps of pages that have them."""

    track_timestamps_staleness: bool = False
    """Mark series with timestamps of their own as stale as well when they vanish."""

    params: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Parameters of the URL."""

    scrape_interval: Duration | None = None
    """How often targets are scraped."""

    scrape_timeout: Duration | None = None
    """Time for one scrape."""

    fallback_scrape_protocol: Protocol | None = None
    """Format of pages whose Content-Type names none."""

    metrics_path: str = "/metrics"
    """Path of the page."""

    scheme: Literal["http", "https"] = "http"
    """How targets are asked."""

    enable_compression: bool = True
    """Ask for gzip."""

    static_configs: tuple[TargetGroup, ...] = ()
    """Targets."""

    file_sd_configs: tuple[FileSdConfig, ...] = ()
    """Files with targets; changes are seen within seconds."""

    relabel_configs: tuple[RelabelConfig, ...] = ()
    """Rules that make the labels of targets."""

    metric_relabel_configs: tuple[RelabelConfig, ...] = ()
    """Rules for the labels of series."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        options = refuse(options, unsupported.JOB)
        if isinstance(options, dict):
            lists = ("static_configs", "file_sd_configs", "relabel_configs", "metric_relabel_configs", "params")
            options = {name: value for name, value in options.items() if value is not None or name not in lists}
        return options

    @field_validator("fallback_scrape_protocol", mode="before")
    @classmethod
    def _refuse_fallback(cls, protocol: Any) -> Any:
        return _check_protocols(protocol)


class PrometheusYml(ComponentConfig):
    """The part of prometheus.yml that scrapes."""

    model_config = NUMBERS_ARE_TEXTS

    global_: GlobalConfig = Field(default_factory=GlobalConfig, alias="global")
    """What all jobs share."""

    scrape_configs: tuple[ScrapeConfig, ...] = ()
    """Jobs."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        options = refuse(options, unsupported.SECTIONS)
        if isinstance(options, dict):
            options = {name: value for name, value in options.items() if value is not None}
        return options

    @model_validator(mode="after")
    def _check_jobs(self) -> Self:
        seen = set()
        for job in self.scrape_configs:
            if job.job_name in seen:
                raise ValueError(f'found multiple scrape configs with job name "{job.job_name}"')
            seen.add(job.job_name)
            Job.of(job, self.global_)
        return self


class PrometheusConfig(ComponentConfig):
    """Settings of the ``prometheus`` receiver."""

    config: PrometheusYml
    """``global`` and ``scrape_configs`` as in prometheus.yml."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.config.scrape_configs:
            raise ValueError("config.scrape_configs: at least one job is needed")
        return self


@dataclass(frozen=True, slots=True)
class Job:
    """A job with what it takes from ``global``.

    Attributes:
        config: Its own settings.
        interval: Time between two scrapes.
        timeout: Time for one.
        protocols: Formats to ask for.
        escaping: How names may be written.
        legacy_names: Only names that need no quotes are valid.
        external_labels: Labels to add where they are missing.
        extra_metrics: Write more metrics about scrapes.
        body_size_limit: Bytes, 0 for none; so are the other limits.
        sample_limit: Samples of a scrape.
        target_limit: Targets.
        label_limit: Labels of a sample.
        label_name_length_limit: Bytes.
        label_value_length_limit: Bytes.
        keep_dropped_targets: Targets.
    """

    config: ScrapeConfig
    interval: timedelta
    timeout: timedelta
    protocols: tuple[Protocol, ...]
    escaping: str
    legacy_names: bool
    external_labels: tuple[tuple[str, str], ...]
    extra_metrics: bool
    body_size_limit: int
    sample_limit: int
    target_limit: int
    label_limit: int
    label_name_length_limit: int
    label_value_length_limit: int
    keep_dropped_targets: int

    @property
    def name(self) -> str:
        """The job's name."""
        return self.config.job_name

    @classmethod
    def of(cls, config: ScrapeConfig, shared: GlobalConfig) -> Job:
        """Merge a job and ``global``.

        Raises:
            ValueError: They do not go together.
        """
        interval = config.scrape_interval or shared.scrape_interval or _DEFAULT_INTERVAL
        timeout = config.scrape_timeout
        if timeout and timeout > interval:
            raise ValueError(
                f'scrape timeout greater than scrape interval for scrape config with job name "{config.job_name}"'
            )
        legacy = (config.metric_name_validation_scheme or shared.metric_name_validation_scheme) == "legacy"
        escaping = config.metric_name_escaping_scheme or shared.metric_name_escaping_scheme
        if legacy and escaping == "allow-utf-8":
            raise ValueError(f'job "{config.job_name}": utf8 metric names requested but validation scheme is legacy')
        limits = {
            name: getattr(config, name) if getattr(config, name) is not None else getattr(shared, name) or 0
            for name in ("body_size_limit", "sample_limit", "target_limit", "label_limit", "label_name_length_limit",
                         "label_value_length_limit", "keep_dropped_targets")
        }  # fmt: skip
        extra = config.extra_scrape_metrics if config.extra_scrape_metrics is not None else shared.extra_scrape_metrics
        return cls(
            config,
            interval,
            timeout or min(shared.scrape_timeout or _DEFAULT_TIMEOUT, interval),
            config.scrape_protocols or shared.scrape_protocols or DEFAULT_PROTOCOLS,
            escaping or ("underscores" if legacy else "allow-utf-8"),
            legacy,
            tuple(sorted(shared.external_labels.items())),
            bool(extra),
            **limits,
        )


def check_labels(labels: dict[str, str]) -> dict[str, str]:
    """Return `labels`.

    Raises:
        ValueError: A name or a value cannot be a label's.
    """
    for name, value in labels.items():
        if not name or not _is_text(name):
            raise ValueError(f"{name!r} is not a valid label name")
        if not _is_text(value):
            raise ValueError(f"{value!r} is not a valid label value")
    return labels


def is_legacy_label(name: str) -> bool:
    """Tell whether a label name needs no quotes."""
    return bool(_LEGACY_LABEL.fullmatch(name))


def jobs_of(config: PrometheusConfig) -> Iterable[Job]:
    """Return the jobs of a receiver."""
    return (Job.of(job, config.config.global_) for job in config.config.scrape_configs)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
