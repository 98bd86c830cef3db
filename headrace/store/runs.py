"""Samples by ref, as sources give them, and how runs of several sources become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store import runs_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Runs(NamedTuple):
    """Samples of n refs, one run each; a run may be empty.

    Attributes:
        places: (n,) int64 first row of each run.
        counts: (n,) int64 rows of each run.
        times_ms: int64, ascending within a run.
        values: float64.
    """

    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class Samples(NamedTuple):
    """Samples of n refs without gaps.

    Attributes:
        offsets: (n + 1,) int64.
        times_ms: (offsets[-1],) int64, ascending and distinct within a ref.
        values: (offsets[-1],) float64.
    """

    offsets: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class SeriesSamples(NamedTuple):
    """Samples of n series, which may have their times in common.

    Attributes:
        places: (n,) int64 first value of each series.
        counts: (n,) int64 samples of each.
        time_places: (n,) int64 first time of each; several may name the same.
        times_ms: int64, ascending and distinct within a series; what nobody names is undefined.
        values: float64.
    """

    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    time_places: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def take(self, rows: NDArray[np.intp]) -> SeriesSamples:
        """Return the samples of some series."""
        places, counts, time_places = (column[rows] for column in self[:3])
        return SeriesSamples(places, counts, time_places, self.times_ms, self.values)

    def part(self, first: int, last: int) -> SeriesSamples:
        """Return the samples of series that lie side by side."""
        places, counts, time_places = (column[first:last] for column in self[:3])
        return SeriesSamples(places, counts, time_places, self.times_ms, self.values)

    @classmethod
    def joined(cls, parts: Sequence[SeriesSamples]) -> SeriesSamples:
        """Put the series of all parts one after the other."""
        starts = np.cumsum([0, *(len(part.values) for part in parts[:-1])])
        return cls(
            np.concatenate([part.places + start for part, start in zip(parts, starts, strict=True)]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.time_places + start for part, start in zip(parts, starts, strict=True)]),
            np.concatenate([part.times_ms for part in parts]),
            np.concatenate([part.values for part in parts]),
        )

    @classmethod
    def room(cls, counts: NDArray[np.int64]) -> SeriesSamples:
        """Return room for so many samples of each series, one after the other; none are there yet."""
        places = np.zeros(len(counts), np.int64)
        np.cumsum(counts[:-1], out=places[1:])
        total = int(counts.sum())
        return cls(places, np.zeros(len(counts), np.int64), places.copy(), np.empty(total, np.int64), np.empty(total))


def merge(sources: Sequence[Runs], n: int) -> Samples:
    """Put the runs of all sources together, ref by ref.

    Args:
        sources: Each with n runs. Where two have a sample of the same time, the first one's stands, but a value
            beats a stale marker.
        n: Number of refs.
    """
    total = sum((source.counts for source in sources), np.zeros(n, np.int64))
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(total, out=offsets[1:])
    times = np.empty(int(offsets[-1]), np.int64)
    values = np.empty(int(offsets[-1]), np.float64)
    filled = np.zeros(n, np.int64)
    for source in sources:
        kernels.copy_runs(*source, offsets, filled, times, values)
    if len(sources) < 2:
        return Samples(offsets, times, values)
    kernels.order_runs(offsets, filled, times, values)
    if (filled == total).all():
        return Samples(offsets, times, values)
    packed = np.zeros(n + 1, np.int64)
    np.cumsum(filled, out=packed[1:])
    out_times = np.empty(int(packed[-1]), np.int64)
    out_values = np.empty(int(packed[-1]), np.float64)
    kernels.copy_runs(offsets[:-1].copy(), filled, times, values, packed, np.zeros(n, np.int64), out_times, out_values)
    return Samples(packed, out_times, out_values)


def without_empty(refs: NDArray[np.int32], samples: Samples) -> tuple[NDArray[np.int32], Samples]:
    """Return the refs that have samples, and their samples."""
    counts = np.diff(samples.offsets)
    kept = counts > 0
    if kept.all():
        return refs, samples
    offsets = np.zeros(int(kept.sum()) + 1, np.int64)
    np.cumsum(counts[kept], out=offsets[1:])
    return refs[kept], samples._replace(offsets=offsets)
