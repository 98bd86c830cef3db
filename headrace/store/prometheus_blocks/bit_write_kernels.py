# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write Prometheus' bit streams; the other way round in `bit_stream_kernels`.

Bits are counted from the highest of the first byte on. Buffers have PAD bytes of room after the last bit.

Source:
    Prometheus, tsdb/docs/format/chunks.md; Pelkonen et al., "Gorilla", VLDB 2015, section 4.1.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import leading_zeros, store_u64, trailing_zeros
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTHS = np.array([0, 3, 6, 9, 12, 18, 25, 56, 64], np.int64)
"""Width of a variable-width integer by the ones that it begins with."""

NO_WINDOW = 64
"""Leading zeros of the window before a stream of XORed doubles has one: more than any change has."""

_MOST_LEADING = 31


@kernel
def _swapped(word: np.uint64) -> np.uint64:
    a, b = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
    word = (word >> np.uint64(8)) & a | (word & a) << np.uint64(8)
    word = (word >> np.uint64(16)) & b | (word & b) << np.uint64(16)
    return word >> np.uint64(32) | word << np.uint64(32)


@kernel
def put_bits(out: NDArray[np.uint8], at: int, value: np.uint64, width: int) -> int:
    """Write the lowest `width` bits (0 to 64) of `value` from bit `at` on; return the bit behind them."""
    if width == 0:
        return np.int64(at)
    value = value << np.uint64(64 - width)
    byte, skip = at >> 3, at & 7
    # What the first byte holds already stands above the bits that are written now.
    kept = np.uint64(out[byte]) >> np.uint64(8 - skip) << np.uint64(64 - skip) if skip else np.uint64(0)
    store_u64(out, byte, _swapped(kept | value >> np.uint64(skip)))
    if skip + width > 64:
        out[byte + 8] = np.uint8(value << np.uint64(64 - skip) >> np.uint64(56))
    return np.int64(at + width)


@kernel
def put_uvarint(out: NDArray[np.uint8], at: int, value: np.uint64) -> int:
    """Write a varint; return the bit behind it."""
    while value >= np.uint64(128):
        at = put_bits(out, at, value & np.uint64(127) | np.uint64(128), 8)
        value = value >> np.uint64(7)
    return put_bits(out, at, value, 8)


@kernel
def zigzagged(value: int) -> np.uint64:
    """Return the unsigned integer that stands for a signed one in varints."""
    return np.uint64(np.int64(value) << np.int64(1)) ^ np.uint64(np.int64(value) >> np.int64(63))


@kernel
def _put_variable(out: NDArray[np.uint8], at: int, value: np.uint64, ones: int) -> int:
    """Write an integer behind so many ones and a zero; the eighth one needs none."""
    if ones < 8:
        at = put_bits(out, at, (np.uint64(1) << np.uint64(ones + 1)) - np.uint64(2), ones + 1)
    else:
        at = put_bits(out, at, np.uint64(0xFF), 8)
    return put_bits(out, at, value, _WIDTHS[ones])


@kernel
def put_unsigned(out: NDArray[np.uint8], at: int, value: np.uint64) -> int:
    """Write a variable-width unsigned integer; return the bit behind it."""
    ones = 0
    while ones < 8 and value >> np.uint64(_WIDTHS[ones]) != np.uint64(0):
        ones += 1
    return _put_variable(out, at, value, ones)


@kernel
def put_signed(out: NDArray[np.uint8], at: int, value: int) -> int:
    """Write a variable-width signed integer; return the bit behind it."""
    value = np.int64(value)
    if value == 0:
        return put_bits(out, at, np.uint64(0), 1)
    ones = 1
    while ones < 8:
        half = np.int64(1) << np.int64(_WIDTHS[ones] - 1)
        if -half < value <= half:
            break
        ones += 1
    return _put_variable(out, at, np.uint64(value), ones)


@kernel
def put_xor(
    out: NDArray[np.uint8], at: int, bits: np.uint64, before: np.uint64, leading: int, trailing: int
) -> tuple[int, int, int]:
    """Write a double as what changed; return the bit behind it and the new window.

    Args:
        out: The bytes.
        at: First bit.
        bits: The double.
        before: The one before.
        leading: Zero bits before those that were given last; NO_WINDOW for none yet.
        trailing: Zero bits behind them.
    """
    change = bits ^ before
    if change == np.uint64(0):
        return put_bits(out, at, change, 1), np.int64(leading), np.int64(trailing)
    zeros = min(np.int64(leading_zeros(change)), np.int64(_MOST_LEADING))
    behind = np.int64(trailing_zeros(change))
    if leading != NO_WINDOW and zeros >= leading and behind >= trailing:
        at = put_bits(out, at, np.uint64(2), 2)
        at = put_bits(out, at, change >> np.uint64(trailing), 64 - leading - trailing)
        return at, np.int64(leading), np.int64(trailing)
    size = 64 - zeros - behind
    at = put_bits(out, at, np.uint64(3), 2)
    at = put_bits(out, at, np.uint64(zeros), 5)
    # A size of 64 does not fit into six bits; it is written as 0, which no change has.
    at = put_bits(out, at, np.uint64(size & 63), 6)
    at = put_bits(out, at, change >> np.uint64(behind), size)
    return at, zeros, behind
