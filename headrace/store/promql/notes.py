"""Annotations of a query: warnings and lesser remarks, in Prometheus' words."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.promql.errors import place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.promql.language.ast import Expr

_SMALLEST_PLAIN, _SMALLEST_LARGE = -4, 6
"""Powers of ten between which numbers are printed without an exponent."""

_COUNTER_ENDINGS = ("_total", "_sum", "_count", "_bucket")


_COUNTER_TYPES = frozenset({"counter", "histogram"})


class Repair(NamedTuple):
    """How classic histograms were made monotonic.

    Attributes:
        low: Lowest bound of a bucket whose count was raised.
        high: Highest one.
        most: By how much at most.
        histograms: How many they were.
        first_ms: Time of the first.
        last_ms: Time of the last.
    """

    low: float
    high: float
    most: float
    histograms: int
    first_ms: int
    last_ms: int

    def with_(self, other: Repair) -> Repair:
        """Return both together."""
        return Repair(
            min(self.low, other.low),
            max(self.high, other.high),
            max(self.most, other.most),
            self.histograms + other.histograms,
            min(self.first_ms, other.first_ms),
            max(self.last_ms, other.last_ms),
        )

    def __str__(self) -> str:
        times = (datetime.fromtimestamp(t // 1000, UTC) for t in (self.first_ms, self.last_ms))
        first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in times)
        return (
            f", from buckets {brief(self.low)} to {brief(self.high)}, with a max diff of {_two_digits(self.most)}, "
            f"over {self.histograms} samples from {first} to {last}"
        )


class Notes:
    """Collects the annotations of one query.

    Args:
        query: Its text, for positions.
    """

    def __init__(self, query: str) -> None:
        self.query = query
        """The text of the query."""
        self._warnings: dict[str, int] = {}
        self._infos: dict[str, int] = {}
        self._repairs: dict[str, tuple[Repair, int]] = {}

    @property
    def warnings(self) -> list[str]:
        """Warnings, each with its place; of equal ones the last stands."""
        return self._placed(self._warnings)

    @property
    def infos(self) -> list[str]:
        """Lesser remarks, likewise."""
        repairs = {f"{text}{repair}": start for text, (repair, start) in self._repairs.items()}
        return self._placed({**self._infos, **repairs})

    def take(self, others: Notes) -> None:
        """Add what was noted elsewhere about the same query."""
        self._warnings.update(others._warnings)
        self._infos.update(others._infos)
        for text, (repair, start) in others._repairs.items():
            self._add(text, repair, start)

    def moved(self, by: int) -> Notes:
        """Return the same, noted so many characters further on; what has no place still has none."""
        found = Notes(self.query)
        found._warnings = {text: start + by if start else 0 for text, start in self._warnings.items()}
        found._infos = {text: start + by if start else 0 for text, start in self._infos.items()}
        return found

    def warn(self, text: str, node: Expr) -> None:
        """Note a warning."""
        self._warnings[f"PromQL warning: {text}"] = node.start

    def info(self, text: str, node: Expr) -> None:
        """Note a remark."""
        self._infos[f"PromQL info: {text}"] = node.start

    def check_quantiles(self, q: NDArray[np.float64], node: Expr) -> None:
        """Warn about quantiles, (steps,), that are none."""
        for bad in np.unique(q[~((q >= 0) & (q <= 1))]).tolist():
            self.warn(f"quantile value should be between 0 and 1, got {brief(bad)}", node)

    def check_ratios(self, ratios: NDArray[np.float64], node: Expr) -> None:
        """Warn about shares, (steps,), beyond all."""
        for found, most in ((ratios.max(), 1), (ratios.min(), -1)):
            if found * most > 1:
                self.warn(f"ratio value should be between -1 and 1, got {brief(found)}, capping to {most}", node)

    def repaired(self, text: str, repair: Repair, node: Expr) -> None:
        """Remark that buckets were made monotonic; equal remarks are added up, and the place of the first stands."""
        self._add(f"PromQL info: {text}", repair, node.start)

    def _add(self, text: str, repair: Repair, start: int) -> None:
        if text in self._repairs:
            before, start = self._repairs[text]
            repair = before.with_(repair)
        self._repairs[text] = (repair, start)

    def check_counter(self, name: str, start: int) -> None:
        """Remark on a name that no counter has; `start` is the position in the query."""
        if name and not name.endswith(_COUNTER_ENDINGS):
            text = f'metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{name}"'
            self._infos[f"PromQL info: {text}"] = start

    def check_type(self, name: str, type_: str, start: int) -> None:
        """Remark on a label ``__type__`` that no counter has; `start` is the position in the query."""
        if type_ not in _COUNTER_TYPES:
            text = 'metric might not be a counter, __type__ label is not set to "counter" or "histogram"'
            self._infos[f'PromQL info: {text}, got "{type_}": "{name}"'] = start

    def _placed(self, notes: dict[str, int]) -> list[str]:
        return [f"{text} ({place(self.query, start)})" for text, start in notes.items()]


def for_metric(name: str) -> str:
    """Return what an annotation says about a metric; nothing where the name is not known."""
    return f' for metric name "{name}"' if name else ""


def _two_digits(value: float) -> str:
    """Print as Go's %.2g does."""
    return f"{value:.2g}" if math.isfinite(value) else brief(value)


def brief(value: float) -> str:
    """Print a number as Go's %g does: the shortest digits that read back, exponents from 1e+06 on.

    >>> brief(1e6), brief(0.5), brief(2.0), brief(1.5e-7), brief(float("inf"))
    ('1e+06', '0.5', '2', '1.5e-07', '+Inf')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    shortest = Decimal(repr(float(value))).normalize()
    if value != 0 and not _SMALLEST_PLAIN <= shortest.adjusted() < _SMALLEST_LARGE:
        digits, power = f"{shortest:e}".split("e")
        return f"{digits}e{int(power):+03d}"
    return repr(float(value)).removesuffix(".0") if value == 0 else f"{shortest:f}"
