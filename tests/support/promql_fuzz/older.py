"""What the peer, an older Prometheus, computes otherwise: to tell a change from a fault, ours does so, too."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.store.promql.natives import windows as native_windows
from headrace.store.promql.natives.math import Sums, changed, resets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.store.promql.natives.float_histograms import FloatHistograms


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """Let rates of histograms be extrapolated below zero, and other custom bounds be a reset."""
    native_windows.changed, native_windows.resets_of = _unlimited, _resets_of  # type: ignore[attr-defined]
    try:
        yield
    finally:
        native_windows.changed, native_windows.resets_of = changed, resets_of  # type: ignore[attr-defined]


def _resets_of(
    histograms: FloatHistograms, rows: NDArray[np.int64], before: NDArray[np.int64]
) -> NDArray[np.bool_]:  # fmt: skip
    """Do what `resets_of` does, and take other custom bounds for a reset."""
    found = resets_of(histograms, rows, before)
    for i in np.flatnonzero(before >= 0).tolist():
        one, other = (
            histograms.bounds[histograms.bound_starts[row] : histograms.bound_starts[row + 1]]
            for row in (rows[i], before[i])
        )
        found[i] |= not np.array_equal(one, other)
    return found


def _unlimited(
    histograms: FloatHistograms,
    times_ms: NDArray[np.int64],
    starts_ms: NDArray[np.int64],
    resets: NDArray[np.bool_],
    windows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    range_ms: int,
    **options: bool,
) -> Sums:
    """Do what `changed` does, and take the limit back out of its results."""
    found = changed(histograms, times_ms, starts_ms, resets, windows, range_ms, **options)
    there = found.places >= 0
    if not options["counter"] or not there.any():
        return found
    first, last, until = (rows[there] for rows in windows)
    grown = found.histograms.count[found.places[there]] * (range_ms / 1000.0 if options["rate"] else 1.0)
    times = times_ms[first], times_ms[last], until
    factors = np.ones(len(found.histograms))
    factors[found.places[there]] = _factors(grown, histograms.count[first], times, last - first, range_ms)
    return found._replace(histograms=found.histograms.scaled(factors))


def _factors(
    grown: NDArray[np.float64],
    start: NDArray[np.float64],
    times: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    gaps: NDArray[np.int64],
    range_ms: int,
) -> Any:
    """Return by what limited results are multiplied; 1 for the others."""
    first, last, until = times
    sampled = (last - first) / 1000.0
    gap = sampled / gaps
    to_start, to_end = (
        np.where(space >= 1.1 * gap, gap / 2.0, space)
        for space in ((first - (until - range_ms)) / 1000.0, (until - last) / 1000.0)
    )
    growth = (grown - start) * sampled / (sampled + to_end)
    limited = (growth > 0) & (start >= 0) & (start * sampled < to_start * growth)
    whole = growth * (sampled + to_start + to_end) / sampled
    return np.where(limited, whole / np.where(limited, grown, 1.0), 1.0)
