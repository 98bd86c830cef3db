"""The outputs of a rule, as configurations write them: a name, or a name with numbers in parentheses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

_TEXT = re.compile(r"\s*([a-z_0-9]+)\s*(?:\(([^()]*)\)\s*)?")

_ALIASES = {
    "sum": "sum_samples",
    "count": "count_samples",
    "rate": "rate_sum",
    "histogram": "histogram_bucket",
}
_PLAIN = frozenset({
    "total", "total_prometheus", "increase", "increase_prometheus", "rate_sum", "rate_avg", "sum_samples",
    "count_samples", "count_series", "min", "max", "avg", "last", "stddev", "stdvar",
})  # fmt: skip
_UNSUPPORTED = {"unique_samples": "it would have to remember every value; count_series and count_samples do not"}

DEFAULT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of ``histogram_bucket`` without numbers: those of Prometheus' client libraries."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output.

    Attributes:
        kind: What is computed, by its full name.
        name: Ending of the metric name.
        numbers: Of ``quantiles`` the quantiles, of ``histogram_bucket`` the upper bounds without +Inf.
    """

    kind: str
    name: str
    numbers: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Output:
        """Read an output.

        Raises:
            ValueError: There is no such output, or its numbers are none.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no output")
        written, inside = match.groups()
        kind = _ALIASES.get(written, written)
        if kind in _UNSUPPORTED:
            raise ValueError(f"output {written} is not supported: {_UNSUPPORTED[kind]}")
        numbers = _numbers(text, inside)
        if kind == "quantiles":
            if not numbers or any(not 0 <= one <= 1 for one in numbers):
                raise ValueError(f"{text!r} needs quantiles from 0 to 1, as in quantiles(0.5, 0.99)")
            return cls(kind, "quantiles", numbers)
        if kind == "histogram_bucket":
            bounds = numbers or DEFAULT_BOUNDS
            if any(low >= high for low, high in pairwise(bounds)):
                raise ValueError(f"{text!r}: the bounds have to ascend")
            return cls(kind, kind, bounds)
        if kind not in _PLAIN:
            known = ", ".join(sorted({*_PLAIN, *_ALIASES, "quantiles(…)", "histogram_bucket(…)"}))
            raise ValueError(f"there is no output {written!r} (there: {known})")
        if inside is not None:
            raise ValueError(f"output {written} takes no numbers")
        return cls(kind, written)

    @property
    def labels(self) -> list[tuple[str, str]]:
        """The label that tells the series of this output apart, for each of them; empty for an output of one."""
        if self.kind == "quantiles":
            return [("quantile", f"{one:g}") for one in self.numbers]
        if self.kind == "histogram_bucket":
            return [("le", _bound(one)) for one in self.numbers] + [("le", "+Inf")]
        return [("", "")]

    @property
    def counts_up(self) -> bool:
        """Whether values only grow, over all intervals."""
        return self.kind in {"total", "total_prometheus", "histogram_bucket"}

    @property
    def outlasts_interval(self) -> bool:
        """Whether there is a value also for an interval without samples."""
        return self.counts_up or self.kind in {"increase", "increase_prometheus", "rate_sum", "rate_avg"}


def _numbers(text: str, inside: str | None) -> tuple[float, ...]:
    if inside is None or not inside.strip():
        return ()
    try:
        found = tuple(float(one) for one in inside.split(","))
    except ValueError:
        raise ValueError(f"{text!r}: expected numbers in the parentheses") from None
    if not all(map(isfinite, found)):
        raise ValueError(f"{text!r}: the numbers have to be finite")
    return found


def _bound(value: float) -> str:
    """Write a bound as OpenMetrics does."""
    return repr(float(value))
