"""Counts of what came to one place, and the comparison of two of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.cli.plan.numbers import NONE
from headrace.kernels.growth import grown
from headrace.pipeline.taps.lines import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from headrace.cli.plan.numbers import Numbers


@dataclass(slots=True)
class Tally:
    """What came to a place.

    Attributes:
        samples: By number of the stream that a sample was in the traffic: how many.
        became: By the same: number of the series that it is here; NONE for nothing.
        made: By number of series that no stream of the traffic has become: how many samples.
        delivered: By number of series: how many samples.
    """

    samples: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1024, np.int64))
    became: NDArray[np.int64] = field(default_factory=lambda: np.full(1024, NONE, np.int64))
    made: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1024, np.int64))
    delivered: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1024, np.int64))

    def add(self, origins: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        """Count samples.

        Args:
            origins: (n,) numbers of the streams that they were, or NONE.
            numbers: (n,) numbers of the series that they are.
        """
        self.fit(int(max(origins.max(), numbers.max())) + 1 if len(numbers) else 0)
        known = origins != NONE
        np.add.at(self.samples, origins[known], 1)
        self.became[origins[known]] = numbers[known]
        np.add.at(self.made, numbers[~known], 1)
        np.add.at(self.delivered, numbers, 1)

    def fit(self, size: int) -> None:
        """Have room for so many numbers."""
        self.samples = grown(self.samples, size, 0)
        self.became = grown(self.became, size, NONE)
        self.made = grown(self.made, size, 0)
        self.delivered = grown(self.delivered, size, 0)


def joined(tallies: Iterable[Tally], size: int) -> Tally:
    """Return what came to several places, for `size` numbers."""
    total = Tally()
    total.fit(size)
    for one in tallies:
        one.fit(size)
        total.samples[:size] += one.samples[:size]
        total.delivered[:size] += one.delivered[:size]
        total.made[:size] += one.made[:size]
        total.became[:size] = np.where(one.became[:size] != NONE, one.became[:size], total.became[:size])
    return total


@dataclass(frozen=True, slots=True)
class Share:
    """Series with the same fate.

    Attributes:
        series: How many.
        samples_before: Samples of them before.
        samples_after: And after.
        examples: Some of them: before, after; empty for none.
    """

    series: int
    samples_before: int
    samples_after: int
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What another configuration changes at one exporter.

    Attributes:
        before: Series and samples before.
        after: And after.
        fates: ``kept``, ``renamed``, ``dropped``, ``added``.
        metrics: By metric: series before and after.
    """

    before: tuple[int, int]
    after: tuple[int, int]
    fates: dict[str, Share]
    metrics: dict[str, tuple[int, int]]


def compared(before: Tally, after: Tally, numbers: Numbers, examples: int = 3) -> Comparison:
    """Compare two tallies of the same traffic."""
    size = len(numbers)
    for one in (before, after):
        one.fit(size)
    old, new = before.became[:size], after.became[:size]
    both = (old != NONE) & (new != NONE)
    renamed = both & (old != new)
    for place in np.flatnonzero(renamed).tolist():  # another type alone is no other name
        renamed[place] = numbers.series(old[place]).labels != numbers.series(new[place]).labels
    groups = {
        "kept": both & ~renamed,
        "renamed": renamed,
        "dropped": (old != NONE) & (new == NONE),
        "added": (old == NONE) & (new != NONE),
    }
    fates = {}
    for name, chosen in groups.items():
        fates[name] = _share(chosen, before.samples[:size], after.samples[:size])
    for name, chosen in _made(before, after, size).items():
        fates[name] = _plus(fates[name], _share(chosen, before.made[:size], after.made[:size]))
    found = {
        name: [(_text(numbers, old[one]), _text(numbers, new[one])) for one in np.flatnonzero(chosen)[:examples]]
        for name, chosen in groups.items()
        if name != "kept"
    }
    return Comparison(
        _size(before, size),
        _size(after, size),
        {
            name: Share(one.series, one.samples_before, one.samples_after, tuple(found.get(name, ())))
            for name, one in fates.items()
        },
        _metrics(before, after, numbers),
    )


def _made(before: Tally, after: Tally, size: int) -> dict[str, NDArray[np.bool_]]:
    """Return which series of no stream there are in both, one, and the other."""
    old, new = before.made[:size] > 0, after.made[:size] > 0
    return {"kept": old & new, "dropped": old & ~new, "added": new & ~old}


def _share(chosen: NDArray[np.bool_], before: NDArray[np.int64], after: NDArray[np.int64]) -> Share:
    return Share(int(chosen.sum()), int(before[chosen].sum()), int(after[chosen].sum()))


def _plus(one: Share, other: Share) -> Share:
    return Share(
        one.series + other.series,
        one.samples_before + other.samples_before,
        one.samples_after + other.samples_after,
    )


def _text(numbers: Numbers, number: int) -> str:
    return "" if number == NONE else str(redacted(numbers.series(number)))


def _size(tally: Tally, size: int) -> tuple[int, int]:
    return int((tally.delivered[:size] > 0).sum()), int(tally.delivered[:size].sum())


def _metrics(before: Tally, after: Tally, numbers: Numbers) -> dict[str, tuple[int, int]]:
    counts: dict[str, list[int]] = {}
    for which, tally in enumerate((before, after)):
        for one in np.flatnonzero(tally.delivered[: len(numbers)]).tolist():
            counts.setdefault(numbers.series(one).name, [0, 0])[which] += 1
    return {name: (old, new) for name, (old, new) in sorted(counts.items())}
