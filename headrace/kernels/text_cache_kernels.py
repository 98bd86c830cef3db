# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""A small direct-mapped cache in front of a dictionary of texts.

Neighbouring series share most of their labels. Finding a text that came a moment ago costs a comparison of its bytes
instead of a keyed hash and a walk through a large table; a sender who makes texts collide gains nothing but the
ordinary way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_u64
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 1024
"""Cells of a cache: int32 numbers of texts, EMPTY for none."""

EMPTY = -1

_MIX = np.uint64(0x9E3779B97F4A7C15)
_TO_CELL = np.uint64(54)
"""Leaves the 10 highest bits, a number of a cell."""


@kernel
def cell_of(buf: NDArray[np.uint8], pos: int, size: int) -> int:
    """Return the cell of the text ``buf[pos:pos + size]``; 8 bytes are readable behind it."""
    mixed = load_u64(buf, pos)
    if size >= 8:
        mixed = (mixed * _MIX) ^ (mixed >> np.uint64(32)) ^ load_u64(buf, pos + size - 8)
    else:
        mixed &= (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    mixed = (mixed ^ np.uint64(size)) * _MIX
    return np.int64(mixed >> _TO_CELL)


@kernel
def is_same(buf: NDArray[np.uint8], pos: int, text: NDArray[np.uint8], start: int, size: int) -> bool:
    """Return whether `size` bytes are the same in `buf` at `pos` and in `text` at `start`; 8 more are readable."""
    done = 0
    while done + 8 <= size:
        if load_u64(buf, pos + done) != load_u64(text, start + done):
            return False
        done += 8
    if done == size:
        return True
    rest = load_u64(buf, pos + done) ^ load_u64(text, start + done)
    return (rest & ((np.uint64(1) << np.uint64(8 * (size - done))) - np.uint64(1))) == np.uint64(0)
