"""Settings of ``stream_aggregate``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ComponentConfig, NonNegativeDuration, PositiveDuration
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.relabel import RelabelConfig
from headrace.pipeline.selectors import selector
from headrace.processors.stream_aggregate.outputs import Output


class RuleConfig(ComponentConfig):
    """One aggregation."""

    match: tuple[str, ...] = ()
    """Series selectors, such as ``http_requests_total{job="api"}``, one of which has to fit; one may be written without
    a list. All series, where it is empty. Attributes of OpenTelemetry sources are labels."""

    interval: PositiveDuration
    """How often aggregates are passed on."""

    by: tuple[str, ...] = ()
    """Labels, or attributes of the resource, that aggregates keep; all where neither `by` nor `without` is set."""

    without: tuple[str, ...] = ()
    """Labels, or attributes of the resource, that aggregates do not keep."""

    outputs: Annotated[tuple[str, ...], Field(min_length=1)]
    """What to compute: ``total``, ``total_prometheus``, ``increase``, ``increase_prometheus``, ``rate_sum`` (``rate``),
    ``rate_avg``, ``sum_samples`` (``sum``), ``count_samples`` (``count``), ``count_series``, ``min``, ``max``, ``avg``,
    ``last``, ``stddev``, ``stdvar``, ``quantiles(0.5, 0.99)``, ``histogram_bucket(0.1, 1, 10)`` (``histogram``; without
    numbers, Prometheus' usual bounds)."""

    dedup_interval: NonNegativeDuration = timedelta()
    """Of each series, take only the newest sample in so long. 0 takes every sample."""

    staleness_interval: NonNegativeDuration = timedelta()
    """Forget a series, and an aggregate, without samples for so long. 0 means two intervals."""

    ignore_first_sample_interval: NonNegativeDuration | None = None
    """For so long after the rule began, the first sample of a counter says nothing about its growth, for it may be old;
    later a counter that is new has grown from 0. `staleness_interval` where it is not set."""

    keep_metric_names: bool = False
    """Keep the metric name as it is; for a single output."""

    drop_input_labels: tuple[str, ...] = ()
    """Labels that are taken away before anything else; series that are then the same are one series."""

    input_relabel_configs: tuple[RelabelConfig, ...] = ()
    """Relabelling rules for the series that match; one that is dropped is not aggregated."""

    output_relabel_configs: tuple[RelabelConfig, ...] = ()
    """Relabelling rules for the aggregates."""

    ignore_old_samples: bool = False
    """Take no samples with times before the interval that runs; they are dropped and counted as ``old_sample``."""

    ignore_first_intervals: Annotated[int, Field(ge=0)] = 0
    """Pass on nothing of so many intervals after the rule began, for sources whose first samples are of an old time."""

    no_align_flush_to_interval: bool = False
    """Count intervals from the start of the daemon, instead of from multiples of `interval`."""

    flush_on_shutdown: bool = False
    """Pass on aggregates of the intervals that are incomplete as well: the first one, and the one that the end of the
    daemon cuts off."""

    max_quantile_samples: Annotated[int, Field(ge=1000)] = 1_000_000
    """Most samples of an interval that ``quantiles`` are computed of; beyond, a random part of all of them."""

    @field_validator("match", mode="before", json_schema_input_type=str | tuple[str, ...])
    @classmethod
    def _one_or_many(cls, match: Any) -> Any:
        return (match,) if isinstance(match, str) else match

    @field_validator("match")
    @classmethod
    def _selects(cls, match: tuple[str, ...]) -> tuple[str, ...]:
        for text in match:
            try:
                selector(text)
            except InvalidInput as error:
                raise ValueError(str(error)) from None
        return match

    @field_validator("outputs")
    @classmethod
    def _known(cls, outputs: tuple[str, ...]) -> tuple[str, ...]:
        parsed = [Output.parse(text) for text in outputs]
        if len({one.name for one in parsed}) < len(parsed):
            raise ValueError("an output stands twice")
        return outputs

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.by and self.without:
            raise ValueError("by and without exclude each other")
        if self.keep_metric_names and len(self.outputs) > 1:
            raise ValueError("keep_metric_names needs a single output")
        if self.staleness_interval and self.staleness_interval < self.interval:
            raise ValueError("staleness_interval must not be shorter than interval")
        if self.dedup_interval > self.interval:
            raise ValueError("dedup_interval must not be longer than interval")
        return self


class StreamAggregateConfig(ComponentConfig):
    """Settings of the ``stream_aggregate`` processor."""

    rules: tuple[RuleConfig, ...]
    """Aggregations, each on its own: a series may be part of several."""

    keep_input: bool = False
    """Pass on the series that are aggregated as well."""

    drop_input: bool = False
    """Drop the series that no rule matches, too."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.rules:
            raise ValueError("rules must have at least one entry")
        if self.keep_input and self.drop_input:
            raise ValueError("keep_input and drop_input exclude each other")
        return self


def ns(duration: timedelta) -> int:
    """Return a duration in nanoseconds."""
    return duration // timedelta(microseconds=1) * 1000


SAFE = re.compile(r"[^a-zA-Z0-9_:]")
"""What metric names of Prometheus do not have."""
