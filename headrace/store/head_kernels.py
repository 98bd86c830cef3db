# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of the head: appending, sealing, reading back.

Each series has an open row of WIDTH samples. A full row is sealed into a chunk in the arena; the chunks of a series
form a list from the newest to the oldest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import kernel
from headrace.store.codec.chunk_kernels import CORRUPT, decode, encode, max_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 64
"""Samples of an open row."""

NO_CHUNK = -1

OK = 0
OUT_OF_ORDER_OK = 1
DUPLICATE = 2
REPLACED = 3
CONFLICT = 4
OUT_OF_ORDER = 5
TOO_OLD = 6
TOO_FAR_AHEAD = 7

_STALE = np.uint64(0x7FF0000000000002)
_MAX_SPAN = (1 << 31) - 1


@kernel
def _seal(
    ref: int,
    base: NDArray[np.int64],
    offsets: NDArray[np.int32],
    values: NDArray[np.float64],
    counts: NDArray[np.int32],
    newest: NDArray[np.int32],
    chunks: NDArray[np.int64],
    arena: NDArray[np.uint8],
    state: NDArray[np.int64],
    times: NDArray[np.int64],
    words: NDArray[np.uint64],
    integers: NDArray[np.int64],
) -> None:
    n = counts[ref]
    for i in range(n):
        times[i] = base[ref] + offsets[ref, i]
    start = state[0]
    end = encode(times, values[ref], n, arena, start, words, integers)
    chunk = state[1]
    chunks[chunk, 0] = times[0]
    chunks[chunk, 1] = times[n - 1]
    chunks[chunk, 2] = start
    chunks[chunk, 3] = end - start
    chunks[chunk, 4] = n
    chunks[chunk, 5] = newest[ref]
    newest[ref] = chunk
    counts[ref] = 0
    state[0] = end
    state[1] = chunk + 1


@kernel
def _same_time(ref: int, i: int, value: float, values: NDArray[np.float64]) -> int:
    """Compare a sample with the one that lies at place `i` of the open row, and keep the better one."""
    there = float_bits(values[ref, i])
    new = float_bits(value)
    if new in (there, _STALE):
        return DUPLICATE
    if there == _STALE:
        values[ref, i] = value
        return REPLACED
    return CONFLICT


@kernel
def _place(ref: int, time: int, base: NDArray[np.int64], offsets: NDArray[np.int32], counts: NDArray[np.int32]) -> int:
    """Return where the open row has a sample of this time, or -1."""
    low = 0
    high = counts[ref] - 1
    wanted = time - base[ref]
    while low <= high:
        middle = (low + high) >> 1
        found = offsets[ref, middle]
        if found == wanted:
            return middle
        if found < wanted:
            low = middle + 1
        else:
            high = middle - 1
    return -1


@kernel
def append(
    refs: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    values_in: NDArray[np.float64],
    first: int,
    latest: int,
    oldest: int,
    floor: int,
    last: NDArray[np.int64],
    base: NDArray[np.int64],
    offsets: NDArray[np.int32],
    values: NDArray[np.float64],
    counts: NDArray[np.int32],
    newest: NDArray[np.int32],
    chunks: NDArray[np.int64],
    arena: NDArray[np.uint8],
    state: NDArray[np.int64],
    times: NDArray[np.int64],
    words: NDArray[np.uint64],
    integers: NDArray[np.int64],
    codes: NDArray[np.uint8],
) -> int:
    """Append samples to the open rows.

    Args:
        refs: (n,) int32.
        times_ms: (n,) int64.
        values_in: (n,) float64.
        first: Row to begin with.
        latest: Newest time taken.
        oldest: Oldest time taken out of order; above `latest` to take none.
        floor: Samples before this time are in blocks: what is older counts as out of order.
        last: (capacity,) int64 newest time by ref.
        base: (capacity,) int64 time that the offsets of an open row count from.
        offsets: (capacity, WIDTH) int32.
        values: (capacity, WIDTH) float64.
        counts: (capacity,) int32 samples in the open row.
        newest: (capacity,) int32 newest chunk, NO_CHUNK for none.
        chunks: (room, 6) int64: first time, last time, place, size, samples, next older chunk.
        arena: uint8, chunks one after the other.
        state: (4,) int64: bytes used of the arena, chunks, newest time of all, samples; changed.
        times: (WIDTH,) int64 scratch.
        words: (WIDTH,) uint64 scratch.
        integers: (WIDTH,) int64 scratch.
        codes: (n,) uint8 out.

    Returns:
        n, or the row at which the arena or the chunk table has no room: grow them and go on from there.
    """
    n = len(refs)
    for i in range(first, n):
        time = times_ms[i]
        ref = refs[i]
        if time > last[ref] and time >= floor:
            if time > latest:
                codes[i] = TOO_FAR_AHEAD
                continue
            k = counts[ref]
            if k == WIDTH or (k > 0 and time - base[ref] > _MAX_SPAN):
                if state[0] + max_size(WIDTH) > len(arena) or state[1] == len(chunks):
                    return i
                _seal(ref, base, offsets, values, counts, newest, chunks, arena, state, times, words, integers)
                k = 0
            if k == 0:
                base[ref] = time
            offsets[ref, k] = time - base[ref]
            values[ref, k] = values_in[i]
            counts[ref] = k + 1
            last[ref] = time
            state[3] += 1
            if time > state[2]:
                state[2] = time
            codes[i] = OK
            continue
        if time > latest:
            codes[i] = TOO_FAR_AHEAD
            continue
        place = _place(ref, time, base, offsets, counts)
        if place >= 0:
            codes[i] = _same_time(ref, place, values_in[i], values)
        elif oldest > latest:
            codes[i] = OUT_OF_ORDER
        elif time < oldest:
            codes[i] = TOO_OLD
        else:
            codes[i] = OUT_OF_ORDER_OK
    return n


