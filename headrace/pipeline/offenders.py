"""Which metrics have too many series, and which of their labels is the reason, in bounded memory.

Metrics are counted by the Space-Saving algorithm: of any number of them the largest are among those kept. For each of
these a small sketch of every label estimates how many values it has; the label with the most is named.

Source:
    Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams", 2005;
    Flajolet et al., "HyperLogLog", 2007, with linear counting for small numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from headrace.pipeline.identity import METRIC_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.counters import Counters
    from headrace.pipeline.identity import Series

REPORTED = 10
"""Metrics that are named to operators."""

MAX_METRICS = 64
"""Metrics that are kept."""

MAX_LABELS = 32
"""Labels of a metric that are looked at."""

_BITS = 8
_REGISTERS = 1 << _BITS
"""Of a sketch; its estimates are off by 6.5 % mostly."""

_ALPHA = 0.7213 / (1 + 1.079 / _REGISTERS)
_HASH_BITS = (1 << 61) - 1


@dataclass(frozen=True, slots=True)
class Offender:
    """A metric with too many series.

    Attributes:
        metric: Its name.
        series: How many series beyond a limit it has had, at most.
        label: The label with the most values among them; ``__name__`` where it is the names of metrics that are many.
        values: About how many values that label has had.
    """

    metric: str
    series: int
    label: str
    values: int

    def __str__(self) -> str:
        """Return it for a log."""
        of = f"; {self.values} values of label {self.label}" if self.label else ""
        return f"{self.metric} ({self.series}{of})"


class Distinct:
    """Estimates how many different texts it has been shown."""

    __slots__ = ("_last", "_registers")

    def __init__(self) -> None:
        self._registers = bytearray(_REGISTERS)
        self._last = ""

    def add(self, text: str) -> None:
        """Show it a text."""
        if text == self._last:  # most labels of a target's series never change
            return
        self._last = text
        # Python's hash is keyed by process: nobody outside can choose texts that collide.
        mixed = hash(text) & _HASH_BITS
        rest = mixed >> _BITS
        rank = (rest & -rest).bit_length() or 61 - _BITS
        at = mixed & (_REGISTERS - 1)
        self._registers[at] = max(self._registers[at], rank)

    def estimate(self) -> int:
        """Return about how many texts there were."""
        zeros = self._registers.count(0)
        raw = _ALPHA * _REGISTERS**2 / math.fsum(2.0**-rank for rank in self._registers)
        if raw <= 2.5 * _REGISTERS and zeros:
            raw = _REGISTERS * math.log(_REGISTERS / zeros)
        return round(raw)


class _Metric:
    __slots__ = ("labels", "series")

    def __init__(self, series: int) -> None:
        self.series = series
        self.labels: dict[str, Distinct] = {}

    def add(self, series: Series) -> None:
        self.series += 1
        labels = self.labels
        for name, value in series.labels:
            seen = labels.get(name)
            if seen is None:
                if name == METRIC_NAME or len(labels) == MAX_LABELS:
                    continue
                seen = labels[name] = Distinct()
            seen.add(value)

    def worst(self) -> tuple[str, int]:
        """Return the label with the most values, and how many."""
        found = {name: seen.estimate() for name, seen in self.labels.items()}
        return max(found.items(), key=lambda pair: pair[1], default=("", 0))


class Offenders:
    """Counts series that are too many, in bounded memory however many metrics, labels and values they have."""

    def __init__(self) -> None:
        self.series = 0
        """All of them."""
        self._metrics: dict[str, _Metric] = {}
        self._names = Distinct()

    def add(self, series: Series) -> None:
        """Count a series; called once for each."""
        name = series.name
        self.series += 1
        self._names.add(name)
        metric = self._metrics.get(name)
        if metric is None:
            metric = self._metrics[name] = _Metric(self._make_room())
        metric.add(series)

    def top(self, n: int) -> list[Offender]:
        """Return the `n` metrics with the most series, and why, the worst first."""
        names = self._names.estimate()
        if len(self._metrics) == MAX_METRICS and 2 * names > self.series:
            # Hardly a metric has a second series: it is the names that are invented.
            name = max(self._metrics.items(), key=lambda pair: pair[1].series)[0]
            return [Offender(name, self.series, METRIC_NAME, names)]
        found = sorted(self._metrics.items(), key=lambda pair: -pair[1].series)[:n]
        return [Offender(name, metric.series, *metric.worst()) for name, metric in found]

    def _make_room(self) -> int:
        """Forget the smallest metric where there is no room for another; return the count that the other inherits."""
        if len(self._metrics) < MAX_METRICS:
            return 0
        name = min(self._metrics, key=lambda name: self._metrics[name].series)
        return self._metrics.pop(name).series


class ShownOffenders:
    """The worst metrics as a metric of ours with labels ``metric`` and ``label``; a point for each of a few.

    Args:
        offenders: What is counted.
        counters: All of our metrics.
        name: Of the metric.
        attributes: More labels.
    """

    def __init__(self, offenders: Offenders, counters: Counters, name: str, attributes: Mapping[str, str]) -> None:
        self._offenders = offenders
        self._counters = counters
        self._name = name
        self._attributes = dict(attributes)
        self._seen = 0
        self._values: dict[tuple[str, str], int] = {}

    def update(self) -> None:
        """Show those that are the worst by now."""
        if self._offenders.series == self._seen:
            return
        self._seen = self._offenders.series
        top = {(one.metric, one.label): one.series for one in self._offenders.top(REPORTED)}
        for metric, label in self._values.keys() - top.keys():
            self._counters.forget({**self._attributes, "metric": metric, "label": label})
        for metric, label in top.keys() - self._values.keys():
            self._counters.observe(
                self._name,
                "Series beyond a limit, of the metrics with the most; the label is the one with the most values.",
                partial(self._value, metric, label),
                {**self._attributes, "metric": metric, "label": label},
                "{series}",
            )
        self._values = top

    def _value(self, metric: str, label: str) -> float:
        return self._values.get((metric, label), 0)
