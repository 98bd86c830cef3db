# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of number streams: deltas added up, cumulative values taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.streams.layout import FLAG_STALE, KNOWN, LAST, MILLISECOND, START, TIME, VALUE, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEEP = int(Verdict.KEEP)
_INITIAL = int(Verdict.INITIAL)
_RESET = int(Verdict.RESET)
_OLD = int(Verdict.OUT_OF_ORDER)
_OLDER_START = int(Verdict.OLDER_START)


@kernel
def accumulate(
    rows: NDArray[np.int64],
    slot_of: NDArray[np.int32],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    flags: NDArray[np.uint8],
    values: NDArray[np.float64],
    marks: NDArray[np.int64],
    sums: NDArray[np.float64],
    verdicts: NDArray[np.uint8],
    out_starts: NDArray[np.int64],
    out_values: NDArray[np.float64],
) -> None:
    """Add deltas to the totals of their slots.

    Args:
        rows: (k,) rows of the batch to add, ascending by time within a stream.
        slot_of: Slot by series id.
        series: (n,) ids of the batch.
        times: (n,) nanoseconds.
        starts: (n,) nanoseconds, 0 for unknown.
        flags: (n,) of `Flag`.
        values: (n,).
        marks: (slots, MARKS); changed.
        sums: (slots, SUMS); changed.
        verdicts: (k,) takes KEEP, OUT_OF_ORDER or OLDER_START.
        out_starts: (k,) takes the starts of the sums.
        out_values: (k,) takes the sums; of stale rows, the value as it is.
    """
    for i in range(len(rows)):
        row = rows[i]
        slot = slot_of[series[row]]
        verdicts[i] = _KEEP
        if flags[row] & FLAG_STALE:
            out_values[i] = values[row]
            out_starts[i] = marks[slot, START] if marks[slot, KNOWN] else starts[row]
            marks[slot, KNOWN] = 0
            continue
        if marks[slot, KNOWN] == 0:
            sums[slot, VALUE] = 0.0
            marks[slot, START] = starts[row]
            marks[slot, KNOWN] = 1
        elif starts[row] != 0 and starts[row] < marks[slot, START]:
            verdicts[i] = _OLDER_START
            continue
        elif times[row] <= marks[slot, TIME]:
            verdicts[i] = _OLD
            continue
        sums[slot, VALUE] += values[row]
        marks[slot, TIME] = times[row]
        out_values[i] = sums[slot, VALUE]
        out_starts[i] = marks[slot, START]


@kernel
def difference(
    rows: NDArray[np.int64],
    slot_of: NDArray[np.int32],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    flags: NDArray[np.uint8],
    values: NDArray[np.float64],
    keeps_reference: bool,
    marks: NDArray[np.int64],
    sums: NDArray[np.float64],
    verdicts: NDArray[np.uint8],
    out_starts: NDArray[np.int64],
    out_values: NDArray[np.float64],
) -> None:
    """Take the reference of a slot from cumulative values.

    The reference is the point before, or, where it is kept, the first point of the stream; after a reset it is 0.
    NaN that is no stale marker passes and changes nothing.

    Args:
        rows: (k,) rows of the batch, ascending by time within a stream.
        slot_of: Slot by series id.
        series: (n,) ids of the batch.
        times: (n,) nanoseconds.
        starts: (n,) nanoseconds, 0 for unknown.
        flags: (n,) of `Flag`.
        values: (n,).
        keeps_reference: Whether the reference is the first point instead of the point before.
        marks: (slots, MARKS); changed.
        sums: (slots, SUMS); changed.
        verdicts: (k,) takes KEEP, INITIAL, RESET or OUT_OF_ORDER.
        out_starts: (k,) takes the time of the reference; of initial rows, the start as it is.
        out_values: (k,) takes the differences; of initial, stale and, unless a reference is kept, reset rows, the
            value as it is.
    """
    for i in range(len(rows)):
        row = rows[i]
        slot = slot_of[series[row]]
        value = values[row]
        verdicts[i] = _KEEP
        out_values[i] = value
        out_starts[i] = starts[row]
        if flags[row] & FLAG_STALE:
            if marks[slot, KNOWN]:
                out_starts[i] = marks[slot, START]
            marks[slot, KNOWN] = 0
            continue
        if np.isnan(value):
            continue
        if marks[slot, KNOWN] == 0:
            verdicts[i] = _INITIAL
            marks[slot, KNOWN] = 1
            sums[slot, VALUE] = value
            marks[slot, START] = times[row]
        elif times[row] <= marks[slot, TIME]:
            verdicts[i] = _OLD
            continue
        elif value < sums[slot, LAST]:
            verdicts[i] = _RESET
            sums[slot, VALUE] = 0.0 if keeps_reference else value
            out_starts[i] = times[row] - MILLISECOND if keeps_reference else marks[slot, START]
            marks[slot, START] = out_starts[i] if keeps_reference else times[row]
        else:
            out_values[i] = value - sums[slot, VALUE]
            out_starts[i] = marks[slot, START]
            if not keeps_reference:
                sums[slot, VALUE] = value
                marks[slot, START] = times[row]
        sums[slot, LAST] = value
        marks[slot, TIME] = times[row]


@kernel
def starts_of(
    rows: NDArray[np.int64],
    slot_of: NDArray[np.int32],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    ends: NDArray[np.bool_],
    values: NDArray[np.float64],
    marks: NDArray[np.int64],
    sums: NDArray[np.float64],
    out_starts: NDArray[np.int64],
) -> None:
    """Say when each stream began: at its first point, and after a reset a millisecond before the point that shows it.

    Args:
        rows: (k,) rows of the batch, ascending by time within a stream.
        slot_of: Slot by series id.
        series: (n,) ids.
        times: (n,) nanoseconds.
        ends: (n,) whether the row marks the end of a stream.
        values: (n,) what never falls but at a reset: values of counters, counts of histograms.
        marks: (slots, MARKS); changed.
        sums: (slots, SUMS); changed.
        out_starts: (k,) takes the starts.
    """
    for i in range(len(rows)):
        row = rows[i]
        slot = slot_of[series[row]]
        if marks[slot, KNOWN] == 0:
            marks[slot, START] = times[row]
            marks[slot, TIME] = times[row]
            sums[slot, LAST] = values[row]
            marks[slot, KNOWN] = 1
        elif times[row] > marks[slot, TIME]:
            if values[row] < sums[slot, LAST]:
                marks[slot, START] = times[row] - MILLISECOND
            if not np.isnan(values[row]):
                sums[slot, LAST] = values[row]
            marks[slot, TIME] = times[row]
        # A late point from before a reset has a start that is not after it.
        out_starts[i] = min(marks[slot, START], times[row])
        if ends[row]:
            marks[slot, KNOWN] = 0
