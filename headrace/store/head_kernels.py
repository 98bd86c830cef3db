# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of the head: appending, sealing, reading back.

A series with samples in the head has a slot. Each slot has an open row of WIDTH samples. A full row is sealed into a
chunk; the chunks of a slot form a list from the newest to the oldest. A chunk is a value column in one arena and the
number of a time column in another: series of one scrape are sealed one after the other, and share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.bits import float_bits, prefetch
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.block_kernels import first_at_or_after
from headrace.store.codec.chunk_kernels import max_size
from headrace.store.codec.integers_kernels import CORRUPT
from headrace.store.codec.quick_kernels import encode_values_quick
from headrace.store.codec.scratch import Scratch
from headrace.store.codec.times_kernels import decode_times, encode_times
from headrace.store.codec.values_kernels import decode_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 40
"""Samples of an open row."""

_AHEAD = 8
"""Samples that appending is ahead of itself, so that several rows are fetched at once."""

NO_CHUNK = -1
NO_SLOT = -1

OK = 0
OUT_OF_ORDER_OK = 1
DUPLICATE = 2
REPLACED = 3
CONFLICT = 4
OUT_OF_ORDER = 5
TOO_OLD = 6
TOO_FAR_AHEAD = 7
BELOW_FLOOR = 8
"""In order for its series, and too old for an open row."""

# Cells of the state.
VALUE_BYTES = 0
CHUNKS = 1
NEWEST = 2
SAMPLES = 3
TIME_BYTES = 4
TIMES = 5
LAST_TIMES = 6
SLOTS = 7
FREE = 8
STATE = 9

_STALE = np.uint64(0x7FF0000000000002)
_MAX_SPAN = (1 << 31) - 1


class Rows(NamedTuple):
    """The head's arrays.

    Attributes:
        state: (STATE,) int64: bytes of values, chunks, newest time of all, samples ever appended in order, bytes of
            times, time columns, number of the time column in `last_times` (-1: none), slots ever used, free slots.
        slots: (refs,) int32 slot of each ref, NO_SLOT for none.
        last: (refs,) int64 newest time of each ref, in blocks or here.
        base: (slots,) int64 time that the offsets of an open row count from.
        offsets: (slots, WIDTH) int32.
        values: (slots, WIDTH) float64.
        counts: (slots,) int32 samples in the open row.
        newest: (slots,) int32 newest chunk, NO_CHUNK for none.
        free: (slots,) int32: slots that nobody has.
        chunk_times: (chunks,) int32 time column.
        chunk_older: (chunks,) int32 next older chunk of the slot.
        chunk_places: (chunks + 1,) int64: chunk i is ``arena[chunk_places[i]:chunk_places[i + 1]]``.
        time_places: (time columns + 1,) int64.
        time_rows: (time columns, 3) int64: samples, first and last time.
        arena: uint8: value columns.
        times_arena: uint8: time columns.
        last_times: (WIDTH + 1,) int64: the time column sealed last, its length first.
    """

    state: NDArray[np.int64]
    slots: NDArray[np.int32]
    last: NDArray[np.int64]
    base: NDArray[np.int64]
    offsets: NDArray[np.int32]
    values: NDArray[np.float64]
    counts: NDArray[np.int32]
    newest: NDArray[np.int32]
    free: NDArray[np.int32]
    chunk_times: NDArray[np.int32]
    chunk_older: NDArray[np.int32]
    chunk_places: NDArray[np.int64]
    time_places: NDArray[np.int64]
    time_rows: NDArray[np.int64]
    arena: NDArray[np.uint8]
    times_arena: NDArray[np.uint8]
    last_times: NDArray[np.int64]


@kernel
def _seal_times(rows: Rows, slot: int, n: int, room: Scratch, times: NDArray[np.int64]) -> int:
    """Return the number of the time column of the open row."""
    state = rows.state
    held = rows.last_times
    same = state[LAST_TIMES] >= 0 and held[0] == n
    base = rows.base[slot]
    for i in range(n):
        times[i] = base + rows.offsets[slot, i]
    if same:
        for i in range(n):
            if held[i + 1] != times[i]:
                same = False
                break
    if same:
        return state[LAST_TIMES]
    number = state[TIMES]
    end = encode_times(times, n, rows.times_arena, state[TIME_BYTES], room.words, room.integers, room.rest, room.widths)
    rows.time_rows[number, 0] = n
    rows.time_rows[number, 1] = times[0]
    rows.time_rows[number, 2] = times[n - 1]
    rows.time_places[number + 1] = end
    state[TIME_BYTES] = end
    state[TIMES] = number + 1
    state[LAST_TIMES] = number
    held[0] = n
    for i in range(n):
        held[i + 1] = times[i]
    return number


