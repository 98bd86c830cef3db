"""Columns of a batch as expressions see them: number points, histograms, native histograms.

An absent value of a number point (a stale marker) reads as 0, as the Collector has it: the flags tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.batch import NS_PER_MS, Flag
from headrace.pipeline.native_histograms import NativeFlag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.batch import HistogramColumns, MetricBatch
    from headrace.pipeline.native_histograms import NativeHistograms


class NumberPoints:
    """Some of the number points of a batch.

    Args:
        batch: The batch.
        rows: (n,) int64 numbers of the points.
    """

    def __init__(self, batch: MetricBatch, rows: NDArray[np.int64]) -> None:
        self._rows = rows
        self.time_ns = batch.time_ns[rows]
        self.start_ns = batch.start_ns[rows]
        self.flags = batch.flags[rows]
        self.value = batch.value[rows]
        self.integers = None if batch.integers is None else batch.integers[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> Any:
        """Return a field; None for those of histograms."""
        if name == "value_double":
            return np.where((self.flags & (Flag.INTEGER | Flag.STALE)) != 0, 0.0, self.value)
        if name == "value_int":
            return self._whole()
        return _common(self, name)

    def _whole(self) -> NDArray[np.int64]:
        whole = (self.flags & (Flag.INTEGER | Flag.STALE)) == Flag.INTEGER
        exact = np.where(whole, self.value, 0.0).astype(np.int64) if self.integers is None else self.integers
        return np.where(whole, exact, 0)


class HistogramPoints:
    """Some of the histograms and summaries of a batch."""

    def __init__(self, columns: HistogramColumns, rows: NDArray[np.int64]) -> None:
        self._columns = columns
        self._rows = rows
        self.time_ns = columns.time_ns[rows]
        self.start_ns = columns.start_ns[rows]
        self.flags = columns.flags[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> Any:
        """Return a field; None for those of number points."""
        slots = {"min": "minimum", "max": "maximum"}
        if name in {"count", "zero_count", "scale"}:
            return getattr(self._columns, name)[self._rows].astype(np.int64)
        if name in {"sum", "min", "max", "zero_threshold"}:
            return getattr(self._columns, slots.get(name, name))[self._rows]
        return _common(self, name)


class NativePoints:
    """Some of the native histograms of a batch."""

    def __init__(self, native: NativeHistograms, rows: NDArray[np.int64]) -> None:
        self._native = native
        self._rows = rows
        self.time_ns = native.time_ms[rows] * NS_PER_MS
        self.start_ns = native.start_ms[rows] * NS_PER_MS
        self.flags = native.flags[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> Any:
        """Return a field; None for those that native histograms have not."""
        if name in {"count", "zero_count"}:
            bits = getattr(self._native, name)[self._rows]
            floats = (self.flags & NativeFlag.FLOAT_COUNTS) != 0
            return np.where(floats, bits.view(np.float64), bits.astype(np.float64))
        if name in {"sum", "zero_threshold"}:
            return getattr(self._native, name)[self._rows]
        return self._native.schema[self._rows].astype(np.int64) if name == "scale" else _common(self, name)


AnyPoints = NumberPoints | HistogramPoints | NativePoints


def _common(points: AnyPoints, name: str) -> Any:
    if name == "time_unix_nano":
        return points.time_ns
    if name == "start_time_unix_nano":
        return points.start_ns
    return ((points.flags & Flag.STALE) != 0).astype(np.int64) if name == "flags" else None


def families(batch: MetricBatch) -> Iterator[str]:
    """Yield the names of the columns of `batch` that hold points: ``""`` for number points."""
    yield ""
    for name in ("histograms", "native"):
        if getattr(batch, name) is not None:
            yield name


def ids(batch: MetricBatch, family: str) -> NDArray[np.int32]:
    """Return the (n,) int32 series of the points of a family."""
    found: NDArray[np.int32] = getattr(batch, family).series if family else batch.series
    return found


def points(batch: MetricBatch, family: str, rows: NDArray[np.int64]) -> AnyPoints:
    """Return some of the points of a family."""
    if not family:
        return NumberPoints(batch, rows)
    if batch.histograms is not None and family == "histograms":
        return HistogramPoints(batch.histograms, rows)
    if batch.native is None:
        raise AssertionError(f"bug: there are no points {family}")
    return NativePoints(batch.native, rows)
