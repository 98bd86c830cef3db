# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,no-untyped-call"
"""Kernel of histogram streams: cumulative ones taken apart. The arena is described in `bucket_shapes_kernels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.streams.bucket_shapes_kernels import absorb, same_bounds
from headrace.pipeline.streams.layout import (
    COUNT,
    EMPTY,
    FIRST,
    FLAG_STALE,
    FLAGS,
    KIND,
    KNOWN,
    LAST,
    MILLISECOND,
    NEGATIVE_OFFSET,
    NEGATIVE_SIZE,
    POSITIVE_OFFSET,
    POSITIVE_SIZE,
    ROOM,
    SCALE,
    START,
    SUM,
    TIME,
    ZERO_COUNT,
    ZERO_THRESHOLD,
    Verdict,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EXPLICIT = 0
_KEEP = int(Verdict.KEEP)
_INITIAL = int(Verdict.INITIAL)
_RESET = int(Verdict.RESET)
_MISMATCH = int(Verdict.MISMATCH)
_OLD = int(Verdict.OUT_OF_ORDER)


@kernel
def _store(
    slot: int, k: int, ints: NDArray[np.int64], floats: NDArray[np.float64], counts: NDArray[np.float64],
    bounds: NDArray[np.float64], marks: NDArray[np.int64], sums: NDArray[np.float64], data: NDArray[np.float64],
) -> None:  # fmt: skip
    """Make a row the reference of its slot, which has the room."""
    for c in (KIND, SCALE, POSITIVE_OFFSET, NEGATIVE_OFFSET, POSITIVE_SIZE, NEGATIVE_SIZE):
        marks[slot, c] = ints[k, c]
    for c in range(ZERO_THRESHOLD + 1):
        sums[slot, c] = floats[k, c]
    marks[slot, KNOWN] = 1
    marks[slot, START] = ints[k, TIME]
    first, begin = marks[slot, FIRST], ints[k, FIRST]
    p, n, half = ints[k, POSITIVE_SIZE], ints[k, NEGATIVE_SIZE], marks[slot, ROOM] // 2
    for j in range(p):
        data[first + j] = counts[begin + j]
        if ints[k, KIND] == _EXPLICIT:
            data[first + p + j] = bounds[begin + j]
    for j in range(n):
        data[first + half + j] = counts[begin + p + j]


@kernel
def _take_side(
    data: NDArray[np.float64], first: int, size: int, offset: int, shift: int,
    out: NDArray[np.float64], out_first: int, out_size: int, out_offset: int,
) -> bool:  # fmt: skip
    """Take a side of a reference from one of a row; return whether all of it was there."""
    for j in range(size):
        if data[first + j] != 0:
            place = ((offset + j) >> shift) - out_offset
            if place < 0 or place >= out_size:
                return False
            out[out_first + place] -= data[first + j]
    for j in range(out_size):
        if out[out_first + j] < 0:
            return False
    return True


@kernel
def _take_exponential(
    slot: int, k: int, ints: NDArray[np.int64], floats: NDArray[np.float64], marks: NDArray[np.int64],
    sums: NDArray[np.float64], data: NDArray[np.float64], scratch: NDArray[np.float64], moved: NDArray[np.float64],
) -> bool:  # fmt: skip
    """Take the reference from the row whose buckets stand in `scratch`; return whether all of it was there."""
    own, shift = marks[slot, SCALE], marks[slot, SCALE] - ints[k, SCALE]
    if shift < 0 or floats[k, ZERO_THRESHOLD] < sums[slot, ZERO_THRESHOLD]:
        return False
    first, half = marks[slot, FIRST], marks[slot, ROOM] // 2
    p, n = ints[k, POSITIVE_SIZE], ints[k, NEGATIVE_SIZE]
    own_p, own_n = marks[slot, POSITIVE_SIZE], marks[slot, NEGATIVE_SIZE]
    if floats[k, ZERO_THRESHOLD] > sums[slot, ZERO_THRESHOLD]:
        moved[0] = 0.0
        moved[1] = floats[k, ZERO_THRESHOLD]
        absorb(data, first, own_p, marks[slot, POSITIVE_OFFSET], own, moved)
        absorb(data, first + half, own_n, marks[slot, NEGATIVE_OFFSET], own, moved)
        sums[slot, ZERO_COUNT] += moved[0]
        sums[slot, ZERO_THRESHOLD] = floats[k, ZERO_THRESHOLD]
    if floats[k, ZERO_COUNT] < sums[slot, ZERO_COUNT]:
        return False
    ok = _take_side(data, first, own_p, marks[slot, POSITIVE_OFFSET], shift, scratch, 0, p, ints[k, POSITIVE_OFFSET])
    return ok and _take_side(
        data, first + half, own_n, marks[slot, NEGATIVE_OFFSET], shift, scratch, p, n, ints[k, NEGATIVE_OFFSET]
    )


@kernel
def _take(
    slot: int, k: int, ints: NDArray[np.int64], floats: NDArray[np.float64], counts: NDArray[np.float64],
    bounds: NDArray[np.float64], marks: NDArray[np.int64], sums: NDArray[np.float64], data: NDArray[np.float64],
    scratch: NDArray[np.float64], moved: NDArray[np.float64],
) -> int:  # fmt: skip
    """Leave the buckets of a row without its reference's in `scratch`; return KEEP, RESET or MISMATCH."""
    p = ints[k, POSITIVE_SIZE]
    for j in range(p + ints[k, NEGATIVE_SIZE]):
        scratch[j] = counts[ints[k, FIRST] + j]
    if floats[k, COUNT] < sums[slot, LAST]:
        return _RESET
    if marks[slot, KNOWN] == EMPTY:
        return _KEEP
    if marks[slot, KIND] != ints[k, KIND]:
        return _MISMATCH
    if ints[k, KIND] == _EXPLICIT:
        if not same_bounds(slot, k, ints, bounds, marks, data):
            return _MISMATCH
        for j in range(p):
            scratch[j] -= data[marks[slot, FIRST] + j]
            if scratch[j] < 0:
                return _RESET
        return _KEEP
    return _KEEP if _take_exponential(slot, k, ints, floats, marks, sums, data, scratch, moved) else _RESET


