# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,no-untyped-call"
"""Kernel of histogram streams: deltas merged. The arena is described in `bucket_shapes_kernels`.

Source:
    OpenTelemetry metrics data model, "ExponentialHistogram" (perfect subsetting, zero count and zero threshold).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.streams.bucket_shapes_kernels import absorb, same_bounds
from headrace.pipeline.streams.layout import (
    COUNT,
    FIRST,
    FLAG_STALE,
    FLAGS,
    KIND,
    KNOWN,
    MAXIMUM,
    MINIMUM,
    NEGATIVE_OFFSET,
    NEGATIVE_SIZE,
    POSITIVE_OFFSET,
    POSITIVE_SIZE,
    ROOM,
    SCALE,
    START,
    SUM,
    SUMS,
    TIME,
    ZERO_COUNT,
    ZERO_THRESHOLD,
    Verdict,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BUCKETS = 160
"""Most buckets of a side of a merged exponential histogram, as SDKs have it; beyond, the scale is lowered."""

DONE = 0
NEEDS_ROOM = 1
"""The slot of the row has less room than ``status[2]``."""

NEEDS_OUTPUT = 2
"""The output holds fewer buckets than it takes."""

_EXPLICIT = 0
_KEEP = int(Verdict.KEEP)
_OLD = int(Verdict.OUT_OF_ORDER)
_OLDER_START = int(Verdict.OLDER_START)


@kernel
def _extent(side: NDArray[np.float64], first: int, size: int, offset: int, shift: int, span: NDArray[np.int64]) -> None:
    """Widen ``span[0]:span[1] + 1`` by the indexes, coarser by `shift`, that have counts."""
    for j in range(size):
        if side[first + j] != 0:
            index = (offset + j) >> shift
            span[0] = min(span[0], index)
            span[1] = max(span[1], index)


@kernel
def _add(
    side: NDArray[np.float64], first: int, size: int, offset: int, shift: int,
    out: NDArray[np.float64], out_first: int, out_offset: int,
) -> None:  # fmt: skip
    """Add the counts of a side to a coarser one that reaches as far."""
    for j in range(size):
        if side[first + j] != 0:
            out[out_first + ((offset + j) >> shift) - out_offset] += side[first + j]


@kernel
def _least(a: float, b: float) -> float:
    """Return the smaller one; NaN, for unknown, where either is."""
    return a if a < b or np.isnan(a) else b


@kernel
def _greatest(a: float, b: float) -> float:
    """Return the larger one; NaN, for unknown, where either is."""
    return a if a > b or np.isnan(a) else b


@kernel
def _begin(slot: int, k: int, ints: NDArray[np.int64], marks: NDArray[np.int64], sums: NDArray[np.float64],
           floats: NDArray[np.float64]) -> None:  # fmt: skip
    """Give a slot the shape of a row and nothing in it."""
    for c in (START, KIND, SCALE, POSITIVE_OFFSET, NEGATIVE_OFFSET):
        marks[slot, c] = ints[k, c]
    marks[slot, POSITIVE_SIZE] = 0
    marks[slot, NEGATIVE_SIZE] = 0
    sums[slot, COUNT] = 0.0
    sums[slot, SUM] = 0.0
    sums[slot, ZERO_COUNT] = 0.0
    sums[slot, MINIMUM] = floats[k, MINIMUM]
    sums[slot, MAXIMUM] = floats[k, MAXIMUM]
    sums[slot, ZERO_THRESHOLD] = floats[k, ZERO_THRESHOLD]


@kernel
def _merge_explicit(
    slot: int, k: int, ints: NDArray[np.int64], floats: NDArray[np.float64], counts: NDArray[np.float64],
    bounds: NDArray[np.float64], marks: NDArray[np.int64], sums: NDArray[np.float64], data: NDArray[np.float64],
) -> int:  # fmt: skip
    """Add a row to its slot, which begins anew where the buckets differ; return the room needed where it lacks."""
    n = ints[k, POSITIVE_SIZE]
    first, begin = marks[slot, FIRST], ints[k, FIRST]
    if marks[slot, KNOWN] == 0 or not same_bounds(slot, k, ints, bounds, marks, data):
        if marks[slot, ROOM] < 2 * n:
            return 2 * n
        _begin(slot, k, ints, marks, sums, floats)
        marks[slot, POSITIVE_SIZE] = n
        for j in range(n):
            data[first + j] = 0.0
            data[first + n + j] = bounds[begin + j]
    for j in range(n):
        data[first + j] += counts[begin + j]
    return 0


@kernel
def _merge_exponential(
    slot: int, k: int, ints: NDArray[np.int64], floats: NDArray[np.float64], counts: NDArray[np.float64],
    marks: NDArray[np.int64], sums: NDArray[np.float64], data: NDArray[np.float64], scratch: NDArray[np.float64],
    moved: NDArray[np.float64], spans: NDArray[np.int64],
) -> int:  # fmt: skip
    """Add a row to its slot at a scale that fits both; return the room needed where it lacks.

    Called again, with room, it does the same: of the slot only the zero bucket has changed. ``moved[2]`` takes what of
    the row belongs to the zero bucket.
    """
    if marks[slot, KNOWN] == 0 or marks[slot, KIND] != ints[k, KIND]:
        marks[slot, KNOWN] = 0
        _begin(slot, k, ints, marks, sums, floats)
    p, n, begin = ints[k, POSITIVE_SIZE], ints[k, NEGATIVE_SIZE], ints[k, FIRST]
    for j in range(p + n):
        scratch[j] = counts[begin + j]
    first, half = marks[slot, FIRST], marks[slot, ROOM] // 2
    own_p, own_n, own = marks[slot, POSITIVE_SIZE], marks[slot, NEGATIVE_SIZE], marks[slot, SCALE]
    scale = ints[k, SCALE]
    moved[0] = 0.0
    moved[2] = 0.0
    moved[1] = max(sums[slot, ZERO_THRESHOLD], floats[k, ZERO_THRESHOLD])
    before = -1.0
    while moved[1] != before:  # A threshold that one side raises may reach further into the other.
        before = moved[1]
        absorb(data, first, own_p, marks[slot, POSITIVE_OFFSET], own, moved)
        absorb(data, first + half, own_n, marks[slot, NEGATIVE_OFFSET], own, moved)
        sums[slot, ZERO_COUNT] += moved[0]
        moved[0] = 0.0
        absorb(scratch, 0, p, ints[k, POSITIVE_OFFSET], scale, moved)
        absorb(scratch, p, n, ints[k, NEGATIVE_OFFSET], scale, moved)
        moved[2] += moved[0]
        moved[0] = 0.0
    sums[slot, ZERO_THRESHOLD] = moved[1]
    return _join_sides(slot, k, ints, marks, data, scratch, spans)


@kernel
def _join_sides(
    slot: int, k: int, ints: NDArray[np.int64], marks: NDArray[np.int64], data: NDArray[np.float64],
    scratch: NDArray[np.float64], spans: NDArray[np.int64],
) -> int:  # fmt: skip
    """Add the sides of a row, which stand in `scratch`, to those of its slot; return the room needed where it lacks."""
    p, n = ints[k, POSITIVE_SIZE], ints[k, NEGATIVE_SIZE]
    first, half = marks[slot, FIRST], marks[slot, ROOM] // 2
    own_p, own_n, own = marks[slot, POSITIVE_SIZE], marks[slot, NEGATIVE_SIZE], marks[slot, SCALE]
    own_po, own_no = marks[slot, POSITIVE_OFFSET], marks[slot, NEGATIVE_OFFSET]
    scale = min(own, ints[k, SCALE])
    while True:
        for side in range(2):
            spans[2 * side] = 1 << 40
            spans[2 * side + 1] = -(1 << 40)
        _extent(data, first, own_p, own_po, own - scale, spans[0:2])
        _extent(data, first + half, own_n, own_no, own - scale, spans[2:4])
        _extent(scratch, 0, p, ints[k, POSITIVE_OFFSET], ints[k, SCALE] - scale, spans[0:2])
        _extent(scratch, p, n, ints[k, NEGATIVE_OFFSET], ints[k, SCALE] - scale, spans[2:4])
        size_p, size_n = max(0, spans[1] - spans[0] + 1), max(0, spans[3] - spans[2] + 1)
        if max(size_p, size_n) <= MAX_BUCKETS:
            break
        scale -= 1
    if half < max(size_p, size_n):
        return 2 * max(size_p, size_n)
    at = p + n
    for j in range(size_p + size_n):
        scratch[at + j] = 0.0
    _add(data, first, own_p, own_po, own - scale, scratch, at, spans[0])
    _add(data, first + half, own_n, own_no, own - scale, scratch, at + size_p, spans[2])
    _add(scratch, 0, p, ints[k, POSITIVE_OFFSET], ints[k, SCALE] - scale, scratch, at, spans[0])
    _add(scratch, p, n, ints[k, NEGATIVE_OFFSET], ints[k, SCALE] - scale, scratch, at + size_p, spans[2])
    for j in range(size_p):
        data[first + j] = scratch[at + j]
    for j in range(size_n):
        data[first + half + j] = scratch[at + size_p + j]
    marks[slot, SCALE] = scale
    marks[slot, POSITIVE_OFFSET] = spans[0] if size_p else 0
    marks[slot, NEGATIVE_OFFSET] = spans[2] if size_n else 0
    marks[slot, POSITIVE_SIZE] = size_p
    marks[slot, NEGATIVE_SIZE] = size_n
    return 0


@kernel
def _emit(
    slot: int, at: int, marks: NDArray[np.int64], sums: NDArray[np.float64], data: NDArray[np.float64],
    out_ints: NDArray[np.int64], out_floats: NDArray[np.float64], out_counts: NDArray[np.float64],
    out_bounds: NDArray[np.float64], status: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write what a slot holds as row `at` of the output."""
    for c in (START, SCALE, POSITIVE_OFFSET, NEGATIVE_OFFSET, POSITIVE_SIZE, NEGATIVE_SIZE):
        out_ints[at, c] = marks[slot, c]
    for c in range(ZERO_THRESHOLD + 1):
        out_floats[at, c] = sums[slot, c]
    used = status[1]
    out_ints[at, FIRST] = used
    first, p, n = marks[slot, FIRST], marks[slot, POSITIVE_SIZE], marks[slot, NEGATIVE_SIZE]
    explicit = marks[slot, KIND] == _EXPLICIT
    for j in range(p):
        out_counts[used + j] = data[first + j]
        out_bounds[used + j] = data[first + p + j] if explicit else 0.0
    half = marks[slot, ROOM] // 2
    for j in range(n):
        out_counts[used + p + j] = data[first + half + j]
        out_bounds[used + p + j] = 0.0
    status[1] = used + p + n


