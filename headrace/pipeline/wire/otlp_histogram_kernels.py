# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read OTLP histogram, exponential histogram and summary points.

They read all but the buckets and say where those lie and how many they are; `otlp_bucket_kernels` reads those.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_f64, load_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.otlp_exponential_kernels import exponential_point
from headrace.pipeline.wire.otlp_point_kernels import (
    BAD_BUCKETS,
    BOUNDS_AT,
    BUCKETS,
    COUNT,
    COUNTS_AT,
    EXPLICIT,
    H_ROW,
    IN_POINT,
    IRREGULAR,
    KIND,
    LEVEL,
    MAXIMUM,
    METRIC,
    MINIMUM,
    OFFSET,
    STATS,
    SUM,
    SUMMARY,
    ZERO_COUNT,
    ZERO_THRESHOLD,
    attributes_key,
    finish,
)
from headrace.pipeline.wire.protobuf_kernels import TRUNCATED, skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXPLICIT_FIELD, _EXPONENTIAL_FIELD = 9, 10


@kernel
def _explicit_point(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    i: int,
    k0: np.uint64,
    k1: np.uint64,
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    keys: NDArray[np.uint64],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    stats: NDArray[np.float64],
    flags: NDArray[np.uint8],
    faults: NDArray[np.uint8],
    where: NDArray[np.int64],
) -> int:
    """Read the point ``buf[p:end]`` into row `i`; return `end` or a negative status."""
    first = p
    from_ = 0
    to = -1
    scattered = False
    exemplars = 0
    time = np.uint64(0)
    start = np.uint64(0)
    bits = np.uint64(0)
    parts = 0
    stats[i, 0] = 0.0
    stats[i, SUM] = np.nan
    stats[i, MINIMUM] = np.nan
    stats[i, MAXIMUM] = np.nan
    stats[i, ZERO_COUNT] = 0.0
    stats[i, ZERO_THRESHOLD] = 0.0
    for column in range(KIND, H_ROW):
        rows[i, column] = 0
    while p < end:
        at = p
        tag = np.uint64(buf[p])
        p += 1
        if tag >= np.uint64(128):
            tag, p = varint(buf, at, end)
        if p >= 0:
            if tag == np.uint64(74):
                if to < 0:
                    from_ = at
                elif to != at:
                    scattered = True
                size = np.int64(buf[p])
                if size < 128 and p + 1 + size <= end:
                    p += 1 + size
                else:
                    p = span(buf, p, end)[1]
                to = p
            elif tag == np.uint64(50) or tag == np.uint64(58):
                column = COUNTS_AT if tag == np.uint64(50) else BOUNDS_AT
                begin, p = span(buf, p, end)
                if p >= 0 and (p - begin) & 7 != 0:
                    p = TRUNCATED
                mark = 1 if tag == np.uint64(50) else 2
                if p >= 0 and parts & mark:
                    p = IRREGULAR
                parts |= mark
                rows[i, column] = begin
                rows[i, column + 1] = p - begin
            elif tag & np.uint64(7) == np.uint64(1):
                if p + 8 > end:
                    p = TRUNCATED
                else:
                    if tag == np.uint64(25):
                        time = load_u64(buf, p)
                    elif tag == np.uint64(17):
                        start = load_u64(buf, p)
                    elif tag == np.uint64(33):
                        stats[i, COUNT] = np.float64(load_u64(buf, p))
                    elif tag == np.uint64(41):
                        stats[i, SUM] = load_f64(buf, p)
                    elif tag == np.uint64(89):
                        stats[i, MINIMUM] = load_f64(buf, p)
                    elif tag == np.uint64(97):
                        stats[i, MAXIMUM] = load_f64(buf, p)
                    p += 8
                    if tag == np.uint64(49) or tag == np.uint64(57):
                        p = IRREGULAR
            elif tag == np.uint64(80):
                bits, p = varint(buf, p, end)
            else:
                if tag == np.uint64(66):
                    exemplars += 1
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            where[OFFSET] = at
            return p
    keys[i, 0], keys[i, 1] = attributes_key(buf, first, end, np.uint64(74), from_, to, scattered, scratch, k0, k1)
    finish(i, first, end, exemplars, scattered, time, start, bits, rows, times, starts, flags, faults)
    rows[i, KIND] = EXPLICIT
    counts = rows[i, COUNTS_AT + 1] >> 3
    bounds = rows[i, BOUNDS_AT + 1] >> 3
    # Without buckets it is one that holds everything.
    rows[i, BUCKETS] = max(counts, 1)
    if counts != bounds + 1 and (counts != 0 or bounds != 0) and faults[i] == 0 and not flags[i]:
        faults[i] = BAD_BUCKETS
    return end


