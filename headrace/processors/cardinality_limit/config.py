"""Settings."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from headrace.pipeline.config import ComponentConfig, PositiveDuration


class Action(StrEnum):
    """What happens to series beyond a limit."""

    DROP = "drop"
    OVERFLOW = "overflow"


Limit = Annotated[int, Field(ge=0)]


class CardinalityLimitConfig(ComponentConfig):
    """Settings of the ``cardinality_limit`` processor; 0 means no limit."""

    max_series: Limit = 0
    """Series in all."""

    max_series_per_metric: Limit = 0
    """Series of one metric."""

    metrics: dict[str, Limit] = Field(default_factory=dict)
    """`max_series_per_metric` of single metrics, by name."""

    max_values_per_label: Limit = 0
    """Values that one label may have within one metric."""

    labels: dict[str, Limit] = Field(default_factory=dict)
    """`max_values_per_label` of single labels, by name."""

    action: Action = Action.DROP
    """``drop`` drops series beyond a limit; ``overflow`` folds them into one series of the metric with the label
    ``otel.metric.overflow="true"`` (``otel_metric_overflow`` on series of Prometheus sources)."""

    dry_run: bool = False
    """Count and report, and let everything pass."""

    flush_after: PositiveDuration = timedelta(seconds=5)
    """A point of an overflow series waits for points of the same time, at most so long."""

    report_interval: PositiveDuration = timedelta(minutes=1)
    """How often the metrics with the most series beyond the limits are logged."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (
            self.max_series or self.max_series_per_metric or self.metrics or self.max_values_per_label or self.labels
        ):
            raise ValueError("at least one limit must be set")
        return self
