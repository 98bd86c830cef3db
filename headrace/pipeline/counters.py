"""Counters that cost an addition: plain numbers that self-telemetry reads when somebody asks.

Names and attributes are the Collector's. `headrace.pipeline.telemetry` turns a registry into OpenTelemetry
instruments; nothing on a hot path calls the SDK.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch

Observed = dict[str, dict[tuple[tuple[str, str], ...], "Callable[[], float]"]]
"""Callables by name and attributes."""

_SAMPLES = 20
"""Dropped series that are remembered by each component, newest last, for an operator who asks what was dropped."""

_LOOK_S = 0.1
"""How often a component that drops all the time looks for which series: to write one down takes as long as to drop a
thousand points."""


class Counter:
    """A number that goes up."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def add(self, amount: float = 1) -> None:
        """Add `amount`, which is not negative."""
        self.value += amount


@dataclass(frozen=True, slots=True)
class Instrument:
    """A named set of counters or gauges, one for each set of attributes.

    Attributes:
        name: Such as ``otelcol_receiver_accepted_metric_points``.
        description: For HELP.
        unit: UCUM.
        monotonic: Counter, or else gauge.
        points: Value by attributes; a callable is asked when the value is read.
    """

    name: str
    description: str
    unit: str
    monotonic: bool
    points: dict[tuple[tuple[str, str], ...], Counter | Callable[[], float]] = field(default_factory=dict)

    def read(self) -> Iterator[tuple[dict[str, str], float]]:
        """Yield attributes and value of each point."""
        for attributes, point in list(self.points.items()):
            yield dict(attributes), point.value if isinstance(point, Counter) else point()


class Counters:
    """All instruments of one daemon, by name."""

    def __init__(self) -> None:
        self.instruments: dict[str, Instrument] = {}

    def counter(
        self, name: str, description: str, attributes: Mapping[str, str] | None = None, unit: str = "1"
    ) -> Counter:
        """Return the counter with this name and these attributes, making it where it is new."""
        points = self._instrument(name, description, unit, monotonic=True).points
        key = tuple(sorted((attributes or {}).items()))
        point = points.setdefault(key, Counter())
        if not isinstance(point, Counter):
            raise AssertionError(f"bug: {name}{key} is observed, not counted")
        return point

    def observe(
        self,
        name: str,
        description: str,
        read: Callable[[], float],
        attributes: Mapping[str, str] | None = None,
        unit: str = "1",
        *,
        monotonic: bool = False,
    ) -> None:
        """Have `read` called for the value of a point whenever it is asked for."""
        points = self._instrument(name, description, unit, monotonic=monotonic).points
        points[tuple(sorted((attributes or {}).items()))] = read

    def observed(self) -> Observed:
        """Return what is observed now, for `restore`."""
        return {
            name: {key: point for key, point in instrument.points.items() if not isinstance(point, Counter)}
            for name, instrument in self.instruments.items()
        }

    def restore(self, observed: Observed) -> None:
        """Observe again what was observed then, and nothing that came after."""
        for name, instrument in self.instruments.items():
            before = observed.get(name, {})
            for key in [key for key, point in instrument.points.items() if not isinstance(point, Counter)]:
                if key not in before:
                    del instrument.points[key]
            instrument.points.update(before)

    def forget(self, attributes: Mapping[str, str]) -> None:
        """Observe no more what has all of these attributes: the component is gone."""
        wanted = set(attributes.items())
        for instrument in self.instruments.values():
            for key in [key for key, point in instrument.points.items() if not isinstance(point, Counter)]:
                if wanted <= set(key):
                    del instrument.points[key]

    def value(self, name: str, attributes: Mapping[str, str] | None = None) -> float:
        """Return the value of a point, or the sum over the points that have these attributes; 0 for none."""
        wanted = set((attributes or {}).items())
        instrument = self.instruments.get(name)
        points = instrument.read() if instrument else iter(())
        return sum(value for found, value in points if wanted <= set(found.items()))

    def _instrument(self, name: str, description: str, unit: str, *, monotonic: bool) -> Instrument:
        instrument = self.instruments.get(name)
        if instrument is None:
            instrument = self.instruments[name] = Instrument(name, description, unit, monotonic)
        if instrument.monotonic is not monotonic:
            raise AssertionError(f"bug: {name} is both a counter and a gauge")
        return instrument


class Drops:
    """Counts the points that a component drops, by reason, and remembers a few of the series.

    Args:
        counters: Where the counts go, as ``headrace_dropped_points``.
        component: Id of the component, such as ``processors.filter/noise``.
    """

    def __init__(self, counters: Counters, component: str) -> None:
        self._counters = counters
        self._component = component
        self._totals: dict[str, Counter] = {}
        self._looked_s: dict[str, float] = {}
        self.samples: deque[tuple[str, str]] = deque(maxlen=_SAMPLES)
        """Reason and series of some dropped points, newest last."""

    def count(self, reason: str, batch: MetricBatch, dropped: NDArray[np.bool_]) -> None:
        """Count the number points of `batch` where (n,) bool `dropped` is true."""
        amount = int(dropped.sum())
        if amount:
            self.add(reason, amount)
            now = time.monotonic()
            if now - self._looked_s.get(reason, -_LOOK_S) >= _LOOK_S:
                self._looked_s[reason] = now
                self.samples.append((reason, str(batch.table.series(int(batch.series[dropped.argmax()])))))

    def add(self, reason: str, amount: int, example: str = "") -> None:
        """Count `amount` points for `reason`; `example` is one of the series in text form."""
        counter = self._totals.get(reason)
        if counter is None:
            counter = self._totals[reason] = self._counters.counter(
                "headrace_dropped_points",
                "Points dropped, by component and reason.",
                {"component": self._component, "reason": reason},
            )
        counter.add(amount)
        if example:
            self.samples.append((reason, example))

    def total(self, reason: str) -> int:
        """Return how many points were dropped for `reason`."""
        counter = self._totals.get(reason)
        return int(counter.value) if counter else 0

    def by_reason(self) -> dict[str, int]:
        """Return all counts."""
        return {reason: int(counter.value) for reason, counter in self._totals.items()}
