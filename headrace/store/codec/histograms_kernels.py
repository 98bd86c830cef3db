# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""A chunk of native histograms: one series, one schema, a column for each bucket. Layout: docs/format/histograms.md.

Counts of a bucket over time grow as a counter does, so that each bucket is a column of the codec of integers, or of
doubles where counts are doubles. The total is left out where it is the sum of all buckets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.bits import bits_float, float_bits, load_u64, store_u64
from headrace.kernels.jit import kernel
from headrace.store.codec import histogram_layouts_kernels as walk
from headrace.store.codec.integers_kernels import CORRUPT, decode_integers, encode_integers
from headrace.store.codec.times_kernels import decode_times, encode_times
from headrace.store.codec.values_kernels import decode_values, encode_values
from headrace.store.codec.varint_kernels import get_varint, put_varint, unzigzag, zigzag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.codec.scratch import Scratch

MAX_ROWS = 512
"""Most histograms of a chunk."""

MAX_CELLS = 1 << 17
"""Most histograms times buckets, spans and bounds of a chunk that holds more than one histogram."""

FLOAT = 1
STALE = 2

# Bits of a chunk's first byte.
_FLOAT = 1
_DERIVED = 2
_MARKED = 4
_STARTED = 8
_KNOWN = 15

_STALE_BITS = np.uint64(0x7FF0000000000002)
_PIECE = 256


class Histograms(NamedTuple):
    """`NativeHistograms` as kernels take them: all its columns but `series`, counts as int64."""

    time_ms: NDArray[np.int64]
    start_ms: NDArray[np.int64]
    flags: NDArray[np.uint8]
    hint: NDArray[np.uint8]
    schema: NDArray[np.int8]
    zero_threshold: NDArray[np.float64]
    zero_count: NDArray[np.int64]
    count: NDArray[np.int64]
    sum: NDArray[np.float64]
    span_starts: NDArray[np.int64]
    positive_spans: NDArray[np.int32]
    spans: NDArray[np.int32]
    bucket_starts: NDArray[np.int64]
    buckets: NDArray[np.int64]
    bound_starts: NDArray[np.int64]
    bounds: NDArray[np.float64]


class Room(NamedTuple):
    """Room to work in; one thread at a time.

    Attributes:
        layouts: (MAX_LAYOUTS, FIELDS) int64.
        spans: int32 pairs: as many as half the bytes of the largest chunk that is decoded.
        times: (MAX_ROWS + 128,) int64.
        of: (MAX_ROWS + 128,) int64: layout of each row.
        marks: (MAX_ROWS + 128,) int64: hint of each row, plus 4 for a stale marker.
        column: (MAX_ROWS + 128,) int64.
        floats: (MAX_ROWS + 128,) float64.
        totals: (MAX_ROWS + 128,) int64.
        head: (4,) int64: first byte, first byte of the bounds, number of bounds, layouts.
    """

    layouts: NDArray[np.int64]
    spans: NDArray[np.int32]
    times: NDArray[np.int64]
    of: NDArray[np.int64]
    marks: NDArray[np.int64]
    column: NDArray[np.int64]
    floats: NDArray[np.float64]
    totals: NDArray[np.int64]
    head: NDArray[np.int64]


# -- which rows go together ------------------------------------------------------------------------------------


@kernel
def _alike(one: Histograms, i: int, j: int) -> bool:
    """Return whether two rows may share a chunk."""
    if one.schema[i] != one.schema[j] or (one.flags[i] ^ one.flags[j]) & FLOAT:
        return False
    if float_bits(one.zero_threshold[i]) != float_bits(one.zero_threshold[j]):
        return False
    a = one.bound_starts[i]
    b = one.bound_starts[j]
    n = one.bound_starts[i + 1] - a
    if one.bound_starts[j + 1] - b != n:
        return False
    for k in range(n):
        if float_bits(one.bounds[a + k]) != float_bits(one.bounds[b + k]):
            return False
    return True


