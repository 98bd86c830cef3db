# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read the native histograms of remote write requests; the message is the same in 1.0 and 2.0.

Expositions have the same numbers under other field numbers: `kinds` translates tags.

`measure` finds out how much room each message takes, `read` fills the columns and checks what it reads. Deltas of
counts become counts, positive buckets come before negative ones.

Source:
    ``prompb/types.proto`` and ``io/prometheus/write/v2/types.proto``, message ``Histogram``; the checks are those of
    Prometheus' ``Histogram.Validate`` and ``FloatHistogram.Validate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, float_bits, load_f64, load_u64
from headrace.kernels.jit import kernel
from headrace.pipeline.wire.protobuf_kernels import TRUNCATED, skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Columns of a row that says where a message lies.
SERIES = 0
FIRST = 1
SIZE = 2
COLUMNS = 3

# What `measure` tells of a message; spans and buckets are those that count for its flavour.
POSITIVE_SPANS = 0
NEGATIVE_SPANS = 1
POSITIVE_BUCKETS = 2
NEGATIVE_BUCKETS = 3
BOUNDS = 4
FLAGS = 5
SIZES = 6

FLOAT_COUNTS = 1
STALE = 2

_STALE_BITS = np.uint64(0x7FF0000000000002)
_SIGN = np.uint64(1 << 63)
_CUSTOM = -53
_COARSEST = -4
FINEST_RESERVED = 52
"""Schemas above 8 and up to this one are exponential ones that nobody counts in yet; they are merged down to 8."""

# Faults.
SCHEMA = 1
NEGATIVE_OFFSET = 2
SPANS_BUCKETS = 3
NEGATIVE_COUNT = 4
COUNT_MISMATCH = 5
COUNT_TOO_SMALL = 6
CUSTOM_ZERO = 7
CUSTOM_NEGATIVE = 8
CUSTOM_BOUNDS = 9
CUSTOM_SHORT = 10
NOT_CUSTOM = 11
OUT_OF_RANGE = 12

_COUNT_INT, _COUNT_FLOAT, _SUM, _SCHEMA, _THRESHOLD = 8, 17, 25, 32, 41
_ZERO_INT, _ZERO_FLOAT, _HINT, _TIME, _START = 48, 57, 112, 120, 136
_NEGATIVE_SPAN, _POSITIVE_SPAN = 66, 90
# Packed; one by one the wire type is another.
_NEGATIVE_DELTAS, _NEGATIVE_COUNTS, _POSITIVE_DELTAS, _POSITIVE_COUNTS, _BOUNDS = 74, 82, 98, 106, 130
_NEGATIVE_DELTA, _NEGATIVE_FLOAT, _POSITIVE_DELTA, _POSITIVE_FLOAT, _BOUND = 72, 81, 96, 105, 129
KINDS = 144
"""One more than the largest of these tags."""


@kernel
def _zigzag(number: np.uint64) -> np.int64:
    half = np.int64(number >> np.uint64(1))
    return -half - 1 if number & np.uint64(1) else half


@kernel
def _varints(buf: NDArray[np.uint8], p: int, end: int) -> int:
    """Count the varints of a packed field; negative where one is cut off."""
    n = 0
    for i in range(p, end):
        if buf[i] < 128:
            n += 1
    return TRUNCATED if end > p and buf[end - 1] >= 128 else n


