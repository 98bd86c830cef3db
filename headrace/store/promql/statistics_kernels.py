# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that count how many samples lie in windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def sizes(lo: NDArray[np.int64], hi: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """Add up the sizes of the windows ``lo[i, t]:hi[i, t]`` at each step into `out`, (steps,)."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            out[t] += hi[i, t] - lo[i, t]


@kernel
def changes(times: NDArray[np.int64], start: int, step: int, window: int, out: NDArray[np.int64]) -> None:
    """Count by how much windows grow from step to step; their running total is how many samples they hold.

    Args:
        times: (m,) in any order.
        start: End of the first window, which does not include what lies `window` before it.
        step: From the end of a window to that of the next one, above zero.
        window: Length.
        out: (steps,) zeros at first.
    """
    steps = len(out)
    for j in range(len(times)):
        first = max(0, -((start - times[j]) // step))
        if first < steps:
            out[first] += 1
        after = max(0, -((start - window - times[j]) // step))
        if after < steps:
            out[after] -= 1
