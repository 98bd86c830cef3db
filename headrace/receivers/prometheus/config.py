"""What the ``prometheus`` receiver is told: ``global`` and ``scrape_configs`` of prometheus.yml under ``config``.

Source:
    Prometheus, "Configuration"; the Collector's ``prometheusreceiver``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.discovery import TargetGroupConfig, check_labels
from headrace.pipeline.discovery.dns import DnsSdConfig
from headrace.pipeline.discovery.file import FileSdConfig
from headrace.pipeline.discovery.http import HttpSdConfig
from headrace.pipeline.discovery.kinds import Offered, gather_offered
from headrace.pipeline.discovery.kubernetes import KubernetesSdConfig
from headrace.pipeline.prometheus_http import NUMBERS_ARE_TEXTS, HttpConfig
from headrace.pipeline.prometheus_values import Duration, Size
from headrace.pipeline.relabel import RelabelConfig
from headrace.receivers.prometheus import unsupported
from headrace.receivers.prometheus.job import DEFAULT_INTERVAL, Job
from headrace.receivers.prometheus.protocols import Protocol
from headrace.receivers.prometheus.sharding import ShardingConfig

Count = Annotated[int, Field(ge=0)]
Scheme = Literal["utf8", "legacy"]

_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


class _Limits(ComponentConfig):
    """Options that a job takes from ``global`` where it does not set them; limits also where it sets 0."""

    model_config = NUMBERS_ARE_TEXTS

    scrape_protocols: tuple[Protocol, ...] | None = None
    """Formats to ask for, the best first. Without it the text formats, and before them protobuf where native histograms
    are scraped: no other format has these."""

    scrape_native_histograms: bool | None = None
    """Take native histograms; without it a histogram that has classic buckets as well is scraped as these."""

    always_scrape_classic_histograms: bool | None = None
    """Where native histograms are taken: take the classic buckets of the same histograms, too."""

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

    scrape_interval: Duration = DEFAULT_INTERVAL
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
        if self.scrape_timeout and self.scrape_timeout > (self.scrape_interval or DEFAULT_INTERVAL):
            raise ValueError("global scrape timeout greater than scrape interval")
        return self


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

    native_histogram_bucket_limit: Count = 0
    """Most buckets of a native histogram: one with more is scraped in a coarser resolution, and the scrape fails where
    even the coarsest has more. 0 for no limit."""

    native_histogram_min_bucket_factor: Annotated[float, Field(ge=0)] = 0.0
    """Native histograms whose buckets are narrower than this factor are scraped in a coarser resolution; 0 for none."""

    metrics_path: str = "/metrics"
    """Path of the page."""

    scheme: Literal["http", "https"] = "http"
    """How targets are asked."""

    enable_compression: bool = True
    """Ask for gzip."""

    static_configs: tuple[TargetGroupConfig, ...] = ()
    """Targets."""

    file_sd_configs: tuple[FileSdConfig, ...] = ()
    """Files with targets; changes are seen within seconds."""

    http_sd_configs: tuple[HttpSdConfig, ...] = ()
    """Servers that answer with targets."""

    dns_sd_configs: tuple[DnsSdConfig, ...] = ()
    """Names whose DNS records are targets."""

    kubernetes_sd_configs: tuple[KubernetesSdConfig, ...] = ()
    """Objects of Kubernetes clusters that are targets."""

    other_sd_configs: SkipJsonSchema[Offered] = Field(default_factory=dict)
    """What finds targets by kinds that packages offer; written as an option ``<kind>_sd_configs`` of the job."""

    relabel_configs: tuple[RelabelConfig, ...] = ()
    """Rules that make the labels of targets."""

    metric_relabel_configs: tuple[RelabelConfig, ...] = ()
    """Rules for the labels of series."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        options = refuse(gather_offered(options), unsupported.JOB)
        if isinstance(options, dict):
            options = {name: value for name, value in options.items() if value is not None or not _is_list(name)}
        return options


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

    sharding: ShardingConfig | None = None
    """Share the targets out over several daemons that have the same configuration."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.config.scrape_configs:
            raise ValueError("config.scrape_configs: at least one job is needed")
        return self


def is_legacy_label(name: str) -> bool:
    """Tell whether a label name needs no quotes."""
    return bool(_LEGACY_LABEL.fullmatch(name))


def _is_list(option: str) -> bool:
    return option == "params" or option.endswith("_configs")
