# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read Prometheus' bit streams: plain bits, its variable-width integers, and XORed doubles.

Bits are counted from the highest of the first byte on. Functions that can run out of bits return a position of
TRUNCATED.

Source:
    Prometheus, tsdb/docs/format/chunks.md; Pelkonen et al., "Gorilla", VLDB 2015, section 4.1.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import leading_zeros, load_u64
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRUNCATED = -1

_WIDTHS = np.array([0, 3, 6, 9, 12, 18, 25, 56, 64], np.int64)
"""Width of a variable-width integer by the ones that it begins with."""


@kernel
def read_bits(buf: NDArray[np.uint8], at: int, n: int) -> np.uint64:
    """Return the `n` bits (1 to 64) from bit `at` on; those behind the end of `buf` are zero."""
    byte = at >> 3
    skip = at & 7
    word = np.uint64(0)
    if byte + 8 <= len(buf):
        word = load_u64(buf, byte)
        a, b = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
        word = (word >> np.uint64(8)) & a | (word & a) << np.uint64(8)
        word = (word >> np.uint64(16)) & b | (word & b) << np.uint64(16)
        word = word >> np.uint64(32) | word << np.uint64(32)
    else:
        for i in range(byte, byte + 8):
            word = word << np.uint64(8)
            if i < len(buf):
                word = word | np.uint64(buf[i])
    word = word << np.uint64(skip)
    if skip + n > 64 and byte + 8 < len(buf):
        word = word | np.uint64(buf[byte + 8]) >> np.uint64(8 - skip)
    return word >> np.uint64(64 - n)


@kernel
def _variable(buf: NDArray[np.uint8], at: int, end: int) -> tuple[int, int, np.uint64]:
    """Return the position behind a variable-width integer, its width and its bits."""
    ones = np.int64(leading_zeros(~(read_bits(buf, at, 8) << np.uint64(56))))
    width = _WIDTHS[ones]
    at += ones + 1 if ones < 8 else 8
    if at + width > end:
        return np.int64(TRUNCATED), np.int64(0), np.uint64(0)
    if width == 0:
        return np.int64(at), np.int64(0), np.uint64(0)
    return np.int64(at + width), np.int64(width), read_bits(buf, at, width)


@kernel
def read_unsigned(buf: NDArray[np.uint8], at: int, end: int) -> tuple[int, np.uint64]:
    """Return the position behind a variable-width unsigned integer, and the integer."""
    at, _, bits = _variable(buf, at, end)
    return at, bits


@kernel
def read_signed(buf: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the position behind a variable-width signed integer, and the integer: -(2**(w-1) - 1) to 2**(w-1)."""
    at, width, bits = _variable(buf, at, end)
    if 0 < width < 64 and bits > np.uint64(1) << np.uint64(width - 1):
        return at, np.int64(bits) - (np.int64(1) << np.int64(width))
    return at, np.int64(bits)


@kernel
def read_xor(
    buf: NDArray[np.uint8], at: int, end: int, bits: np.uint64, leading: int, trailing: int
) -> tuple[int, np.uint64, int, int]:
    """Return the position behind an XORed double, its bits, and the new window.

    Args:
        buf: The bytes.
        at: First bit.
        end: One past the last bit of the chunk.
        bits: The double before.
        leading: Zero bits before those that were given last.
        trailing: Zero bits behind them.
    """
    head = read_bits(buf, at, 2)
    if head < np.uint64(2):
        return np.int64(at + 1 if at < end else TRUNCATED), bits, np.int64(leading), np.int64(trailing)
    at += 2
    if head == np.uint64(3):
        window = np.int64(read_bits(buf, at, 11))
        at += 11
        leading, size = window >> 6, window & 63
        trailing = 64 - leading - (64 if size == 0 else size)
        if trailing < 0:
            return np.int64(TRUNCATED), bits, np.int64(0), np.int64(0)
    size = 64 - leading - trailing
    if at + size > end:
        return np.int64(TRUNCATED), bits, np.int64(0), np.int64(0)
    bits = bits ^ read_bits(buf, at, size) << np.uint64(trailing)
    return np.int64(at + size), bits, np.int64(leading), np.int64(trailing)


@kernel
def read_varint(buf: NDArray[np.uint8], pos: int, end: int) -> tuple[int, np.uint64]:
    """Return the byte behind a varint of up to 10 bytes, TRUNCATED where it does not end, and the integer."""
    value = np.uint64(0)
    shift = 0
    while pos < end and shift < 70:
        byte = np.uint64(buf[pos])
        pos += 1
        value = value | (byte & np.uint64(0x7F)) << np.uint64(min(shift, 63))
        if byte < np.uint64(0x80):
            return np.int64(pos), value
        shift += 7
    return np.int64(TRUNCATED), np.uint64(0)


@kernel
def zigzag(raw: np.uint64) -> int:
    """Return the signed integer that a zigzag varint stands for."""
    return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1))
