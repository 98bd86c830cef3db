"""Settings of the ``filter`` processor: our own entries, and those of the Collector's."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import MetricType
from headrace.pipeline.ottl.compiler import compile_condition
from headrace.pipeline.ottl.faults import ErrorMode
from headrace.pipeline.ottl.paths import Context
from headrace.pipeline.regex import regex, unanchored

TYPES = {type_.text: type_ for type_ in MetricType}
"""Metric types by the names that configurations have for them."""

_SIGNALS = dict.fromkeys(
    ("logs", "log_conditions", "traces", "trace_conditions", "profile_conditions", "profiles"),
    "there are metrics alone",
)
_NO_EXPRESSIONS = dict.fromkeys(("expressions", "record_attributes"), "write metric_conditions")


class MatchType(StrEnum):
    """How texts are compared."""

    STRICT = "strict"
    REGEXP = "regexp"


def context_of(name: str) -> Context | None:
    """Return the context of a name in a configuration; None for the empty one.

    Raises:
        ValueError: There is none.
    """
    names = {context.name.lower(): context for context in Context}
    if name and name not in names:
        raise ValueError(f"there is no context {name!r} (there: {', '.join(names)})")
    return names.get(name)


def checked(conditions: Any, context: Context | None) -> None:
    """Raise ValueError for a condition that does not compile."""
    for text in conditions:
        try:
            compile_condition(text, context)
        except InvalidInput as error:
            raise ValueError(str(error)) from None


class Entry(ComponentConfig):
    """Series to include or exclude; everything that is set has to fit."""

    match_type: MatchType = MatchType.STRICT
    """``strict`` compares whole texts, ``regexp`` matches RE2 patterns with whole texts."""

    metric_names: tuple[str, ...] = ()
    """Metric names, one of which has to fit."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Values by label, all of which have to fit; an absent label has the empty value. Attributes of OpenTelemetry
    sources are labels."""

    types: tuple[str, ...] = ()
    """Metric types, one of which has to fit: ``counter``, ``gauge``, ``histogram``, ``summary``, ``unknown``.
    Prometheus sources tell types apart from samples, so their series are ``unknown``."""

    @field_validator("types")
    @classmethod
    def _known(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for one in types:
            if one not in TYPES:
                raise ValueError(f"there is no metric type {one!r} (there: {', '.join(TYPES)})")
        return types

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.metric_names or self.labels or self.types):
            raise ValueError("must name metric_names, labels or types")
        if self.match_type is MatchType.REGEXP:
            for pattern in (*self.metric_names, *self.labels.values()):
                try:
                    regex(pattern)
                except InvalidInput as error:
                    raise ValueError(str(error)) from None
        return self


class ResourceAttribute(ComponentConfig):
    """An attribute of the resource that has to fit."""

    key: str
    """Its name."""

    value: str | None = None
    """Its value as text; any, where it is left out."""


class CollectorEntry(ComponentConfig):
    """Metrics to include or exclude, as the Collector has it."""

    match_type: MatchType
    """``strict`` compares whole texts, ``regexp`` finds RE2 patterns anywhere in a text. ``expr`` is refused: write
    `metric_conditions`."""

    metric_names: tuple[str, ...] = ()
    """Metric names, one of which has to fit; any, where it is empty."""

    resource_attributes: tuple[ResourceAttribute, ...] = ()
    """Attributes of the resource, all of which have to fit."""

    regexp: dict[str, Any] | None = None
    """In the Collector: how patterns are cached. It is accepted and has no effect: what is decided about a series is
    remembered."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        if isinstance(options, dict) and options.get("match_type") == "expr":
            raise ValueError("match_type expr is not supported: write metric_conditions")
        return refuse(options, _NO_EXPRESSIONS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.metric_names or self.resource_attributes):
            raise ValueError("must name metric_names or resource_attributes")
        if self.match_type is MatchType.REGEXP:
            for pattern in (*self.metric_names, *(one.value or "" for one in self.resource_attributes)):
                try:
                    unanchored(pattern)
                except InvalidInput as error:
                    raise ValueError(str(error)) from None
        return self


class ConditionGroup(ComponentConfig):
    """Conditions of one context."""

    context: str = ""
    """``resource``, ``scope``, ``metric`` or ``datapoint``: what paths without a prefix belong to. Where it is left
    out, all paths have their prefix."""

    conditions: tuple[str, ...]
    """Conditions, one of which is enough to drop."""

    error_mode: ErrorMode | None = None
    """As `error_mode` of the processor, for these conditions."""

    @field_validator("context")
    @classmethod
    def _known(cls, name: str) -> str:
        context_of(name)
        return name

    @model_validator(mode="after")
    def _check(self) -> Self:
        checked(self.conditions, context_of(self.context))
        return self


class CollectorMetrics(ComponentConfig):
    """The section ``metrics`` of the Collector's filter, which `metric_conditions` replaces."""

    metric: tuple[str, ...] = ()
    """Conditions in the context ``metric``."""

    datapoint: tuple[str, ...] = ()
    """Conditions in the context ``datapoint``."""

    include: CollectorEntry | None = None
    """Metrics that pass; all others are dropped."""

    exclude: CollectorEntry | None = None
    """Metrics that are dropped."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, {"resource": "write metric_conditions", "scope": "write metric_conditions"})

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.metric or self.datapoint) and (self.include or self.exclude):
            raise ValueError("conditions and include or exclude cannot be used together")
        checked(self.metric, Context.METRIC)
        checked(self.datapoint, Context.DATAPOINT)
        return self


class FilterConfig(ComponentConfig):
    """Settings of the ``filter`` processor."""

    include: tuple[Entry, ...] = ()
    """Series that pass; all, where it is empty."""

    exclude: tuple[Entry, ...] = ()
    """Series that do not pass, even if they are included."""

    metric_conditions: tuple[str | ConditionGroup, ...] = ()
    """Conditions in OTTL, one of which is enough to drop what it is about: texts whose paths have their prefixes
    (``metric.name == "up"``), or groups of them."""

    metrics: CollectorMetrics = CollectorMetrics()
    """The Collector's older form."""

    error_mode: ErrorMode = ErrorMode.IGNORE
    """What a condition does that has no value for a series: ``ignore`` logs it and the condition does not hold,
    ``silent`` does not log, ``propagate`` drops the series."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _SIGNALS)

    @field_validator("metric_conditions")
    @classmethod
    def _compile(cls, conditions: tuple[str | ConditionGroup, ...]) -> tuple[str | ConditionGroup, ...]:
        checked([one for one in conditions if isinstance(one, str)], None)
        return conditions

    @model_validator(mode="after")
    def _check(self) -> Self:
        old = self.metrics != CollectorMetrics()
        if not (self.include or self.exclude or self.metric_conditions or old):
            raise ValueError("must have include or exclude, metric_conditions or metrics")
        if old and self.metric_conditions:
            raise ValueError("metrics and metric_conditions cannot be used together")
        return self
