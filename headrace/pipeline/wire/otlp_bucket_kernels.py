# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read the buckets of OTLP histograms and the quantiles of summaries.

`otlp_histogram_kernels` has found out where they lie and how many they are; here they fill one array for all points.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_f64, load_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.otlp_point_kernels import (
    BAD_BOUNDS,
    BOUNDS_AT,
    COUNT,
    COUNTS_AT,
    EXPLICIT,
    EXPONENTIAL,
    FIRST,
    KIND,
    OFFSET,
    SIZE,
)
from headrace.pipeline.wire.protobuf_kernels import skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def read_buckets(
    buf: NDArray[np.uint8],
    rows: NDArray[np.int32],
    stats: NDArray[np.float64],
    starts: NDArray[np.int64],
    bounds: NDArray[np.float64],
    counts: NDArray[np.float64],
    flags: NDArray[np.uint8],
    faults: NDArray[np.uint8],
    where: NDArray[np.int64],
) -> int:
    """Fill the buckets of all points.

    Args:
        buf: The request.
        rows: (h, H_ROW).
        stats: (h, STATS).
        starts: (h + 1,) where the buckets of each row begin in the next two.
        bounds: Upper bounds, or quantiles; 0 for exponential histograms.
        counts: Counts, or values of quantiles.
        flags: (h,).
        faults: (h,) BAD_BOUNDS is added for bounds that do not ascend.
        where: (2,) place of a fault.

    Returns:
        0, or a negative status.
    """
    for i in range(len(rows)):
        b = starts[i]
        last = starts[i + 1]
        where[OFFSET] = rows[i, FIRST]
        kind = rows[i, KIND]
        if kind == EXPLICIT:
            at = rows[i, COUNTS_AT]
            size = rows[i, COUNTS_AT + 1] >> 3
            bounded = min(rows[i, BOUNDS_AT + 1] >> 3, last - b)
            for j in range(last - b):
                counts[b + j] = np.float64(load_u64(buf, at + 8 * j)) if j < size else stats[i, COUNT]
                bounds[b + j] = np.inf
            before = -np.inf
            for j in range(bounded):
                bound = load_f64(buf, rows[i, BOUNDS_AT] + 8 * j)
                bounds[b + j] = bound
                if not (bound > before and bound < np.inf) and faults[i] == 0 and not flags[i]:
                    faults[i] = BAD_BOUNDS
                before = bound
        elif kind == EXPONENTIAL:
            for column in (COUNTS_AT, BOUNDS_AT):
                p = np.int64(rows[i, column])
                end = p + rows[i, column + 1]
                while p < end and b < last:
                    number, p = varint(buf, p, end)
                    if p < 0:
                        return p
                    counts[b] = np.float64(number)
                    bounds[b] = 0.0
                    b += 1
        else:
            status = _quantiles(
                buf, np.int64(rows[i, FIRST]), np.int64(rows[i, FIRST] + rows[i, SIZE]), b, last, bounds, counts
            )
            if status < 0:
                return status
    return 0


@kernel
def _quantiles(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    b: int,
    last: int,
    bounds: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> int:
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag != np.uint64(50) or b >= last:
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            continue
        p, inner = span(buf, p, end)
        if p < 0:
            return p
        bounds[b] = 0.0
        counts[b] = 0.0
        while p < inner:
            tag, p = varint(buf, p, inner)
            if p < 0:
                return p
            begin = p
            p = skip(buf, p, inner, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            if tag == np.uint64(9):
                bounds[b] = load_f64(buf, begin)
            elif tag == np.uint64(17):
                counts[b] = load_f64(buf, begin)
        b += 1
    return 0
