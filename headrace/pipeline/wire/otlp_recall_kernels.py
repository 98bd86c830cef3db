# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that know a ResourceMetrics again: one that differs from an earlier one in nothing but times and values.

Times and values have eight bytes each on the wire, so they stay where they were as long as the sender names the same
points in the same order. Of a block that was read once its bytes are kept, with the ids of its points and the places of
their numbers. To recognise it is to compare all bytes but those.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, load_u64, prefetch
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.otlp_point_kernels import FIRST, SIZE
from headrace.pipeline.wire.protobuf_kernels import TRUNCATED, skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

WAYS = 4
"""Blocks that are compared, at most, for those that begin alike."""

# Columns of a block that is kept.
AT = 0
"""Where its bytes are kept."""
BYTES = 1
"""How many; -1 for a block that is forgotten."""
FIRST_POINT = 2
POINTS = 3
BLOCK = 4

# Columns of the places of a point's numbers, from the beginning of its block; -1 for none.
TIME, START, VALUE, FLAGS = 0, 1, 2, 3
PLACES = 4

# Columns of a block that was not recognised.
BEGIN = 0
"""Where it begins in the request, tag and length included."""
BODY = 1
END = 2
BEFORE = 3
"""Rows of recognised blocks before it."""
MARK = 4
"""What it is found by."""
WANTED = 5
"""Whether one that begins alike was not recognised before."""
MISSED = 6

UNUSUAL = -1
"""The request holds something beside blocks, or too many of them."""

CROWDED = -2
"""There is no room for all rows."""

_INTEGER, _STALE = np.uint8(1), np.uint8(2)
_STALE_BITS = np.uint64(0x7FF0000000000002)
_MAX_TIME = np.uint64(2**63 - 1)
_EXACT = np.int64(2**53)
_TAG_1, _TAG_2 = np.uint64(10), np.uint64(18)
_START, _TIME, _DOUBLE, _INT, _FLAGS = np.uint64(17), np.uint64(25), np.uint64(33), np.uint64(49), np.uint64(64)
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_STRIDE = 64
_AHEAD = 1024
"""How far before they are needed bytes are asked for: a block is long out of the caches when it comes again."""


