# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernel of the head for native histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import kernel
from headrace.store.head_kernels import BELOW_FLOOR, OK, OUT_OF_ORDER, OUT_OF_ORDER_OK, TOO_FAR_AHEAD, TOO_OLD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def judge(
    refs: NDArray[np.int32], times_ms: NDArray[np.int64], latest: int, oldest: int, floor: int,
    last: NDArray[np.int64], codes: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Find out which histograms are in order.

    Args:
        refs: (n,) int32.
        times_ms: (n,) int64.
        latest: Newest time taken.
        oldest: Oldest time taken out of order; above `latest` to take none.
        floor: What came in order before this time is in blocks.
        last: (refs,) int64 newest time of each ref, samples and histograms; changed.
        codes: (n,) uint8 out: OK, BELOW_FLOOR, OUT_OF_ORDER_OK, OUT_OF_ORDER, TOO_OLD or TOO_FAR_AHEAD.

    Returns:
        Newest time of those that are OK, the smallest int64 without any.
    """
    newest = -(1 << 63)
    for i in range(len(refs)):
        time = times_ms[i]
        if time > latest:
            codes[i] = TOO_FAR_AHEAD
        elif time > last[refs[i]]:
            last[refs[i]] = time
            codes[i] = BELOW_FLOOR if time < floor else OK
            if time >= floor:
                newest = max(newest, time)
        elif oldest > latest:
            codes[i] = OUT_OF_ORDER
        else:
            codes[i] = TOO_OLD if time < oldest else OUT_OF_ORDER_OK
    return newest
