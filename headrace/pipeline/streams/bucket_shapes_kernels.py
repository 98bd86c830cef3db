# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,no-untyped-call"
"""Kernels about the buckets of a stream: where they begin, whether they are the same, what the zero bucket takes in.

Buckets of a stream live in an arena, ``data[FIRST:FIRST + ROOM]``. Explicit ones have their counts first and their
bounds behind; exponential ones have the positive counts in the first half of the room, the negative in the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.streams.layout import FIRST, KIND, POSITIVE_SIZE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def lower(index: int, scale: int) -> float:
    """Return the lower bound of an exponential bucket."""
    return 2.0 ** (index * 2.0**-scale)


@kernel
def absorb(
    side: NDArray[np.float64], first: int, size: int, offset: int, scale: int, moved: NDArray[np.float64]
) -> None:
    """Move the buckets that begin below the zero threshold ``moved[1]`` to the zero count ``moved[0]``.

    One that has counts and reaches over the threshold raises it to its own end.
    """
    for j in range(size):
        if lower(offset + j, scale) >= moved[1]:
            break
        if side[first + j] > 0:
            moved[0] += side[first + j]
            side[first + j] = 0.0
            moved[1] = max(moved[1], lower(offset + j + 1, scale))


@kernel
def same_bounds(
    slot: int, k: int, ints: NDArray[np.int64], bounds: NDArray[np.float64], marks: NDArray[np.int64],
    data: NDArray[np.float64],
) -> bool:  # fmt: skip
    """Return whether a row has the buckets of its slot."""
    n = ints[k, POSITIVE_SIZE]
    if marks[slot, KIND] != ints[k, KIND] or marks[slot, POSITIVE_SIZE] != n:
        return False
    for j in range(n):
        if data[marks[slot, FIRST] + n + j] != bounds[ints[k, FIRST] + j]:
            return False
    return True
