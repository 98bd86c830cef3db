"""An open-addressing table from 128-bit keys to int32 numbers: linear probing, at most half full.

The keys are results of a secret keyed hash, so that nobody outside can make them collide; the first word is
therefore a good slot number, and comparing both words is comparing the hashed bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY = np.int32(-(2**31))
"""In a number column: the slot is free. Any other number may be stored."""

MISSING = -1
"""Answer for a key that the table does not hold."""


@kernel
def find(keys: NDArray[np.uint64], numbers: NDArray[np.int32], k0: np.uint64, k1: np.uint64) -> int:
    """Return the slot of a key, or ``-1 - slot`` of the free slot where it belongs.

    Args:
        keys: (capacity, 2) uint64, capacity a power of two with at least one free slot.
        numbers: (capacity,) int32; EMPTY marks free slots.
        k0: First word of the key.
        k1: Second word of the key.
    """
    mask = len(numbers) - 1
    slot = np.int64(k0 & np.uint64(mask))
    while True:
        if numbers[slot] == EMPTY:
            return -1 - slot  # type: ignore[return-value]  # an integer either way
        if keys[slot, 0] == k0 and keys[slot, 1] == k1:
            return slot  # type: ignore[return-value]  # an integer either way
        slot = (slot + 1) & mask


@kernel
def lookup(
    keys: NDArray[np.uint64], numbers: NDArray[np.int32], wanted: NDArray[np.uint64], out: NDArray[np.int32]
) -> int:
    """Write the number of each wanted key to `out`, MISSING where there is none.

    Args:
        keys: (capacity, 2) uint64 of the table.
        numbers: (capacity,) int32 of the table.
        wanted: (n, 2) uint64.
        out: (n,) int32.

    Returns:
        How many are missing.
    """
    missing = 0
    for i in range(len(wanted)):
        slot = find(keys, numbers, wanted[i, 0], wanted[i, 1])
        if slot < 0:
            out[i] = MISSING
            missing += 1
        else:
            out[i] = numbers[slot]
    return missing


@kernel
def insert(
    keys: NDArray[np.uint64], numbers: NDArray[np.int32], new: NDArray[np.uint64], values: NDArray[np.int32]
) -> int:
    """Set the numbers of keys; the caller has made room for all of them.

    Returns:
        How many keys were not in the table before.
    """
    added = 0
    for i in range(len(new)):
        slot = find(keys, numbers, new[i, 0], new[i, 1])
        if slot < 0:
            slot = -1 - slot
            keys[slot, 0] = new[i, 0]
            keys[slot, 1] = new[i, 1]
            added += 1
        numbers[slot] = values[i]
    return added


@kernel
def copy_live(
    keys: NDArray[np.uint64],
    numbers: NDArray[np.int32],
    dead: NDArray[np.bool_],
    to_keys: NDArray[np.uint64],
    to_numbers: NDArray[np.int32],
) -> int:
    """Copy all entries into an empty table, save those whose number is marked dead.

    Args:
        keys: (capacity, 2) uint64 of the old table.
        numbers: (capacity,) int32 of the old table.
        dead: (numbers,) bool indexed by number; empty when nothing is dead.
        to_keys: (new capacity, 2) uint64.
        to_numbers: (new capacity,) int32, all EMPTY.

    Returns:
        Number of entries copied.
    """
    copied = 0
    for old in range(len(numbers)):
        number = numbers[old]
        if number == EMPTY or (0 <= number < len(dead) and dead[number]):
            continue
        slot = -1 - find(to_keys, to_numbers, keys[old, 0], keys[old, 1])
        to_keys[slot, 0] = keys[old, 0]
        to_keys[slot, 1] = keys[old, 1]
        to_numbers[slot] = number
        copied += 1
    return copied
