# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Columns of timestamps: how far each is from an even grid. Layout: docs/format/chunk.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.codec.integers_kernels import CORRUPT, decode_integers, encode_integers
from headrace.store.codec.varint_kernels import get_varint, put_varint, unzigzag, zigzag

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REGULAR = 7


@kernel
def _usual_step(times: NDArray[np.int64], n: int) -> np.int64:
    """Return a difference that is usual: the middle one of three, at a quarter, a half and three quarters."""
    a = times[n >> 2] - times[(n >> 2) - 1] if n >= 4 else times[1] - times[0]
    b = times[n >> 1] - times[(n >> 1) - 1]
    c = times[n - 1 - (n >> 2)] - times[n - 2 - (n >> 2)] if n >= 4 else b
    return max(min(a, b), min(max(a, b), c))


@kernel
def encode_times(
    times: NDArray[np.int64], n: int, out: NDArray[np.uint8], pos: int,
    words: NDArray[np.uint64], off: NDArray[np.int64], rest: NDArray[np.int64], widths: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write a column at `pos`; return the offset one past it.

    Args:
        times: (n or more,) int64, ascending strictly, milliseconds.
        n: 1 or more.
        out: uint8 with 10 bytes of room for each value and 64 more.
        pos: Where to begin.
        words: (256 or more,) uint64 scratch.
        off: (n or more,) int64 scratch.
        rest: (n or more,) int64 scratch.
        widths: (512 or more,) int64 scratch.
    """
    # The length is part of it: equal bytes are equal columns.
    pos = put_varint(out, pos, np.uint64(n))
    pos = put_varint(out, pos, zigzag(times[0]))
    if n == 1:
        return pos
    step = _usual_step(times, n)
    pos = put_varint(out, pos, np.uint64(step))
    even = True
    for i in range(n):
        off[i] = times[i] - (times[0] + i * step)
        even = even and off[i] == 0
    if even:
        out[pos] = _REGULAR
        return pos + 1
    return encode_integers(off, n, False, out, pos, words, rest, widths)


@kernel
def decode_times(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, out: NDArray[np.int64], some: NDArray[np.int64]
) -> int:
    """Read a column of `n` timestamps into ``out[:n]``; return the offset one past it, or CORRUPT.

    Args:
        buf: uint8 with 16 readable bytes after `end`.
        pos: Where the column begins.
        end: One past what may belong to it.
        n: Its length.
        out: (n + 128 or more,) int64.
        some: (512 or more,) int64 scratch.
    """
    count, pos = get_varint(buf, pos, end)
    if pos < 0 or count != np.uint64(n):
        return CORRUPT
    raw, pos = get_varint(buf, pos, end)
    if pos < 0:
        return CORRUPT
    first = unzigzag(raw)
    out[0] = first
    if n == 1:
        return pos
    raw, pos = get_varint(buf, pos, end)
    if pos < 0 or pos >= end:
        return CORRUPT
    step = np.int64(raw)
    if buf[pos] == _REGULAR:
        for i in range(1, n):
            out[i] = first + i * step
        return pos + 1
    pos = decode_integers(buf, pos, end, n, n, out, some)
    if pos < 0:
        return CORRUPT
    for i in range(n):
        out[i] += first + i * step
    return pos
