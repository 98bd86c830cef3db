# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that put runs of samples together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STALE = np.uint64(0x7FF0000000000002)


@kernel
def copy_runs(
    places: NDArray[np.int64],
    counts: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    offsets: NDArray[np.int64],
    filled: NDArray[np.int64],
    out_times: NDArray[np.int64],
    out_values: NDArray[np.float64],
) -> None:
    """Append run i to output range i, which begins at ``offsets[i] + filled[i]``; `filled` grows."""
    for i in range(len(places)):
        at = offsets[i] + filled[i]
        place = places[i]
        for j in range(counts[i]):
            out_times[at + j] = times[place + j]
            out_values[at + j] = values[place + j]
        filled[i] += counts[i]


@kernel
def order_runs(
    offsets: NDArray[np.int64], filled: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64]
) -> None:
    """Sort each range by time where it is not, and drop all but the best sample of a time; `filled` shrinks."""
    for i in range(len(filled)):
        first = offsets[i]
        n = filled[i]
        ascending = True
        for j in range(first + 1, first + n):
            if times[j] <= times[j - 1]:
                ascending = False
                break
        if ascending:
            continue
        order = np.argsort(times[first : first + n], kind="mergesort")
        old_times = times[first : first + n].copy()
        old_values = values[first : first + n].copy()
        kept = first
        for j in range(n):
            time = old_times[order[j]]
            value = old_values[order[j]]
            if kept > first and times[kept - 1] == time:
                if float_bits(values[kept - 1]) == _STALE:
                    values[kept - 1] = value
                continue
            times[kept] = time
            values[kept] = value
            kept += 1
        filled[i] = kept - first