@kernel
def measure(buf: NDArray[np.uint8], kinds: NDArray[np.int64], rows: NDArray[np.int32], sizes: NDArray[np.int64]) -> int:
    """Find out what each message holds.

    Args:
        buf: The request, padded.
        kinds: (k,) int64: by tag of the message at hand, the tag that remote write has for the field; 0 for none.
        rows: (h, COLUMNS) int32, where the messages lie.
        sizes: (h, SIZES) int64, takes what they hold; a stale marker holds nothing.

    Returns:
        0, or a negative status: a message does not decode.
    """
    spans = np.zeros(2, np.int64)
    deltas = np.zeros(2, np.int64)
    floats = np.zeros(2, np.int64)
    for i in range(len(rows)):
        p = np.int64(rows[i, FIRST])
        end = p + rows[i, SIZE]
        spans[:] = 0
        deltas[:] = 0
        floats[:] = 0
        bounds = 0
        is_float = False
        total = 0.0
        while p < end:
            tag, p = varint(buf, p, end)
            if p < 0:
                return p
            first = p
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            kind = kinds[tag] if tag < np.uint64(len(kinds)) else 0
            body = first
            if tag & np.uint64(7) == np.uint64(2):
                body = span(buf, first, end)[0]
            if kind == _COUNT_INT:
                is_float = False
            elif kind == _COUNT_FLOAT:
                is_float = True
            elif kind == _SUM:
                total = load_f64(buf, first)
            elif kind in (_POSITIVE_SPAN, _NEGATIVE_SPAN):
                spans[0 if kind == _POSITIVE_SPAN else 1] += 1
            elif kind in (_POSITIVE_DELTAS, _NEGATIVE_DELTAS):
                n = _varints(buf, body, p)
                if n < 0:
                    return n
                deltas[0 if kind == _POSITIVE_DELTAS else 1] += n
            elif kind in (_POSITIVE_DELTA, _NEGATIVE_DELTA):
                deltas[0 if kind == _POSITIVE_DELTA else 1] += 1
            elif kind in (_POSITIVE_COUNTS, _NEGATIVE_COUNTS, _BOUNDS):
                if (p - body) % 8:
                    return TRUNCATED
                if kind == _BOUNDS:
                    bounds += (p - body) // 8
                else:
                    floats[0 if kind == _POSITIVE_COUNTS else 1] += (p - body) // 8
            elif kind in (_POSITIVE_FLOAT, _NEGATIVE_FLOAT):
                floats[0 if kind == _POSITIVE_FLOAT else 1] += 1
            elif kind == _BOUND:
                bounds += 1
        flags = FLOAT_COUNTS if is_float else 0
        for k in range(FLAGS):
            sizes[i, k] = 0
        if float_bits(total) == _STALE_BITS:
            flags |= STALE
        else:
            buckets = floats if is_float else deltas
            sizes[i, POSITIVE_SPANS] = spans[0]
            sizes[i, NEGATIVE_SPANS] = spans[1]
            sizes[i, POSITIVE_BUCKETS] = buckets[0]
            sizes[i, NEGATIVE_BUCKETS] = buckets[1]
            sizes[i, BOUNDS] = bounds
        sizes[i, FLAGS] = flags
    return 0


@kernel
def _span(buf: NDArray[np.uint8], p: int, end: int, out: NDArray[np.int32]) -> int:
    """Read a span; a length beyond int32 is written as -1, which no check lets pass."""
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag == np.uint64(8):
            number, p = varint(buf, p, end)
            if p >= 0:
                out[0] = np.int32(_zigzag(number & np.uint64(0xFFFFFFFF)))
        elif tag == np.uint64(16):
            number, p = varint(buf, p, end)
            if p >= 0:
                number &= np.uint64(0xFFFFFFFF)
                out[1] = np.int32(number) if number < np.uint64(1 << 31) else np.int32(-1)
        else:
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return p
    return p


