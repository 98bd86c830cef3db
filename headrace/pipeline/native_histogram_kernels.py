# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that make native histograms: of OpenTelemetry's exponential ones, and of finer ones.

An exponential bucket of index i at schema s covers ``(2^((i - 1) / 2^s), 2^(i / 2^s)]``. Halving the resolution puts
bucket i into ``((i - 1) >> 1) + 1``.

Source:
    OpenTelemetry data model, "ExponentialHistogram" (index ``offset + k`` there is ``offset + k + 1`` here);
    Prometheus, "Native Histograms", section "Schema".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, float_bits
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLAG_STALE = 2
_MAX_GAP = 2
"""Empty buckets in a row that stand in a span; more of them are left out between two."""

_EXACT = 9007199254740992.0
"""2^53: counts beyond it have come as doubles and lost their last bits."""

# Faults of exponential histograms.
TOO_COARSE = 1
COUNT_MISMATCH = 2
OUT_OF_RANGE = 3


@kernel
def reduce(
    schema: NDArray[np.int8],
    limit: int,
    flags: NDArray[np.uint8],
    positive_spans: NDArray[np.int32],
    span_starts: NDArray[np.int64],
    spans: NDArray[np.int32],
    bucket_starts: NDArray[np.int64],
    buckets: NDArray[np.uint64],
    out_span_starts: NDArray[np.int64],
    out_spans: NDArray[np.int32],
    out_bucket_starts: NDArray[np.int64],
    out_buckets: NDArray[np.uint64],
) -> None:
    """Merge the buckets of histograms that are finer than schema `limit`; the others are copied.

    Args:
        schema: (n,) int8; changed.
        limit: Finest schema of the result.
        flags: (n,) uint8; bit 0 tells that counts are the bits of doubles.
        positive_spans: (n,) int32; changed.
        span_starts: (n + 1,) int64.
        spans: (s, 2) int32, checked.
        bucket_starts: (n + 1,) int64.
        buckets: (b,) uint64.
        out_span_starts: (n + 1,) int64 out.
        out_spans: (s, 2) int32 out; there are never more.
        out_bucket_starts: (n + 1,) int64 out.
        out_buckets: (b,) uint64 out.
    """
    s = np.int64(0)
    b = np.int64(0)
    for i in range(len(schema)):
        out_span_starts[i] = s
        out_bucket_starts[i] = b
        shift = max(np.int64(schema[i]) - limit, 0)
        is_float = flags[i] & 1 != 0
        bucket = bucket_starts[i]
        middle = span_starts[i] + positive_spans[i]
        for side in range(2):
            first_span = s
            begin = span_starts[i] if side == 0 else middle
            until = middle if side == 0 else span_starts[i + 1]
            index = np.int64(0)
            last = np.int64(0)
            for k in range(begin, until):
                index += spans[k, 0]
                for _ in range(spans[k, 1]):
                    target = ((index - 1) >> shift) + 1
                    if s > first_span and target == last:
                        if is_float:
                            merged = bits_float(out_buckets[b - 1]) + bits_float(buckets[bucket])
                            out_buckets[b - 1] = float_bits(merged)
                        else:
                            out_buckets[b - 1] += buckets[bucket]
                    else:
                        if s == first_span or target != last + 1:
                            out_spans[s, 0] = np.int32(target if s == first_span else target - last - 1)
                            out_spans[s, 1] = 0
                            s += 1
                        out_spans[s - 1, 1] += 1
                        out_buckets[b] = buckets[bucket]
                        b += 1
                        last = target
                    bucket += 1
                    index += 1
            if side == 0:
                positive_spans[i] = np.int32(s - first_span)
        schema[i] = np.int8(min(np.int64(schema[i]), limit))
    out_span_starts[len(schema)] = s
    out_bucket_starts[len(schema)] = b


