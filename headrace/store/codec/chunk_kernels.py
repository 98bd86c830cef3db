# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""A chunk in memory: a time column and a value column, one after the other. Layout of both: docs/format/chunk.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.codec.integers_kernels import CORRUPT
from headrace.store.codec.times_kernels import decode_times, encode_times
from headrace.store.codec.values_kernels import decode_values, encode_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.store.codec.scratch import Scratch


@kernel
def max_size(count: int) -> int:
    """Return the room that encoding `count` samples takes at most: attempts that are given up, and 8-byte stores."""
    return 256 + 48 * count


@kernel
def encode(
    times: NDArray[np.int64], values: NDArray[np.float64], n: int, out: NDArray[np.uint8], pos: int, room: Scratch
) -> int:
    """Write a chunk at `pos`; return the offset one past it.

    Args:
        times: (n or more,) int64, ascending strictly, milliseconds.
        values: (n or more,) float64, any bit pattern.
        n: 1 to MAX_SAMPLES.
        out: uint8 with `max_size` bytes of room.
        pos: Where to begin.
        room: Scratch.
    """
    pos = encode_times(times, n, out, pos, room.words, room.integers, room.rest, room.widths)
    return encode_values(values, n, out, pos, room.words, room.integers, room.rest, room.widths)


@kernel
def decode(
    buf: NDArray[np.uint8], pos: int, end: int, n: int,
    times: NDArray[np.int64], values: NDArray[np.float64], at: int, room: Scratch,
) -> int:  # fmt: skip
    """Read the chunk of `n` samples in ``buf[pos:end]``.

    Args:
        buf: uint8 with 16 readable bytes after `end`.
        pos: First byte of the chunk.
        end: One past its last byte.
        n: Its samples, 1 to MAX_SAMPLES.
        times: int64 out, from row `at`.
        values: float64 out, from row `at`.
        at: First row to write.
        room: Scratch.

    Returns:
        `n`, or CORRUPT.
    """
    pos = decode_times(buf, pos, end, n, room.integers, room.widths)
    if pos < 0:
        return CORRUPT
    for i in range(n):
        times[at + i] = room.integers[i]
    status = decode_values(buf, pos, end, n, 0, n, values, at, room.integers, room.widths)
    return CORRUPT if status < 0 else n
