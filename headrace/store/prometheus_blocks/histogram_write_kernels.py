# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write native histograms as Prometheus' chunks; the other way round in `histogram_kernels`.

Source:
    Prometheus, tsdb/docs/format/chunks.md, "Histogram chunk data" and "Float histogram chunk data".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.bits import bits_float, float_bits
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.prometheus_blocks.bit_write_kernels import (
    NO_WINDOW,
    put_bits,
    put_signed,
    put_unsigned,
    put_xor,
)
from headrace.store.prometheus_blocks.chunk_write_kernels import put_chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SAMPLES = 120
"""Samples of a chunk."""

INTEGERS = 2
FLOATS = 3

_FLOAT_COUNTS = 1
_STALE = 2
_CUSTOM = -53
_EXPONENT = 779
"""What a power of two's biased exponent is above the byte that stands for it."""

_MOST_THOUSANDTHS = 33554430.0

# Hints of histograms, and what chunks begin with.
_UNKNOWN = 0
_RESET = 1
_NOT_RESET = 2
_GAUGE = 3
_HEAD_NOT_RESET = 1
_HEAD_RESET = 2
_HEAD_GAUGE = 3


class Columns(NamedTuple):
    """Columns of `NativeHistograms`."""

    time_ms: NDArray[np.int64]
    flags: NDArray[np.uint8]
    hint: NDArray[np.uint8]
    schema: NDArray[np.int8]
    zero_threshold: NDArray[np.float64]
    zero_count: NDArray[np.uint64]
    count: NDArray[np.uint64]
    sum: NDArray[np.float64]
    span_starts: NDArray[np.int64]
    positive_spans: NDArray[np.int32]
    spans: NDArray[np.int32]
    bucket_starts: NDArray[np.int64]
    buckets: NDArray[np.uint64]
    bound_starts: NDArray[np.int64]
    bounds: NDArray[np.float64]


@kernel
def _alike(rows: Columns, a: int, b: int) -> bool:
    """Return whether two rows can stand in one chunk as far as their buckets are concerned."""
    if rows.flags[a] != rows.flags[b] or rows.flags[b] & _STALE or rows.schema[a] != rows.schema[b]:
        return False
    if rows.zero_threshold[a] != rows.zero_threshold[b] or rows.positive_spans[a] != rows.positive_spans[b]:
        return False
    i, j = rows.span_starts[a], rows.span_starts[b]
    if rows.span_starts[a + 1] - i != rows.span_starts[b + 1] - j:
        return False
    for k in range(rows.span_starts[a + 1] - i):
        if rows.spans[i + k, 0] != rows.spans[j + k, 0] or rows.spans[i + k, 1] != rows.spans[j + k, 1]:
            return False
    i, j = rows.bound_starts[a], rows.bound_starts[b]
    if rows.bound_starts[a + 1] - i != rows.bound_starts[b + 1] - j:
        return False
    for k in range(rows.bound_starts[a + 1] - i):
        if rows.bounds[i + k] != rows.bounds[j + k]:
            return False
    return True


@kernel
def _less(a: np.uint64, b: np.uint64, is_float: bool) -> bool:
    return bits_float(a) < bits_float(b) if is_float else a < b


@kernel
def _fell(rows: Columns, a: int, b: int) -> bool:
    """Return whether any count of row b is below that of row a, which has the same buckets."""
    is_float = rows.flags[a] & _FLOAT_COUNTS != 0
    if _less(rows.count[b], rows.count[a], is_float) or _less(rows.zero_count[b], rows.zero_count[a], is_float):
        return True
    i, j = rows.bucket_starts[a], rows.bucket_starts[b]
    for k in range(rows.bucket_starts[a + 1] - i):
        if _less(rows.buckets[j + k], rows.buckets[i + k], is_float):
            return True
    return False


