# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of scans: samples of blocks, times that series have in common only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.block_kernels import first_at_or_after
from headrace.store.codec.integers_kernels import CORRUPT
from headrace.store.codec.times_kernels import decode_times
from headrace.store.codec.values_kernels import decode_values

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def same_columns(chunk_times: NDArray[np.int32], first: int, other: int, n: int) -> bool:
    """Return whether `n` chunks from `first` on have the time columns of those from `other` on."""
    for i in range(n):
        if chunk_times[first + i] != chunk_times[other + i]:
            return False
    return True


@kernel
def read_shared(
    rows: NDArray[np.int64], start: int, end: int, firsts: NDArray[np.int64], chunk_times: NDArray[np.int32],
    chunk_values: NDArray[np.int32], time_columns: NDArray[np.int64], time_rows: NDArray[np.int64],
    value_columns: NDArray[np.int64], buf: NDArray[np.uint8], share: bool, held: NDArray[np.int64],
    scratch: NDArray[np.int64], integers: NDArray[np.int64], widths: NDArray[np.int64], places: NDArray[np.int64],
    filled: NDArray[np.int64], time_places: NDArray[np.int64], out_times: NDArray[np.int64],
    out_values: NDArray[np.float64],
) -> int:  # fmt: skip
    """Decode the samples of rows within a time range, and nothing of chunks outside it.

    Args:
        rows: (n,) int64 rows of the block's series, -1 for a series that is not in it.
        start: First time, inclusive.
        end: Last time, inclusive, below the largest int64.
        firsts: See `headrace.store.block_kernels.Tables`, as the next six.
        chunk_times: See there.
        chunk_values: See there.
        time_columns: `time_places` there.
        time_rows: See there.
        value_columns: `value_places` there.
        buf: See there.
        share: Whether a series that has the time columns of the one before it gets no times of its own.
        held: (chunks of a series at most, 2) int64 scratch: first and last place of each chunk.
        scratch: (MAX_SAMPLES + 128,) int64.
        integers: Of `headrace.store.codec.scratch.Scratch`.
        widths: Of `headrace.store.codec.scratch.Scratch`.
        places: (n,) int64 where the samples of each row go.
        filled: (n,) int64: samples that are there already; grows.
        time_places: (n,) int64 out where `share`: where the times of each row begin, else they are at its place.
        out_times: int64 out, with room for as many as `out_values`.
        out_values: float64 out.

    Returns:
        0, or CORRUPT.
    """
    before = np.int64(-1)
    before_row = np.int64(-1)
    before_chunks = np.int64(0)
    decoded = -1
    n = 0
    for i in range(len(rows)):
        if share:
            time_places[i] = places[i]
        if rows[i] < 0:
            continue
        first_chunk = firsts[rows[i]]
        last_chunk = firsts[rows[i] + 1]
        while first_chunk < last_chunk and time_rows[2, chunk_times[first_chunk]] < start:
            first_chunk += 1
        while last_chunk > first_chunk and time_rows[1, chunk_times[last_chunk - 1]] > end:
            last_chunk -= 1
        chunks = last_chunk - first_chunk
        known = before >= 0 and chunks == before_chunks and same_columns(chunk_times, first_chunk, before, chunks)
        if share and known:
            time_places[i] = time_places[before_row]
        at = places[i] + filled[i]
        for k in range(chunks):
            column = chunk_times[first_chunk + k]
            n = time_rows[0, column]
            if not (share and known):
                if column != decoded:
                    if decode_times(buf, time_columns[column], time_columns[column + 1], n, scratch, widths) < 0:
                        return CORRUPT
                    decoded = column
                if not known:
                    held[k, 0] = first_at_or_after(scratch, n, start)
                    held[k, 1] = first_at_or_after(scratch, n, end + 1)
                source = scratch[held[k, 0] : held[k, 1]]
                target = out_times[at : at + len(source)]
                for j in range(len(source)):
                    target[j] = source[j]
            column = chunk_values[first_chunk + k]
            status = decode_values(
                buf, value_columns[column], value_columns[column + 1], n, held[k, 0], held[k, 1], out_values, at,
                integers, widths,
            )  # fmt: skip
            if status < 0:
                return CORRUPT
            at += held[k, 1] - held[k, 0]
        filled[i] = at - places[i]
        before = first_chunk
        before_row = i
        before_chunks = chunks
    return 0


@kernel
def share_times(
    places: NDArray[np.int64], counts: NDArray[np.int64], times: NDArray[np.int64], out: NDArray[np.int64]
) -> None:
    """Write for each series where its times lie: where those of the series before it do, if they are equal."""
    for i in range(len(places)):
        out[i] = places[i]
        if i == 0 or counts[i] != counts[i - 1] or counts[i] == 0:
            continue
        one = times[places[i] : places[i] + counts[i]]
        other = times[out[i - 1] : out[i - 1] + counts[i]]
        if one[0] != other[0] or one[len(one) - 1] != other[len(one) - 1]:
            continue
        different = 0
        for j in range(len(one)):
            different += one[j] != other[j]
        if different == 0:
            out[i] = out[i - 1]
