"""Bit-packing: n integers of one width, side by side, low bits first.

Value i of width w takes bits ``i * w`` to ``(i + 1) * w - 1`` of a little-endian stream. The buffer has 8 readable and
writable bytes after the stream.
"""

# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
# Integers here are those of machine code: Numba types them, and tests run them with and without it.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import count_ones, leading_zeros, load_u64, store_u64, trailing_zeros
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


_ONE = np.uint64(1)
_USUAL_ONES = 32
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
def _unpack_eights(
    buf: NDArray[np.uint8], pos: int, count: int, width: int, base: np.int64, out: NDArray[np.int64], at: int
) -> None:
    """Read 8 values of up to 8 bits at a time from one load, which the compiler makes vectors of."""
    mask = (_ONE << np.uint64(width)) - _ONE
    for group in range(count >> 3):
        word = load_u64(buf, pos + group * width)
        first = at + 8 * group
        for i in range(8):
            out[np.uint64(first + i)] = np.int64(word >> np.uint64(i * width) & mask) + base


@kernel
def _unpack_fours(
    buf: NDArray[np.uint8], pos: int, count: int, width: int, base: np.int64, out: NDArray[np.int64], at: int
) -> None:
    """Read 4 values of up to 16 bits at a time; they begin at a byte or in its middle, so that one load holds them."""
    mask = (_ONE << np.uint64(width)) - _ONE
    for group in range(count >> 2):
        bit = 4 * group * width
        word = load_u64(buf, pos + (bit >> 3)) >> np.uint64(bit & 7)
        first = at + 4 * group
        for i in range(4):
            out[np.uint64(first + i)] = np.int64(word >> np.uint64(i * width) & mask) + base


@kernel
def _unpack_wide(
    buf: NDArray[np.uint8], pos: int, count: int, width: int, base: np.int64, out: NDArray[np.int64], at: int
) -> None:
    mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - width)
    bit = 0
    for i in range(count):
        byte = pos + (bit >> 3)
        shift = bit & 7
        word = load_u64(buf, byte) >> np.uint64(shift)
        if shift + width > 64:
            word |= np.uint64(buf[byte + 8]) << np.uint64(64 - shift)
        out[np.uint64(at + i)] = np.int64(word & mask) + base
        bit += width


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
    # Here and in the decoders, indices are unsigned and there are no slices: that lets the compiler vectorise, and a
    # slice costs an atomic addition to the array's count of references.
    if width > _ONE_LOAD:
        _unpack_wide(buf, pos, count, width, base, out, at)
        return pos + packed_size(count, width)
    done = 0
    if width == 0:
        for i in range(count):
            out[np.uint64(at + i)] = base
        return pos
    if width <= 8:
        _unpack_eights(buf, pos, count, width, base, out, at)
        done = count & ~7
    elif width <= 16:
        _unpack_fours(buf, pos, count, width, base, out, at)
        done = count & ~3
    mask = (_ONE << np.uint64(width)) - _ONE
    for i in range(done, count):
        bit = i * width
        word = load_u64(buf, pos + (bit >> 3)) >> np.uint64(bit & 7)
        out[np.uint64(at + i)] = np.int64(word & mask) + base
    return pos + packed_size(count, width)


@kernel
def find_ones(buf: NDArray[np.uint8], pos: int, bits: int, most: int, out: NDArray[np.int64]) -> int:
    """Write the places of the set bits among the `bits` at byte `pos`, ascending; return how many were found.

    A word's places are written a fixed number at a time and those too many are written over, because a branch for
    each would often be predicted wrongly.

    Args:
        buf: uint8 with 8 readable bytes after the stream.
        pos: Where the stream begins.
        bits: Its length.
        most: Stop after the word in which so many are found.
        out: (most + 64 or more,) int64 out.

    Source:
        Langdale and Lemire, "Parsing gigabytes of JSON per second", VLDB Journal 28, 2019, section 3.1.4.

    """
    found = 0
    for base in range(0, bits, 64):
        if found >= most:
            break
        word = load_u64(buf, pos + (base >> 3))
        if bits - base < 64:
            word &= (_ONE << np.uint64(bits - base)) - _ONE
        ones = np.int64(count_ones(word))
        for i in range(_USUAL_ONES):
            out[np.uint64(found + i)] = base + np.int64(trailing_zeros(word))
            word &= word - _ONE
        if ones > _USUAL_ONES:
            for i in range(_USUAL_ONES, 64):
                out[np.uint64(found + i)] = base + np.int64(trailing_zeros(word))
                word &= word - _ONE
        found += ones
    return found
