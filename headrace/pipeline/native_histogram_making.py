"""Native histograms made of others: of finer ones, and of OpenTelemetry's exponential ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline import native_histogram_kernels as kernels
from headrace.pipeline.batch import NS_PER_MS, STALE_BITS, Flag
from headrace.pipeline.native_histograms import MAX_SCHEMA, MIN_SCHEMA, NativeFlag, NativeHistograms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import HistogramColumns

_ZERO_THRESHOLD = 1e-128
"""Where OpenTelemetry's does not say how wide the zero bucket is."""


def reduced(rows: NativeHistograms, finest: int = MAX_SCHEMA) -> NativeHistograms:
    """Return the rows with schemas up to `finest`: neighbouring buckets of finer ones are merged."""
    if not (rows.schema > finest).any():
        return rows
    schema, positive = rows.schema.copy(), rows.positive_spans.copy()
    span_starts, bucket_starts = np.empty_like(rows.span_starts), np.empty_like(rows.bucket_starts)
    spans, buckets = np.empty_like(rows.spans), np.empty_like(rows.buckets)
    kernels.reduce(
        schema, finest, rows.flags, positive, rows.span_starts, rows.spans, rows.bucket_starts, rows.buckets,
        span_starts, spans, bucket_starts, buckets,
    )  # fmt: skip
    return replace(
        rows,
        schema=schema,
        positive_spans=positive,
        span_starts=span_starts,
        spans=spans[: span_starts[-1]].copy(),
        bucket_starts=bucket_starts,
        buckets=buckets[: bucket_starts[-1]].copy(),
    )


def of_exponential(rows: HistogramColumns) -> tuple[NativeHistograms, NDArray[np.uint8]]:
    """Return OpenTelemetry's exponential histograms as Prometheus' native ones.

    Args:
        rows: All of kind EXPONENTIAL.

    Returns:
        As many rows, and (h,) uint8 what is wrong with each, 0 for nothing; see `native_histogram_kernels`.
    """
    n, room = len(rows), len(rows.counts)
    schema, positive, faults = np.empty(n, np.int8), np.empty(n, np.int32), np.empty(n, np.uint8)
    zero_count, count = np.empty(n, np.uint64), np.empty(n, np.uint64)
    span_starts, bucket_starts = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    spans, buckets = np.empty((room, 2), np.int32), np.empty(room, np.uint64)
    kernels.of_exponential(
        rows.flags, rows.count, rows.scale, rows.zero_count, rows.positive_offset, rows.negative_offset,
        rows.positive_size, rows.starts, rows.counts, MIN_SCHEMA, MAX_SCHEMA, schema, zero_count, count, positive,
        span_starts, spans, bucket_starts, buckets, faults,
    )  # fmt: skip
    stale = rows.flags & np.uint8(Flag.STALE) != 0
    sums = np.where(np.isnan(rows.sum), 0.0, rows.sum)
    sums.view(np.uint64)[stale] = STALE_BITS
    threshold = np.where(rows.zero_threshold == 0, _ZERO_THRESHOLD, rows.zero_threshold)
    made = NativeHistograms(
        series=rows.series,
        time_ms=rows.time_ns // NS_PER_MS,
        start_ms=rows.start_ns // NS_PER_MS,
        flags=np.where(stale, np.uint8(NativeFlag.STALE), np.uint8(0)),
        hint=np.zeros(n, np.uint8),
        schema=schema,
        zero_threshold=np.where(stale, 0.0, threshold),
        zero_count=zero_count,
        count=count,
        sum=sums,
        span_starts=span_starts,
        positive_spans=positive,
        spans=spans[: span_starts[-1]].copy(),
        bucket_starts=bucket_starts,
        buckets=buckets[: bucket_starts[-1]].copy(),
        bound_starts=np.zeros(n + 1, np.int64),
        bounds=np.empty(0, np.float64),
    )
    return made, faults
