"""Native histograms as OTLP has them: exponential ones, and explicit ones where their bounds are given one by one.

Source:
    OpenTelemetry specification, "Prometheus and OpenMetrics compatibility", "Native Histograms".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import NS_PER_MS, STALE_BITS, Flag, HistogramColumns, HistogramKind
from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, MIN_SCHEMA, NativeFlag, ResetHint
from headrace.pipeline.to_otlp import assembling_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms

MAX_BUCKETS = 1 << 12
"""Buckets of one histogram, with the empty ones between those that hold something."""


def unfit(native: NativeHistograms) -> NDArray[np.bool_]:
    """Return which histograms have no form in OTLP: (n,) bool.

    Those are gauge histograms, those whose counts are fractions, and those with buckets very far from each other.
    """
    bad: NDArray[np.bool_] = native.hint == ResetHint.GAUGE
    bad |= (native.schema < MIN_SCHEMA) & (native.schema != CUSTOM_BUCKETS)
    bad |= _shape(native)[1].sum(axis=1) > MAX_BUCKETS
    floats = np.flatnonzero(native.flags & np.uint8(NativeFlag.FLOAT_COUNTS))
    for row in floats.tolist():
        first, last = native.bucket_starts[row : row + 2].tolist()
        counts = np.concatenate([native.buckets[first:last], native.zero_count[[row]]]).view(np.float64)
        bad[row] |= bool((counts != np.floor(counts)).any())
    kept: NDArray[np.bool_] = native.flags & np.uint8(NativeFlag.STALE) == 0
    return bad & kept


def histograms(native: NativeHistograms, series: NDArray[np.int32]) -> HistogramColumns:
    """Return native histograms, of which none is `unfit`, as histograms of OTLP.

    Args:
        native: (n,) rows.
        series: (n,) ids of the OTLP series.
    """
    offsets, sizes = _shape(native)
    custom = native.schema == CUSTOM_BUCKETS
    stale = native.flags & np.uint8(NativeFlag.STALE) != 0
    bounds_of = np.diff(native.bound_starts)
    # Of custom buckets all are there, whichever are empty, and so is the last, which has no bound.
    total = np.where(custom, bounds_of + 1, sizes.sum(axis=1))
    total[stale] = 0
    starts = np.concatenate([[0], np.cumsum(total)]).astype(np.int64)
    bounds, counts = np.zeros(int(starts[-1])), np.zeros(int(starts[-1]))
    shifted = starts[:-1] + np.where(custom, offsets[:, 0] + 1, 0)
    kernels.densify(
        native.span_starts, native.positive_spans, native.spans, native.bucket_starts, native.buckets, native.flags,
        np.append(shifted, starts[-1]), counts,
    )  # fmt: skip
    for row in np.flatnonzero(custom & ~stale).tolist():
        first, last = native.bound_starts[row : row + 2].tolist()
        bounds[starts[row] : starts[row + 1]] = [*native.bounds[first:last].tolist(), np.inf]
    n = len(native)
    total_sum = native.sum.copy()
    total_sum.view(np.uint64)[stale] = STALE_BITS
    return HistogramColumns(
        series=series,
        time_ns=native.time_ms * NS_PER_MS,
        start_ns=native.start_ms * NS_PER_MS,
        flags=np.where(stale, np.uint8(Flag.STALE), np.uint8(0)),
        kind=np.where(custom, np.uint8(HistogramKind.EXPLICIT), np.uint8(HistogramKind.EXPONENTIAL)),
        count=_counts(native, native.count),
        sum=total_sum,
        minimum=np.full(n, np.nan),
        maximum=np.full(n, np.nan),
        scale=np.where(custom, 0, native.schema).astype(np.int32),
        zero_count=_counts(native, native.zero_count),
        zero_threshold=np.where(custom, 0.0, native.zero_threshold),
        positive_offset=np.where(custom, 0, offsets[:, 0]).astype(np.int32),
        negative_offset=np.where(custom, 0, offsets[:, 1]).astype(np.int32),
        positive_size=np.where(custom | stale, 0, sizes[:, 0]).astype(np.int32),
        starts=starts,
        bounds=bounds,
        counts=counts,
    )


def _shape(native: NativeHistograms) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    offsets, sizes = np.zeros((len(native), 2), np.int32), np.zeros((len(native), 2), np.int64)
    kernels.dense_sizes(native.span_starts, native.positive_spans, native.spans, offsets, sizes)
    return offsets, sizes


def _counts(native: NativeHistograms, counts: NDArray[np.uint64]) -> NDArray[np.float64]:
    floats = native.flags & np.uint8(NativeFlag.FLOAT_COUNTS) != 0
    return np.where(floats, counts.view(np.float64), counts.astype(np.float64))