@kernel
def _layout(one: Histograms, row: int, count: int, room: Room) -> int:
    """Return the number of a row's layout, of a new one where it is not among the `count`; MAX_LAYOUTS for no room."""
    first = one.span_starts[row]
    positive = first + one.positive_spans[row]
    end = one.span_starts[row + 1]
    for i in range(count - 1, -1, -1):
        if walk.same_spans(one.spans, first, positive, end, room.layouts, i):
            return i
    if count < walk.MAX_LAYOUTS:
        size = one.bucket_starts[row + 1] - one.bucket_starts[row]
        walk.add_layout(room.layouts, count, first, positive, end, size)
    return count


@kernel
def _weight(one: Histograms, row: int, count: int, room: Room) -> int:
    """Return what one more row takes at most: buckets, spans, bounds."""
    spans = 0
    for i in range(count):
        spans = max(spans, room.layouts[i, walk.END] - room.layouts[i, walk.FIRST])
    bounds = one.bound_starts[row + 1] - one.bound_starts[row]
    return walk.count_buckets(room.layouts, count, one.spans) + spans + bounds


@kernel
def gather(one: Histograms, first: int, last: int, room: Room) -> tuple[int, int, int, int]:
    """Find how many rows from `first` on make a chunk; their layouts stand in `room` then.

    Returns:
        One past the last row; a row that says what all have in common; layouts; weight of a row.
    """
    model = -1
    count = 0
    weight = 0
    row = first
    while row < last and row - first < MAX_ROWS:
        if one.flags[row] & STALE:
            room.of[row - first] = max(count - 1, 0) if row == first else room.of[row - first - 1]
        elif model >= 0 and not _alike(one, model, row):
            break
        else:
            number = _layout(one, row, count, room)
            if number == walk.MAX_LAYOUTS:
                break
            if number == count:
                heavier = _weight(one, row, count + 1, room)
                if row > first and heavier * (row + 1 - first) > MAX_CELLS:
                    break
                weight = heavier
                count += 1
            room.of[row - first] = number
            model = row if model < 0 else model
        if row > first and weight * (row + 1 - first) > MAX_CELLS:
            break
        row += 1
    if count == 0:
        walk.add_layout(room.layouts, 0, 0, 0, 0, 0)
        count = 1
    return row, max(model, first), count, weight


@kernel
def room_for(one: Histograms, rows: int, model: int, count: int, weight: int, room: Room) -> int:
    """Return the bytes that encoding a gathered chunk may touch."""
    spans = 0
    for i in range(count):
        spans += room.layouts[i, walk.END] - room.layouts[i, walk.FIRST]
    bounds = one.bound_starts[model + 1] - one.bound_starts[model]
    return 1024 + 20 * (spans + count) + 48 * (bounds + _PIECE) + (weight + 8) * (10 * rows + 80) + 256 + 48 * rows


# -- encoding --------------------------------------------------------------------------------------------------


@kernel
def _put_floats(values: NDArray[np.float64], n: int, out: NDArray[np.uint8], pos: int, work: Scratch) -> int:
    """Write a column of doubles behind its size."""
    end = encode_values(values, n, out, pos + 2, work.words, work.integers, work.rest, work.widths)
    size = end - pos - 2
    out[pos] = size & 255
    out[pos + 1] = size >> 8
    return end


@kernel
def _put_integers(column: NDArray[np.int64], n: int, out: NDArray[np.uint8], pos: int, work: Scratch) -> int:
    return encode_integers(column, n, False, out, pos, work.words, work.rest, work.widths)


@kernel
def _put_counts(n: int, is_float: bool, out: NDArray[np.uint8], pos: int, room: Room, work: Scratch) -> int:
    """Write the counts in `room.column`."""
    if not is_float:
        return _put_integers(room.column, n, out, pos, work)
    for i in range(n):
        room.floats[i] = bits_float(np.uint64(room.column[i]))
    return _put_floats(room.floats, n, out, pos, work)


@kernel
def _put_bounds(bounds: NDArray[np.float64], out: NDArray[np.uint8], pos: int, work: Scratch) -> int:
    n = len(bounds)
    pos = put_varint(out, pos, np.uint64(n))
    for at in range(0, n, _PIECE):
        some = min(_PIECE, n - at)
        pos = _put_floats(bounds[at : at + some], some, out, pos, work)
    return pos