@kernel
def _seal(rows: Rows, slot: int, room: Scratch, times: NDArray[np.int64]) -> None:
    state = rows.state
    n = rows.counts[slot]
    chunk = state[CHUNKS]
    rows.chunk_times[chunk] = _seal_times(rows, slot, n, room, times)
    end = encode_values_quick(rows.values[slot], n, rows.arena, state[VALUE_BYTES], room.words, room.integers)
    rows.chunk_places[chunk + 1] = end
    rows.chunk_older[chunk] = rows.newest[slot]
    rows.newest[slot] = chunk
    rows.counts[slot] = 0
    state[VALUE_BYTES] = end
    state[CHUNKS] = chunk + 1


@kernel
def _has_room(rows: Rows) -> bool:
    """Return whether one more row may be sealed."""
    state = rows.state
    return (
        state[VALUE_BYTES] + max_size(WIDTH) <= len(rows.arena)
        and state[TIME_BYTES] + max_size(WIDTH) <= len(rows.times_arena)
        and state[CHUNKS] < len(rows.chunk_times)
        and state[TIMES] < len(rows.time_rows)
    )


@kernel
def _same_time(rows: Rows, slot: int, i: int, value: float) -> int:
    """Compare a sample with the one that lies at place `i` of the open row, and keep the better one."""
    there = float_bits(rows.values[slot, i])
    new = float_bits(value)
    if new in (there, _STALE):
        return DUPLICATE
    if there == _STALE:
        rows.values[slot, i] = value
        return REPLACED
    return CONFLICT


@kernel
def _place(rows: Rows, slot: int, time: int) -> int:
    """Return where the open row has a sample of this time, or -1."""
    low = 0
    high = rows.counts[slot] - 1
    wanted = time - rows.base[slot]
    while low <= high:
        middle = (low + high) >> 1
        found = rows.offsets[slot, middle]
        if found == wanted:
            return middle
        if found < wanted:
            low = middle + 1
        else:
            high = middle - 1
    return -1


@kernel
def _new_slot(rows: Rows, ref: int) -> int:
    """Give a ref a slot, -1 where there is no room."""
    state = rows.state
    if state[FREE] > 0:
        state[FREE] -= 1
        slot = np.int64(rows.free[state[FREE]])
    else:
        slot = state[SLOTS]
        if slot == len(rows.base):
            return NO_SLOT
        state[SLOTS] = slot + 1
    rows.slots[ref] = slot
    rows.counts[slot] = 0
    rows.newest[slot] = NO_CHUNK
    return slot


