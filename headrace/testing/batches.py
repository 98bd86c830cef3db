"""Batches and settings for tests."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import BatchContext, MetricBatch
from headrace.pipeline.component import Settings
from headrace.pipeline.counters import Counters
from headrace.pipeline.identity import Series
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


def rows(batch: MetricBatch) -> list[tuple[str, int, float]]:
    """Return the number points of `batch` as (series text, time in ns, value), in order."""
    names = {i: str(batch.table.series(i)) for i in np.unique(batch.series).tolist()}
    columns = zip(batch.series.tolist(), batch.time_ns.tolist(), batch.value.tolist(), strict=True)
    return [(names[i], time_ns, value) for i, time_ns, value in columns]


def _series(one: Series | Mapping[str, str] | str) -> Series:
    if isinstance(one, Series):
        return one
    return Series.of(__name__=one) if isinstance(one, str) else Series.of(one)
