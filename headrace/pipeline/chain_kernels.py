"""Kernels of memoised verdicts: one gather a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNDECIDED = -1
"""A verdict: nobody has decided yet. At or above 0 it is the id to pass on, below UNDECIDED a drop."""


@kernel
def gather(verdicts: NDArray[np.int32], series: NDArray[np.int32], out: NDArray[np.int32]) -> int:
    """Look verdicts up.

    Args:
        verdicts: (capacity,) int32 by id, long enough for every id.
        series: (n,) int32 ids.
        out: (n,) int32 verdicts.

    Returns:
        0 when every verdict is its own id, else 1, or 2 when some are below 0.
    """
    changed = 0
    for i in range(len(series)):
        verdict = verdicts[series[i]]
        out[i] = verdict
        if verdict != series[i]:
            changed = max(changed, 2 if verdict < 0 else 1)
    return changed


@kernel
def undecided(verdicts: NDArray[np.int32], series: NDArray[np.int32], out: NDArray[np.int32]) -> int:
    """Collect the ids without a verdict, repeats included; return how many stand in `out`, (n,) int32."""
    n = 0
    for i in range(len(series)):
        if verdicts[series[i]] == UNDECIDED:
            out[n] = series[i]
            n += 1
    return n


@kernel
def forget(verdicts: NDArray[np.int32], gone: NDArray[np.bool_]) -> None:
    """Reset the verdicts of ids that are gone, and of those that lead to one.

    Args:
        verdicts: (capacity,) int32; changed.
        gone: (capacity of ids,) bool by id.
    """
    for i in range(len(verdicts)):
        verdict = verdicts[i]
        if (i < len(gone) and gone[i]) or (0 <= verdict < len(gone) and gone[verdict]):
            verdicts[i] = UNDECIDED
