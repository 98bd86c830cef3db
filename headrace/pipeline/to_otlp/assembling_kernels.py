# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that make histogram points: of samples of the classic series, and of native histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUM, COUNT, BUCKET, QUANTILE = 2, 3, 4, 5
"""Roles of samples, see `roles.Role`."""

_STALE = 2
_FLOAT_COUNTS = 1
_NOT_SENT = -1.0


@kernel
def assemble(
    order: NDArray[np.int64],
    targets: NDArray[np.int32],
    times: NDArray[np.int64],
    roles: NDArray[np.uint8],
    bounds: NDArray[np.float64],
    values: NDArray[np.float64],
    flags: NDArray[np.uint8],
    firsts: NDArray[np.int64],
    counts: NDArray[np.float64],
    sums: NDArray[np.float64],
    stale: NDArray[np.uint8],
    starts: NDArray[np.int64],
    out_bounds: NDArray[np.float64],
    out_counts: NDArray[np.float64],
) -> int:
    """Join samples to points.

    Args:
        order: (n,) samples sorted by target, time, role and bound.
        targets: (n,) the histogram or summary of each sample.
        times: (n,) nanoseconds.
        roles: (n,).
        bounds: (n,) of buckets and quantiles.
        values: (n,).
        flags: (n,) of `headrace.pipeline.batch.Flag`.
        firsts: (n,) takes a sample of each point.
        counts: (n,) takes the count of each; negative where it has none.
        sums: (n,) takes the sum, NaN where there is none.
        stale: (n,) takes whether the point is a stale marker.
        starts: (n + 1,) takes where the buckets of each begin.
        out_bounds: (2n,) takes upper bounds, or quantiles.
        out_counts: (2n,) takes counts of buckets, not cumulative, or values of quantiles.

    Returns:
        How many points there are.
    """
    points = 0
    used = 0
    i = 0
    while i < len(order):
        first = order[i]
        firsts[points] = first
        counts[points] = _NOT_SENT
        sums[points] = np.nan
        stale[points] = 0
        starts[points] = used
        below = 0.0
        last = -np.inf
        buckets = False
        while i < len(order) and targets[order[i]] == targets[first] and times[order[i]] == times[first]:
            row = order[i]
            i += 1
            if flags[row] & _STALE:
                stale[points] = 1
                continue
            if roles[row] == SUM:
                sums[points] = values[row]
            elif roles[row] == COUNT:
                counts[points] = values[row]
            else:
                again = used > starts[points] and bounds[row] == last
                used -= again
                last = bounds[row]
                out_bounds[used] = last
                out_counts[used] = values[row]
                used += 1
                buckets = roles[row] == BUCKET
        if buckets and not stale[points]:
            if last != np.inf and counts[points] >= 0:
                out_bounds[used] = np.inf
                out_counts[used] = counts[points]
                used += 1
            elif last == np.inf and counts[points] < 0:
                counts[points] = out_counts[used - 1]
            for j in range(starts[points], used):
                upto = out_counts[j]
                out_counts[j] = max(0.0, upto - below)
                below = max(below, upto)
        if stale[points]:
            used = starts[points]
        points += 1
    starts[points] = used
    return points


@kernel
def dense_sizes(
    span_starts: NDArray[np.int64],
    positive_spans: NDArray[np.int32],
    spans: NDArray[np.int32],
    offsets: NDArray[np.int32],
    sizes: NDArray[np.int64],
) -> None:
    """Compute where the buckets of native histograms begin, and how many there are with the empty ones between spans.

    Args:
        span_starts: (n + 1,).
        positive_spans: (n,).
        spans: (s, 2).
        offsets: (n, 2) takes the index of the first positive and the first negative bucket, in OTLP's terms.
        sizes: (n, 2) takes how many there are.
    """
    for i in range(len(positive_spans)):
        middle = span_starts[i] + positive_spans[i]
        for side in range(2):
            begin = span_starts[i] if side == 0 else middle
            end = middle if side == 0 else span_starts[i + 1]
            # A bucket is named by its upper bound there, and by its lower one here.
            offsets[i, side] = spans[begin, 0] - 1 if end > begin else 0
            size = np.int64(0)
            for s in range(begin, end):
                size += np.int64(spans[s, 1]) + (np.int64(spans[s, 0]) if s > begin else 0)
            sizes[i, side] = size


@kernel
def densify(
    span_starts: NDArray[np.int64],
    positive_spans: NDArray[np.int32],
    spans: NDArray[np.int32],
    bucket_starts: NDArray[np.int64],
    buckets: NDArray[np.uint64],
    flags: NDArray[np.uint8],
    starts: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Write the buckets of native histograms with the empty ones between spans.

    Args:
        span_starts: (n + 1,).
        positive_spans: (n,).
        spans: (s, 2).
        bucket_starts: (n + 1,).
        buckets: (b,) counts, or bits of counts.
        flags: (n,) of `headrace.pipeline.native_histograms.NativeFlag`.
        starts: (n + 1,) where the buckets of each begin in `out`.
        out: Zeros.
    """
    for i in range(len(positive_spans)):
        p = starts[i]
        b = bucket_starts[i]
        for s in range(span_starts[i], span_starts[i + 1]):
            begins = s == span_starts[i] or s == span_starts[i] + positive_spans[i]
            p += 0 if begins else np.int64(spans[s, 0])
            for _ in range(spans[s, 1]):
                out[p] = bits_float(buckets[b]) if flags[i] & _FLOAT_COUNTS else np.float64(buckets[b])
                p += 1
                b += 1
