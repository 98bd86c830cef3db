"""Native histograms as columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headrace.pipeline.native_histograms import NativeHistograms


def histograms(sizes: list[int]) -> NativeHistograms:
    """Return rows with one span of so many buckets each, counts numbered through."""
    n = len(sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return replace(
        NativeHistograms.empty().take(np.empty(0, np.int64)),
        series=np.arange(n, dtype=np.int32),
        time_ms=np.arange(n, dtype=np.int64),
        start_ms=np.zeros(n, np.int64),
        flags=np.zeros(n, np.uint8),
        hint=np.zeros(n, np.uint8),
        schema=np.zeros(n, np.int8),
        zero_threshold=np.zeros(n),
        zero_count=np.zeros(n, np.uint64),
        count=np.zeros(n, np.uint64),
        sum=np.zeros(n),
        positive_spans=np.ones(n, np.int32),
        span_starts=np.arange(n + 1, dtype=np.int64),
        spans=np.array([[0, size] for size in sizes], np.int32).reshape(-1, 2),
        bucket_starts=starts,
        buckets=np.arange(starts[-1], dtype=np.uint64),
        bound_starts=np.zeros(n + 1, np.int64),
    )


def test_rows_are_taken_with_their_buckets() -> None:
    """Any order of rows, repeats included, carries the ragged columns along."""
    taken = histograms([2, 0, 3]).take(np.array([2, 0, 2]))

    assert taken.series.tolist() == [2, 0, 2]
    assert taken.bucket_starts.tolist() == [0, 3, 5, 8]
    assert taken.buckets.tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
    assert taken.spans.tolist() == [[0, 3], [0, 2], [0, 3]]


def test_parts_are_joined() -> None:
    """What was selected and joined again is the whole."""
    whole = histograms([1, 4, 0, 2])
    odd = np.array([False, True, False, True])
    joined = NativeHistograms.joined([whole.select(~odd), whole.select(odd)])

    assert joined.series.tolist() == [0, 2, 1, 3]
    assert joined.buckets.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert len(NativeHistograms.joined([])) == 0
