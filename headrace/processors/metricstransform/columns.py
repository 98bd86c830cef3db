"""What operations do to columns: scale values, change their types."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import Flag, HistogramKind
from headrace.processors.metricstransform.config import OperationAction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from headrace.pipeline.batch import HistogramColumns, MetricBatch
    from headrace.processors.metricstransform.config import Operation

_WHOLE = 2.0**63
"""Integers of OTLP are smaller."""


def changed(operations: Iterable[Operation], batch: MetricBatch) -> MetricBatch:
    """Return the number points as operations have them; what an operation says of labels is done elsewhere."""
    for operation in operations:
        if operation.action is OperationAction.SCALE_VALUE:
            batch = _scaled(batch, operation.experimental_scale)
        elif operation.action is OperationAction.TOGGLE_SCALAR_DATA_TYPE:
            batch = _toggled(batch)
    return batch


def _scaled(batch: MetricBatch, factor: float) -> MetricBatch:
    """Multiply; integers are cut off towards 0, as the Collector does."""
    stale = batch.flags & np.uint8(Flag.STALE) != 0
    whole = batch.flags & np.uint8(Flag.INTEGER) != 0
    with np.errstate(all="ignore"):
        product = batch.value * factor
        values = np.where(stale, batch.value, np.where(whole, np.trunc(product), product))
    return _with_values(batch, values, whole)


def _toggled(batch: MetricBatch) -> MetricBatch:
    """Make integers of floats, cut off towards 0, and floats of integers; what has no integer stays a float."""
    stale = batch.flags & np.uint8(Flag.STALE) != 0
    with np.errstate(invalid="ignore"):
        fits = np.isfinite(batch.value) & (np.abs(batch.value) < _WHOLE)
        whole = (batch.flags & np.uint8(Flag.INTEGER) == 0) & fits & ~stale
        values = np.where(whole, np.trunc(batch.value), batch.value)
    return _with_values(batch, values, whole)


def _with_values(batch: MetricBatch, values: NDArray[np.float64], whole: NDArray[np.bool_]) -> MetricBatch:
    with np.errstate(invalid="ignore"):
        whole = whole & (np.abs(values) < _WHOLE)
    flags = batch.flags & ~np.uint8(Flag.INTEGER) | np.where(whole, np.uint8(Flag.INTEGER), np.uint8(0))
    integers = None
    if batch.integers is not None:
        integers = np.where(whole, values, 0.0).astype(np.int64)
    return batch.with_columns(value=values, flags=flags, integers=integers)


def factor_of(operations: Iterable[Operation]) -> float:
    """Return what values are multiplied with."""
    factor = 1.0
    for operation in operations:
        if operation.action is OperationAction.SCALE_VALUE:
            factor *= operation.experimental_scale
    return factor


def can_scale(rows: HistogramColumns, factor: float) -> NDArray[np.bool_]:
    """Return which histograms can be multiplied with `factor`: exponential ones have no bounds to move."""
    can: NDArray[np.bool_] = (rows.kind != HistogramKind.EXPONENTIAL) & np.full(len(rows), factor > 0)
    return can


def scaled_histograms(rows: HistogramColumns, factor: float) -> HistogramColumns:
    """Return explicit histograms and summaries of values that are multiplied with `factor`."""
    summaries = np.repeat(rows.kind == HistogramKind.SUMMARY, np.diff(rows.starts))
    stale = rows.flags & np.uint8(Flag.STALE) != 0
    return replace(
        rows,
        sum=np.where(stale, rows.sum, rows.sum * factor),
        minimum=rows.minimum * factor,
        maximum=rows.maximum * factor,
        bounds=np.where(summaries, rows.bounds, rows.bounds * factor),
        counts=np.where(summaries, rows.counts * factor, rows.counts),
    )