@kernel
def _append(
    refs: NDArray[np.int32], times_ms: NDArray[np.int64], values_in: NDArray[np.float64],
    first: int, latest: int, oldest: int, floor: int, rows: Rows, room: Scratch, times: NDArray[np.int64],
    codes: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Append samples to the open rows; see `append`."""
    n = len(refs)
    state = rows.state
    for i in range(first, n):
        time = times_ms[i]
        ref = refs[i]
        if i + _AHEAD < n:
            ahead = np.int64(rows.slots[refs[i + _AHEAD]])
            if ahead >= 0:
                place = ahead * WIDTH + rows.counts[ahead]
                prefetch(rows.offsets, place)
                prefetch(rows.values, place)
        if time > latest:
            codes[i] = TOO_FAR_AHEAD
            continue
        slot = np.int64(rows.slots[ref])
        if time > rows.last[ref]:
            if time < floor:
                codes[i] = BELOW_FLOOR
                rows.last[ref] = time
                continue
            if slot < 0:
                slot = _new_slot(rows, ref)
                if slot < 0:
                    return i
            k = rows.counts[slot]
            if k == WIDTH or (k > 0 and time - rows.base[slot] > _MAX_SPAN):
                if not _has_room(rows):
                    return i
                _seal(rows, slot, room, times)
                k = 0
            if k == 0:
                rows.base[slot] = time
            rows.offsets[slot, k] = time - rows.base[slot]
            rows.values[slot, k] = values_in[i]
            rows.counts[slot] = k + 1
            rows.last[ref] = time
            state[SAMPLES] += 1
            if time > state[NEWEST]:
                state[NEWEST] = time
            codes[i] = OK
            continue
        # What lies before the floor is in a block, though the open row may still hold a copy.
        place = _place(rows, slot, time) if slot >= 0 and time >= floor else -1
        if place >= 0:
            codes[i] = _same_time(rows, slot, place, values_in[i])
        elif oldest > latest:
            codes[i] = OUT_OF_ORDER
        elif time < oldest:
            codes[i] = TOO_OLD
        else:
            codes[i] = OUT_OF_ORDER_OK
    return n


@kernel
def append(
    refs: NDArray[np.int32], times_ms: NDArray[np.int64], values_in: NDArray[np.float64],
    first: int, latest: int, oldest: int, floor: int, codes: NDArray[np.uint8], times: NDArray[np.int64],
    state: NDArray[np.int64], slots: NDArray[np.int32], last: NDArray[np.int64], base: NDArray[np.int64],
    offsets: NDArray[np.int32], values: NDArray[np.float64], counts: NDArray[np.int32], newest: NDArray[np.int32],
    free: NDArray[np.int32], chunk_times: NDArray[np.int32], chunk_older: NDArray[np.int32],
    chunk_places: NDArray[np.int64], time_places: NDArray[np.int64], time_rows: NDArray[np.int64],
    arena: NDArray[np.uint8], times_arena: NDArray[np.uint8], last_times: NDArray[np.int64],
    words: NDArray[np.uint64], integers: NDArray[np.int64], rest: NDArray[np.int64], widths: NDArray[np.int64],
) -> int:  # fmt: skip
    """Append samples to the open rows.

    Args:
        refs: (n,) int32.
        times_ms: (n,) int64.
        values_in: (n,) float64.
        first: Row to begin with.
        latest: Newest time taken.
        oldest: Oldest time taken out of order; above `latest` to take none.
        floor: Samples before this time that came in order are in blocks; rows before it are not appended.
        codes: (n,) uint8 out.
        times: (WIDTH,) int64 scratch.
        state: The arrays of `Rows`, one by one, because handing over a tuple of them takes 50 microseconds; changed.
        slots: See `Rows`.
        last: See `Rows`.
        base: See `Rows`.
        offsets: See `Rows`.
        values: See `Rows`.
        counts: See `Rows`.
        newest: See `Rows`.
        free: See `Rows`.
        chunk_times: See `Rows`.
        chunk_older: See `Rows`.
        chunk_places: See `Rows`.
        time_places: See `Rows`.
        time_rows: See `Rows`.
        arena: See `Rows`.
        times_arena: See `Rows`.
        last_times: See `Rows`.
        words: The arrays of `Scratch`, one by one.
        integers: See `Scratch`.
        rest: See `Scratch`.
        widths: See `Scratch`.

    Returns:
        n, or the row at which the arrays have no room: grow them and go on from there.
    """
    rows = Rows(
        state, slots, last, base, offsets, values, counts, newest, free, chunk_times, chunk_older, chunk_places,
        time_places, time_rows, arena, times_arena, last_times,
    )  # fmt: skip
    room = Scratch(words, integers, rest, widths)
    return _append(refs, times_ms, values_in, first, latest, oldest, floor, rows, room, times, codes)


@kernel
def count_samples(refs: NDArray[np.int32], start: int, end: int, rows: Rows, out: NDArray[np.int64]) -> int:
    """Write an upper bound of the samples of each ref within a time range; return the longest list of chunks."""
    longest = 0
    for i in range(len(refs)):
        out[i] = 0
        slot = np.int64(rows.slots[refs[i]])
        if slot < 0:
            continue
        n = np.int64(rows.counts[slot])
        chunk = np.int64(rows.newest[slot])
        length = 0
        while chunk != NO_CHUNK:
            times = rows.time_rows[rows.chunk_times[chunk]]
            if times[2] < start:
                break
            if times[1] <= end:
                n += times[0]
                length += 1
            chunk = np.int64(rows.chunk_older[chunk])
        out[i] = n
        longest = max(longest, length)
    return longest


@kernel
def read(
    refs: NDArray[np.int32], start: int, end: int, rows: Rows, places: NDArray[np.int64],
    out_times: NDArray[np.int64], out_values: NDArray[np.float64], out_counts: NDArray[np.int64],
    room: Scratch, times: NDArray[np.int64], found: NDArray[np.int64],
) -> int:  # fmt: skip
    """Read the samples of `refs` within a time range.

    Args:
        refs: (n,) int32.
        start: First time, inclusive.
        end: Last time, inclusive, below the largest int64.
        rows: The head's arrays.
        places: (n,) int64 where the samples of each ref go in the outputs; room is what `count_samples` said.
        out_times: int64 out.
        out_values: float64 out.
        out_counts: (n,) int64 out, samples read.
        room: Scratch.
        times: (MAX_SAMPLES + 128,) int64 scratch.
        found: int64 scratch, the longest list of chunks.

    Returns:
        0, or CORRUPT.
    """
    held = -1
    first = 0
    last = 0
    for i in range(len(refs)):
        out_counts[i] = 0
        slot = np.int64(rows.slots[refs[i]])
        if slot < 0:
            continue
        n_found = 0
        chunk = np.int64(rows.newest[slot])
        while chunk != NO_CHUNK:
            bounds = rows.time_rows[rows.chunk_times[chunk]]
            if bounds[2] < start:
                break
            if bounds[1] <= end:
                found[n_found] = chunk
                n_found += 1
            chunk = np.int64(rows.chunk_older[chunk])
        at = places[i]
        for j in range(n_found - 1, -1, -1):
            chunk = found[j]
            column = np.int64(rows.chunk_times[chunk])
            n = rows.time_rows[column, 0]
            if column != held:
                place = rows.time_places[column]
                if decode_times(rows.times_arena, place, rows.time_places[column + 1], n, times, room.widths) < 0:
                    return CORRUPT
                held = column
                first = first_at_or_after(times, n, start)
                last = first_at_or_after(times, n, end + 1)
            for k in range(first, last):
                out_times[at + k - first] = times[k]
            status = decode_values(
                rows.arena, rows.chunk_places[chunk], rows.chunk_places[chunk + 1], n, first, last, out_values, at,
                room.integers, room.widths,
            )  # fmt: skip
            if status < 0:
                return CORRUPT
            at += last - first
        base = rows.base[slot]
        for j in range(rows.counts[slot]):
            time = base + rows.offsets[slot, j]
            if start <= time <= end:
                out_times[at] = time
                out_values[at] = rows.values[slot, j]
                at += 1
        out_counts[i] = at - places[i]
    return 0


@kernel
def oldest_time(rows: Rows) -> int:
    """Return the oldest time of open rows and chunks, the largest int64 without any."""
    oldest = (1 << 63) - 1
    for slot in range(rows.state[SLOTS]):
        if rows.counts[slot] > 0:
            oldest = min(oldest, rows.base[slot])
    for column in range(rows.state[TIMES]):
        oldest = min(oldest, rows.time_rows[column, 1])
    return oldest


@kernel
def forget_before(
    limit: int, refs: int, rows: Rows, to: Rows, kept: NDArray[np.int32], found: NDArray[np.int64]
) -> None:
    """Copy the chunks that end at or after `limit`, and only those; empty open rows that end before it; free slots.

    Args:
        limit: Oldest time that is still needed.
        refs: Refs in use.
        rows: The head's arrays; slots, counts and lists are changed.
        to: Arrays of chunks and time columns as large as the old ones, everything else the same.
        kept: (time columns,) int32 scratch, all -1.
        found: (chunks,) int64 scratch.
    """
    state = rows.state
    chunks = 0
    value_bytes = np.int64(0)
    columns = 0
    time_bytes = np.int64(0)
    to.chunk_places[0] = 0
    to.time_places[0] = 0
    for ref in range(refs):
        slot = np.int64(rows.slots[ref])
        if slot < 0:
            continue
        n_found = 0
        chunk = np.int64(rows.newest[slot])
        while chunk != NO_CHUNK:
            if rows.time_rows[rows.chunk_times[chunk], 2] < limit:
                break
            found[n_found] = chunk
            n_found += 1
            chunk = np.int64(rows.chunk_older[chunk])
        rows.newest[slot] = NO_CHUNK
        for j in range(n_found - 1, -1, -1):
            chunk = found[j]
            column = np.int64(rows.chunk_times[chunk])
            if kept[column] < 0:
                kept[column] = columns
                for c in range(3):
                    to.time_rows[columns, c] = rows.time_rows[column, c]
                for k in range(rows.time_places[column], rows.time_places[column + 1]):
                    to.times_arena[time_bytes] = rows.times_arena[k]
                    time_bytes += 1
                columns += 1
                to.time_places[columns] = time_bytes
            to.chunk_times[chunks] = kept[column]
            to.chunk_older[chunks] = rows.newest[slot]
            for k in range(rows.chunk_places[chunk], rows.chunk_places[chunk + 1]):
                to.arena[value_bytes] = rows.arena[k]
                value_bytes += 1
            rows.newest[slot] = chunks
            chunks += 1
            to.chunk_places[chunks] = value_bytes
        if rows.counts[slot] > 0 and rows.last[ref] < limit:
            rows.counts[slot] = 0
        if rows.counts[slot] == 0 and n_found == 0:
            rows.slots[ref] = NO_SLOT
            rows.free[state[FREE]] = slot
            state[FREE] += 1
    state[CHUNKS] = chunks
    state[VALUE_BYTES] = value_bytes
    state[TIMES] = columns
    state[TIME_BYTES] = time_bytes
    state[LAST_TIMES] = -1