@kernel
def difference(
    slots: NDArray[np.int32],
    ints: NDArray[np.int64],
    floats: NDArray[np.float64],
    counts: NDArray[np.float64],
    bounds: NDArray[np.float64],
    keeps_reference: bool,
    marks: NDArray[np.int64],
    sums: NDArray[np.float64],
    data: NDArray[np.float64],
    scratch: NDArray[np.float64],
    moved: NDArray[np.float64],
    verdicts: NDArray[np.uint8],
) -> None:
    """Take the reference of a slot from cumulative histograms, in place.

    The reference is the point before, or, where it is kept, the first point of the stream; after a reset it is
    nothing.

    Args:
        slots: (k,) of the rows, which are in ascending order of time within a stream; each has room for its rows.
        ints: (k, MARKS) of the rows; START is changed.
        floats: (k, SUMS) of the rows; COUNT, SUM and ZERO_COUNT are changed.
        counts: Counts of the rows; changed.
        bounds: Bounds of the rows.
        keeps_reference: Whether the reference is the first point instead of the point before.
        marks: (slots, MARKS); changed.
        sums: (slots, SUMS); changed.
        data: Arena of the slots' buckets; changed.
        scratch: At least the buckets of the largest row.
        moved: (3,) for the kernel.
        verdicts: (k,) takes KEEP, INITIAL, RESET, MISMATCH or OUT_OF_ORDER; rows that are not KEEP are as they were,
            save their starts.
    """
    for k in range(len(slots)):
        slot = slots[k]
        verdicts[k] = _KEEP
        if ints[k, FLAGS] & FLAG_STALE:
            if marks[slot, KNOWN]:
                ints[k, START] = marks[slot, START]
            marks[slot, KNOWN] = 0
            continue
        count = floats[k, COUNT]
        time = ints[k, TIME]
        if marks[slot, KNOWN] == 0:
            verdicts[k] = _INITIAL
            _store(slot, k, ints, floats, counts, bounds, marks, sums, data)
        elif time <= marks[slot, TIME]:
            verdicts[k] = _OLD
            continue
        else:
            verdict = _take(slot, k, ints, floats, counts, bounds, marks, sums, data, scratch, moved)
            verdicts[k] = verdict
            empty = marks[slot, KNOWN] == EMPTY
            taken, zero = 0.0 if empty else sums[slot, SUM], 0.0 if empty else sums[slot, ZERO_COUNT]
            before = 0.0 if empty else sums[slot, COUNT]
            ints[k, START] = marks[slot, START]
            if not keeps_reference:
                _store(slot, k, ints, floats, counts, bounds, marks, sums, data)
            elif verdict != _KEEP:
                marks[slot, KNOWN] = EMPTY
                marks[slot, START] = time - MILLISECOND
                ints[k, START] = marks[slot, START]
            if verdict == _KEEP:
                floats[k, COUNT] -= before
                floats[k, SUM] -= taken
                floats[k, ZERO_COUNT] -= zero
                for j in range(ints[k, POSITIVE_SIZE] + ints[k, NEGATIVE_SIZE]):
                    counts[ints[k, FIRST] + j] = scratch[j]
        sums[slot, LAST] = count
        marks[slot, TIME] = time