@kernel
def cut(
    rows: Columns, offsets: NDArray[np.int64], breaks: NDArray[np.bool_], starts: NDArray[np.int64],
    heads: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Find where chunks have to begin, and what they say about resets.

    A chunk holds samples with the same buckets, without a reset between them.

    Args:
        rows: n histograms.
        offsets: (s + 1,) int64: histograms of series i are ``offsets[i]:offsets[i + 1]``.
        breaks: (n,) bool: a chunk has to begin here for another reason.
        starts: (n,) int64 out: first rows of chunks.
        heads: (n,) uint8 out: the two bits that each begins with.

    Returns:
        How many chunks there are.
    """
    chunks = np.int64(0)
    for series in range(len(offsets) - 1):
        for row in range(offsets[series], offsets[series + 1]):
            hint = rows.hint[row]
            head = _HEAD_GAUGE if hint == _GAUGE else _HEAD_RESET if hint == _RESET else 0
            if hint == _NOT_RESET:
                head = _HEAD_NOT_RESET
            begins = row == offsets[series] or breaks[row] or hint == _RESET
            if row > offsets[series] and _alike(rows, row - 1, row):
                if hint == _UNKNOWN:
                    head = _HEAD_RESET if _fell(rows, row - 1, row) else _HEAD_NOT_RESET
                begins |= head == _HEAD_RESET or (hint == _GAUGE) != (rows.hint[row - 1] == _GAUGE)
                begins |= row - starts[chunks - 1] >= MAX_SAMPLES
            else:
                begins = True
            if begins:
                starts[chunks], heads[chunks] = row, head
                chunks += 1
    return chunks


@kernel
def _put_threshold(data: NDArray[np.uint8], at: int, threshold: float) -> int:
    bits = float_bits(threshold)
    kind = np.int64(bits >> np.uint64(52)) - _EXPONENT
    if bits == np.uint64(0):
        return put_bits(data, at, bits, 8)
    if bits << np.uint64(12) == np.uint64(0) and 1 <= kind <= 254:
        return put_bits(data, at, np.uint64(kind), 8)
    return put_bits(data, put_bits(data, at, np.uint64(255), 8), bits, 64)


@kernel
def _put_bound(data: NDArray[np.uint8], at: int, bound: float) -> int:
    thousandths = bound * 1000.0
    if 0.0 <= thousandths <= _MOST_THOUSANDTHS:
        whole = np.floor(thousandths + 0.5)
        if whole / 1000.0 == bound:
            return put_unsigned(data, at, np.uint64(whole) + np.uint64(1))
    return put_bits(data, put_bits(data, at, np.uint64(0), 1), float_bits(bound), 64)


@kernel
def _put_layout(rows: Columns, row: int, count: int, head: int, data: NDArray[np.uint8]) -> int:
    """Write what all samples of a chunk have in common; return the bit behind it."""
    at = put_bits(data, 0, np.uint64(count), 16)
    at = put_bits(data, at, np.uint64(head) << np.uint64(6), 8)
    at = _put_threshold(data, at, rows.zero_threshold[row])
    at = put_signed(data, at, np.int64(rows.schema[row]))
    middle = rows.span_starts[row] + rows.positive_spans[row]
    for side in range(2):
        first = middle if side else rows.span_starts[row]
        until = rows.span_starts[row + 1] if side else middle
        at = put_unsigned(data, at, np.uint64(until - first))
        for k in range(first, until):
            at = put_unsigned(data, at, np.uint64(rows.spans[k, 1]))
            at = put_signed(data, at, np.int64(rows.spans[k, 0]))
    if rows.schema[row] == _CUSTOM:
        at = put_unsigned(data, at, np.uint64(rows.bound_starts[row + 1] - rows.bound_starts[row]))
        for k in range(rows.bound_starts[row], rows.bound_starts[row + 1]):
            at = _put_bound(data, at, rows.bounds[k])
    return at


@kernel
def _put_time(rows: Columns, row: int, first: int, data: NDArray[np.uint8], at: int) -> int:
    times = rows.time_ms
    if row == first:
        return put_signed(data, at, times[row])
    if row == first + 1:
        return put_unsigned(data, at, np.uint64(times[row] - times[row - 1]))
    return put_signed(data, at, times[row] - 2 * times[row - 1] + times[row - 2])


@kernel
def _positive_buckets(rows: Columns, row: int) -> int:
    total = np.int64(0)
    for k in range(rows.span_starts[row], rows.span_starts[row] + rows.positive_spans[row]):
        total += rows.spans[k, 1]
    return total


@kernel
def _put_integers(
    rows: Columns, first: int, until: int, data: NDArray[np.uint8], at: int, room: NDArray[np.int64]
) -> int:
    """Write samples with integer counts; `room` is (2, k) int64: values and their last steps."""
    split = _positive_buckets(rows, first)
    values, steps = room[0], room[1]
    leading, trailing, before = np.int64(NO_WINDOW), np.int64(0), np.uint64(0)
    for row in range(first, until):
        begin = rows.bucket_starts[row]
        at = _put_time(rows, row, first, data, at)
        for k in range(2 + rows.bucket_starts[row + 1] - begin):
            if k < 2:
                now = np.int64(rows.zero_count[row] if k else rows.count[row])
            else:
                now = np.int64(rows.buckets[begin + k - 2])
                if k > 2 and k - 2 != split:
                    now -= np.int64(rows.buckets[begin + k - 3])
            step = now - values[k]
            if row == first and k < 2:
                at = put_unsigned(data, at, np.uint64(now))
            else:
                at = put_signed(data, at, now if row == first else step if row == first + 1 else step - steps[k])
            values[k], steps[k] = now, step
            if k == 1:
                bits = float_bits(rows.sum[row])
                if row == first:
                    at = put_bits(data, at, bits, 64)
                else:
                    at, leading, trailing = put_xor(data, at, bits, before, leading, trailing)
                before = bits
    return at


@kernel
def _put_floats(
    rows: Columns, first: int, until: int, data: NDArray[np.uint8], at: int, room: NDArray[np.int64]
) -> int:
    """Write samples with float counts; `room` is (2, k) int64: the window of each double."""
    for row in range(first, until):
        begin = rows.bucket_starts[row]
        last = rows.bucket_starts[row - 1] if row > first else begin
        at = _put_time(rows, row, first, data, at)
        for k in range(3 + rows.bucket_starts[row + 1] - begin):
            bits, before = np.uint64(0), np.uint64(0)
            if k == 0:
                bits, before = rows.count[row], rows.count[max(row - 1, 0)]
            elif k == 1:
                bits, before = rows.zero_count[row], rows.zero_count[max(row - 1, 0)]
            elif k == 2:
                bits, before = float_bits(rows.sum[row]), float_bits(rows.sum[max(row - 1, 0)])
            else:
                bits, before = rows.buckets[begin + k - 3], rows.buckets[last + k - 3]
            if row == first:
                at = put_bits(data, at, bits, 64)
                room[0, k], room[1, k] = NO_WINDOW, 0
            else:
                at, room[0, k], room[1, k] = put_xor(data, at, bits, before, room[0, k], room[1, k])
    return at


@kernel
def write_chunks(
    rows: Columns, starts: NDArray[np.int64], ends: NDArray[np.int64], heads: NDArray[np.uint8],
    room: NDArray[np.int64], data: NDArray[np.uint8], out: NDArray[np.uint8], bounds: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write chunks of histograms, each as a message ``Chunk`` with its tag.

    Args:
        rows: Histograms.
        starts: (n,) int64 first row of each chunk, from `cut`.
        ends: (n,) int64 one past the last.
        heads: (n,) uint8 from `cut`.
        room: (2, 3 + most buckets) int64 to work in.
        data: Room for one chunk: 64 bytes, 20 a span, 10 a bound and, for each row, 9 a bucket and 48.
        out: Room for all, and 48 bytes more for each.
        bounds: (n + 1,) int64 out: where each message begins in `out`, and where the last one ends.

    Returns:
        The bytes written.
    """
    p = np.int64(0)
    bounds[0] = 0
    for i in range(len(starts)):
        first, until = starts[i], ends[i]
        at = _put_layout(rows, first, until - first, np.int64(heads[i]), data)
        encoding = FLOATS if rows.flags[first] & _FLOAT_COUNTS else INTEGERS
        if encoding == FLOATS:
            at = _put_floats(rows, first, until, data, at, room)
        else:
            at = _put_integers(rows, first, until, data, at, room)
        p = put_chunk(out, p, rows.time_ms[first], rows.time_ms[until - 1], encoding, data, (at + 7) >> 3)
        bounds[i + 1] = p
    return p
