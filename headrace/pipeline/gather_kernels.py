# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernel that gathers the ragged contents of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def gather(
    rows: NDArray[np.int64], starts: NDArray[np.int64], words: NDArray[np.uint64], out: NDArray[np.uint64]
) -> None:
    """Copy what some rows have, one row's after the other.

    Args:
        rows: (k,) which rows, in any order.
        starts: (n + 1,) int64; row i has ``words[starts[i]:starts[i + 1]]``.
        words: (w,) 64 bits each, whatever they mean.
        out: Room for all of it.
    """
    k = 0
    for i in range(len(rows)):
        for j in range(starts[rows[i]], starts[rows[i] + 1]):
            out[k] = words[j]
            k += 1
