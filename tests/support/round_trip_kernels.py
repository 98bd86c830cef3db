# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""The loop of the round trips: a million chunks want compiled code around the compiled code that they test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.codec.chunk_kernels import max_size
from headrace.store.codec.times_kernels import decode_times, encode_times
from headrace.store.codec.values_kernels import decode_values, encode_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.codec.scratch import Scratch

UNTOUCHED = np.uint64(0xDEAD)
"""Bits that stand wherever nothing should be written."""


@kernel
def differences(
    values: NDArray[np.float64], gaps: NDArray[np.int64], chunks: NDArray[np.int64], buf: NDArray[np.uint8],
    times: NDArray[np.int64], times_out: NDArray[np.int64], out: NDArray[np.float64], untouched: float, room: Scratch,
) -> int:  # fmt: skip
    """Encode and decode chunks; return in how many of them anything differed.

    Args:
        values: float64 that chunks are cut from.
        gaps: (as many,) int64, the times between them, 1 or more.
        chunks: (n, 6) int64: place of the first value, samples, first time, rows wanted from and to, where they go.
        buf: uint8 with room for a chunk at byte 1 and 16 bytes more.
        times: int64 scratch.
        times_out: int64 scratch.
        out: float64 scratch, all of UNTOUCHED.
        untouched: UNTOUCHED as a double.
        room: Scratch.
    """
    found = 0
    for chunk in chunks:
        place, n, time, first, last, at = chunk
        for i in range(n):
            times[i] = time
            time += gaps[place + i]
        some = values[place : place + n]
        middle = encode_times(times, n, buf, 1, room.words, room.integers, room.rest, room.widths)
        end = encode_values(some, n, buf, middle, room.words, room.integers, room.rest, room.widths)
        for i in range(16):
            buf[end + i] = 0xA5
        bad = end > 1 + max_size(n)
        bad |= decode_times(buf, 1, middle, n, times_out, room.widths) != middle
        for i in range(n):
            bad |= times_out[i] != times[i]
        bad |= decode_values(buf, middle, end, n, first, last, out, at, room.integers, room.widths) != 0
        for i in range(len(out)):
            if at <= i < at + last - first:
                bad |= float_bits(out[i]) != float_bits(some[first + i - at])
                out[i] = untouched
            else:
                bad |= float_bits(out[i]) != UNTOUCHED
        found += bad
    return found
