# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that turn histogram and summary points into points of derived series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, float_bits
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STALE = np.uint64(0x7FF0000000000002)
_FLAG_STALE = 2
_SUMMARY = 2

NO_BLOCK = -1


@kernel
def find_missing(
    series: NDArray[np.int32],
    starts: NDArray[np.int64],
    bounds: NDArray[np.float64],
    block: NDArray[np.int32],
    block_start: NDArray[np.int64],
    block_bounds: NDArray[np.float64],
    block_size: NDArray[np.int32],
    out: NDArray[np.int64],
) -> int:
    """Find the rows whose derived series are not known for their bounds.

    Args:
        series: (h,) int32 ids of histograms.
        starts: (h + 1,) int64 of the rows' bounds.
        bounds: float64.
        block: (capacity,) int32 number of the block of derived series by id, NO_BLOCK for none.
        block_start: (blocks,) int64 place of a block's bounds.
        block_bounds: float64 bounds of all blocks.
        block_size: (blocks,) int32 number of bounds.
        out: (h,) int64 rows found.

    Returns:
        How many.
    """
    n = 0
    for i in range(len(series)):
        number = block[series[i]]
        size = starts[i + 1] - starts[i]
        known = number != NO_BLOCK and block_size[number] == size
        if known:
            for j in range(size):
                if float_bits(block_bounds[block_start[number] + j]) != float_bits(bounds[starts[i] + j]):
                    known = False
                    break
        if not known:
            out[n] = i
            n += 1
    return n


@kernel
def expand(
    series: NDArray[np.int32],
    kind: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    count: NDArray[np.float64],
    total: NDArray[np.float64],
    starts: NDArray[np.int64],
    counts: NDArray[np.float64],
    block: NDArray[np.int32],
    block_ids: NDArray[np.int64],
    ids: NDArray[np.int32],
    out_series: NDArray[np.int32],
    out_row: NDArray[np.int64],
    out_value: NDArray[np.float64],
) -> int:
    """Write the points of the derived series: buckets (cumulative) or quantiles, then ``_sum``, then ``_count``.

    Args:
        series: (h,) int32; every row's block is known.
        kind: (h,) uint8, explicit histogram or summary.
        flags: (h,) uint8.
        count: (h,) float64.
        total: (h,) float64 sums, NaN for none, which is left out.
        starts: (h + 1,) int64.
        counts: float64 counts per bucket, or values of quantiles.
        block: (capacity,) int32.
        block_ids: (blocks,) int64 place of a block's ids.
        ids: int32 derived ids: one a bound, ``_sum``, ``_count``.
        out_series: int32 out.
        out_row: int64 out, the row each point comes from.
        out_value: float64 out.

    Returns:
        Points written.
    """
    n = 0
    stale = bits_float(_STALE)
    for i in range(len(series)):
        place = block_ids[block[series[i]]]
        size = starts[i + 1] - starts[i]
        is_stale = flags[i] & _FLAG_STALE != 0
        running = 0.0
        for j in range(size):
            value = counts[starts[i] + j]
            if kind[i] != _SUMMARY:
                running += value
                # The last bucket is everything, whatever the others add up to.
                value = count[i] if j == size - 1 else running
            out_series[n] = ids[place + j]
            out_row[n] = i
            out_value[n] = stale if is_stale else value
            n += 1
        if is_stale or total[i] == total[i]:
            out_series[n] = ids[place + size]
            out_row[n] = i
            out_value[n] = stale if is_stale else total[i]
            n += 1
        out_series[n] = ids[place + size + 1]
        out_row[n] = i
        out_value[n] = stale if is_stale else count[i]
        n += 1
    return n


@kernel
def route(
    explicit: NDArray[np.int32],
    values: NDArray[np.float64],
    block: NDArray[np.int32],
    block_start: NDArray[np.int64],
    block_size: NDArray[np.int32],
    block_ids: NDArray[np.int64],
    bounds: NDArray[np.float64],
    ids: NDArray[np.int32],
    series: NDArray[np.int32],
) -> None:
    """Move exemplars of histograms to the first bucket whose bound is not below their value.

    Args:
        explicit: (k,) int32 ids of explicit histograms, ascending; their blocks are known.
        values: (e,) float64.
        block: (capacity,) int32 number of the block of derived series by id.
        block_start: (blocks,) int64 place of a block's bounds.
        block_size: (blocks,) int32.
        block_ids: (blocks,) int64 place of a block's ids.
        bounds: float64 bounds of all blocks.
        ids: int32 derived ids.
        series: (e,) int32 ids; changed: the bucket's, or -1 where the value is in no bucket, as NaN is.
    """
    for i in range(len(series)):
        at = np.searchsorted(explicit, series[i])
        if at == len(explicit) or explicit[at] != series[i]:
            continue
        number = block[series[i]]
        found = np.int32(-1)
        for j in range(block_size[number]):
            if values[i] <= bounds[block_start[number] + j]:
                found = ids[block_ids[number] + j]
                break
        series[i] = found