@kernel
def accumulate(
    slots: NDArray[np.int32],
    ints: NDArray[np.int64],
    floats: NDArray[np.float64],
    counts: NDArray[np.float64],
    bounds: NDArray[np.float64],
    marks: NDArray[np.int64],
    sums: NDArray[np.float64],
    data: NDArray[np.float64],
    scratch: NDArray[np.float64],
    moved: NDArray[np.float64],
    spans: NDArray[np.int64],
    verdicts: NDArray[np.uint8],
    out_ints: NDArray[np.int64],
    out_floats: NDArray[np.float64],
    out_counts: NDArray[np.float64],
    out_bounds: NDArray[np.float64],
    status: NDArray[np.int64],
) -> int:
    """Merge delta histograms into their slots and write the sums.

    Args:
        slots: (k,) of the rows, which are in ascending order of time within a stream.
        ints: (k, MARKS) of the rows.
        floats: (k, SUMS) of the rows.
        counts: Counts of the rows.
        bounds: Bounds of the rows.
        marks: (slots, MARKS); changed.
        sums: (slots, SUMS); changed.
        data: Arena of the slots' buckets; changed.
        scratch: At least twice the buckets of the largest row, and four times MAX_BUCKETS.
        moved: (3,) for the kernel.
        spans: (4,) for the kernel.
        verdicts: (k,) takes KEEP, OUT_OF_ORDER or OLDER_START.
        out_ints: (k, MARKS) takes the sums, of stale rows what they are.
        out_floats: (k, SUMS) likewise.
        out_counts: Takes the counts.
        out_bounds: Takes the bounds.
        status: (3,) next row, buckets written, room needed; the kernel goes on from there.

    Returns:
        DONE, NEEDS_ROOM or NEEDS_OUTPUT.
    """
    for k in range(status[0], len(slots)):
        status[0] = k
        slot = slots[k]
        known = marks[slot, KNOWN] != 0
        verdicts[k] = _KEEP
        if ints[k, FLAGS] & FLAG_STALE:
            if known:
                ints[k, START] = marks[slot, START]
            for c in range(FIRST + 1):
                out_ints[k, c] = ints[k, c]
            for c in range(SUMS):
                out_floats[k, c] = floats[k, c]
            out_ints[k, POSITIVE_SIZE] = 0
            out_ints[k, NEGATIVE_SIZE] = 0
            marks[slot, KNOWN] = 0
            continue
        if known and ints[k, START] != 0 and ints[k, START] < marks[slot, START]:
            verdicts[k] = _OLDER_START
            continue
        if known and ints[k, TIME] <= marks[slot, TIME]:
            verdicts[k] = _OLD
            continue
        if status[1] + max(2 * MAX_BUCKETS, ints[k, POSITIVE_SIZE]) > len(out_counts):
            return NEEDS_OUTPUT
        moved[2] = 0.0
        if ints[k, KIND] == _EXPLICIT:
            need = _merge_explicit(slot, k, ints, floats, counts, bounds, marks, sums, data)
        else:
            need = _merge_exponential(slot, k, ints, floats, counts, marks, sums, data, scratch, moved, spans)
        if need:
            status[2] = need
            return NEEDS_ROOM
        sums[slot, COUNT] += floats[k, COUNT]
        sums[slot, SUM] += floats[k, SUM]
        sums[slot, ZERO_COUNT] += floats[k, ZERO_COUNT] + moved[2]
        sums[slot, MINIMUM] = _least(sums[slot, MINIMUM], floats[k, MINIMUM])
        sums[slot, MAXIMUM] = _greatest(sums[slot, MAXIMUM], floats[k, MAXIMUM])
        marks[slot, KNOWN] = 1
        marks[slot, TIME] = ints[k, TIME]
        _emit(slot, k, marks, sums, data, out_ints, out_floats, out_counts, out_bounds, status)
    status[0] = len(slots)
    return DONE
