"""What the peer, an older Prometheus, computes otherwise: to tell a change from a fault, ours does so, too."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.store.promql import aggregate_kernels
from headrace.store.promql.natives import quantile_kernels
from headrace.store.promql.natives import windows as native_windows
from headrace.store.promql.natives.math import Sums, changed, resets_of
from headrace.store.promql.natives.total_kernels import CUSTOM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.store.promql.natives.float_histograms import Columns, FloatHistograms


@contextlib.contextmanager
def rates_as_before() -> Iterator[None]:
    """Let rates of histograms be extrapolated below zero, and other custom bounds be a reset."""
    native_windows.changed, native_windows.resets_of = _unlimited, _resets_of  # type: ignore[attr-defined]
    try:
        yield
    finally:
        native_windows.changed, native_windows.resets_of = changed, resets_of  # type: ignore[attr-defined]


@contextlib.contextmanager
def fractions_as_before() -> Iterator[None]:
    """Let the first bucket of a classic histogram begin nowhere, so that nothing within it is known."""
    saved = aggregate_kernels.bucket_fractions, quantile_kernels.fractions
    aggregate_kernels.bucket_fractions = _bucket_fractions
    quantile_kernels.fractions = _custom_fractions
    try:
        yield
    finally:
        aggregate_kernels.bucket_fractions, quantile_kernels.fractions = saved


_kernel_of_fractions = quantile_kernels.fractions


def _custom_fractions(
    table: Columns,
    rows: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    out: NDArray[np.float64],
    notes: NDArray[np.uint8],
) -> None:
    """Do what the kernel of this name does."""
    _kernel_of_fractions(table, rows, low, high, out, notes)
    for i, row in enumerate(rows.tolist()):
        first = table.starts[row]
        if table.schema[row] != CUSTOM or first == table.starts[row + 1] or table.indices[first] != 0:
            continue
        bounds = table.bounds[table.bound_starts[row] : table.bound_starts[row + 1]]
        end = bounds[0] if len(bounds) else np.inf
        if low[i] < high[i] and (-np.inf < low[i] < end or -np.inf < high[i] < end):
            out[i] = np.nan


def _bucket_fractions(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    bounds: NDArray[np.float64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Do what the kernel of this name does."""
    for histogram in range(len(starts) - 1):
        members = rows[starts[histogram] : starts[histogram + 1]]
        for t in range(values.shape[1]):
            here = members[present[members, t]]
            if len(here):
                bound, which = np.unique(bounds[here], return_inverse=True)
                count = np.bincount(which, values[here, t]).astype(np.float64)
                out[histogram, t] = _fraction(lower[t], upper[t], bound, count)
                there[histogram, t] = True


def _fraction(lower: float, upper: float, bound: NDArray[np.float64], count: NDArray[np.float64]) -> float:
    if not np.isposinf(bound[-1]) or count[-1] == 0 or np.isnan(lower) or np.isnan(upper):
        return np.nan
    if lower >= upper:
        return 0.0
    low, high = (_rank(x, bound, count) for x in (lower, upper))
    return float((high - low) / count[-1])


def _rank(x: float, bound: NDArray[np.float64], count: NDArray[np.float64]) -> float:
    start, rank, most = -np.inf, 0.0, float(count[-1])
    for end, below in zip(bound.tolist(), count.tolist(), strict=True):
        if start >= x:
            break
        if end > x:
            with np.errstate(invalid="ignore"):
                share = float((np.float64(x) - start) / (np.float64(end) - start))
            rank += (below - rank) * share
            break
        start, rank = end, below
    return min(rank, most)


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
