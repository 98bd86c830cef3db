"""Compile the kernels of streams, by calling each of them once."""

from __future__ import annotations

import numpy as np

from headrace.pipeline.batch import HistogramColumns, MetricBatch
from headrace.pipeline.identity import Series
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.streams import numbers_kernels
from headrace.pipeline.streams.points import BucketView


def warm_up() -> None:
    """Run the kernels on one point."""
    table = SeriesTable()
    ids = table.intern([Series.of(__name__="warm_up")])
    batch = MetricBatch.of(table, ids, np.ones(1, np.int64), np.ones(1))
    view = BucketView(table, batch.context)
    view.slots.fit()
    view.slots.open(ids, ids)
    rows, one = np.zeros(1, np.int64), np.zeros(1, np.int64)
    points = (rows, view.slots.slot_of, ids, batch.time_ns, batch.start_ns, batch.flags, batch.value)
    state = (view.marks, view.sums)
    numbers_kernels.accumulate(*points, *state, np.empty(1, np.uint8), one, np.zeros(1))
    numbers_kernels.difference(*points, False, *state, np.empty(1, np.uint8), one, np.zeros(1))
    numbers_kernels.starts_of(*points[:4], np.zeros(1, np.bool_), batch.value, *state, one)
    for kind in range(2):
        histogram = _one_histogram(ids, kind)
        view.buckets.accumulate(np.zeros(1, np.int32), histogram)
        view.buckets.difference(np.zeros(1, np.int32), histogram, keeps_reference=False)


def _one_histogram(ids: np.ndarray[tuple[int], np.dtype[np.int32]], kind: int) -> HistogramColumns:
    ones, small, wide = np.ones(1), np.ones(1, np.int32), np.ones(1, np.int64)
    return HistogramColumns(
        series=ids,
        time_ns=wide,
        start_ns=wide,
        flags=np.zeros(1, np.uint8),
        kind=np.full(1, kind, np.uint8),
        count=ones,
        sum=ones,
        minimum=ones,
        maximum=ones,
        scale=small,
        zero_count=ones,
        zero_threshold=ones,
        positive_offset=small,
        negative_offset=small,
        positive_size=small,
        starts=np.array([0, 1]),
        bounds=ones,
        counts=ones,
    )