@kernel
def _summary_point(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    i: int,
    k0: np.uint64,
    k1: np.uint64,
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    keys: NDArray[np.uint64],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    stats: NDArray[np.float64],
    flags: NDArray[np.uint8],
    faults: NDArray[np.uint8],
    where: NDArray[np.int64],
) -> int:
    """Read the point ``buf[p:end]`` into row `i`; return `end` or a negative status."""
    first = p
    from_ = 0
    to = -1
    scattered = False
    time = np.uint64(0)
    start = np.uint64(0)
    bits = np.uint64(0)
    quantiles = 0
    for column in range(STATS):
        stats[i, column] = 0.0
    stats[i, MINIMUM] = np.nan
    stats[i, MAXIMUM] = np.nan
    for column in range(KIND, H_ROW):
        rows[i, column] = 0
    while p < end:
        at = p
        tag = np.uint64(buf[p])
        p += 1
        if tag >= np.uint64(128):
            tag, p = varint(buf, at, end)
        if p >= 0:
            if tag == np.uint64(58):
                if to < 0:
                    from_ = at
                elif to != at:
                    scattered = True
                size = np.int64(buf[p])
                if size < 128 and p + 1 + size <= end:
                    p += 1 + size
                else:
                    p = span(buf, p, end)[1]
                to = p
            elif tag & np.uint64(7) == np.uint64(1):
                if p + 8 > end:
                    p = TRUNCATED
                else:
                    if tag == np.uint64(25):
                        time = load_u64(buf, p)
                    elif tag == np.uint64(17):
                        start = load_u64(buf, p)
                    elif tag == np.uint64(33):
                        stats[i, COUNT] = np.float64(load_u64(buf, p))
                    elif tag == np.uint64(41):
                        stats[i, SUM] = load_f64(buf, p)
                    p += 8
            elif tag == np.uint64(64):
                bits, p = varint(buf, p, end)
            else:
                if tag == np.uint64(50):
                    quantiles += 1
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            where[OFFSET] = at
            return p
    keys[i, 0], keys[i, 1] = attributes_key(buf, first, end, np.uint64(58), from_, to, scattered, scratch, k0, k1)
    finish(i, first, end, 0, scattered, time, start, bits, rows, times, starts, flags, faults)
    rows[i, KIND] = SUMMARY
    rows[i, BUCKETS] = quantiles
    return end


@kernel
def histogram_points(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    i: int,
    m: int,
    field: int,
    k0: np.uint64,
    k1: np.uint64,
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    keys: NDArray[np.uint64],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    stats: NDArray[np.float64],
    flags: NDArray[np.uint8],
    faults: NDArray[np.uint8],
    where: NDArray[np.int64],
) -> int:
    """Read the points of metric `m`, which are fields 1 of ``buf[p:end]``, into the rows from `i` on.

    Returns:
        The row after the last, or a negative status.
    """
    where[LEVEL] = IN_POINT
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag != np.uint64(10):
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            continue
        p, stop = span(buf, p, end)
        if p < 0:
            return p
        rows[i, METRIC] = m
        if field == _EXPLICIT_FIELD:
            p = _explicit_point(
                buf, p, stop, i, k0, k1, scratch, rows, keys, times, starts, stats, flags, faults, where
            )
        elif field == _EXPONENTIAL_FIELD:
            p = exponential_point(
                buf, p, stop, i, k0, k1, scratch, rows, keys, times, starts, stats, flags, faults, where
            )
        else:
            p = _summary_point(buf, p, stop, i, k0, k1, scratch, rows, keys, times, starts, stats, flags, faults, where)
        if p < 0:
            return p
        i += 1
    return i
