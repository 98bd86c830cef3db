"""What is known about metric families: type, help and unit, by name.

OTLP series say their type themselves: `Families.admit` takes note of it. Those of Prometheus sources are told about by
the metadata of batches, which comes before, with or after the samples; what a family is, is therefore asked when a page
is laid out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import Form, MetricType, Series
from headrace.pipeline.otlp_names import metric_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from headrace.pipeline.batch import Metadata
    from headrace.pipeline.naming import Naming

MAX_FAMILIES = 100_000
"""Families that something is remembered of; the oldest are forgotten beyond, and their samples have no type."""

_SUFFIXES = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.GAUGE_HISTOGRAM: ("_bucket", "_gsum", "_gcount"),
    MetricType.SUMMARY: ("_sum", "_count", ""),
    MetricType.COUNTER: ("_total",),
    MetricType.INFO: ("_info",),
}
"""What the samples of a family may be called beyond its name."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family.

    Attributes:
        name: Without ``_total`` and ``_info``.
        type: Its type.
        help: Description.
        unit: Unit.
        suffix: What the name of the samples in question has behind it.
    """

    name: str
    type: MetricType
    help: str = ""
    unit: str = ""
    suffix: str = ""


class Families:
    """What is known about families.

    Args:
        naming: How OTLP metrics are named.
    """

    leaves_plain = True

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._prefix = f"{naming.namespace}_" if naming.namespace else ""
        self._typed: dict[str, tuple[MetricType, str, str]] = {}
        self._told: dict[str, Metadata] = {}
        self.conflicts: set[str] = set()
        """Names whose series were dropped because the family has another type."""
        self.version = 0
        """Changes when something new is known."""

    def tell(self, metadata: Iterable[Metadata]) -> None:
        """Take note of what a batch says; of a family that was told of before, the newest counts."""
        for one in metadata:
            if self._told.get(one.family) != one:
                self._told.pop(one.family, None)
                self._told[one.family] = one
                self.version += 1
        _shorten(self._told)

    def admit(self, series: Series) -> Series | None:
        """Take note of the type of an OTLP series; drop it where its family has another one already."""
        if series.form is not Form.OTLP:
            return series
        try:
            name = metric_name(series.name, series.unit, series.kind, self._naming)
            source = metric_name(series.name, series.unit, series.kind)
        except InvalidInput:
            return series  # Dropped by the next stage, under a reason of its own.
        known = self._typed.get(name)
        if known is not None:
            if known[0] is series.kind.type:
                return series
            self.conflicts.add(name)
            return None
        self._typed[name] = (series.kind.type, source, series.unit)
        self.version += 1
        _shorten(self._typed)
        return series

    def settle(self, shown: Collection[str]) -> bool:
        """Forget the types of families in conflict that are not shown any more; return whether there was one.

        Args:
            shown: Names of samples.
        """
        gone = [name for name in self.conflicts if not any(name + end in shown for end in ("", "_count"))]
        for name in gone:
            self._typed.pop(name, None)
        self.conflicts.difference_update(gone)
        return bool(gone)

    def find(self, name: str) -> Family:
        """Return the family of the samples called `name`."""
        for type_, suffix in _candidates(name):
            family = name.removesuffix(suffix)
            typed = self._typed.get(name if type_ is MetricType.COUNTER else family)
            if typed is not None and typed[0] is type_:
                told = self._told.get(typed[1])
                return Family(family, type_, told.help if told else "", typed[2], suffix)
            told = self._told_of(family, suffix)
            if told is not None and told.type is type_:
                return Family(family, type_, told.help, told.unit, suffix)
        typed = self._typed.get(name)
        told = self._told.get(typed[1]) if typed else self._told_of(name, "")
        type_ = typed[0] if typed else told.type if told else MetricType.UNKNOWN
        return Family(name, type_, told.help if told else "", typed[2] if typed else told.unit if told else "")

    def _told_of(self, family: str, suffix: str) -> Metadata | None:
        """Return what was told of a family, in text by its full name, in OpenMetrics without the suffix."""
        if not family.startswith(self._prefix):
            return None
        own = family.removeprefix(self._prefix)
        if suffix in {"_total", "_info"}:
            return self._told.get(own + suffix) or self._told.get(own)
        return self._told.get(own)


def _candidates(name: str) -> Iterable[tuple[MetricType, str]]:
    for type_, suffixes in _SUFFIXES.items():
        for suffix in suffixes:
            if name.endswith(suffix) and len(name) > len(suffix):
                yield type_, suffix


def _shorten(found: dict[str, Any]) -> None:
    while len(found) > MAX_FAMILIES:
        del found[next(iter(found))]