@kernel
def recall(
    data: NDArray[np.uint8],
    seed: np.uint64,
    marks: NDArray[np.uint64],
    numbers: NDArray[np.int32],
    doors: NDArray[np.uint64],
    blocks: NDArray[np.int64],
    arena: NDArray[np.uint8],
    places: NDArray[np.int32],
    point_ids: NDArray[np.int32],
    ids: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    flags: NDArray[np.uint8],
    starts: NDArray[np.int64],
    missed: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Read the blocks of a request that are known.

    Args:
        data: The request, uint8.
        seed: Secret of `marks`.
        marks: (cells,) what blocks are found by; cells are a power of two, WAYS of them belong together.
        numbers: (cells,) rows of `blocks`, -1 for none.
        doors: (a power of two,) marks of blocks that were not recognised; takes those of this request.
        blocks: (b, BLOCK).
        arena: Bytes of the blocks.
        places: (p, PLACES) where the numbers of points are, and what their flags are.
        point_ids: (p,) ids of the points.
        ids: (room,) out.
        times: (room,) out, nanoseconds.
        values: (room,) out.
        flags: (room,) out, of `headrace.pipeline.batch.Flag`.
        starts: (room,) out, nanoseconds, 0 for unknown.
        missed: (most, MISSED) out, blocks that are not known.
        counts: (3,) out: rows, blocks that are not known, and, added up over all calls, those again.

    Returns:
        0, UNUSUAL or CROWDED.
    """
    n = len(data)
    counts[0] = 0
    counts[1] = 0
    p = 0
    while p < n:
        begin = p
        tag, p = varint(data, p, n)
        if p < 0 or tag != _TAG_1:
            return UNUSUAL
        p, end = span(data, p, n)
        if p < 0:
            return UNUSUAL
        mark = _mark(data, p, end, seed)
        found = np.int64(-1)
        first = np.int64(mark & np.uint64(len(marks) - WAYS))
        for cell in range(first, first + WAYS):
            block = np.int64(numbers[cell])
            if block < 0 or marks[cell] != mark or blocks[block, BYTES] != end - p:
                continue
            if counts[0] + blocks[block, POINTS] > len(ids):
                return CROWDED
            if _take(
                data, p, blocks[block], arena, places, point_ids, ids, times, values, flags, starts, counts[0]
            ):  # fmt: skip
                found = block
                break
        if found >= 0:
            counts[0] += blocks[found, POINTS]
        else:
            m = counts[1]
            if m == len(missed):
                return UNUSUAL
            missed[m, BEGIN] = begin
            missed[m, BODY] = p
            missed[m, END] = end
            missed[m, BEFORE] = counts[0]
            missed[m, MARK] = np.int64(mark)
            missed[m, WANTED] = _knock(doors, mark, counts[2])
            counts[1] = m + 1
            counts[2] += 1
        p = end
    return 0


@kernel
def _knock(doors: NDArray[np.uint64], mark: np.uint64, turn: int) -> bool:
    """Return whether a mark was noted before, and note it.

    There are two doors for each, taken by turns: marks that share one do not keep each other out for ever.
    """
    last = np.uint64(len(doors) - 1)
    one = np.int64(mark & last)
    other = np.int64(mark >> np.uint64(32) & last)
    if doors[one] == mark or doors[other] == mark:
        return True
    doors[one if turn & 1 else other] = mark
    return False


@kernel
def _take(
    data: NDArray[np.uint8],
    p: int,
    block: NDArray[np.int64],
    arena: NDArray[np.uint8],
    places: NDArray[np.int32],
    point_ids: NDArray[np.int32],
    ids: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    flags: NDArray[np.uint8],
    starts: NDArray[np.int64],
    k: int,
) -> bool:
    """Write the rows of the block at `p` from row `k` on; return whether it is the one that is kept."""
    at = block[AT]
    first = block[FIRST_POINT]
    # How far the bytes are the same. They are read once, from the beginning to the end: memory is what this waits for.
    done = np.int64(0)
    for i in range(first, first + block[POINTS]):
        for line in range(_AHEAD, _AHEAD + 256, 64):
            prefetch(arena, at + done + line)
            prefetch(data, p + done + line)
        start = np.uint64(0)
        place = np.int64(places[i, START])
        if place >= 0:
            if not _same(data, p + done, arena, at + done, place - done):
                return False
            start = load_u64(data, p + place)
            done = place + 8
        place = np.int64(places[i, TIME])
        if not _same(data, p + done, arena, at + done, place - done):
            return False
        time = load_u64(data, p + place)
        done = place + 8
        if time == np.uint64(0) or time > _MAX_TIME:
            return False
        flag = np.uint8(places[i, FLAGS])
        bits = _STALE_BITS
        place = np.int64(places[i, VALUE])
        if place >= 0:
            if not _same(data, p + done, arena, at + done, place - done):
                return False
            if not flag & _STALE:
                bits = load_u64(data, p + place)
            done = place + 8
        if flag & _INTEGER:
            integer = np.int64(bits)
            if integer > _EXACT or integer < -_EXACT:
                return False
            values[k] = np.float64(integer)
        else:
            values[k] = bits_float(bits)
            if bits == _STALE_BITS:
                flag |= _STALE
        ids[k] = point_ids[i]
        times[k] = np.int64(time)
        starts[k] = np.int64(start) if start <= _MAX_TIME else 0
        flags[k] = flag
        k += 1
    return _same(data, p + done, arena, at + done, block[BYTES] - done)


@kernel
def _same(a: NDArray[np.uint8], p: int, b: NDArray[np.uint8], q: int, size: int) -> bool:
    """Return whether two ranges hold the same bytes."""
    i = 0
    while i + _STRIDE <= size:
        different = np.uint64(0)
        for j in range(0, _STRIDE, 8):
            different |= load_u64(a, p + i + j) ^ load_u64(b, q + i + j)
        if different != np.uint64(0):
            return False
        i += _STRIDE
    different = np.uint64(0)
    while i + 8 <= size:
        different |= load_u64(a, p + i) ^ load_u64(b, q + i)
        i += 8
    if size >= 8:
        # The last bytes, some of them once more.
        return different | (load_u64(a, p + size - 8) ^ load_u64(b, q + size - 8)) == np.uint64(0)
    while i < size:
        if a[p + i] != b[q + i]:
            return False
        i += 1
    return True


@kernel
def _mark(data: NDArray[np.uint8], p: int, end: int, seed: np.uint64) -> np.uint64:
    """Return what a block is found by: its length, its resource, and the name of its first metric.

    Marks of different blocks may be equal; blocks are compared.
    """
    mark = seed ^ (np.uint64(end - p) * _PRIME)
    tag, p = varint(data, p, end)
    if p < 0 or tag != _TAG_1:
        return mark
    p, last = span(data, p, end)
    if p < 0:
        return mark
    mark = _fold(data, p, last, mark)
    # ScopeMetrics, Scope, Metric, its name.
    p = last
    for level in range(4):
        tag, p = varint(data, p, end)
        if p < 0 or tag != (_TAG_1 if level & 1 else _TAG_2):
            return mark
        p, last = span(data, p, end)
        if p < 0:
            return mark
        if level == 1:
            p = last
    return _fold(data, p, last, mark)


@kernel
def _fold(data: NDArray[np.uint8], p: int, end: int, mark: np.uint64) -> np.uint64:
    """Mix bytes into a mark."""
    while p + 8 <= end:
        mark = (mark ^ load_u64(data, p)) * _PRIME
        mark ^= mark >> _SHIFT
        p += 8
    while p < end:
        mark = (mark ^ np.uint64(data[p])) * _PRIME
        mark ^= mark >> _SHIFT
        p += 1
    return mark


@kernel
def find_places(buf: NDArray[np.uint8], rows: NDArray[np.int32], begin: int, out: NDArray[np.int32]) -> int:
    """Find the numbers of points that were read.

    Args:
        buf: The request, padded.
        rows: (k, ROW) number points.
        begin: Where their block begins.
        out: (k, PLACES).

    Returns:
        0, or a negative number where a point names a number twice or not at all, or in an order that no sender has:
        then the block cannot be recalled.
    """
    for i in range(len(rows)):
        p = np.int64(rows[i, FIRST])
        end = p + rows[i, SIZE]
        for column in range(PLACES):
            out[i, column] = -1
        integer = False
        bits = np.uint64(0)
        while p < end:
            tag, p = varint(buf, p, end)
            if p < 0:
                return TRUNCATED
            column = TIME if tag == _TIME else START if tag == _START else -1
            if tag in (_DOUBLE, _INT):
                column = VALUE
                integer = tag == _INT
            if column >= 0:
                if out[i, column] >= 0:
                    return UNUSUAL
                out[i, column] = np.int32(p - begin)
            if tag == _FLAGS:
                bits = varint(buf, p, end)[0]
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return TRUNCATED
        stale = bits & np.uint64(1) != np.uint64(0)
        if out[i, TIME] < 0 or (out[i, VALUE] < 0 and not stale):
            return UNUSUAL
        if out[i, START] > out[i, TIME] or (out[i, VALUE] >= 0 and out[i, VALUE] < out[i, TIME]):
            return UNUSUAL
        out[i, FLAGS] = np.int32(_STALE if stale else _INTEGER if integer else 0)
    return 0
