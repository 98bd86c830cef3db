"""Rewrite and drop series by Prometheus' relabelling rules.

A series of an OpenTelemetry source has its metric name as ``__name__`` and its attributes as labels, under the names
that OpenTelemetry gave them; resource and scope are not touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.relabel import RelabelConfig, Relabeler

if TYPE_CHECKING:
    from headrace.pipeline.identity import Series


class RelabelProcessorConfig(ComponentConfig):
    """Settings of the ``relabel`` processor."""

    relabel_configs: Annotated[tuple[RelabelConfig, ...], Field(min_length=1)]
    """Rules, as in Prometheus, applied in order."""


class RelabelProcessor:
    """Applies rules once to each new series."""

    def __init__(self, settings: Settings, config: RelabelProcessorConfig) -> None:
        del settings
        self._relabeler = Relabeler(config.relabel_configs)

    def admit(self, series: Series) -> Series | None:
        """Return the series with its labels rewritten; None where a rule drops it or takes its name away."""
        labels = self._relabeler.rewrite(series.labels)
        if labels is series.labels:
            return series
        if not labels:
            return None
        changed = series.with_labels(labels)
        return changed if changed.name else None


FACTORY = ProcessorFactory(name="relabel", config=RelabelProcessorConfig, create=RelabelProcessor)
