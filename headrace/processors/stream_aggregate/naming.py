"""From the identity of an input to that of its aggregates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.pipeline.config import format_duration
from headrace.pipeline.identity import METRIC_NAME, Form, Kind, MetricType, Temporality
from headrace.pipeline.relabel import Relabeler
from headrace.pipeline.selectors import selector
from headrace.processors.stream_aggregate.config import SAFE

if TYPE_CHECKING:
    from headrace.pipeline.identity import Series
    from headrace.processors.stream_aggregate.config import RuleConfig
    from headrace.processors.stream_aggregate.outputs import Output


class Naming:
    """What a rule makes of series.

    Args:
        config: The rule.
        outputs: Its outputs.
    """

    def __init__(self, config: RuleConfig, outputs: tuple[Output, ...]) -> None:
        self._selectors = [selector(text) for text in config.match]
        self._drops = frozenset(config.drop_input_labels)
        self._input = Relabeler(config.input_relabel_configs)
        self._output = Relabeler(config.output_relabel_configs)
        self._by, self._without = frozenset(config.by), frozenset(config.without)
        self._outputs = outputs
        self._suffixes = [_suffix(config, output) for output in outputs]

    def matches(self, series: Series) -> bool:
        """Return whether the rule is about a series."""
        return not self._selectors or any(fits(series) for fits in self._selectors)

    def input(self, series: Series) -> Series | None:
        """Return the series as which it is aggregated; None where relabelling drops it."""
        if self._drops:
            series = _with_labels(series, tuple(pair for pair in series.labels if pair[0] not in self._drops))
        labels = self._input.rewrite(series.labels)
        if labels is None or (labels is not series.labels and not any(name == METRIC_NAME for name, _ in labels)):
            return None
        return series if labels is series.labels else _with_labels(series, labels)

    def group(self, series: Series) -> Series:
        """Return the identity of the aggregate that a series is part of, before its outputs have names."""
        attributes = () if series.resource is None else series.resource.attributes
        if self._by:
            found = {name: value for name, value in attributes if name in self._by and isinstance(value, str)}
            found |= {name: value for name, value in series.labels if name in self._by or name == METRIC_NAME}
            return replace(_with_labels(series, tuple(sorted(found.items()))), resource=None, scope=None)
        if not self._without:
            return series
        kept = tuple(pair for pair in series.labels if pair[0] not in self._without)
        resource = series.resource
        if resource is not None:
            left = tuple(pair for pair in attributes if pair[0] not in self._without)
            resource = replace(resource, attributes=left) if left else None
        return replace(_with_labels(series, kept), resource=resource, scope=None)

    def outputs(self, group: Series) -> list[Series | None]:
        """Return the series of all outputs in order, of an output of several one after the other; None for dropped."""
        found: list[Series | None] = []
        for output, suffix in zip(self._outputs, self._suffixes, strict=True):
            kind = group.kind
            if group.form is Form.OTLP:
                kind = Kind(MetricType.COUNTER, Temporality.CUMULATIVE) if output.counts_up else Kind(MetricType.GAUGE)
            for name, value in output.labels:
                changed = {METRIC_NAME: group.name + suffix, **({name: value} if name else {})}
                labels = self._output.rewrite(group.set(changed).labels)
                is_series = labels is not None and any(label == METRIC_NAME for label, _ in labels)
                found.append(replace(_with_labels(group, labels), kind=kind) if is_series and labels else None)
        return found


def _with_labels(series: Series, labels: tuple[tuple[str, str], ...]) -> Series:
    """Return the series with these labels, in order, and what is said of the types of those it had."""
    names = {name for name, _ in labels}
    return replace(series, labels=labels, types=tuple(pair for pair in series.types if pair[0] in names))


def _suffix(config: RuleConfig, output: Output) -> str:
    if config.keep_metric_names:
        return ""
    parts = [f":{format_duration(config.interval)}"]
    for word, labels in (("by", config.by), ("without", config.without)):
        if labels:
            parts.append("_".join([word, *(SAFE.sub("_", name) for name in sorted(set(labels)))]))
    return "_".join([*parts, output.name])
