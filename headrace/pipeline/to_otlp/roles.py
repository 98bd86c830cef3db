"""What the series of a Prometheus source are in OTLP.

A counter is a sum, a gauge a gauge. The series ``_bucket``, ``_sum`` and ``_count`` of a histogram are parts of one
point, and so are those of a summary. The target's labels become the resource, labels of the scope become the scope.

Source:
    OpenTelemetry specification, "Prometheus and OpenMetrics compatibility", "Prometheus metric points to OTLP".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from headrace.pipeline.identity import METRIC_NAME, Form, Kind, MetricType, Resource, Scope, Series, Temporality

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.pipeline.families import Families

_TARGET = {"job": "service.name", "instance": "service.instance.id"}
_SCOPE = "otel_scope_"
_SCOPE_NAME, _SCOPE_VERSION, _SCOPE_SCHEMA = (f"{_SCOPE}{part}" for part in ("name", "version", "schema_url"))

_NUMBERS = {
    MetricType.COUNTER: Kind(MetricType.COUNTER, Temporality.CUMULATIVE),
    MetricType.INFO: Kind(MetricType.GAUGE, Temporality.CUMULATIVE, is_sum=True),
    MetricType.STATESET: Kind(MetricType.GAUGE, Temporality.CUMULATIVE, is_sum=True),
}
_GAUGE = Kind(MetricType.GAUGE)
_HISTOGRAM = Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE)
_EXPONENTIAL = Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE, is_exponential=True)
_SUMMARY = Kind(MetricType.SUMMARY)
_IN_PARTS = {MetricType.HISTOGRAM: _HISTOGRAM, MetricType.SUMMARY: _SUMMARY}
"""Types whose sums and counts are series of their own."""


class Role(IntEnum):
    """What a sample of a series is."""

    UNKNOWN = 0
    NUMBER = 1
    SUM = 2
    """Of a histogram or a summary; of these the order is that of the parts within a point."""
    COUNT = 3
    BUCKET = 4
    QUANTILE = 5


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a series.

    Attributes:
        role: What its samples are.
        series: What they belong to in OTLP.
        bound: Of a bucket or a quantile.
        answered: Whether the type of its family was known.
    """

    role: Role
    series: Series
    bound: float = 0.0
    answered: bool = True


class Decisions:
    """Decides about series.

    Args:
        families: What is known about metric families.
    """

    def __init__(self, families: Families) -> None:
        self._families = families
        self.unanswered: set[str] = set()
        """Families that were asked for, and not known."""

    def of(self, series: Series, bucketed: set[str]) -> Decision:
        """Decide about a series of samples.

        Args:
            series: Of a Prometheus source.
            bucketed: Names of histograms that are known by their buckets, without a word from the source.
        """
        part = self._part(series, bucketed)
        if part is not None:
            return part
        name = series.name
        family = self._family(name, name.removesuffix("_total"), name.removesuffix("_info"))
        type_ = MetricType.UNKNOWN if family is None else family
        return Decision(Role.NUMBER, _moved(series, _NUMBERS.get(type_, _GAUGE)), answered=family is not None)

    def of_native(self, series: Series, *, exponential: bool) -> Series:
        """Return what a series of native histograms is in OTLP."""
        return _moved(series, _EXPONENTIAL if exponential else _HISTOGRAM)

    def _part(self, series: Series, bucketed: set[str]) -> Decision | None:
        """Decide about a part of a histogram or of a summary; None where it is none."""
        name = series.name
        bound = _number(series["le"]) if name.endswith("_bucket") else None
        if bound is not None:
            base = name.removesuffix("_bucket")
            return Decision(Role.BUCKET, _moved(series, _HISTOGRAM, base, "le"), bound)
        quantile = _number(series["quantile"])
        if quantile is not None and self._family(name) is MetricType.SUMMARY:
            return Decision(Role.QUANTILE, _moved(series, _SUMMARY, name, "quantile"), quantile)
        for suffix, role in (("_sum", Role.SUM), ("_count", Role.COUNT)):
            if name.endswith(suffix):
                base = name.removesuffix(suffix)
                family = MetricType.HISTOGRAM if base in bucketed else self._family(base)
                if family in _IN_PARTS:
                    return Decision(role, _moved(series, _IN_PARTS[family], base))
        return None

    def _family(self, *names: str) -> MetricType | None:
        """Return the type of the first of some families that is known."""
        for name in names:
            found = self._families.find(name)
            if found is not None:
                return found.type
        self.unanswered.update(names)
        return None


def bucketed(series: Iterable[Series]) -> set[str]:
    """Return the names of histograms that some series are buckets of."""
    return {one.name.removesuffix("_bucket") for one in series if one.name.endswith("_bucket") and "le" in one}


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _moved(series: Series, kind: Kind, name: str = "", without: str = "") -> Series:
    """Return a series with the labels of its target and of its scope in the places that OTLP has for them."""
    labels = {label: value for label, value in series.labels if label != without}
    resource = dict(series.resource.attributes) if series.resource is not None else {}
    resource |= {key: labels.pop(label) for label, key in _TARGET.items() if label in labels}
    schema_url = series.resource.schema_url if series.resource is not None else ""
    of_scope = {label: labels.pop(label) for label in list(labels) if label.startswith(_SCOPE)}
    if name:
        labels[METRIC_NAME] = name
    moved = series.with_labels(labels.items())
    return replace(
        moved,
        form=Form.OTLP,
        kind=kind,
        resource=Resource(tuple(sorted(resource.items())), schema_url) if resource or schema_url else None,
        scope=_scope(of_scope) if of_scope else series.scope,
    )


def _scope(labels: dict[str, str]) -> Scope:
    name, version, schema = (labels.pop(key, "") for key in (_SCOPE_NAME, _SCOPE_VERSION, _SCOPE_SCHEMA))
    attributes = tuple(sorted((label.removeprefix(_SCOPE), value) for label, value in labels.items()))
    return Scope(name, version, attributes, schema)
