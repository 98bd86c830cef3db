# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Integers of variable length: seven bits a byte, the lowest first, the top bit set while more follow (LEB128)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEVEN = np.uint64(7)
_LOW = np.uint64(0x7F)
_MORE = np.uint64(0x80)


@kernel
def zigzag(value: np.int64) -> np.uint64:
    """Map 0, -1, 1, -2, … to 0, 1, 2, 3, …."""
    return np.uint64(value << np.int64(1)) ^ np.uint64(value >> np.int64(63))


@kernel
def unzigzag(raw: np.uint64) -> np.int64:
    """Undo `zigzag`."""
    return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1))


@kernel
def put_varint(out: NDArray[np.uint8], pos: int, value: np.uint64) -> int:
    """Write `value` at `pos` in 1 to 10 bytes; return the offset one past it."""
    while value > _LOW:
        out[pos] = np.uint8((value & _LOW) | _MORE)
        value >>= _SEVEN
        pos += 1
    out[pos] = np.uint8(value)
    return pos + 1


@kernel
def get_varint(buf: NDArray[np.uint8], pos: int, end: int) -> tuple[np.uint64, int]:
    """Read the integer at `pos`; return it and the offset one past it, -1 where it does not end before `end`."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while pos < end and shift < np.uint64(64):
        byte = np.uint64(buf[pos])
        pos += 1
        value |= (byte & _LOW) << shift
        if byte < _MORE:
            return value, pos
        shift += _SEVEN
    return value, -1