@kernel
def read(
    buf: NDArray[np.uint8],
    kinds: NDArray[np.int64],
    rows: NDArray[np.int32],
    sizes: NDArray[np.int64],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    hint: NDArray[np.uint8],
    schema: NDArray[np.int8],
    zero_threshold: NDArray[np.float64],
    zero_count: NDArray[np.uint64],
    count: NDArray[np.uint64],
    sums: NDArray[np.float64],
    span_starts: NDArray[np.int64],
    spans: NDArray[np.int32],
    bucket_starts: NDArray[np.int64],
    buckets: NDArray[np.uint64],
    bound_starts: NDArray[np.int64],
    bounds: NDArray[np.float64],
    faults: NDArray[np.uint8],
) -> int:
    """Fill the columns of messages that `measure` has been through, and check them.

    Args:
        buf: The request, padded.
        kinds: As for `measure`.
        rows: (h, COLUMNS) int32.
        sizes: (h, SIZES) int64 that `measure` wrote.
        times: (h,) int64 milliseconds, out; 0 before.
        starts: (h,) int64 milliseconds, out where the message has a start time of its own.
        hint: (h,) uint8, out.
        schema: (h,) int8, out.
        zero_threshold: (h,) float64, out.
        zero_count: (h,) uint64, out.
        count: (h,) uint64, out.
        sums: (h,) float64, out.
        span_starts: (h + 1,) int64.
        spans: (s, 2) int32, out; 0 before.
        bucket_starts: (h + 1,) int64.
        buckets: (b,) uint64, out: counts, or bits of doubles.
        bound_starts: (h + 1,) int64.
        bounds: (c,) float64, out.
        faults: (h,) uint8, out: 0, or what is wrong with the row.

    Returns:
        0, or a negative status.
    """
    at = np.zeros(2, np.int64)
    place = np.zeros(2, np.int64)
    running = np.zeros(2, np.uint64)
    for i in range(len(rows)):
        p = np.int64(rows[i, FIRST])
        end = p + rows[i, SIZE]
        stale = sizes[i, FLAGS] & STALE != 0
        is_float = sizes[i, FLAGS] & FLOAT_COUNTS != 0
        at[0] = span_starts[i]
        at[1] = at[0] + sizes[i, POSITIVE_SPANS]
        place[0] = bucket_starts[i]
        place[1] = place[0] + sizes[i, POSITIVE_BUCKETS]
        running[:] = np.uint64(0)
        bound = bound_starts[i]
        wide = np.int64(0)
        fault = 0
        while p < end:
            tag, p = varint(buf, p, end)
            if p < 0:
                return p
            first = p
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            kind = kinds[tag] if tag < np.uint64(len(kinds)) else 0
            body = first
            if tag & np.uint64(7) == np.uint64(2):
                body = span(buf, first, end)[0]
            number = np.uint64(0)
            if tag & np.uint64(7) == np.uint64(0):
                number = varint(buf, first, end)[0]
            elif tag & np.uint64(7) == np.uint64(1):
                number = load_u64(buf, first)
            if kind == _TIME:
                times[i] = np.int64(number)
            elif kind == _START:
                starts[i] = np.int64(number)
            elif kind == _SUM:
                sums[i] = load_f64(buf, first)
            elif stale:
                continue
            elif kind in (_COUNT_INT, _COUNT_FLOAT):
                count[i] = number
            elif kind == _ZERO_INT:
                zero_count[i] = np.uint64(0) if is_float else number
            elif kind == _ZERO_FLOAT:
                zero_count[i] = number if is_float else np.uint64(0)
            elif kind == _SCHEMA:
                wide = _zigzag(number & np.uint64(0xFFFFFFFF))
            elif kind == _THRESHOLD:
                zero_threshold[i] = load_f64(buf, first)
            elif kind == _HINT:
                hint[i] = np.uint8(number) if number <= np.uint64(3) else np.uint8(0)
            elif kind in (_POSITIVE_SPAN, _NEGATIVE_SPAN):
                side = 0 if kind == _POSITIVE_SPAN else 1
                status = _span(buf, body, p, spans[at[side]])
                if status < 0:
                    return status
                at[side] += 1
            elif kind in (_BOUNDS, _BOUND):
                for j in range(body, p, 8):
                    bounds[bound] = load_f64(buf, j)
                    bound += 1
            elif is_float:
                if kind in (_POSITIVE_COUNTS, _POSITIVE_FLOAT, _NEGATIVE_COUNTS, _NEGATIVE_FLOAT):
                    side = 0 if kind in (_POSITIVE_COUNTS, _POSITIVE_FLOAT) else 1
                    for j in range(body, p, 8):
                        buckets[place[side]] = load_u64(buf, j)
                        place[side] += 1
            elif kind in (_POSITIVE_DELTAS, _POSITIVE_DELTA, _NEGATIVE_DELTAS, _NEGATIVE_DELTA):
                side = 0 if kind in (_POSITIVE_DELTAS, _POSITIVE_DELTA) else 1
                j = body
                while j < p:
                    delta, j = varint(buf, j, p)
                    if j < 0:
                        return j
                    # Counts are int64 on the wire: what passes it, either way, has the sign bit.
                    running[side] += np.uint64(_zigzag(delta))
                    if running[side] & _SIGN:
                        fault = NEGATIVE_COUNT
                    buckets[place[side]] = running[side]
                    place[side] += 1
        if stale:
            continue
        if (wide < _COARSEST or wide > FINEST_RESERVED) and wide != _CUSTOM:
            faults[i] = SCHEMA
            continue
        schema[i] = np.int8(wide)
        if fault == 0:
            fault = check(
                wide, is_float, zero_threshold[i], zero_count[i], count[i], sums[i],
                spans[span_starts[i] : at[0]], spans[at[0] : at[1]], sizes[i, POSITIVE_BUCKETS],
                buckets[bucket_starts[i] : bucket_starts[i + 1]], bounds[bound_starts[i] : bound_starts[i + 1]],
            )  # fmt: skip
        faults[i] = fault
    return 0