@kernel
def _put_marks(one: Histograms, first: int, n: int, marked: bool, out: NDArray[np.uint8], pos: int, work: Scratch,
               column: NDArray[np.int64]) -> int:  # fmt: skip
    if not marked:
        out[pos] = one.hint[first]
        return pos + 1
    for i in range(n):
        column[i] = np.int64(one.hint[first + i]) | (4 if one.flags[first + i] & STALE else 0)
    return _put_integers(column, n, out, pos, work)


@kernel
def _put_starts(one: Histograms, first: int, n: int, started: bool, out: NDArray[np.uint8], pos: int, work: Scratch,
                column: NDArray[np.int64]) -> int:  # fmt: skip
    if not started:
        return put_varint(out, pos, zigzag(one.start_ms[first]))
    for i in range(n):
        column[i] = one.start_ms[first + i]
    return _put_integers(column, n, out, pos, work)


@kernel
def _is_derived(one: Histograms, first: int, n: int, is_float: bool) -> bool:
    """Return whether each count is the sum of its buckets, added in their order."""
    for row in range(first, first + n):
        if one.flags[row] & STALE:
            continue
        if is_float:
            total = bits_float(np.uint64(one.zero_count[row]))
            for k in range(one.bucket_starts[row], one.bucket_starts[row + 1]):
                total += bits_float(np.uint64(one.buckets[k]))
            if float_bits(total) != np.uint64(one.count[row]):
                return False
        else:
            whole = one.zero_count[row]
            for k in range(one.bucket_starts[row], one.bucket_starts[row + 1]):
                whole += one.buckets[k]
            if whole != one.count[row]:
                return False
    return True


@kernel
def _put_row_counts(
    counts: NDArray[np.int64], one: Histograms, first: int, n: int, is_float: bool, out: NDArray[np.uint8], pos: int,
    room: Room, work: Scratch,
) -> int:  # fmt: skip
    """Write a count that each row has; a stale marker repeats the one before it."""
    held = np.int64(0)
    for i in range(n):
        if not one.flags[first + i] & STALE:
            held = counts[first + i]
        room.column[i] = held
    return _put_counts(n, is_float, out, pos, room, work)


@kernel
def _put_sums(one: Histograms, first: int, n: int, out: NDArray[np.uint8], pos: int, room: Room, work: Scratch) -> int:
    held = np.uint64(0)
    for i in range(n):
        if not one.flags[first + i] & STALE:
            held = float_bits(one.sum[first + i])
        room.floats[i] = bits_float(held)
    return _put_floats(room.floats, n, out, pos, work)


@kernel
def _put_buckets(
    one: Histograms, first: int, n: int, count: int, is_float: bool, out: NDArray[np.uint8], pos: int, room: Room,
    work: Scratch,
) -> int:  # fmt: skip
    layouts = room.layouts
    for sign in range(2):
        walk.rewind(layouts, count, one.spans, sign == 1)
        while walk.find_bucket(layouts, count):
            held = np.int64(0)
            for i in range(n):
                number = room.of[i]
                if not one.flags[first + i] & STALE:
                    held = np.int64(0)
                    if layouts[number, walk.HERE] == 1:
                        held = one.buckets[one.bucket_starts[first + i] + layouts[number, walk.USED]]
                room.column[i] = held
            pos = _put_counts(n, is_float, out, pos, room, work)
            walk.pass_bucket(layouts, count, one.spans)
    return pos


