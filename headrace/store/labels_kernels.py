# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of label tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MIX = np.uint64(0x9E3779B97F4A7C15)


@kernel
def number_rows(
    values: NDArray[np.int32], slots: NDArray[np.int32], out: NDArray[np.int64], first: NDArray[np.int64]
) -> int:
    """Number rows, equal ones alike, in the order in which they first appear.

    Args:
        values: (n, k) int32.
        slots: (power of two above n,) int32 scratch, all -1.
        out: (n,) int64 out: number of each row.
        first: (n,) int64 out: first row of each number.

    Returns:
        How many numbers there are.
    """
    n, k = values.shape
    mask = np.uint64(len(slots) - 1)
    count = 0
    for i in range(n):
        if i > 0 and _equal(values[i], values[i - 1]):
            out[i] = out[i - 1]
            continue
        hashed = np.uint64(0)
        for j in range(k):
            hashed = (hashed ^ np.uint64(np.int64(values[i, j]))) * _MIX
            hashed ^= hashed >> np.uint64(29)
        slot = hashed & mask
        while slots[slot] >= 0 and not _equal(values[first[slots[slot]]], values[i]):
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            slots[slot] = count
            first[count] = i
            count += 1
        out[i] = slots[slot]
    return count


@kernel
def _equal(one: NDArray[np.int32], other: NDArray[np.int32]) -> bool:
    for j in range(len(one)):
        if one[j] != other[j]:
            return False
    return True
