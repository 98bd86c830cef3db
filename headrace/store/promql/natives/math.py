"""Arithmetic of native histograms: sums, differences, resets, equality; kernels do the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.promql.natives import math_kernels as kernels
from headrace.store.promql.natives.float_histograms import Columns, FloatHistograms

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Total(NamedTuple):
    """Where a kernel adds histograms up; places of numbers and state are in `native_total_kernels`.

    Attributes:
        numbers: (7,) float64.
        state: (8,) int64.
        indices: (2, room) int32 of the buckets, positive ones in the first row.
        counts: (2, room) float64.
        rests: (2, room) float64 what the counts lack of exact sums.
        bounds: (room,) float64 custom bounds.
    """

    numbers: NDArray[np.float64]
    state: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: NDArray[np.float64]
    rests: NDArray[np.float64]
    bounds: NDArray[np.float64]


class Sums(NamedTuple):
    """What came of k tasks.

    Attributes:
        histograms: The results.
        places: (k,) int64 rows of them, -1 where there is none.
        notes: (k,) uint8 of what is to be noted; see `native_math_kernels`.
        faults: (k,) int64 places of what did not fit, -1 for none.
    """

    histograms: FloatHistograms
    places: NDArray[np.int64]
    notes: NDArray[np.uint8]
    faults: NDArray[np.int64]


def total_for(*tables: FloatHistograms) -> Total:
    """Make a total that has room for any sum of rows."""
    indices = np.concatenate([table.indices for table in tables])
    bounds = max((int(np.diff(table.bound_starts).max(initial=0)) for table in tables), default=0)
    # Merged buckets lie between 0 and 1 or the indices that there are; there are never more than all of them.
    span = int(indices.max(initial=1)) - int(indices.min(initial=0)) + 1
    room = max(min(span, len(indices)), bounds) + 2
    return Total(
        np.zeros(7), np.zeros(8, np.int64), np.empty((2, room), np.int32), np.empty((2, room)), np.empty((2, room)),
        np.empty(room),
    )  # fmt: skip


def _columns(rows: int, buckets: int, bounds: int) -> Columns:
    """Make columns to write to."""
    return Columns(
        np.empty(rows, np.int8), np.empty(rows, np.uint8), np.empty(rows), np.empty(rows), np.empty(rows),
        np.empty(rows), np.zeros(rows + 1, np.int64), np.empty(rows, np.int32), np.empty(buckets, np.int32),
        np.empty(buckets), np.zeros(rows + 1, np.int64), np.empty(bounds),
    )  # fmt: skip


def _grown(out: Columns, ends: NDArray[np.int64], room: int) -> Columns:
    """Return the columns with twice the room, and at least so much more."""
    buckets, bounds = 2 * len(out.indices) + room, 2 * len(out.bounds) + room
    indices, counts, limits = np.empty(buckets, np.int32), np.empty(buckets), np.empty(bounds)
    indices[: ends[1]], counts[: ends[1]] = out.indices[: ends[1]], out.counts[: ends[1]]
    limits[: ends[2]] = out.bounds[: ends[2]]
    return out._replace(indices=indices, counts=counts, bounds=limits)


def _run(
    kernel: Callable[..., int], before: tuple[object, ...], tables: tuple[FloatHistograms, ...], tasks: int,
    *after: NDArray[np.int64],
) -> tuple[FloatHistograms, NDArray[np.int64], NDArray[np.uint8]]:  # fmt: skip
    """Run a kernel that writes histograms, with as much room as it takes."""
    total = total_for(*tables)
    rows = sum(len(table) for table in tables)
    mean = sum(len(table.indices) for table in tables) // max(rows, 1) + 1
    own = sum(len(table.bounds) for table in tables) // max(rows, 1) + 1
    out = _columns(tasks, tasks * (mean + mean // 2), tasks * own if any(len(table.bounds) for table in tables) else 0)
    ends, places, notes = np.zeros(3, np.int64), np.empty(tasks, np.int64), np.zeros(tasks, np.uint8)
    task = 0
    while task < tasks:
        task = kernel(*before, task, total, out, ends, places, notes, *after)
        if task < tasks:
            out = _grown(out, ends, total.indices.size)
    return _cut(out, ends), places, notes


def _cut(out: Columns, ends: NDArray[np.int64]) -> FloatHistograms:
    """Return what was written."""
    rows, buckets, bounds = ends.tolist()
    sizes = {"starts": rows + 1, "bound_starts": rows + 1, "indices": buckets, "counts": buckets, "bounds": bounds}
    return FloatHistograms(*(array[: sizes.get(name, rows)] for name, array in out._asdict().items()))


def folded(
    histograms: FloatHistograms, order: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64], *,
    mean: bool, whole: bool = False,
) -> Sums:  # fmt: skip
    """Add up, or average, rows ``order[first[i]:last[i]]`` for each i; if `whole`, buckets that are empty stay."""
    faults = np.full(len(first), -1, np.int64)
    before = (histograms.columns, order, first, last, mean, whole)
    return Sums(*_run(kernels.fold, before, (histograms,), len(first), faults), faults)


def combined(
    left: FloatHistograms, lefts: NDArray[np.int64], right: FloatHistograms, rights: NDArray[np.int64], sign: float
) -> Sums:
    """Add (k,) rows of `right`, -1 for none, to rows of `left`, or subtract them."""
    before = (left.columns, lefts, right.columns, rights, sign)
    return Sums(*_run(kernels.combine, before, (left, right), len(lefts)), np.full(len(lefts), -1, np.int64))


def changed(
    histograms: FloatHistograms,
    times_ms: NDArray[np.int64],
    starts_ms: NDArray[np.int64],
    resets: NDArray[np.bool_],
    windows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    range_ms: int,
    *,
    counter: bool,
    rate: bool,
) -> Sums:
    """Compute ``rate``, ``increase`` and ``delta``.

    Args:
        histograms: By series and time.
        times_ms: (n,) of them.
        starts_ms: (n,) when the counting of each began, 0 for unknown.
        resets: (n,) of them; see `resets_of`.
        windows: First rows, last rows and ends in milliseconds, (k,) each.
        range_ms: How long windows are.
        counter: Whether resets are made up for.
        rate: Whether to divide by the seconds of the window.
    """
    before = (histograms.columns, times_ms, starts_ms, resets, *windows, range_ms, counter, rate)
    return Sums(*_run(kernels.change, before, (histograms,), len(windows[0])), np.full(len(windows[0]), -1, np.int64))


def resets_of(
    histograms: FloatHistograms, rows: NDArray[np.int64], before: NDArray[np.int64]
) -> NDArray[np.bool_]:  # fmt: skip
    """Return (k,) whether a counter was reset between rows `before`, -1 for none, and `rows`."""
    out = np.empty(len(rows), np.bool_)
    kernels.find_resets(histograms.columns, rows, before, out)
    return out


def with_stored_hints(
    histograms: FloatHistograms, rows: NDArray[np.int64], before: NDArray[np.int64]
) -> FloatHistograms:  # fmt: skip
    """Return the histograms with the hints that storage gives (k,) `rows`; `before` are the rows stored before them."""
    found = np.empty(len(rows), np.uint8)
    kernels.find_hints(histograms.columns, rows, before, found)
    hint = histograms.hint.copy()
    hint[rows] = found
    return histograms.with_hints(hint)


def equal(
    left: FloatHistograms, lefts: NDArray[np.int64], right: FloatHistograms, rights: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return (k,) which pairs of rows are the same."""
    out = np.empty(len(lefts), np.bool_)
    kernels.compare(left.columns, lefts, right.columns, rights, out)
    return out
