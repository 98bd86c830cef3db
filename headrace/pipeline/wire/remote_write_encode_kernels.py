# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write remote write requests of version 1.0.

Rows come sorted by series; the encoded labels of each series lie in an arena.

Source:
    Prometheus Remote-Write specification 1.0, ``prompb/types.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import kernel

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
        out[p : p + size] = arena[at : at + size]
        p += size
        for i in range(starts[g], starts[g + 1]):
            out[p] = _SAMPLE_TAG
            out[p + 1] = np.uint8(10 + varint_size(np.uint64(times[i])))
            out[p + 2] = _VALUE_TAG
            bits = np.uint64(float_bits(values[i]))
            for k in range(8):
                out[p + 3 + k] = np.uint8((bits >> np.uint64(8 * k)) & np.uint64(255))
            out[p + 11] = _TIME_TAG
            p = put_varint(out, p + 12, np.uint64(times[i]))
    return p
