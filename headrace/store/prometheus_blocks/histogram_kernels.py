# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of Prometheus' chunks of native histograms.

Source:
    Prometheus, tsdb/docs/format/chunks.md, "Histogram chunk data" and "Float histogram chunk data".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.bits import bits_float
from headrace.kernels.jit import kernel
from headrace.store.prometheus_blocks.bit_stream_kernels import (
    read_bits,
    read_signed,
    read_unsigned,
    read_xor,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

FINE = 0
BITS = 4

# Columns of a layout.
SAMPLES_AT = 0
RESETS = 1
SCHEMA = 2
POSITIVE_SPANS = 3
NEGATIVE_SPANS = 4
POSITIVE_BUCKETS = 5
NEGATIVE_BUCKETS = 6
BOUNDS = 7
SPANS_AT = 8
BOUNDS_AT = 9
LAYOUT = 10

_ZERO_OFFSET = 243
_STALE = np.uint64(0x7FF0000000000002)
_FLOAT_COUNTS = 1
_STALE_FLAG = 2
_UNKNOWN = 0
_RESET = 1
_NOT_RESET = 2
_GAUGE = 3


class Rows(NamedTuple):
    """Columns of decoded histograms, as `NativeHistograms` has them; `sizes` (4,) int64 counts what is filled.

    Counts of `sizes`: rows, spans, buckets, bounds. Where `times` is empty only these are counted.
    """

    sizes: NDArray[np.int64]
    owner: NDArray[np.int64]
    times: NDArray[np.int64]
    flags: NDArray[np.uint8]
    hint: NDArray[np.uint8]
    schema: NDArray[np.int8]
    zero_threshold: NDArray[np.float64]
    zero_count: NDArray[np.uint64]
    count: NDArray[np.uint64]
    sum: NDArray[np.float64]
    positive_spans: NDArray[np.int32]
    span_sizes: NDArray[np.int64]
    spans: NDArray[np.int32]
    bucket_sizes: NDArray[np.int64]
    buckets: NDArray[np.uint64]
    bound_sizes: NDArray[np.int64]
    bounds: NDArray[np.float64]


@kernel
def _spans(buf: NDArray[np.uint8], at: int, end: int) -> tuple[int, int, int]:
    """Return the position behind a list of spans, how many they are and their buckets; bits bound them all."""
    at, n = read_unsigned(buf, at, end)
    if at < 0 or n > np.uint64(end - at):
        return np.int64(-1), np.int64(0), np.int64(0)
    buckets = np.int64(0)
    for _ in range(np.int64(n)):
        at, length = read_unsigned(buf, at, end)
        if at < 0 or length > np.uint64(end):
            return np.int64(-1), np.int64(0), np.int64(0)
        at, _offset = read_signed(buf, at, end)
        buckets += np.int64(length)
        if at < 0 or buckets > end:
            return np.int64(-1), np.int64(0), np.int64(0)
    return at, np.int64(n), buckets


@kernel
def _bound(buf: NDArray[np.uint8], at: int, end: int) -> tuple[int, np.float64]:
    """Return the position behind a custom bound, and the bound."""
    if at < end and read_bits(buf, at, 1) == np.uint64(0):
        if at + 65 > end:
            return np.int64(-1), np.float64(0.0)
        return np.int64(at + 65), bits_float(read_bits(buf, at + 1, 64))
    at, raw = read_unsigned(buf, at, end)
    return at, np.float64(np.int64(raw) - 1) / 1000.0


@kernel
def lay_out(
    buf: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], thresholds: NDArray[np.float64],
    layouts: NDArray[np.int64], faults: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Read the beginnings of chunks: what all their samples have in common.

    Args:
        buf: The segment.
        starts: (n,) int64 from `xor_kernels.locate`; so are the next.
        ends: (n,) int64.
        thresholds: (n,) float64 out: zero thresholds.
        layouts: (n, LAYOUT) int64 out; places are in bits.
        faults: (n,) uint8 out: FINE or BITS.

    Returns:
        How many have a fault.
    """
    bad = 0
    for i in range(len(starts)):
        faults[i] = _lay_out_one(buf, starts[i], ends[i], i, thresholds, layouts[i])
        bad += faults[i] != FINE
    return bad


@kernel
def _lay_out_one(
    buf: NDArray[np.uint8], pos: int, stop: int, i: int, thresholds: NDArray[np.float64], layout: NDArray[np.int64]
) -> int:
    layout[:] = 0
    thresholds[i] = 0.0
    end = np.int64(8 * stop)
    if pos + 4 > stop:
        return BITS
    layout[RESETS] = np.int64(buf[pos + 2]) >> 6
    kind = np.int64(buf[pos + 3])
    at = np.int64(8 * (pos + 4))
    if kind == 255:
        if at + 64 > end:
            return BITS
        thresholds[i] = bits_float(read_bits(buf, at, 64))
        at += 64
    elif kind:
        # An exponent of two: 2**(kind - 244), whose biased exponent is at least 780.
        thresholds[i] = bits_float(np.uint64(kind - 1 - _ZERO_OFFSET + 1023) << np.uint64(52))
    at, schema = read_signed(buf, at, end)
    if at < 0 or not (-4 <= schema <= 8 or schema == -53):
        return BITS
    layout[SCHEMA] = schema
    layout[SPANS_AT] = at
    at, layout[POSITIVE_SPANS], layout[POSITIVE_BUCKETS] = _spans(buf, at, end)
    if at < 0:
        return BITS
    at, layout[NEGATIVE_SPANS], layout[NEGATIVE_BUCKETS] = _spans(buf, at, end)
    if at < 0:
        return BITS
    if schema == -53:
        at, bounds = read_unsigned(buf, at, end)
        if at < 0 or bounds > np.uint64(end - at):
            return BITS
        layout[BOUNDS], layout[BOUNDS_AT] = np.int64(bounds), at
        for _ in range(np.int64(bounds)):
            at, _value = _bound(buf, at, end)
            if at < 0:
                return BITS
    layout[SAMPLES_AT] = at
    return FINE


@kernel
def _hint(resets: int, sample: int) -> int:
    if resets == 3:
        return _GAUGE
    if sample:
        return _NOT_RESET
    return _RESET if resets == 2 else _UNKNOWN


@kernel
def _put_layout(buf: NDArray[np.uint8], end: int, layout: NDArray[np.int64], rows: Rows, row: int) -> None:
    """Write the spans and bounds of one sample."""
    at = layout[SPANS_AT]
    place = rows.sizes[1]
    for side in range(2):
        at, n = read_unsigned(buf, at, end)
        for _ in range(np.int64(n)):
            at, length = read_unsigned(buf, at, end)
            at, offset = read_signed(buf, at, end)
            rows.spans[place, 0], rows.spans[place, 1] = offset, np.int64(length)
            place += 1
        if side == 0:
            rows.positive_spans[row] = n
    at = layout[BOUNDS_AT]
    for k in range(layout[BOUNDS]):
        at, rows.bounds[rows.sizes[3] + k] = _bound(buf, at, end)


@kernel
def _put(
    buf: NDArray[np.uint8], end: int, layout: NDArray[np.int64], threshold: float, resets: int, rows: Rows,
    counts: NDArray[np.uint64], sample: int, time: int, flags: int, chunk: int,
) -> None:  # fmt: skip
    """Write one sample, or count it; `counts` holds count, zero count, the bits of the sum, and the buckets."""
    row = rows.sizes[0]
    stale = counts[2] == _STALE
    buckets = np.int64(0) if stale else layout[POSITIVE_BUCKETS] + layout[NEGATIVE_BUCKETS]
    spans = np.int64(0) if stale else layout[POSITIVE_SPANS] + layout[NEGATIVE_SPANS]
    bounds = np.int64(0) if stale else layout[BOUNDS]
    if len(rows.times):
        rows.owner[row], rows.times[row], rows.sum[row] = chunk, time, bits_float(counts[2])
        rows.span_sizes[row], rows.bucket_sizes[row], rows.bound_sizes[row] = spans, buckets, bounds
        rows.flags[row] = flags | (_STALE_FLAG if stale else 0)
        rows.hint[row], rows.schema[row], rows.zero_threshold[row] = _UNKNOWN, 0, 0.0
        rows.count[row], rows.zero_count[row], rows.positive_spans[row] = np.uint64(0), np.uint64(0), 0
        if not stale:
            rows.hint[row], rows.schema[row] = _hint(resets, sample), layout[SCHEMA]
            rows.zero_threshold[row], rows.count[row], rows.zero_count[row] = threshold, counts[0], counts[1]
            _put_layout(buf, end, layout, rows, row)
            for k in range(buckets):
                rows.buckets[rows.sizes[2] + k] = counts[3 + k]
    rows.sizes[0] += 1
    rows.sizes[1] += spans
    rows.sizes[2] += buckets
    rows.sizes[3] += bounds


@kernel
def _integer_chunk(
    buf: NDArray[np.uint8], end: int, n: int, layout: NDArray[np.int64], threshold: float, rows: Rows,
    room: NDArray[np.int64], counts: NDArray[np.uint64], chunk: int,
) -> int:  # fmt: skip
    """Decode a chunk of integer histograms; `room` is (2, k) int64: values and their last steps."""
    at = layout[SAMPLES_AT]
    positive = layout[POSITIVE_BUCKETS]
    buckets = positive + layout[NEGATIVE_BUCKETS]
    values, steps = room[0], room[1]
    time = np.int64(0)
    time_step = np.int64(0)
    leading = np.int64(0)
    trailing = np.int64(0)
    bits = np.uint64(0)
    for i in range(n):
        if i == 1:
            at, raw = read_unsigned(buf, at, end)
            time_step = np.int64(raw)
        else:
            at, change = read_signed(buf, at, end)
            if i:
                time_step += change
            else:
                time = change
        if at < 0:
            return BITS
        time += time_step if i else 0
        for k in range(2):
            if i == 0:
                at, raw = read_unsigned(buf, at, end)
                values[k], steps[k] = np.int64(raw), 0
            else:
                at, change = read_signed(buf, at, end)
                steps[k] = change if i == 1 else steps[k] + change
                values[k] += steps[k]
            if at < 0:
                return BITS
        if i:
            at, bits, leading, trailing = read_xor(buf, at, end, bits, leading, trailing)
        else:
            bits = read_bits(buf, at, 64)
            at = at + 64 if at + 64 <= end else np.int64(-1)
        if at < 0:
            return BITS
        counts[0], counts[1], counts[2] = np.uint64(values[0]), np.uint64(values[1]), bits
        running = np.int64(0)
        for k in range(buckets if bits != _STALE or i == 0 else 0):
            at, change = read_signed(buf, at, end)
            if at < 0:
                return BITS
            if i == 0:
                values[2 + k], steps[2 + k] = change, 0
            else:
                steps[2 + k] = change if i == 1 else steps[2 + k] + change
                values[2 + k] += steps[2 + k]
            running = values[2 + k] + (running if k != positive else 0)
            counts[3 + k] = np.uint64(running)
        _put(buf, end, layout, threshold, layout[RESETS], rows, counts, i, time, 0, chunk)
    return FINE


@kernel
def _float_chunk(
    buf: NDArray[np.uint8], end: int, n: int, layout: NDArray[np.int64], threshold: float, rows: Rows,
    room: NDArray[np.int64], counts: NDArray[np.uint64], chunk: int,
) -> int:  # fmt: skip
    """Decode a chunk of float histograms; `room` is (2, k) int64: leading and trailing zeros of each double."""
    at = layout[SAMPLES_AT]
    buckets = layout[POSITIVE_BUCKETS] + layout[NEGATIVE_BUCKETS]
    leading, trailing = room[0], room[1]
    time = np.int64(0)
    step = np.int64(0)
    for i in range(n):
        if i == 1:
            at, raw = read_unsigned(buf, at, end)
            step = np.int64(raw)
        else:
            at, change = read_signed(buf, at, end)
            if i:
                step += change
            else:
                time = change
        if at < 0:
            return BITS
        time += step if i else 0
        for k in range(3 + buckets):
            if k == 3 and i and counts[2] == _STALE:
                break
            if i == 0:
                counts[k], leading[k], trailing[k] = read_bits(buf, at, 64), 0, 0
                at = at + 64 if at + 64 <= end else np.int64(-1)
            else:
                at, counts[k], leading[k], trailing[k] = read_xor(buf, at, end, counts[k], leading[k], trailing[k])
            if at < 0:
                return BITS
        _put(buf, end, layout, threshold, layout[RESETS], rows, counts, i, time, _FLOAT_COUNTS, chunk)
    return FINE


@kernel
def decode(
    buf: NDArray[np.uint8], ends: NDArray[np.int64], counts: NDArray[np.int64], is_float: NDArray[np.bool_],
    layouts: NDArray[np.int64], thresholds: NDArray[np.float64], numbers: NDArray[np.int64], rows: Rows,
    room: NDArray[np.int64], scratch: NDArray[np.uint64], faults: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Decode chunks of histograms that `lay_out` has read the beginnings of.

    Args:
        buf: The segment.
        ends: (n,) int64 from `xor_kernels.locate`.
        counts: (n,) int64 from there.
        is_float: (n,) bool: their counts are doubles.
        layouts: (n, LAYOUT) int64 from `lay_out`.
        thresholds: (n,) float64 from `lay_out`.
        numbers: (n,) int64: what `owner` says of the samples of each.
        rows: Out; empty columns to only count.
        room: (2, 3 + most buckets) int64 to work in.
        scratch: (3 + most buckets,) uint64 to work in.
        faults: (n,) uint8 out: FINE or BITS.

    Returns:
        How many have a fault.
    """
    bad = 0
    for i in range(len(ends)):
        end = np.int64(8 * ends[i])
        if is_float[i]:
            faults[i] = _float_chunk(
                buf, end, counts[i], layouts[i], thresholds[i], rows, room, scratch, numbers[i]
            )  # fmt: skip
        else:
            faults[i] = _integer_chunk(
                buf, end, counts[i], layouts[i], thresholds[i], rows, room, scratch, numbers[i]
            )  # fmt: skip
        bad += faults[i] != FINE
    return bad
