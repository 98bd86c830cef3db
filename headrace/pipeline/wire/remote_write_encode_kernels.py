# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write remote write requests of version 1.0.

Rows come series by series; the encoded labels of each series lie in an arena.

Source:
    Prometheus Remote-Write specification 1.0, ``prompb/types.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits, load_u64, store_u64
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SERIES_TAG = 10
_SAMPLE_TAG = 18
_VALUE_TAG = 9
_TIME_TAG = 16


@kernel
def varint_size(value: np.uint64) -> int:
    """Return the bytes that a varint takes."""
    size = 1
    while value >= np.uint64(128):
        value >>= np.uint64(7)
        size += 1
    return size


@kernel
def put_varint(out: NDArray[np.uint8], p: int, value: np.uint64) -> int:
    """Write a varint; return the position after it."""
    while value >= np.uint64(128):
        out[p] = np.uint8((value & np.uint64(127)) | np.uint64(128))
        value >>= np.uint64(7)
        p += 1
    out[p] = np.uint8(value)
    return p + 1


@kernel
def put_bytes(source: NDArray[np.uint8], at: int, size: int, out: NDArray[np.uint8], p: int) -> int:
    """Copy ``source[at:at + size]`` to `p`, and nothing beside; return the position after it."""
    end = p + size
    while p + 8 <= end:
        store_u64(out, p, load_u64(source, at))
        p += 8
        at += 8
    while p < end:
        out[p] = source[at]
        p += 1
        at += 1
    return end


@kernel
def group(
    series: NDArray[np.int32],
    slots: NDArray[np.int32],
    groups: NDArray[np.int32],
    starts: NDArray[np.int64],
    order: NDArray[np.int64],
) -> int:
    """Bring rows together by series, in the order of the first row of each; rows of a series keep theirs.

    Args:
        series: (n,) ids.
        slots: By id, all -1; left so.
        groups: (n,) takes the group of each row.
        starts: (n + 1,) takes the first place of each group, and the end.
        order: (n,) takes the row of each place.

    Returns:
        Number of groups.
    """
    n = len(series)
    amount = 0
    for i in range(n):
        g = slots[series[i]]
        if g < 0:
            g = np.int32(amount)
            slots[series[i]] = g
            starts[amount + 1] = 0
            amount += 1
        groups[i] = g
        starts[g + 1] += 1
    for i in range(n):
        slots[series[i]] = -1
    starts[0] = 0
    for g in range(amount):
        starts[g + 1] += starts[g]
    # The place after the last of each group, then backwards.
    for i in range(n - 1, -1, -1):
        g = groups[i]
        starts[g + 1] -= 1
        order[starts[g + 1]] = i
    for g in range(amount):
        starts[g] = starts[g + 1]
    starts[amount] = n
    return amount


@kernel
def sizes(
    starts: NDArray[np.int64],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    label_sizes: NDArray[np.int32],
    bodies: NDArray[np.int64],
    totals: NDArray[np.int64],
) -> None:
    """Compute the size of each series' message.

    Args:
        starts: (g + 1,) first row of each series.
        series: (n,) ids, equal within a series.
        times: (n,) milliseconds.
        label_sizes: Bytes of the encoded labels by id.
        bodies: (g,) takes the sizes without tag and length.
        totals: (g,) takes the sizes with them.
    """
    for g in range(len(starts) - 1):
        size = np.int64(label_sizes[series[starts[g]]])
        for i in range(starts[g], starts[g + 1]):
            size += 2 + 9 + 1 + varint_size(np.uint64(times[i]))
        bodies[g] = size
        totals[g] = 1 + varint_size(np.uint64(size)) + size


@kernel
def write(
    starts: NDArray[np.int64],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    places: NDArray[np.int64],
    label_sizes: NDArray[np.int32],
    arena: NDArray[np.uint8],
    bodies: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Write the series of `starts`; return the bytes written.

    Args:
        starts: (g + 1,) first row of each series.
        series: (n,) ids.
        times: (n,) milliseconds.
        values: (n,).
        places: Offset of the encoded labels in `arena`, by id.
        label_sizes: Their bytes, by id.
        arena: Encoded labels.
        bodies: (g,) sizes that `sizes` computed.
        out: Large enough.
    """
    p = 0
    for g in range(len(starts) - 1):
        out[p] = _SERIES_TAG
        p = put_varint(out, p + 1, np.uint64(bodies[g]))
        owner = series[starts[g]]
        at = places[owner]
        size = label_sizes[owner]
        p = put_bytes(arena, at, size, out, p)
        for i in range(starts[g], starts[g + 1]):
            out[p] = _SAMPLE_TAG
            out[p + 1] = np.uint8(10 + varint_size(np.uint64(times[i])))
            out[p + 2] = _VALUE_TAG
            store_u64(out, p + 3, float_bits(values[i]))
            out[p + 11] = _TIME_TAG
            p = put_varint(out, p + 12, np.uint64(times[i]))
    return p
