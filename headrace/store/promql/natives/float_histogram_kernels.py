# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that turn stored histograms into those that PromQL computes with, and that copy these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def expand(
    rows: NDArray[np.int64],
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
        rows: (k,) which histograms.
        flags: (n,) uint8; bit 0 tells that counts are the bits of doubles.
        span_starts: (n + 1,) int64.
        positive_spans: (n,) int32.
        spans: (s, 2) int32, checked.
        bucket_starts: (n + 1,) int64.
        buckets: (b,) uint64.
        positive: (k,) int32 out: how many buckets are positive.
        indices: int32 out, one row's after the other.
        counts: float64 out, likewise.
    """
    k = 0
    for i in range(len(rows)):
        row = rows[i]
        is_float = flags[row] & 1 != 0
        bucket = bucket_starts[row]
        middle = span_starts[row] + positive_spans[row]
        index = np.int64(0)
        positive[i] = 0
        for s in range(span_starts[row], span_starts[row + 1]):
            if s == middle:
                index = np.int64(0)
            if s < middle:
                positive[i] += spans[s, 1]
            index += spans[s, 0]
            for _ in range(spans[s, 1]):
                indices[k] = np.int32(index)
                counts[k] = bits_float(buckets[bucket]) if is_float else float(buckets[bucket])
                index += 1
                bucket += 1
                k += 1


@kernel
def gather(
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    indices: NDArray[np.int32],
    counts: NDArray[np.float64],
    out_indices: NDArray[np.int32],
    out_counts: NDArray[np.float64],
) -> None:
    """Copy the buckets of some rows, one row's after the other."""
    k = 0
    for i in range(len(rows)):
        for j in range(starts[rows[i]], starts[rows[i] + 1]):
            out_indices[k] = indices[j]
            out_counts[k] = counts[j]
            k += 1


@kernel
def count_runs(
    starts: NDArray[np.int64], positive: NDArray[np.int32], indices: NDArray[np.int32], out: NDArray[np.int64]
) -> None:
    """Write how many runs of neighbouring buckets each histogram has, on both sides together."""
    for i in range(len(positive)):
        middle = starts[i] + positive[i]
        n = 0
        for j in range(starts[i], starts[i + 1]):
            if j in (starts[i], middle) or indices[j] != indices[j - 1] + 1:
                n += 1
        out[i] = n
