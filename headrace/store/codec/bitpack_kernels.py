"""Bit-packing: n integers of one width, side by side, low bits first.

Value i of width w takes bits ``i * w`` to ``(i + 1) * w - 1`` of a little-endian stream. The buffer has 8 readable and
writable bytes after the stream.
"""

# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
# Integers here are those of machine code: Numba types them, and tests run them with and without it.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import leading_zeros, load_u64, store_u64
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


_ONE_LOAD = 57
"""Widest value that 8 bytes hold wherever in a byte it begins."""


@kernel
def width_of(value: np.uint64) -> int:
    """Return how many bits `value` takes: 0 for 0, up to 64."""
    return 64 - np.int64(leading_zeros(value))


@kernel
def packed_size(count: int, width: int) -> int:
    """Return the bytes that `count` values of `width` bits take."""
    return (count * width + 7) >> 3


@kernel
def pack(values: NDArray[np.uint64], first: int, count: int, width: int, out: NDArray[np.uint8], pos: int) -> int:
    """Write ``values[first:first + count]`` at byte `pos`; return the offset one past the last byte.

    Args:
        values: uint64, each below 2**width.
        first: First value.
        count: Number of values.
        width: 0 to 64.
        out: uint8 with room for the stream and 8 bytes more.
        pos: Where to begin.
    """
    if width == 0:
        return pos
    word = np.uint64(0)
    filled = 0
    at = pos
    for i in range(first, first + count):
        value = values[i]
        word |= value << np.uint64(filled)
        filled += width
        if filled >= 64:
            store_u64(out, at, word)
            at += 8
            filled -= 64
            word = np.uint64(0) if filled == 0 else value >> np.uint64(width - filled)
    if filled > 0:
        store_u64(out, at, word)
    return pos + packed_size(count, width)


@kernel
def unpack(
    buf: NDArray[np.uint8], pos: int, count: int, width: int, base: np.int64, out: NDArray[np.int64], at: int
) -> int:
    """Read `count` values of `width` bits at byte `pos`, add `base` to each; return the offset one past the stream.

    Args:
        buf: uint8 with 16 readable bytes after the stream.
        pos: Where the stream begins.
        count: Number of values.
        width: 0 to 64; the caller has checked it and the size.
        base: Added to each value; wraps at 64 bits.
        out: int64 with room.
        at: Where the first value goes.
    """
    # A slice, because its indices are known to be positive: that lets the compiler vectorise.
    rows = out[at : at + count]
    if width == 0:
        for i in range(count):
            rows[i] = base
        return pos
    mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - width)
    if width <= _ONE_LOAD:
        for i in range(count):
            bit = i * width
            word = load_u64(buf, pos + (bit >> 3)) >> np.uint64(bit & 7)
            rows[i] = np.int64(word & mask) + base
        return pos + packed_size(count, width)
    bit = 0
    for i in range(count):
        byte = pos + (bit >> 3)
        shift = bit & 7
        word = load_u64(buf, byte) >> np.uint64(shift)
        if shift + width > 64:
            word |= np.uint64(buf[byte + 8]) << np.uint64(64 - shift)
        rows[i] = np.int64(word & mask) + base
        bit += width
    return pos + packed_size(count, width)
