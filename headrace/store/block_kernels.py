# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of blocks: writing and reading the chunks of many series.

A chunk names a time column and a value column; equal columns are stored once, so that the series of one scrape share
their timestamps, and series that do not change share their values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.key_table_kernels import find
from headrace.kernels.siphash_kernels import siphash128
from headrace.store.codec.integers_kernels import CORRUPT
from headrace.store.codec.times_kernels import decode_times, encode_times
from headrace.store.codec.values_kernels import encode_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.codec.scratch import Scratch

CHUNK = 960
"""Most samples of a chunk in a block: four hours of a series that is scraped every 15 seconds."""

# Cells of a writer's state.
CHUNKS = 0
TIMES = 1
VALUES = 2
TIME_BYTES = 3
VALUE_BYTES = 4
LAST_TIMES = 5
LAST_COUNT = 6
STATE = 7


class Columns(NamedTuple):
    """What a writer has made of the series given to it; arrays have room for one more call.

    Attributes:
        state: (STATE,) int64: chunks, time columns, value columns, bytes of each in this call, the number of the time
            column that `last_times` holds and its length.
        firsts: (series + 1,) int64 out: chunks of series i are ``firsts[i]:firsts[i + 1]``, counted in this call.
        chunk_times: (chunks,) int32 out, of this call: time column.
        chunk_values: (chunks,) int32 out, of this call: value column.
        time_rows: (chunks, 4) int64 out: size, samples, first and last time of the time columns new in this call.
        value_sizes: (chunks,) int64 out: sizes of the value columns new in this call.
        times: uint8 out: the new time columns.
        values: uint8 out: the new value columns.
        last_times: (CHUNK,) int64.
        time_keys: Keys of a table from hashed bytes to time column.
        time_numbers: Numbers of that table.
        value_keys: Keys of a table from hashed bytes to value column.
        value_numbers: Numbers of that table.
        secret: (2,) uint64 key of the hashes.
    """

    state: NDArray[np.int64]
    firsts: NDArray[np.int64]
    chunk_times: NDArray[np.int32]
    chunk_values: NDArray[np.int32]
    time_rows: NDArray[np.int64]
    value_sizes: NDArray[np.int64]
    times: NDArray[np.uint8]
    values: NDArray[np.uint8]
    last_times: NDArray[np.int64]
    time_keys: NDArray[np.uint64]
    time_numbers: NDArray[np.int32]
    value_keys: NDArray[np.uint64]
    value_numbers: NDArray[np.int32]
    secret: NDArray[np.uint64]


@kernel
def _number(
    buf: NDArray[np.uint8], pos: int, end: int, keys: NDArray[np.uint64], numbers: NDArray[np.int32],
    following: int, secret: NDArray[np.uint64],
) -> int:  # fmt: skip
    """Return the number of the column with these bytes; a new one gets `following`."""
    low, high = siphash128(buf, pos, end - pos, secret[0], secret[1])
    slot = find(keys, numbers, low, high)
    if slot >= 0:
        return np.int64(numbers[slot])
    slot = -1 - slot
    keys[slot, 0] = low
    keys[slot, 1] = high
    numbers[slot] = following
    return np.int64(following)


@kernel
def _same_times(columns: Columns, times: NDArray[np.int64], n: int) -> bool:
    if columns.state[LAST_COUNT] != n:
        return False
    for i in range(n):
        if columns.last_times[i] != times[i]:
            return False
    return True


@kernel
def _put_times(columns: Columns, times: NDArray[np.int64], n: int, new: int, room: Scratch) -> int:
    """Return the number of the time column; `new` time columns of this call are in `time_rows`."""
    state = columns.state
    if _same_times(columns, times, n):
        return state[LAST_TIMES]
    start = state[TIME_BYTES]
    end = encode_times(times, n, columns.times, start, room.words, room.integers, room.rest, room.widths)
    number = _number(columns.times, start, end, columns.time_keys, columns.time_numbers, state[TIMES], columns.secret)
    if number == state[TIMES]:
        row = columns.time_rows[new]
        row[0] = end - start
        row[1] = n
        row[2] = times[0]
        row[3] = times[n - 1]
        state[TIME_BYTES] = end
        state[TIMES] += 1
    for i in range(n):
        columns.last_times[i] = times[i]
    state[LAST_COUNT] = n
    state[LAST_TIMES] = number
    return number