@kernel
def _check_spans(spans: NDArray[np.int32], first: int, buckets: int) -> int:
    """Check spans against the number of buckets; offsets from number `first` on may not be negative."""
    total = np.int64(0)
    index = np.int64(0)
    for k in range(len(spans)):
        if spans[k, 1] < 0:
            return SPANS_BUCKETS
        if k >= first and spans[k, 0] < 0:
            return NEGATIVE_OFFSET
        total += spans[k, 1]
        index += np.int64(spans[k, 0]) + spans[k, 1]
    if total != buckets:
        return SPANS_BUCKETS
    return OUT_OF_RANGE if index > (1 << 31) - 1 else 0


@kernel
def check(
    schema: int,
    is_float: bool,
    zero_threshold: float,
    zero_count: np.uint64,
    count: np.uint64,
    total: float,
    positive: NDArray[np.int32],
    negative: NDArray[np.int32],
    positive_buckets: int,
    buckets: NDArray[np.uint64],
    bounds: NDArray[np.float64],
) -> int:
    """Return what is wrong with one histogram, 0 for nothing.

    Args:
        schema: A known one.
        is_float: Whether counts are the bits of doubles.
        zero_threshold: Width of the zero bucket.
        zero_count: Its count.
        count: All observations.
        total: Their sum.
        positive: (s, 2) int32 spans.
        negative: (t, 2) int32 spans.
        positive_buckets: How many of `buckets` are positive.
        buckets: (b,) uint64.
        bounds: (c,) float64.
    """
    custom = schema == _CUSTOM
    fault = _check_spans(positive, 0 if custom else 1, positive_buckets)
    if fault:
        return fault
    if custom:
        if zero_count != np.uint64(0) or zero_threshold != 0.0:
            return CUSTOM_ZERO
        if len(negative) or positive_buckets != len(buckets):
            return CUSTOM_NEGATIVE
        for k in range(len(bounds)):
            if not -np.inf < bounds[k] < np.inf or (k and bounds[k] <= bounds[k - 1]):
                return CUSTOM_BOUNDS
        reach = np.int64(0)
        for k in range(len(positive)):
            reach += np.int64(positive[k, 0]) + positive[k, 1]
        if reach > len(bounds) + 1:
            return CUSTOM_SHORT
    else:
        fault = _check_spans(negative, 1, len(buckets) - positive_buckets)
        if fault:
            return fault
        if len(bounds):
            return NOT_CUSTOM
    if is_float:
        if bits_float(zero_count) < 0.0 or bits_float(count) < 0.0:
            return NEGATIVE_COUNT
        for k in range(len(buckets)):
            if bits_float(buckets[k]) < 0.0:
                return NEGATIVE_COUNT
        # Sums of doubles do not add up to the last bit, so they are not compared.
        return 0
    observed = zero_count
    for k in range(len(buckets)):
        observed += buckets[k]
        if observed < buckets[k]:
            return COUNT_MISMATCH
    if total != total:
        return COUNT_TOO_SMALL if observed > count else 0
    return 0 if observed == count else COUNT_MISMATCH