@kernel
def encode(
    one: Histograms, first: int, last: int, model: int, count: int, out: NDArray[np.uint8], pos: int, room: Room,
    work: Scratch,
) -> int:  # fmt: skip
    """Write a chunk at `pos`; return the offset one past it.

    Args:
        one: The histograms; those of the chunk ascend strictly in time.
        first: Its first row.
        last: One past its last row, as `gather` said.
        model: As `gather` said.
        count: As `gather` said.
        out: uint8 with as much room as `room_for` says.
        pos: Where to begin.
        room: As `gather` left it.
        work: Scratch.
    """
    n = last - first
    is_float = one.flags[model] & FLOAT != 0
    marked = False
    started = False
    for row in range(first, last):
        marked = marked or one.flags[row] & STALE != 0 or one.hint[row] != one.hint[first]
        started = started or one.start_ms[row] != one.start_ms[first]
    derived = _is_derived(one, first, n, is_float)
    out[pos] = (
        (_FLOAT if is_float else 0) | (_DERIVED if derived else 0) | (_MARKED if marked else 0)
        | (_STARTED if started else 0)
    )  # fmt: skip
    out[pos + 1] = np.int64(one.schema[model]) & 255
    store_u64(out, pos + 2, float_bits(one.zero_threshold[model]))
    pos = _put_bounds(one.bounds[one.bound_starts[model] : one.bound_starts[model + 1]], out, pos + 10, work)
    pos = walk.put_layouts(room.layouts, count, one.spans, out, pos)
    pos = encode_times(one.time_ms[first:last], n, out, pos, work.words, work.integers, work.rest, work.widths)
    if count > 1:
        for i in range(n):
            room.column[i] = room.of[i]
        pos = _put_integers(room.column, n, out, pos, work)
    pos = _put_marks(one, first, n, marked, out, pos, work, room.column)
    pos = _put_starts(one, first, n, started, out, pos, work, room.column)
    pos = _put_sums(one, first, n, out, pos, room, work)
    pos = _put_row_counts(one.zero_count, one, first, n, is_float, out, pos, room, work)
    if not derived:
        pos = _put_row_counts(one.count, one, first, n, is_float, out, pos, room, work)
    return _put_buckets(one, first, n, count, is_float, out, pos, room, work)


# -- decoding --------------------------------------------------------------------------------------------------


@kernel
def _get_floats(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, out: NDArray[np.float64], at: int, work: Scratch
) -> int:
    """Read a column of doubles and its size; return the offset one past it."""
    if pos + 2 > end:
        return CORRUPT
    last = pos + 2 + (np.int64(buf[pos]) | np.int64(buf[pos + 1]) << 8)
    if last > end or decode_values(buf, pos + 2, last, n, 0, n, out, at, work.integers, work.widths) < 0:
        return CORRUPT
    return last


@kernel
def _get_counts(buf: NDArray[np.uint8], pos: int, end: int, n: int, is_float: bool, room: Room, work: Scratch) -> int:
    """Read a column of counts into `room.column`."""
    if not is_float:
        return decode_integers(buf, pos, end, n, n, room.column, work.widths)
    pos = _get_floats(buf, pos, end, n, room.floats, 0, work)
    if pos >= 0:
        for i in range(n):
            room.column[i] = np.int64(float_bits(room.floats[i]))
    return pos


