"""Settings of the ``prometheus`` exporter."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import PositiveDuration  # noqa: TC001 -- pydantic reads it
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.naming import (
    Naming,
    ResourceConversionConfig,
    ResourceLabels,
    ResourceLabelsConfig,
    Strategy,
)

_REFUSED = {"sending_queue": "samples are kept until they are scraped, nothing is sent"}


class PrometheusExporterConfig(ServerConfig):
    """Settings of the ``prometheus`` exporter, besides those of a listener."""

    namespace: str = ""
    """What the name of every metric begins with, followed by ``_``."""

    const_labels: dict[str, str] = Field(default_factory=dict)
    """Labels of every series that lacks them."""

    send_timestamps: bool = False
    """Show the times of samples; without it a scraper takes that of its scrape."""

    metric_expiration: PositiveDuration = timedelta(minutes=5)
    """A series that had no new sample for so long is no longer shown."""

    enable_open_metrics: bool = False
    """Answer in OpenMetrics, with exemplars, where a scraper asks for it."""

    resource_to_telemetry_conversion: ResourceConversionConfig = ResourceConversionConfig()
    """Add resource attributes as labels. `resource_constant_labels` says it more precisely."""

    resource_constant_labels: ResourceLabelsConfig | None = None
    """Which resource attributes to add as labels."""

    without_scope_info: bool = False
    """Leave out the labels ``otel_scope_name``, ``otel_scope_version`` and others of the instrumentation scope."""

    add_metric_suffixes: bool = True
    """Append unit and type to names. `translation_strategy` replaces this setting."""

    translation_strategy: Strategy | None = None
    """How names of OTLP metrics and attributes are translated; ``UnderscoreEscapingWithSuffixes`` unless
    `add_metric_suffixes` is off."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        return refuse(given, _REFUSED)

    @field_validator("const_labels")
    @classmethod
    def _check_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not name or name.startswith("__"):
                raise ValueError(f"{name!r} cannot be the name of a label")
        return labels

    @model_validator(mode="after")
    def _check_resource(self) -> Self:
        if self.resource_constant_labels is not None and self.resource_to_telemetry_conversion.enabled:
            raise ValueError("set either resource_constant_labels or resource_to_telemetry_conversion")
        return self

    @property
    def naming(self) -> Naming:
        """How series are named."""
        older = Strategy.ESCAPE_AND_SUFFIX if self.add_metric_suffixes else Strategy.ESCAPE
        return Naming(
            self.translation_strategy or older,
            self.namespace,
            ResourceLabels.of(self.resource_to_telemetry_conversion, self.resource_constant_labels),
            scope=not self.without_scope_info,
        )