@kernel
def count_samples(
    refs: NDArray[np.int32],
    start: int,
    end: int,
    counts: NDArray[np.int32],
    newest: NDArray[np.int32],
    chunks: NDArray[np.int64],
    out: NDArray[np.int64],
) -> int:
    """Write an upper bound of the samples of each ref within a time range; return the longest list of chunks."""
    longest = 0
    for i in range(len(refs)):
        n = np.int64(counts[refs[i]])
        chunk = np.int64(newest[refs[i]])
        length = 0
        while chunk != NO_CHUNK:
            if chunks[chunk, 1] >= start and chunks[chunk, 0] <= end:
                n += chunks[chunk, 4]
                length += 1
            chunk = chunks[chunk, 5]
        out[i] = n
        longest = max(longest, length)
    return longest


@kernel
def read(
    refs: NDArray[np.int32],
    start: int,
    end: int,
    base: NDArray[np.int64],
    offsets: NDArray[np.int32],
    values: NDArray[np.float64],
    counts: NDArray[np.int32],
    newest: NDArray[np.int32],
    chunks: NDArray[np.int64],
    arena: NDArray[np.uint8],
    places: NDArray[np.int64],
    out_times: NDArray[np.int64],
    out_values: NDArray[np.float64],
    out_counts: NDArray[np.int64],
    words: NDArray[np.uint64],
    found: NDArray[np.int64],
) -> int:
    """Read the samples of `refs` within a time range.

    Args:
        refs: (n,) int32.
        start: First time, inclusive.
        end: Last time, inclusive.
        base: As in `append`, and so the next six.
        offsets: See `append`.
        values: See `append`.
        counts: See `append`.
        newest: See `append`.
        chunks: See `append`.
        arena: See `append`.
        places: (n,) int64 where the samples of each ref go in the outputs; room is what `count_samples` said.
        out_times: int64 out.
        out_values: float64 out.
        out_counts: (n,) int64 out, samples read.
        words: (MAX_SAMPLES,) uint64 scratch.
        found: int64 scratch, the longest list of chunks.

    Returns:
        0, or CORRUPT.
    """
    for i in range(len(refs)):
        ref = refs[i]
        n_found = 0
        chunk = np.int64(newest[ref])
        while chunk != NO_CHUNK:
            if chunks[chunk, 1] >= start and chunks[chunk, 0] <= end:
                found[n_found] = chunk
                n_found += 1
            chunk = chunks[chunk, 5]
        at = places[i]
        for j in range(n_found - 1, -1, -1):
            chunk = found[j]
            place = chunks[chunk, 2]
            n = decode(arena, place, place + chunks[chunk, 3], out_times, out_values, at, words)
            if n < 0:
                return CORRUPT
            at += n
        for j in range(counts[ref]):
            out_times[at] = base[ref] + offsets[ref, j]
            out_values[at] = values[ref, j]
            at += 1
        out_counts[i] = trim(out_times, out_values, places[i], at, start, end)
    return 0


@kernel
def trim(times: NDArray[np.int64], values: NDArray[np.float64], first: int, last: int, start: int, end: int) -> int:
    """Move the rows within a time range to the front of ``first:last``; return how many there are."""
    kept = first
    for i in range(first, last):
        if start <= times[i] <= end:
            times[kept] = times[i]
            values[kept] = values[i]
            kept += 1
    return kept - first


@kernel
def forget_before(
    limit: int,
    series: int,
    newest: NDArray[np.int32],
    chunks: NDArray[np.int64],
    arena: NDArray[np.uint8],
    to_chunks: NDArray[np.int64],
    to_arena: NDArray[np.uint8],
    found: NDArray[np.int64],
    state: NDArray[np.int64],
) -> None:
    """Copy the chunks that end at or after `limit`, and only those.

    Args:
        limit: Oldest time that is still needed.
        series: Refs in use.
        newest: (capacity,) int32; changed.
        chunks: Old table.
        arena: Old arena.
        to_chunks: New table, as large as the old one.
        to_arena: New arena, as large as the old one.
        found: int64 scratch, as long as the old table.
        state: (4,) int64: bytes used, chunks …; changed.
    """
    used = 0
    n_chunks = 0
    for ref in range(series):
        n_found = 0
        chunk = np.int64(newest[ref])
        while chunk != NO_CHUNK:
            if chunks[chunk, 1] >= limit:
                found[n_found] = chunk
                n_found += 1
            chunk = chunks[chunk, 5]
        newest[ref] = NO_CHUNK
        for j in range(n_found - 1, -1, -1):
            chunk = found[j]
            for c in range(5):
                to_chunks[n_chunks, c] = chunks[chunk, c]
            place = chunks[chunk, 2]
            size = chunks[chunk, 3]
            to_chunks[n_chunks, 2] = used
            to_chunks[n_chunks, 5] = newest[ref]
            for k in range(size):
                to_arena[used + k] = arena[place + k]
            used += size
            newest[ref] = n_chunks
            n_chunks += 1
    state[0] = used
    state[1] = n_chunks


@kernel
def drop_open_before(limit: int, series: int, last: NDArray[np.int64], counts: NDArray[np.int32]) -> None:
    """Empty the open rows whose newest sample lies before `limit`."""
    for ref in range(series):
        if counts[ref] > 0 and last[ref] < limit:
            counts[ref] = 0