@kernel
def of_exponential(
    flags: NDArray[np.uint8],
    count: NDArray[np.float64],
    scale: NDArray[np.int32],
    zero_count: NDArray[np.float64],
    positive_offset: NDArray[np.int32],
    negative_offset: NDArray[np.int32],
    positive_size: NDArray[np.int32],
    starts: NDArray[np.int64],
    counts: NDArray[np.float64],
    coarsest: int,
    finest: int,
    out_schema: NDArray[np.int8],
    out_zero_count: NDArray[np.uint64],
    out_count: NDArray[np.uint64],
    positive_spans: NDArray[np.int32],
    span_starts: NDArray[np.int64],
    spans: NDArray[np.int32],
    bucket_starts: NDArray[np.int64],
    buckets: NDArray[np.uint64],
    faults: NDArray[np.uint8],
) -> None:
    """Turn rows of OpenTelemetry's exponential histograms into spans and counts.

    Args:
        flags: (h,) uint8; stale rows become empty.
        count: (h,) float64 whole numbers.
        scale: (h,) int32.
        zero_count: (h,) float64.
        positive_offset: (h,) int32.
        negative_offset: (h,) int32.
        positive_size: (h,) int32 how many of the row's counts are positive.
        starts: (h + 1,) int64 of `counts`.
        counts: (b,) float64 whole numbers.
        coarsest: Smallest scale that is taken.
        finest: Largest schema; buckets of finer scales are merged.
        out_schema: (h,) int8 out.
        out_zero_count: (h,) uint64 out.
        out_count: (h,) uint64 out.
        positive_spans: (h,) int32 out.
        span_starts: (h + 1,) int64 out.
        spans: (b, 2) int32 out.
        bucket_starts: (h + 1,) int64 out.
        buckets: (b,) uint64 out; empty ones at the ends and in longer gaps are left out.
        faults: (h,) uint8 out: 0, or why the row is none; it is empty then.
    """
    s = np.int64(0)
    b = np.int64(0)
    for i in range(len(flags)):
        span_starts[i] = s
        bucket_starts[i] = b
        positive_spans[i] = 0
        faults[i] = 0
        out_schema[i] = 0
        out_count[i] = np.uint64(0)
        out_zero_count[i] = np.uint64(0)
        if flags[i] & _FLAG_STALE:
            continue
        if scale[i] < coarsest:
            faults[i] = TOO_COARSE
            continue
        # A shift of 63 leaves the sign: all buckets above 1, or all below.
        shift = min(max(np.int64(scale[i]) - finest, 0), 62)
        observed = zero_count[i]
        for side in range(2):
            begin = starts[i] if side == 0 else starts[i] + positive_size[i]
            until = starts[i] + positive_size[i] if side == 0 else starts[i + 1]
            offset = np.int64(positive_offset[i] if side == 0 else negative_offset[i])
            first_span = s
            last = np.int64(0)
            for k in range(begin, until):
                if counts[k] == 0.0:
                    continue
                observed += counts[k]
                target = ((offset + k - begin) >> shift) + 1
                if target > (1 << 31) - 1:
                    faults[i] = OUT_OF_RANGE
                    break
                if s > first_span and target == last:
                    buckets[b - 1] += np.uint64(counts[k])
                    continue
                gap = target - last - 1
                if s == first_span or gap > _MAX_GAP:
                    spans[s, 0] = np.int32(target if s == first_span else gap)
                    spans[s, 1] = 0
                    s += 1
                else:
                    for _ in range(gap):
                        buckets[b] = np.uint64(0)
                        b += 1
                    spans[s - 1, 1] += np.int32(gap)
                spans[s - 1, 1] += 1
                buckets[b] = np.uint64(counts[k])
                b += 1
                last = target
            if side == 0:
                positive_spans[i] = np.int32(s - first_span)
        if faults[i] == 0 and observed != count[i] and max(observed, count[i]) < _EXACT:
            faults[i] = COUNT_MISMATCH
        if faults[i]:
            s = span_starts[i]
            b = bucket_starts[i]
            positive_spans[i] = 0
            continue
        out_schema[i] = np.int8(min(np.int64(scale[i]), finest))
        out_zero_count[i] = np.uint64(zero_count[i])
        total = np.uint64(zero_count[i])
        for k in range(bucket_starts[i], b):
            total += buckets[k]
        out_count[i] = total
    span_starts[len(flags)] = s
    bucket_starts[len(flags)] = b
