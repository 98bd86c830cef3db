"""What a series is: labels, and for OpenTelemetry sources the resource, scope and metric that go with them.

These are the values that plugin authors read and that tables intern. They are made once per new series, never
per sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

AttributeValue: TypeAlias = "str | bool | int | float | bytes | list[AttributeValue] | dict[str, AttributeValue] | None"
"""A value of OpenTelemetry's ``AnyValue``."""

METRIC_NAME = "__name__"


class Form(IntEnum):
    """How the labels of a series are to be read."""

    PROMETHEUS = 0
    """Final Prometheus labels."""

    OTLP = 1
    """Metric name and attributes as OpenTelemetry wrote them, not yet translated."""


class MetricType(IntEnum):
    """The type of a metric, in the words of Prometheus and OpenMetrics."""

    UNKNOWN = 0
    COUNTER = 1
    GAUGE = 2
    HISTOGRAM = 3
    GAUGE_HISTOGRAM = 4
    SUMMARY = 5
    INFO = 6
    STATESET = 7

    @property
    def text(self) -> str:
        """The name on the wire, such as ``gaugehistogram``."""
        return self.name.lower().replace("_", "")


class Temporality(IntEnum):
    """What a point's value covers (OTLP ``AggregationTemporality``)."""

    UNSPECIFIED = 0
    DELTA = 1
    CUMULATIVE = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """What sort of stream an OTLP metric is; the default for Prometheus sources.

    Attributes:
        type: COUNTER for a monotonic sum, GAUGE for a gauge or a sum that is not, HISTOGRAM, SUMMARY.
        temporality: As sent.
        is_sum: Whether a GAUGE was sent as a sum that is not monotonic.
        is_exponential: Whether a HISTOGRAM has exponential buckets.
    """

    type: MetricType = MetricType.UNKNOWN
    temporality: Temporality = Temporality.UNSPECIFIED
    is_sum: bool = False
    is_exponential: bool = False

    def pack(self) -> int:
        """Return the kind as one small integer."""
        return self.type | self.temporality << 4 | self.is_sum << 6 | self.is_exponential << 7

    @classmethod
    def unpack(cls, packed: int) -> Kind:
        """Invert `pack`."""
        return cls(
            MetricType(packed & 15),
            Temporality(packed >> 4 & 3),
            is_sum=bool(packed >> 6 & 1),
            is_exponential=bool(packed >> 7 & 1),
        )


@dataclass(frozen=True, slots=True)
class Resource:
    """The entity that produced a metric.

    Attributes:
        attributes: Name and value, in ascending order of names.
        schema_url: Of the resource.
    """

    attributes: tuple[tuple[str, AttributeValue], ...] = ()
    schema_url: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """The instrumentation scope of a metric."""

    name: str = ""
    version: str = ""
    attributes: tuple[tuple[str, AttributeValue], ...] = ()
    schema_url: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """The identity of one series.

    Attributes:
        labels: Name and value, in ascending order of names, without empty values; includes ``__name__``.
        form: How to read them.
        kind: Type and temporality; of use for OTLP only, Prometheus sources send types apart.
        unit: UCUM unit of an OTLP metric.
        resource: Resource of an OTLP metric.
        scope: Scope of an OTLP metric.
        types: ``(label, type)`` of attributes that were not strings, such as ``("port", "int")``.
    """

    labels: tuple[tuple[str, str], ...]
    form: Form = Form.PROMETHEUS
    kind: Kind = field(default=Kind())
    unit: str = ""
    resource: Resource | None = None
    scope: Scope | None = None
    types: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, labels: Mapping[str, str] | None = None, /, **more: str) -> Series:
        """Make a series from labels, sorting them and leaving out empty ones.

        >>> Series.of({"__name__": "up"}, job="node").labels
        (('__name__', 'up'), ('job', 'node'))
        """
        return cls(_sorted({**(labels or {}), **more}.items()))

    def __getitem__(self, name: str) -> str:
        """Return the value of a label, empty where the series lacks it."""
        for label, value in self.labels:
            if label == name:
                return value
        return ""

    def __contains__(self, name: object) -> bool:
        return any(label == name for label, _ in self.labels)

    @property
    def name(self) -> str:
        """The metric name."""
        return self[METRIC_NAME]

    def with_labels(self, labels: Iterable[tuple[str, str]]) -> Series:
        """Return the series with these labels instead of its own."""
        return replace(self, labels=_sorted(labels))

    def set(self, labels: Mapping[str, str] | None = None, /, **more: str) -> Series:
        """Return the series with some labels changed; an empty value takes a label away.

        >>> Series.of(__name__="up", job="node").set(team="a", job="").labels
        (('__name__', 'up'), ('team', 'a'))
        """
        return self.with_labels({**dict(self.labels), **(labels or {}), **more}.items())

    def without(self, *names: str) -> Series:
        """Return the series without some labels."""
        return self.with_labels((label, value) for label, value in self.labels if label not in names)

    def __str__(self) -> str:
        labels = ", ".join(f'{name}="{_escape(value)}"' for name, value in self.labels if name != METRIC_NAME)
        return self.name + (f"{{{labels}}}" if labels else "")


def _sorted(labels: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in labels if value))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
