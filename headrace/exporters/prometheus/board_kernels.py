# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""The kernel that takes the newest sample of each series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STALE = np.uint64(0x7FF0000000000002)


@kernel
def update(
    series: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float64], starts: NDArray[np.int64],
    now: float, live: NDArray[np.bool_], seen: NDArray[np.float64], last_times: NDArray[np.int64],
    last_values: NDArray[np.float64], last_starts: NDArray[np.int64], tally: NDArray[np.int64],
) -> None:  # fmt: skip
    """Keep what is not older than what is there; a stale marker takes a series off.

    Args:
        series: (n,) int32 ids.
        times: (n,) int64 milliseconds.
        values: (n,) float64.
        starts: (n,) int64 milliseconds, 0 for unknown.
        now: Seconds that never go back.
        live: By id, whether there is a sample.
        seen: By id, when it came.
        last_times: By id.
        last_values: By id.
        last_starts: By id.
        tally: (2,) takes how many samples were older, and how many series came or went.
    """
    for i in range(len(series)):
        one = series[i]
        if live[one] and times[i] < last_times[one]:
            tally[0] += 1
            continue
        stays = float_bits(values[i]) != _STALE
        if stays != live[one]:
            tally[1] += 1
        live[one] = stays
        seen[one] = now
        last_times[one] = times[i]
        last_values[one] = values[i]
        last_starts[one] = starts[i]
