# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""The kernel that reads OTLP exponential histogram points, all but their buckets.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_f64, load_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.otlp_point_kernels import (
    BOUNDS_AT,
    BUCKETS,
    COUNT,
    COUNTS_AT,
    EXPONENTIAL,
    H_ROW,
    IRREGULAR,
    KIND,
    MAXIMUM,
    MINIMUM,
    OFFSET,
    POSITIVE_OFFSET,
    POSITIVE_SIZE,
    SCALE,
    SUM,
    ZERO_COUNT,
    ZERO_THRESHOLD,
    attributes_key,
    finish,
)
from headrace.pipeline.wire.protobuf_kernels import TRUNCATED, skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
def exponential_point(
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
    finish(i, first, end, exemplars, scattered, time, start, bits, rows, times, starts, flags, faults)
    rows[i, KIND] = EXPONENTIAL
    rows[i, BUCKETS] = sizes
    return end
