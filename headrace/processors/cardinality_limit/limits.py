"""How many series hold places, and whether another one may have one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from headrace.pipeline.identity import METRIC_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.pipeline.identity import Series
    from headrace.processors.cardinality_limit.config import CardinalityLimitConfig

Pairs = list[tuple[str, str]]
"""Labels and their values."""


class Tallies:
    """How many series there are: in all, of each metric, and with each value of a limited label; never a zero."""

    def __init__(self) -> None:
        self.total = 0
        self.metrics: dict[str, int] = {}
        """By name of the metric."""
        self.values: dict[tuple[str, str], dict[str, int]] = {}
        """By metric and label, then by value."""

    def count(self, metric: str, labels: Iterable[tuple[str, str]], by: int = 1) -> None:
        """Count a series, or with -1 count it no longer."""
        self.total += by
        _count(self.metrics, metric, by)
        for label, value in labels:
            self._count_value((metric, label), value, by)

    def include(self, other: Tallies, sign: int = 1) -> None:
        """Add all that `other` has counted, or with -1 take it away."""
        self.total += sign * other.total
        for metric, n in other.metrics.items():
            _count(self.metrics, metric, sign * n)
        for key, values in other.values.items():
            for value, n in values.items():
                self._count_value(key, value, sign * n)

    def counted(self, metric: str, labels: Pairs) -> Pairs:
        """Return those of the labels that series of the metric were counted with."""
        return [(label, value) for label, value in labels if value in self.values.get((metric, label), ())]

    def _count_value(self, key: tuple[str, str], value: str, by: int) -> None:
        values = self.values.setdefault(key, {})
        _count(values, value, by)
        if not values:
            del self.values[key]

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON's terms."""
        labels = [[metric, label, values] for (metric, label), values in self.values.items()]
        return {"metrics": self.metrics, "labels": labels}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Invert `to_json`.

        Raises:
            ValueError: A number is none, or not above 0.
        """
        made = cls()
        made.metrics = _counts(value["metrics"])
        made.values = {(str(metric), str(label)): _counts(values) for metric, label, values in value["labels"]}
        made.total = sum(made.metrics.values())
        return made


class Limits:
    """The limits, and who holds places: series that are there, and those that places are reserved for."""

    def __init__(self, config: CardinalityLimitConfig) -> None:
        self._config = config
        self.held = Tallies()

    def are_passed_by(self, series: Series) -> bool:
        """Return whether there is no place for one more series."""
        config, name, held = self._config, series.name, self.held
        if config.max_series and held.total >= config.max_series:
            return True
        limit = config.metrics.get(name, config.max_series_per_metric)
        if limit and held.metrics.get(name, 0) >= limit:
            return True
        for label, value in self.limited(series):
            values = held.values.get((name, label), {})
            if value not in values and len(values) >= self._of_label(label):
                return True
        return False

    def limited(self, series: Series) -> Pairs:
        """Return the labels of a series that have a limit."""
        return [(label, value) for label, value in series.labels if label != METRIC_NAME and self._of_label(label)]

    def admit(self, series: Series) -> None:
        """Give a series a place."""
        self.held.count(series.name, self.limited(series))

    def release(self, series: Series) -> None:
        """Take back the place of a series."""
        self.held.count(series.name, self.limited(series), -1)

    def give_back(self, reserved: Tallies, series: Series) -> None:
        """Take back the place that was reserved for a series, which may have been counted under other settings."""
        labels = reserved.counted(series.name, self.limited(series))
        reserved.count(series.name, labels, -1)
        self.held.count(series.name, labels, -1)

    def _of_label(self, label: str) -> int:
        return self._config.labels.get(label, self._config.max_values_per_label)


def _count(counts: dict[str, int], key: str, by: int) -> None:
    n = counts.get(key, 0) + by
    if n > 0:
        counts[key] = n
    else:
        counts.pop(key, None)


def _counts(value: dict[str, Any]) -> dict[str, int]:
    counts = {str(key): int(n) for key, n in value.items()}
    if min(counts.values(), default=1) < 1:
        raise ValueError("it counts series below 1")
    return counts
