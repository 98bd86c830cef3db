"""Batches and settings for tests."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import BatchContext, ExemplarColumns, MetricBatch
from headrace.pipeline.component import Settings
from headrace.pipeline.counters import Counters
from headrace.pipeline.identity import Series
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.series import SeriesTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def make_settings(
    component_id: str,
    *,
    kind: str = "processors",
    counters: Counters | None = None,
    clock_ns: Callable[[], int] = lambda: 1_700_000_000_000_000_000,
    monotonic_s: Callable[[], float] = lambda: 0.0,
) -> Settings:
    """Make the settings of a component under test; its clocks stand still unless given."""
    logger = logging.getLogger(f"test.{component_id}")
    return Settings(kind, component_id, counters or Counters(), logger, clock_ns, monotonic_s)


def make_batch(
    series: Sequence[Series | Mapping[str, str] | str] | None = None,
    *,
    table: SeriesTable | None = None,
    time_ns: Sequence[int] | int = 1_700_000_000_000_000_000,
    value: Sequence[float] | float = 1.0,
    context: BatchContext | None = None,
) -> MetricBatch:
    """Make a batch of number points.

    Args:
        series: A `Series`, labels, or a metric name for each row; by default as many rows as there are times.
        table: Table to intern in, a new one by default.
        time_ns: One for each row, or one for all.
        value: One for each row, or one for all.
        context: Where the batch comes from.
    """
    table = SeriesTable() if table is None else table
    if series is None:
        series = ["test_metric"] * (len(time_ns) if not isinstance(time_ns, int) else 1)
    ids = table.intern([_series(one) for one in series])
    n = len(ids)
    return MetricBatch.of(
        table,
        ids,
        np.broadcast_to(np.asarray(time_ns, np.int64), n).copy(),
        np.broadcast_to(np.asarray(value, np.float64), n).copy(),
        context=context,
    )


def with_native(batch: MetricBatch, series: Sequence[Series | Mapping[str, str] | str]) -> MetricBatch:
    """Return `batch` with a native histogram, of one bucket, and an exemplar of each of `series`.

    Counts, sums and values of exemplars are 1, 2, 3 …, so that rows can be told apart.
    """
    ids = batch.table.intern([_series(one) for one in series])
    n = len(ids)
    zeros, whole = np.zeros(n), np.arange(1, n + 1)
    native = NativeHistograms(
        series=ids,
        time_ms=np.full(n, 1_700_000_000_000, np.int64),
        start_ms=np.zeros(n, np.int64),
        flags=np.zeros(n, np.uint8),
        hint=np.zeros(n, np.uint8),
        schema=np.zeros(n, np.int8),
        zero_threshold=zeros,
        zero_count=np.zeros(n, np.uint64),
        count=whole.astype(np.uint64),
        sum=whole.astype(np.float64),
        span_starts=np.arange(n + 1, dtype=np.int64),
        positive_spans=np.ones(n, np.int32),
        spans=np.ones((n, 2), np.int32),
        bucket_starts=np.arange(n + 1, dtype=np.int64),
        buckets=whole.astype(np.uint64),
        bound_starts=np.zeros(n + 1, np.int64),
        bounds=np.empty(0),
    )
    times = np.full(n, 1_700_000_000_000_000_000, np.int64)
    none = (np.zeros(n + 1, np.int32), np.empty((0, 4), np.int32), np.empty(0, np.uint8))
    return batch.with_columns(native=native, exemplars=ExemplarColumns(ids, times, whole.astype(np.float64), *none))


def rows(batch: MetricBatch) -> list[tuple[str, int, float]]:
    """Return the number points of `batch` as (series text, time in ns, value), in order."""
    names = {i: str(batch.table.series(i)) for i in np.unique(batch.series).tolist()}
    columns = zip(batch.series.tolist(), batch.time_ns.tolist(), batch.value.tolist(), strict=True)
    return [(names[i], time_ns, value) for i, time_ns, value in columns]


def _series(one: Series | Mapping[str, str] | str) -> Series:
    if isinstance(one, Series):
        return one
    return Series.of(__name__=one) if isinstance(one, str) else Series.of(one)