@kernel
def _skip_bounds(buf: NDArray[np.uint8], pos: int, end: int, room: Room) -> int:
    """Note where the bounds are; return the offset one past them."""
    raw, pos = get_varint(buf, pos, end)
    # A piece takes four bytes at least.
    if pos < 0 or raw > np.uint64(MAX_CELLS) or np.int64(raw) > ((end - pos) // 4 + 1) * _PIECE:
        return CORRUPT
    room.head[1] = pos
    room.head[2] = np.int64(raw)
    for _ in range(0, np.int64(raw), _PIECE):
        if pos + 2 > end:
            return CORRUPT
        pos += 2 + (np.int64(buf[pos]) | np.int64(buf[pos + 1]) << 8)
    return pos if pos <= end else CORRUPT


@kernel
def open_chunk(buf: NDArray[np.uint8], pos: int, end: int, n: int, room: Room, work: Scratch) -> int:
    """Read what comes before the columns of numbers into `room`: layouts, times, which row has which layout.

    Returns:
        The offset one past it, or CORRUPT.
    """
    if n < 1 or n > MAX_ROWS or pos + 11 > end or np.int64(buf[pos]) > _KNOWN:
        return CORRUPT
    room.head[0] = np.int64(buf[pos])
    pos = _skip_bounds(buf, pos + 10, end, room)
    if pos < 0:
        return CORRUPT
    count, pos = walk.get_layouts(buf, pos, end, room.layouts, room.spans)
    if pos < 0:
        return CORRUPT
    room.head[3] = count
    weight = 0
    for i in range(count):
        layout = room.layouts[i]
        weight = max(weight, layout[walk.SIZE] + layout[walk.END] - layout[walk.FIRST] + room.head[2])
    if n > 1 and weight * n > MAX_CELLS:
        return CORRUPT
    pos = decode_times(buf, pos, end, n, room.times, work.widths)
    if pos < 0:
        return CORRUPT
    for i in range(n):
        room.of[i] = 0
    if count > 1:
        pos = decode_integers(buf, pos, end, n, n, room.of, work.widths)
        if pos < 0:
            return CORRUPT
    marked = room.head[0] & _MARKED
    if marked:
        pos = decode_integers(buf, pos, end, n, n, room.marks, work.widths)
        if pos < 0:
            return CORRUPT
    elif pos < end:
        for i in range(n):
            room.marks[i] = np.int64(buf[pos])
        pos += 1
    else:
        return CORRUPT
    for i in range(n):
        if room.of[i] < 0 or room.of[i] >= count or room.marks[i] < 0 or room.marks[i] > (7 if marked else 3):
            return CORRUPT
        if i > 0 and room.times[i] <= room.times[i - 1]:
            return CORRUPT
    return pos


@kernel
def measure(start: int, end_time: int, n: int, room: Room, sizes: NDArray[np.int64]) -> None:
    """Add what the rows of an opened chunk within a time range take: rows, spans, buckets, bounds."""
    for i in range(n):
        if start <= room.times[i] <= end_time:
            sizes[0] += 1
            if room.marks[i] < 4:
                layout = room.layouts[room.of[i]]
                sizes[1] += layout[walk.END] - layout[walk.FIRST]
                sizes[2] += layout[walk.SIZE]
                sizes[3] += room.head[2]


@kernel
def _begin_rows(
    buf: NDArray[np.uint8], chunk: int, first: int, last: int, at: int, out: Histograms, room: Room
) -> None:  # fmt: skip
    """Write what rows have by their layout: times, flags, schema, spans, and where buckets and bounds go."""
    threshold = bits_float(load_u64(buf, chunk + 2))
    schema = (np.int64(buf[chunk + 1]) ^ 128) - 128
    is_float = room.head[0] & _FLOAT
    for i in range(first, last):
        row = at + i - first
        stale = room.marks[i] >= 4
        layout = room.layouts[room.of[i]]
        span = out.span_starts[row]
        spans = 0 if stale else layout[walk.END] - layout[walk.FIRST]
        out.time_ms[row] = room.times[i]
        out.flags[row] = STALE if stale else is_float
        out.hint[row] = 0 if stale else room.marks[i]
        out.schema[row] = 0 if stale else schema
        out.zero_threshold[row] = 0.0 if stale else threshold
        out.positive_spans[row] = 0 if stale else layout[walk.POSITIVE] - layout[walk.FIRST]
        for k in range(spans):
            out.spans[span + k, 0] = room.spans[layout[walk.FIRST] + k, 0]
            out.spans[span + k, 1] = room.spans[layout[walk.FIRST] + k, 1]
        out.span_starts[row + 1] = span + spans
        out.bucket_starts[row + 1] = out.bucket_starts[row] + (0 if stale else layout[walk.SIZE])
        out.bound_starts[row + 1] = out.bound_starts[row] + (0 if stale else room.head[2])


@kernel
def _read_bounds(
    buf: NDArray[np.uint8], end: int, first: int, last: int, at: int, out: Histograms, room: Room, work: Scratch
) -> int:
    """Decode the bounds into the first row that has them, and copy them to the others."""
    n = room.head[2]
    held = np.int64(-1)
    if n == 0:
        return 0
    for i in range(first, last):
        if room.marks[i] >= 4:
            continue
        target = out.bound_starts[at + i - first]
        if held < 0:
            pos = room.head[1]
            for piece in range(0, n, _PIECE):
                pos = _get_floats(buf, pos, end, min(_PIECE, n - piece), out.bounds, target + piece, work)
                if pos < 0:
                    return CORRUPT
            held = target
        else:
            for k in range(n):
                out.bounds[target + k] = out.bounds[held + k]
    return 0


@kernel
def _read_starts(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, first: int, last: int, at: int, out: Histograms, room: Room,
    work: Scratch,
) -> int:  # fmt: skip
    if room.head[0] & _STARTED:
        pos = decode_integers(buf, pos, end, n, n, room.column, work.widths)
        if pos < 0:
            return CORRUPT
        for i in range(first, last):
            out.start_ms[at + i - first] = room.column[i]
        return pos
    raw, pos = get_varint(buf, pos, end)
    if pos >= 0:
        for i in range(first, last):
            out.start_ms[at + i - first] = unzigzag(raw)
    return pos


@kernel
def _read_sums(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, first: int, last: int, at: int, out: Histograms, room: Room,
    work: Scratch,
) -> int:  # fmt: skip
    pos = _get_floats(buf, pos, end, n, room.floats, 0, work)
    if pos >= 0:
        for i in range(first, last):
            # As bits: what a stale marker's NaN holds must come through.
            bits = _STALE_BITS if room.marks[i] >= 4 else float_bits(room.floats[i])
            out.sum[at + i - first] = bits_float(bits)
    return pos


@kernel
def _read_counts(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, first: int, last: int, at: int, out: NDArray[np.int64],
    room: Room, work: Scratch,
) -> int:  # fmt: skip
    pos = _get_counts(buf, pos, end, n, room.head[0] & _FLOAT != 0, room, work)
    if pos >= 0:
        for i in range(first, last):
            out[at + i - first] = 0 if room.marks[i] >= 4 else room.column[i]
    return pos


@kernel
def _add_totals(first: int, last: int, is_float: bool, room: Room) -> None:
    """Add a column of counts to the totals, for rows whose layout has its bucket."""
    for i in range(first, last):
        if room.layouts[room.of[i], walk.HERE] == 1:
            if is_float:
                total = bits_float(np.uint64(room.totals[i])) + bits_float(np.uint64(room.column[i]))
                room.totals[i] = np.int64(float_bits(total))
            else:
                room.totals[i] += room.column[i]


@kernel
def _read_buckets(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, first: int, last: int, at: int, out: Histograms, room: Room,
    work: Scratch,
) -> int:  # fmt: skip
    layouts = room.layouts
    count = room.head[3]
    is_float = room.head[0] & _FLOAT != 0
    derived = room.head[0] & _DERIVED != 0
    for i in range(first, last):
        room.totals[i] = out.zero_count[at + i - first]
    for sign in range(2):
        walk.rewind(layouts, count, room.spans, sign == 1)
        while walk.find_bucket(layouts, count):
            pos = _get_counts(buf, pos, end, n, is_float, room, work)
            if pos < 0:
                return CORRUPT
            for i in range(first, last):
                number = room.of[i]
                if room.marks[i] < 4 and layouts[number, walk.HERE] == 1:
                    out.buckets[out.bucket_starts[at + i - first] + layouts[number, walk.USED]] = room.column[i]
            if derived:
                _add_totals(first, last, is_float, room)
            walk.pass_bucket(layouts, count, room.spans)
    if derived:
        for i in range(first, last):
            out.count[at + i - first] = 0 if room.marks[i] >= 4 else room.totals[i]
    return pos


@kernel
def decode(
    buf: NDArray[np.uint8], chunk: int, pos: int, end: int, n: int, start: int, end_time: int, at: int,
    out: Histograms, room: Room, work: Scratch,
) -> int:  # fmt: skip
    """Read the rows of an opened chunk within a time range.

    Args:
        buf: uint8 with 16 readable bytes after `end`.
        chunk: Where the chunk begins.
        pos: What `open_chunk` returned.
        end: One past the chunk.
        n: Its rows.
        start: First time wanted.
        end_time: Last time wanted.
        at: Row of `out` to write first; the starts of that row are there.
        out: Room for what `measure` said.
        room: As `open_chunk` left it.
        work: Scratch.

    Returns:
        One past the last row written, or CORRUPT.
    """
    first = 0
    while first < n and room.times[first] < start:
        first += 1
    last = n
    while last > first and room.times[last - 1] > end_time:
        last -= 1
    if first == last:
        return at
    _begin_rows(buf, chunk, first, last, at, out, room)
    if _read_bounds(buf, end, first, last, at, out, room, work) < 0:
        return CORRUPT
    pos = _read_starts(buf, pos, end, n, first, last, at, out, room, work)
    if pos >= 0:
        pos = _read_sums(buf, pos, end, n, first, last, at, out, room, work)
    if pos >= 0:
        pos = _read_counts(buf, pos, end, n, first, last, at, out.zero_count, room, work)
    if pos >= 0 and not room.head[0] & _DERIVED:
        pos = _read_counts(buf, pos, end, n, first, last, at, out.count, room, work)
    if pos >= 0:
        pos = _read_buckets(buf, pos, end, n, first, last, at, out, room, work)
    return CORRUPT if pos < 0 else at + last - first


# -- many chunks -----------------------------------------------------------------------------------------------


@kernel
def write_chunks(
    one: Histograms, row: int, last: int, limits: NDArray[np.int64], out: NDArray[np.uint8],
    chunks: NDArray[np.int64], state: NDArray[np.int64], room: Room, work: Scratch,
) -> int:  # fmt: skip
    """Write chunks until a row, or as far as there is room.

    Args:
        one: Histograms, sorted by series and, strictly, time.
        row: Row to begin with: the first of a chunk.
        last: One past the last row to write.
        limits: (rows,) int64: one past the last row that may share a chunk with each row.
        out: uint8 out.
        chunks: (c, 5) int64 out: size, rows, first time, last time, first row of each chunk.
        state: (3,) int64: chunks and bytes written so far; bytes that the next chunk may take.
        room: Room.
        work: Scratch.

    Returns:
        `last`, or the row that there is no room for.
    """
    while row < last:
        stop, model, count, weight = gather(one, row, limits[row], room)
        state[2] = room_for(one, stop - row, model, count, weight, room)
        if state[0] == len(chunks) or state[1] + state[2] > len(out):
            return row
        end = encode(one, row, stop, model, count, out, state[1], room, work)
        found = chunks[state[0]]
        found[0] = end - state[1]
        found[1] = stop - row
        found[2] = one.time_ms[row]
        found[3] = one.time_ms[stop - 1]
        found[4] = row
        state[0] += 1
        state[1] = end
        row = stop
    return row


@kernel
def measure_chunks(
    numbers: NDArray[np.int64], places: NDArray[np.int64], rows: NDArray[np.int64], buf: NDArray[np.uint8],
    start: int, end_time: int, room: Room, work: Scratch, counts: NDArray[np.int64], sizes: NDArray[np.int64],
) -> int:  # fmt: skip
    """Find out what the rows of some chunks within a time range take.

    Args:
        numbers: (k,) int64: which chunks.
        places: (chunks + 1,) int64: chunk i is ``buf[places[i]:places[i + 1]]``.
        rows: (chunks,) int64 rows of each chunk.
        buf: uint8 with 16 readable bytes after the last chunk.
        start: First time wanted.
        end_time: Last time wanted.
        room: Room.
        work: Scratch.
        counts: (k,) int64 out: rows of each chunk wanted.
        sizes: (4,) int64 out, zeroed: rows, spans, buckets, bounds of all.

    Returns:
        0, or CORRUPT.
    """
    for k in range(len(numbers)):
        chunk = numbers[k]
        before = sizes[0]
        if open_chunk(buf, places[chunk], places[chunk + 1], rows[chunk], room, work) < 0:
            return CORRUPT
        measure(start, end_time, rows[chunk], room, sizes)
        counts[k] = sizes[0] - before
    return 0


@kernel
def read_chunks(
    numbers: NDArray[np.int64], places: NDArray[np.int64], rows: NDArray[np.int64], buf: NDArray[np.uint8],
    start: int, end_time: int, room: Room, work: Scratch, out: Histograms,
) -> int:  # fmt: skip
    """Decode the rows of some chunks within a time range, one after the other; see `measure_chunks`.

    Args:
        numbers: (k,) int64: which chunks.
        places: (chunks + 1,) int64.
        rows: (chunks,) int64.
        buf: uint8.
        start: First time wanted.
        end_time: Last time wanted.
        room: Room.
        work: Scratch.
        out: Columns of the sizes that `measure_chunks` said, their starts zeroed.

    Returns:
        0, or CORRUPT.
    """
    at = 0
    for k in range(len(numbers)):
        chunk = numbers[k]
        begin = places[chunk]
        pos = open_chunk(buf, begin, places[chunk + 1], rows[chunk], room, work)
        if pos < 0:
            return CORRUPT
        at = decode(buf, begin, pos, places[chunk + 1], rows[chunk], start, end_time, at, out, room, work)
        if at < 0:
            return CORRUPT
    return 0
