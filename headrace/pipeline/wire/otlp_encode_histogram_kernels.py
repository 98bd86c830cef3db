# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write the points of OTLP histograms, exponential histograms and summaries.

Each comes in two: one that adds up the size, and one that writes, in the same order of fields. Attributes and exemplars
are the caller's.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits, store_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.protobuf_write_kernels import put_varint, sized, varint_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Columns of the numbers of a point.
COUNT = 0
SUM = 1
MINIMUM = 2
MAXIMUM = 3
ZERO_COUNT = 4
ZERO_THRESHOLD = 5
STATS = 6

# Columns of its shape.
KIND = 0
"""A `headrace.pipeline.batch.HistogramKind`."""
FLAGS = 1
SCALE = 2
POSITIVE_OFFSET = 3
NEGATIVE_OFFSET = 4
POSITIVE_SIZE = 5
SHAPES = 6

EXPLICIT, EXPONENTIAL, SUMMARY = 0, 1, 2

_STALE = 2
_NUMBER = 9
"""Bytes of a field of 64 bits with its tag."""

_TWO_64 = 18446744073709551616.0
_TWO_52 = 4503599627370496.0


@kernel
def histogram_sizes(
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    stats: NDArray[np.float64],
    shapes: NDArray[np.int32],
    starts: NDArray[np.int64],
    buckets: NDArray[np.float64],
    label_sizes: NDArray[np.int32],
    exemplars: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Compute the size of each point, without tag and length.

    Args:
        series: (h,) ids.
        times: (h, 2) start and time, nanoseconds.
        stats: (h, STATS).
        shapes: (h, SHAPES).
        starts: (h + 1,) where the buckets of each row begin.
        buckets: Counts, or values of quantiles.
        label_sizes: Bytes of the encoded attributes by id.
        exemplars: (h + 1,) where the encoded exemplars of each row begin.
        out: (h,).
    """
    for i in range(len(series)):
        size = np.int64(label_sizes[series[i]]) + exemplars[i + 1] - exemplars[i] + 2 * _NUMBER
        if times[i, 0] != 0:
            size += _NUMBER
        n = starts[i + 1] - starts[i]
        stale = shapes[i, FLAGS] & _STALE
        if stale:
            size += 2
        kind = shapes[i, KIND]
        if kind == SUMMARY:
            size += 0 if stale else _NUMBER + n * (2 + 2 * _NUMBER)
            out[i] = size
            continue
        for column in (SUM, MINIMUM, MAXIMUM):
            if not stale and not np.isnan(stats[i, column]):
                size += _NUMBER
        if kind == EXPLICIT and n and not stale:
            size += sized(8 * n) + (sized(8 * (n - 1)) if n > 1 else 0)
        elif kind == EXPONENTIAL:
            size += 1 + varint_size(_zigzag(shapes[i, SCALE])) + _NUMBER
            if stats[i, ZERO_THRESHOLD] != 0.0:
                size += _NUMBER
            middle = starts[i] + shapes[i, POSITIVE_SIZE]
            for side in range(2):
                size += sized(_side_size(shapes, i, side, buckets, starts[i], middle, starts[i + 1]))
        out[i] = size


@kernel
def _zigzag(value: int) -> int:
    wide = np.int64(value)
    return (wide << 1) ^ (wide >> 63)


@kernel
def _count(value: float) -> np.uint64:
    """Return a count as an integer."""
    if not value > 0.0:
        return np.uint64(0)
    if value >= _TWO_64:
        return ~np.uint64(0)
    return np.uint64(value + 0.5 if value < _TWO_52 else value)


@kernel
def _side_size(
    shapes: NDArray[np.int32],
    i: int,
    side: int,
    buckets: NDArray[np.float64],
    first: int,
    middle: int,
    last: int,
) -> int:
    """Return the size of the buckets of one sign."""
    size = 1 + varint_size(_zigzag(shapes[i, POSITIVE_OFFSET + side]))
    packed = _packed_size(buckets, first if side == 0 else middle, middle if side == 0 else last)
    return size + (sized(packed) if packed else 0)


@kernel
def _packed_size(buckets: NDArray[np.float64], first: int, last: int) -> int:
    size = 0
    for j in range(first, last):
        size += varint_size(_count(buckets[j]))
    return size


@kernel
def _fixed(out: NDArray[np.uint8], p: int, tag: int, bits: np.uint64) -> int:
    out[p] = tag
    store_u64(out, p + 1, bits)
    return p + 9


@kernel
def put_histogram(
    out: NDArray[np.uint8],
    p: int,
    i: int,
    times: NDArray[np.int64],
    stats: NDArray[np.float64],
    shapes: NDArray[np.int32],
    starts: NDArray[np.int64],
    bounds: NDArray[np.float64],
    buckets: NDArray[np.float64],
) -> int:
    """Write point `i` up to its exemplars and attributes; return the position after it."""
    if times[i, 0] != 0:
        p = _fixed(out, p, 17, np.uint64(times[i, 0]))
    p = _fixed(out, p, 25, np.uint64(times[i, 1]))
    p = _fixed(out, p, 33, _count(stats[i, COUNT]))
    kind = shapes[i, KIND]
    stale = shapes[i, FLAGS] & _STALE
    if stale:
        out[p] = 64 if kind == SUMMARY else 80
        out[p + 1] = 1
        p += 2
    if kind == SUMMARY:
        return p if stale else _put_quantiles(out, p, stats[i, SUM], bounds, buckets, starts[i], starts[i + 1])
    if not stale:
        p = _put_optional(out, p, 41, stats[i, SUM])
        # Of an exponential histogram the fields of minimum and maximum have the next numbers.
        p = _put_optional(out, p, 89 + 8 * (kind == EXPONENTIAL), stats[i, MINIMUM])
        p = _put_optional(out, p, 97 + 8 * (kind == EXPONENTIAL), stats[i, MAXIMUM])
    if kind == EXPONENTIAL:
        return _put_exponential(out, p, i, stats, shapes, starts[i], starts[i + 1], buckets)
    return p if stale else _put_explicit(out, p, bounds, buckets, starts[i], starts[i + 1])


@kernel
def _put_optional(out: NDArray[np.uint8], p: int, tag: int, value: float) -> int:
    return p if np.isnan(value) else _fixed(out, p, tag, np.uint64(float_bits(value)))


@kernel
def _put_quantiles(
    out: NDArray[np.uint8],
    p: int,
    total: float,
    bounds: NDArray[np.float64],
    values: NDArray[np.float64],
    first: int,
    last: int,
) -> int:
    p = _fixed(out, p, 41, np.uint64(float_bits(total)))
    for j in range(first, last):
        out[p] = 50
        out[p + 1] = 2 * _NUMBER
        p = _fixed(out, p + 2, 9, np.uint64(float_bits(bounds[j])))
        p = _fixed(out, p, 17, np.uint64(float_bits(values[j])))
    return p


@kernel
def _put_explicit(
    out: NDArray[np.uint8], p: int, bounds: NDArray[np.float64], buckets: NDArray[np.float64], first: int, last: int
) -> int:
    if last == first:
        return p
    out[p] = 50
    p = put_varint(out, p + 1, 8 * (last - first))
    for j in range(first, last):
        store_u64(out, p, _count(buckets[j]))
        p += 8
    if last - first == 1:
        return p
    out[p] = 58
    p = put_varint(out, p + 1, 8 * (last - first - 1))
    # The last bucket has no bound.
    for j in range(first, last - 1):
        store_u64(out, p, np.uint64(float_bits(bounds[j])))
        p += 8
    return p


@kernel
def _put_exponential(
    out: NDArray[np.uint8],
    p: int,
    i: int,
    stats: NDArray[np.float64],
    shapes: NDArray[np.int32],
    first: int,
    last: int,
    buckets: NDArray[np.float64],
) -> int:
    out[p] = 48
    p = put_varint(out, p + 1, _zigzag(shapes[i, SCALE]))
    p = _fixed(out, p, 57, _count(stats[i, ZERO_COUNT]))
    if stats[i, ZERO_THRESHOLD] != 0.0:
        p = _fixed(out, p, 113, np.uint64(float_bits(stats[i, ZERO_THRESHOLD])))
    middle = first + shapes[i, POSITIVE_SIZE]
    for side in range(2):
        out[p] = 66 + 8 * side
        p = put_varint(out, p + 1, _side_size(shapes, i, side, buckets, first, middle, last))
        out[p] = 8
        p = put_varint(out, p + 1, _zigzag(shapes[i, POSITIVE_OFFSET + side]))
        begin, end = (first, middle) if side == 0 else (middle, last)
        packed = _packed_size(buckets, begin, end)
        if packed:
            out[p] = 18
            p = put_varint(out, p + 1, packed)
            for j in range(begin, end):
                p = put_varint(out, p, _count(buckets[j]))
    return p
