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
from headrace.kernels.jit import kernel
from headrace.pipeline.wire.otlp_point_kernels import (
    ATTRIBUTES_SCATTERED,
    BAD_BUCKETS,
    EXEMPLARS,
    FIRST,
    IN_POINT,
    IRREGULAR,
    LEVEL,
    METRIC,
    NO_TIME,
    OFFSET,
    OUT_OF_BOUNDS,
    ROW,
    SIZE,
    attributes_key,
)
from headrace.pipeline.wire.protobuf_kernels import TRUNCATED, skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

# More columns of the row of a histogram point.
KIND = ROW
"""A `headrace.pipeline.batch.HistogramKind`."""
BUCKETS = ROW + 1
"""How many buckets or quantiles."""
COUNTS_AT = ROW + 2
"""Offset and size of the counts; of the positive ones, for an exponential histogram."""
BOUNDS_AT = ROW + 4
"""Offset and size of the bounds; of the negative counts, for an exponential histogram."""
SCALE = ROW + 6
POSITIVE_OFFSET = ROW + 7
NEGATIVE_OFFSET = ROW + 8
POSITIVE_SIZE = ROW + 9
H_ROW = ROW + 10

# Columns of the numbers of a histogram point.
COUNT = 0
SUM = 1
MINIMUM = 2
MAXIMUM = 3
ZERO_COUNT = 4
ZERO_THRESHOLD = 5
STATS = 6

EXPLICIT, EXPONENTIAL, SUMMARY = 0, 1, 2

_EXPLICIT_FIELD, _EXPONENTIAL_FIELD = 9, 10
_STALE = 2
_MAX_TIME = np.uint64(2**63 - 1)


@kernel
def _finish(
    i: int,
    first: int,
    end: int,
    exemplars: int,
    scattered: bool,
    time: np.uint64,
    start: np.uint64,
    bits: np.uint64,
    rows: NDArray[np.int32],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    flags: NDArray[np.uint8],
    faults: NDArray[np.uint8],
) -> None:
    rows[i, FIRST] = first
    rows[i, SIZE] = end - first
    rows[i, EXEMPLARS] = exemplars
    rows[i, ATTRIBUTES_SCATTERED] = scattered
    times[i] = np.int64(time)
    starts[i] = np.int64(start) if start <= _MAX_TIME else 0
    flags[i] = _STALE if bits & np.uint64(1) != np.uint64(0) else 0
    faults[i] = NO_TIME if time == np.uint64(0) else OUT_OF_BOUNDS if time > _MAX_TIME else 0


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
    _finish(i, first, end, exemplars, scattered, time, start, bits, rows, times, starts, flags, faults)
    rows[i, KIND] = EXPLICIT
    counts = rows[i, COUNTS_AT + 1] >> 3
    bounds = rows[i, BOUNDS_AT + 1] >> 3
    # Without buckets it is one that holds everything.
    rows[i, BUCKETS] = max(counts, 1)
    if counts != bounds + 1 and (counts != 0 or bounds != 0) and faults[i] == 0 and not flags[i]:
        faults[i] = BAD_BUCKETS
    return end


@kernel
def _exponential_buckets(buf: NDArray[np.uint8], p: int, end: int, i: int, rows: NDArray[np.int32], sign: int) -> int:
    """Find the counts of one sign; return how many they are, or a negative status."""
    size = 0
    parts = 0
    column = COUNTS_AT if sign == 0 else BOUNDS_AT
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag == np.uint64(18):
            if parts:
                return IRREGULAR
            parts = 1
            begin, p = span(buf, p, end)
            if p < 0:
                return p
            rows[i, column] = begin
            rows[i, column + 1] = p - begin
            for j in range(begin, p):
                if buf[j] < 128:
                    size += 1
            if p > begin and buf[p - 1] >= 128:
                return TRUNCATED
        elif tag == np.uint64(16):
            return IRREGULAR
        elif tag == np.uint64(8):
            number, p = varint(buf, p, end)
            if p < 0:
                return p
            rows[i, POSITIVE_OFFSET + sign] = _zigzag(number)
        else:
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
    return size


@kernel
def _zigzag(number: np.uint64) -> np.int32:
    low = number & np.uint64(0xFFFFFFFF)
    half = np.int64(low >> np.uint64(1))
    return np.int32(-half - 1) if low & np.uint64(1) else np.int32(half)


@kernel
def _exponential_point(
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
    sizes = 0
    while p < end:
        at = p
        tag = np.uint64(buf[p])
        p += 1
        if tag >= np.uint64(128):
            tag, p = varint(buf, at, end)
        if p >= 0:
            if tag == np.uint64(10):
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
            elif tag == np.uint64(66) or tag == np.uint64(74):
                sign = 0 if tag == np.uint64(66) else 1
                begin, p = span(buf, p, end)
                if p >= 0 and parts & (1 << sign):
                    p = IRREGULAR
                if p >= 0:
                    parts |= 1 << sign
                    size = _exponential_buckets(buf, begin, p, i, rows, sign)
                    if size < 0:
                        p = size
                    elif sign == 0:
                        rows[i, POSITIVE_SIZE] = size
                    sizes += size
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
                    elif tag == np.uint64(57):
                        stats[i, ZERO_COUNT] = np.float64(load_u64(buf, p))
                    elif tag == np.uint64(97):
                        stats[i, MINIMUM] = load_f64(buf, p)
                    elif tag == np.uint64(105):
                        stats[i, MAXIMUM] = load_f64(buf, p)
                    elif tag == np.uint64(113):
                        stats[i, ZERO_THRESHOLD] = load_f64(buf, p)
                    p += 8
            elif tag == np.uint64(48):
                number, p = varint(buf, p, end)
                rows[i, SCALE] = _zigzag(number)
            elif tag == np.uint64(80):
                bits, p = varint(buf, p, end)
            else:
                if tag == np.uint64(90):
                    exemplars += 1
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            where[OFFSET] = at
            return p
    keys[i, 0], keys[i, 1] = attributes_key(buf, first, end, np.uint64(10), from_, to, scattered, scratch, k0, k1)
    _finish(i, first, end, exemplars, scattered, time, start, bits, rows, times, starts, flags, faults)
    rows[i, KIND] = EXPONENTIAL
    rows[i, BUCKETS] = sizes
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
    _finish(i, first, end, 0, scattered, time, start, bits, rows, times, starts, flags, faults)
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
            p = _exponential_point(
                buf, p, stop, i, k0, k1, scratch, rows, keys, times, starts, stats, flags, faults, where
            )
        else:
            p = _summary_point(buf, p, stop, i, k0, k1, scratch, rows, keys, times, starts, stats, flags, faults, where)
        if p < 0:
            return p
        i += 1
    return i
