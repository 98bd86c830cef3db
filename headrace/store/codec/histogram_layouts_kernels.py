# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Which buckets the histograms of a chunk have: their layouts, walked side by side.

The histograms of a series gain buckets as they see new values. A chunk therefore holds a few layouts, and one column
for each bucket that any of them has: in ascending order of index, the positive ones first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import kernel
from headrace.store.codec.integers_kernels import CORRUPT
from headrace.store.codec.varint_kernels import get_varint, put_varint, unzigzag, zigzag

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LAYOUTS = 32
"""Most layouts of a chunk."""

# Columns of the table of layouts.
FIRST = 0
"""Its first span."""
POSITIVE = 1
"""One past its last positive span."""
END = 2
"""One past its last span."""
SIZE = 3
"""Its buckets."""
HERE = 4
"""Whether it has the bucket that the walk is at."""
USED = 5
"""Its buckets that the walk has passed."""
_AT = 6
_LIMIT = 7
_INDEX = 8
_LEFT = 9
FIELDS = 10

_NONE = np.int64(1) << np.int64(62)
_MAX_OFFSET = np.int64((1 << 31) - 1)
_MAX_LENGTH = np.uint64((1 << 31) - 1)


@kernel
def add_layout(layouts: NDArray[np.int64], number: int, first: int, positive: int, end: int, size: int) -> None:
    """Write row `number` of the table: spans ``first:positive`` and ``positive:end``, buckets."""
    layouts[number, FIRST] = first
    layouts[number, POSITIVE] = positive
    layouts[number, END] = end
    layouts[number, SIZE] = size


@kernel
def same_spans(
    spans: NDArray[np.int32], first: int, positive: int, end: int, layouts: NDArray[np.int64], number: int
) -> bool:
    """Return whether layout `number` has exactly these spans."""
    start = layouts[number, FIRST]
    if layouts[number, END] - start != end - first or layouts[number, POSITIVE] - start != positive - first:
        return False
    for i in range(end - first):
        if spans[first + i, 0] != spans[start + i, 0] or spans[first + i, 1] != spans[start + i, 1]:
            return False
    return True


@kernel
def _settle(layouts: NDArray[np.int64], number: int, spans: NDArray[np.int32]) -> None:
    """Go to the next span that has buckets, where the present one is used up."""
    while layouts[number, _LEFT] == 0 and layouts[number, _AT] < layouts[number, _LIMIT]:
        at = layouts[number, _AT]
        layouts[number, _INDEX] += np.int64(spans[at, 0])
        layouts[number, _LEFT] = np.int64(spans[at, 1])
        layouts[number, _AT] = at + 1


@kernel
def rewind(layouts: NDArray[np.int64], count: int, spans: NDArray[np.int32], negative: bool) -> None:
    """Begin a walk over the buckets of one sign; the positive ones go first."""
    for i in range(count):
        layouts[i, _AT] = layouts[i, POSITIVE] if negative else layouts[i, FIRST]
        layouts[i, _LIMIT] = layouts[i, END] if negative else layouts[i, POSITIVE]
        layouts[i, _INDEX] = 0
        layouts[i, _LEFT] = 0
        if not negative:
            layouts[i, USED] = 0
        _settle(layouts, i, spans)


@kernel
def find_bucket(layouts: NDArray[np.int64], count: int) -> bool:
    """Mark who has the lowest bucket that is not passed; False where none is left."""
    lowest = _NONE
    for i in range(count):
        if layouts[i, _LEFT] > 0:
            lowest = min(lowest, layouts[i, _INDEX])
    for i in range(count):
        layouts[i, HERE] = 1 if layouts[i, _LEFT] > 0 and layouts[i, _INDEX] == lowest else 0
    return lowest != _NONE


