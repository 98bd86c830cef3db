"""A job with what it takes from ``global``."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.pipeline.native_histograms import MAX_SCHEMA, MIN_SCHEMA
from headrace.pipeline.prometheus_http.config import HttpConfig
from headrace.receivers.prometheus.protocols import default_protocols

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.receivers.prometheus.config import GlobalConfig, PrometheusConfig, ScrapeConfig
    from headrace.receivers.prometheus.protocols import Protocol

DEFAULT_INTERVAL = timedelta(minutes=1)
_DEFAULT_TIMEOUT = timedelta(seconds=10)

_LIMITS = (
    "body_size_limit", "sample_limit", "target_limit", "label_limit", "label_name_length_limit",
    "label_value_length_limit", "keep_dropped_targets",
)  # fmt: skip

_FINDING = (
    "job_name", "static_configs", "file_sd_configs", "http_sd_configs", "dns_sd_configs", "kubernetes_sd_configs",
    "other_sd_configs",
)  # fmt: skip
"""Settings that what finds the targets of a job is made of."""

_FETCHING = {
    *HttpConfig.model_fields, "params", "scrape_interval", "scrape_timeout", "metrics_path", "scheme",
    "enable_compression", "relabel_configs", *_FINDING, *_LIMITS,
}  # fmt: skip
"""Settings of a job that say which pages there are, and when they are fetched; or that a `Job` has by itself."""

_COUNTING = {
    "config", "interval", "timeout", "body_size_limit", "sample_limit", "target_limit", "keep_dropped_targets"
}  # fmt: skip
"""Attributes of a `Job` that do not change what becomes of a page, save whether it is taken."""


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
        native: Take native histograms.
        classic: Take the classic buckets of native histograms as well.
        finest_schema: Resolution that native histograms have at most.
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
    native: bool
    classic: bool
    finest_schema: int

    @property
    def name(self) -> str:
        """The job's name."""
        return self.config.job_name

    @property
    def finding(self) -> tuple[object, ...]:
        """What its targets are found by: two jobs with the same find the same."""
        return tuple(getattr(self.config, name) for name in _FINDING)

    @property
    def reading(self) -> str:
        """All that the samples of a page depend on, beside its target, as a text to compare.

        Two jobs with the same make the same series and samples of one page.
        """
        own = [getattr(self, one.name) for one in fields(self) if one.name not in _COUNTING]
        return repr((own, self.config.model_dump(exclude=_FETCHING)))

    @classmethod
    def of(cls, config: ScrapeConfig, shared: GlobalConfig) -> Job:
        """Merge a job and ``global``.

        Raises:
            ValueError: They do not go together.
        """
        interval = config.scrape_interval or shared.scrape_interval or DEFAULT_INTERVAL
        timeout = config.scrape_timeout
        if timeout and timeout > interval:
            raise ValueError(
                f'scrape timeout greater than scrape interval for scrape config with job name "{config.job_name}"'
            )
        legacy = (config.metric_name_validation_scheme or shared.metric_name_validation_scheme) == "legacy"
        escaping = config.metric_name_escaping_scheme or shared.metric_name_escaping_scheme
        if legacy and escaping == "allow-utf-8":
            raise ValueError(f'job "{config.job_name}": utf8 metric names requested but validation scheme is legacy')
        # As in Prometheus, 0 is what a job has that says nothing.
        limits = {name: getattr(config, name) or getattr(shared, name) or 0 for name in _LIMITS}

        def switch(name: str) -> bool:
            own = getattr(config, name)
            return bool(getattr(shared, name) if own is None else own)

        native = switch("scrape_native_histograms")
        return cls(
            config,
            interval,
            timeout or min(shared.scrape_timeout or _DEFAULT_TIMEOUT, interval),
            config.scrape_protocols or shared.scrape_protocols or default_protocols(native=native),
            escaping or ("underscores" if legacy else "allow-utf-8"),
            legacy,
            tuple(sorted(shared.external_labels.items())),
            switch("extra_scrape_metrics"),
            **limits,
            native=native,
            classic=switch("always_scrape_classic_histograms"),
            finest_schema=finest_schema(config.native_histogram_min_bucket_factor),
        )


def jobs_of(config: PrometheusConfig) -> Iterable[Job]:
    """Return the jobs of a receiver."""
    return (Job.of(job, config.config.global_) for job in config.config.scrape_configs)


def finest_schema(factor: float) -> int:
    """Return the finest schema whose buckets are at least `factor` wide; the finest of all for 1 and below.

    Source:
        Prometheus, "Configuration", ``native_histogram_min_bucket_factor``.

    >>> finest_schema(1.1), finest_schema(0), finest_schema(4)
    (2, 8, -1)
    """
    if factor <= 1:
        return MAX_SCHEMA
    return max(MIN_SCHEMA, min(MAX_SCHEMA, math.floor(-math.log2(math.log2(factor)))))
