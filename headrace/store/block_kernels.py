# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of blocks: writing and reading the chunks of many series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import kernel
from headrace.store.codec.chunk_kernels import CORRUPT, decode, encode
from headrace.store.head_kernels import trim

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 480
"""Samples of a chunk in a block: two hours of a series that is scraped every 15 seconds."""


@kernel
def write(
    offsets: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    out: NDArray[np.uint8],
    base: int,
    chunks: NDArray[np.int64],
    firsts: NDArray[np.int64],
    words: NDArray[np.uint64],
    integers: NDArray[np.int64],
    chunk_times: NDArray[np.int64],
    chunk_values: NDArray[np.float64],
) -> int:
    """Encode the samples of n series.

    Args:
        offsets: (n + 1,) int64; samples of series i are ``offsets[i]:offsets[i + 1]``.
        times: int64, ascending strictly within a series.
        values: float64.
        out: uint8 with room for all chunks.
        base: Place of ``out[0]`` in the block's chunk section.
        chunks: (room, 5) int64 out: first time, last time, place, size, samples.
        firsts: (n + 1,) int64 out: chunks of series i are rows ``firsts[i]:firsts[i + 1]``.
        words: (CHUNK,) uint64 scratch.
        integers: (CHUNK,) int64 scratch.
        chunk_times: (CHUNK,) int64 scratch.
        chunk_values: (CHUNK,) float64 scratch.

    Returns:
        Bytes written to `out`.
    """
    pos = 0
    row = 0
    for i in range(len(offsets) - 1):
        firsts[i] = row
        at = offsets[i]
        while at < offsets[i + 1]:
            n = min(CHUNK, offsets[i + 1] - at)
            for j in range(n):
                chunk_times[j] = times[at + j]
                chunk_values[j] = values[at + j]
            end = encode(chunk_times, chunk_values, n, out, pos, words, integers)
            chunks[row, 0] = times[at]
            chunks[row, 1] = times[at + n - 1]
            chunks[row, 2] = base + pos
            chunks[row, 3] = end - pos
            chunks[row, 4] = n
            row += 1
            pos = end
            at += n
    firsts[len(offsets) - 1] = row
    return pos


@kernel
def count_samples(
    rows: NDArray[np.int64],
    start: int,
    end: int,
    firsts: NDArray[np.int64],
    chunks: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Write an upper bound of the samples of each row (-1: not in this block) within a time range."""
    for i in range(len(rows)):
        n = 0
        if rows[i] >= 0:
            for chunk in range(firsts[rows[i]], firsts[rows[i] + 1]):
                if chunks[chunk, 1] >= start and chunks[chunk, 0] <= end:
                    n += chunks[chunk, 4]
        out[i] = n


@kernel
def read(
    rows: NDArray[np.int64],
    start: int,
    end: int,
    firsts: NDArray[np.int64],
    chunks: NDArray[np.int64],
    buf: NDArray[np.uint8],
    places: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    words: NDArray[np.uint64],
) -> int:
    """Decode the samples of rows within a time range.

    Args:
        rows: (n,) int64 rows of the block's series table, -1 for a series that is not in it.
        start: First time, inclusive.
        end: Last time, inclusive.
        firsts: (series + 1,) int64 of the block.
        chunks: (chunks, 5) int64 of the block; the caller has checked places and sizes.
        buf: uint8 chunk section with 16 readable bytes after it.
        places: (n,) int64 where samples go, with the room that `count_samples` said.
        times: int64 out.
        values: float64 out.
        counts: (n,) int64 out.
        words: (MAX_SAMPLES,) uint64 scratch.

    Returns:
        0, or CORRUPT.
    """
    for i in range(len(rows)):
        at = places[i]
        if rows[i] >= 0:
            for chunk in range(firsts[rows[i]], firsts[rows[i] + 1]):
                if chunks[chunk, 1] >= start and chunks[chunk, 0] <= end:
                    place = chunks[chunk, 2]
                    n = decode(buf, place, place + chunks[chunk, 3], times, values, at, words)
                    if n != chunks[chunk, 4]:
                        return CORRUPT
                    at += n
        counts[i] = trim(times, values, places[i], at, start, end)
    return 0
