# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that turn stored histograms into those that PromQL computes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def expand(
    flags: NDArray[np.uint8],
    span_starts: NDArray[np.int64],
    positive_spans: NDArray[np.int32],
    spans: NDArray[np.int32],
    bucket_starts: NDArray[np.int64],
    buckets: NDArray[np.uint64],
    positive: NDArray[np.int32],
    indices: NDArray[np.int32],
    counts: NDArray[np.float64],
) -> None:
    """Write the index of each bucket and its count as a double.

    Args:
        flags: (n,) uint8; bit 0 tells that counts are the bits of doubles.
        span_starts: (n + 1,) int64.
        positive_spans: (n,) int32.
        spans: (s, 2) int32, checked.
        bucket_starts: (n + 1,) int64.
        buckets: (b,) uint64.
        positive: (n,) int32 out: how many buckets are positive.
        indices: (b,) int32 out.
        counts: (b,) float64 out.
    """
    for i in range(len(flags)):
        is_float = flags[i] & 1 != 0
        k = bucket_starts[i]
        middle = span_starts[i] + positive_spans[i]
        index = np.int64(0)
        positive[i] = 0
        for s in range(span_starts[i], span_starts[i + 1]):
            if s == middle:
                index = np.int64(0)
            if s < middle:
                positive[i] += spans[s, 1]
            index += spans[s, 0]
            for _ in range(spans[s, 1]):
                indices[k] = np.int32(index)
                counts[k] = bits_float(buckets[k]) if is_float else float(buckets[k])
                index += 1
                k += 1