@kernel
def pass_bucket(layouts: NDArray[np.int64], count: int, spans: NDArray[np.int32]) -> None:
    """Pass the bucket that `find_bucket` has marked."""
    for i in range(count):
        if layouts[i, HERE] == 1:
            layouts[i, _INDEX] += 1
            layouts[i, _LEFT] -= 1
            layouts[i, USED] += 1
            _settle(layouts, i, spans)


@kernel
def count_buckets(layouts: NDArray[np.int64], count: int, spans: NDArray[np.int32]) -> int:
    """Return how many buckets all layouts have together."""
    if count == 1:
        return layouts[0, SIZE]
    total = 0
    for sign in range(2):
        rewind(layouts, count, spans, sign == 1)
        while find_bucket(layouts, count):
            total += 1
            pass_bucket(layouts, count, spans)
    return total


@kernel
def put_layouts(
    layouts: NDArray[np.int64], count: int, spans: NDArray[np.int32], out: NDArray[np.uint8], pos: int
) -> int:
    """Write the table; return the offset one past it."""
    pos = put_varint(out, pos, np.uint64(count))
    for i in range(count):
        pos = put_varint(out, pos, np.uint64(layouts[i, POSITIVE] - layouts[i, FIRST]))
        pos = put_varint(out, pos, np.uint64(layouts[i, END] - layouts[i, POSITIVE]))
        for k in range(layouts[i, FIRST], layouts[i, END]):
            pos = put_varint(out, pos, zigzag(np.int64(spans[k, 0])))
            pos = put_varint(out, pos, np.uint64(spans[k, 1]))
    return pos


@kernel
def _get_spans(
    buf: NDArray[np.uint8], pos: int, end: int, first: int, positive: int, last: int, spans: NDArray[np.int32]
) -> tuple[int, int]:
    """Read the spans of one layout; return its buckets and the offset one past it, -1 where it is corrupt."""
    size = np.int64(0)
    for k in range(first, last):
        raw, pos = get_varint(buf, pos, end)
        if pos < 0:
            return 0, CORRUPT
        offset = unzigzag(raw)
        length, pos = get_varint(buf, pos, end)
        if pos < 0 or length > _MAX_LENGTH or offset > _MAX_OFFSET or offset < -_MAX_OFFSET - 1:
            return 0, CORRUPT
        # Only the first span of a sign says where it begins; the others say how far they are from the one before.
        if offset < 0 and k not in (first, positive):
            return 0, CORRUPT
        size += np.int64(length)
        # Each bucket has a column of two bytes at least behind this.
        if size > end - pos:
            return 0, CORRUPT
        spans[k, 0] = offset
        spans[k, 1] = np.int64(length)
    return size, pos


@kernel
def get_layouts(
    buf: NDArray[np.uint8], pos: int, end: int, layouts: NDArray[np.int64], spans: NDArray[np.int32]
) -> tuple[int, int]:
    """Read a table; return its length and the offset one past it, CORRUPT instead where it does not read.

    Args:
        buf: uint8.
        pos: Where the table begins.
        end: One past what may belong to it.
        layouts: (MAX_LAYOUTS, FIELDS) int64 out.
        spans: ((end - pos) / 2 or more, 2) int32 out.
    """
    raw, pos = get_varint(buf, pos, end)
    if pos < 0 or raw < np.uint64(1) or raw > np.uint64(MAX_LAYOUTS):
        return 0, CORRUPT
    count = np.int64(raw)
    at = 0
    for i in range(count):
        positive, pos = get_varint(buf, pos, end)
        if pos < 0 or positive > np.uint64(end - pos):
            return 0, CORRUPT
        negative, pos = get_varint(buf, pos, end)
        if pos < 0 or negative > np.uint64(end - pos):
            return 0, CORRUPT
        middle = at + np.int64(positive)
        last = middle + np.int64(negative)
        if 2 * (last - at) > end - pos:
            return 0, CORRUPT
        size, pos = _get_spans(buf, pos, end, at, middle, last, spans)
        if pos < 0:
            return 0, CORRUPT
        add_layout(layouts, i, at, middle, last, size)
        at = last
    return count, pos