@kernel
def _put_values(columns: Columns, values: NDArray[np.float64], n: int, new: int, room: Scratch) -> int:
    state = columns.state
    start = state[VALUE_BYTES]
    end = encode_values(values, n, columns.values, start, room.words, room.integers, room.rest, room.widths)
    number = _number(
        columns.values, start, end, columns.value_keys, columns.value_numbers, state[VALUES], columns.secret
    )
    if number == state[VALUES]:
        columns.value_sizes[new] = end - start
        state[VALUE_BYTES] = end
        state[VALUES] += 1
    return number


@kernel
def write(
    offsets: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64], columns: Columns, room: Scratch
) -> None:
    """Encode the samples of some series.

    Args:
        offsets: (n + 1,) int64; samples of series i are ``offsets[i]:offsets[i + 1]``.
        times: int64, ascending strictly within a series.
        values: float64.
        columns: Where everything goes; its counts of bytes and chunks are 0, and there is room for all.
        room: Scratch.
    """
    state = columns.state
    times_before = state[TIMES]
    values_before = state[VALUES]
    for i in range(len(offsets) - 1):
        samples = offsets[i + 1] - offsets[i]
        parts = (samples + CHUNK - 1) // CHUNK
        columns.firsts[i] = state[CHUNKS]
        # Parts of one size, so that a series that is a little longer than a chunk does not leave a small rest.
        at = offsets[i]
        for part in range(parts):
            n = (samples * (part + 1)) // parts - (samples * part) // parts
            chunk = state[CHUNKS]
            new_times = state[TIMES] - times_before
            new_values = state[VALUES] - values_before
            columns.chunk_times[chunk] = _put_times(columns, times[at : at + n], n, new_times, room)
            columns.chunk_values[chunk] = _put_values(columns, values[at : at + n], n, new_values, room)
            state[CHUNKS] = chunk + 1
            at += n
        columns.firsts[i + 1] = state[CHUNKS]


class Tables(NamedTuple):
    """A block's tables, for readers.

    Attributes:
        firsts: (series + 1,) int64: chunks of series i are ``firsts[i]:firsts[i + 1]``.
        chunk_times: (chunks,) int32: time column.
        chunk_values: (chunks,) int32: value column.
        time_places: (time columns + 1,) int64: column i is ``buf[time_places[i]:time_places[i + 1]]``.
        time_rows: (3, time columns) int64: samples, first and last time.
        value_places: (value columns + 1,) int64.
        buf: uint8: the block, with 16 readable bytes behind both sections.
    """

    firsts: NDArray[np.int64]
    chunk_times: NDArray[np.int32]
    chunk_values: NDArray[np.int32]
    time_places: NDArray[np.int64]
    time_rows: NDArray[np.int64]
    value_places: NDArray[np.int64]
    buf: NDArray[np.uint8]


@kernel
def first_at_or_after(times: NDArray[np.int64], n: int, time: int) -> int:
    """Return the first place of ``times[:n]``, ascending, that is not before `time`."""
    low = 0
    high = n
    while low < high:
        middle = (low + high) >> 1
        if times[middle] < time:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _get_times(tables: Tables, column: int, out: NDArray[np.int64], room: Scratch) -> int:
    start = tables.time_places[column]
    end = tables.time_places[column + 1]
    n = tables.time_rows[0, column]
    return n if decode_times(tables.buf, start, end, n, out, room.widths) == end else CORRUPT


@kernel
def count_samples(
    rows: NDArray[np.int64], start: int, end: int, tables: Tables, times: NDArray[np.int64], room: Scratch,
    out: NDArray[np.int64],
) -> int:  # fmt: skip
    """Count the samples of each row within a time range.

    Args:
        rows: (n,) int64 rows of the block's series, -1 for a series that is not in it.
        start: First time, inclusive.
        end: Last time, inclusive.
        tables: The block's.
        times: (MAX_SAMPLES + 128,) int64 scratch.
        room: Scratch.
        out: (n,) int64 out.

    Returns:
        0, or CORRUPT.
    """
    held = -1
    for i in range(len(rows)):
        total = 0
        if rows[i] >= 0:
            for chunk in range(tables.firsts[rows[i]], tables.firsts[rows[i] + 1]):
                column = np.int64(tables.chunk_times[chunk])
                n = tables.time_rows[0, column]
                if tables.time_rows[1, column] > end or tables.time_rows[2, column] < start:
                    continue
                if tables.time_rows[1, column] >= start and tables.time_rows[2, column] <= end:
                    total += n
                    continue
                if column != held:
                    if _get_times(tables, column, times, room) < 0:
                        return CORRUPT
                    held = column
                total += first_at_or_after(times, n, end + 1) - first_at_or_after(times, n, start)
        out[i] = total
    return 0
