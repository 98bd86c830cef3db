"""Points that wait: the newest of each series, as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from headrace.pipeline.batch import ExemplarColumns, HistogramColumns, MetricBatch
from headrace.pipeline.epochs import Pin
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.streams.identities import packed, unpacked
from headrace.pipeline.streams.rows import joined_exemplars, joined_histograms, narrowed, taken
from headrace.pipeline.streams.snapshots import Part
from headrace.pipeline.streams.tables import OfTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext
    from headrace.pipeline.series import SeriesTable

    Rows = MetricBatch | HistogramColumns | NativeHistograms | ExemplarColumns

_NO_PIN = Pin(-1)
"""What waits holds up no ids: points of series that are freed are dropped."""

R = TypeVar("R", HistogramColumns, NativeHistograms, ExemplarColumns)

_NUMBERS = ("series", "time_ns", "value", "flags", "start_ns")
_BESIDE: dict[str, type[Any]] = {
    "histograms": HistogramColumns,
    "native": NativeHistograms,
    "exemplars": ExemplarColumns,
}
_SLACK = 4096
"""Rows that may wait beyond twice the series before those that are not the newest are dropped."""


def newest(series: NDArray[np.int32], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of the newest point of each series, ascending; of points of one time, the first."""
    n = len(series)
    order = np.lexsort((-np.arange(n), time, series))
    last = np.ones(n, np.bool_)
    last[:-1] = series[order[1:]] != series[order[:-1]]
    return np.sort(order[last])


class Pending(OfTable):
    """Points of one table, of which the newest of each series count.

    Args:
        table: Whose ids.
        context: What the points are passed on with.
    """

    def __init__(self, table: SeriesTable, context: BatchContext) -> None:
        super().__init__(table)
        self._context = context
        self._settled: MetricBatch | None = None
        self._parts: list[MetricBatch] = []
        self._rows = 0
        self._distinct = 0
        table.register(self)

    def __len__(self) -> int:
        """Count the points that wait, also those that newer ones have taken the place of."""
        return self._rows

    def add(self, batch: MetricBatch) -> None:
        """Have the points of a batch wait."""
        if batch.is_empty:
            return
        self._parts.append(batch.with_columns(metadata=(), pin=_NO_PIN))
        self._rows += len(batch) + (0 if batch.exemplars is None else len(batch.exemplars))
        if self._rows > 2 * self._distinct + _SLACK:
            self._settle()

    def take(self) -> MetricBatch:
        """Return the newest point of each series, and forget them."""
        found = self._settle()
        self._settled = None  # A batch keeps its table alive.
        self._rows = self._distinct = 0
        return found.with_columns(pin=self.table.pin())

    def touch(self) -> None:
        """Keep the series of what waits alive in the table."""
        for rows in _beside(self._settle()):
            self.table.touch(rows.series)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the points of series that the table has freed."""
        if not self._rows:
            return
        batch = self._settle()
        gone = np.zeros(self.table.capacity, np.bool_)
        gone[ids] = True
        batch = batch.select(~gone[batch.series])
        changes: dict[str, Any] = {}
        for name in _BESIDE:
            rows = getattr(batch, name)
            changes[name] = None if rows is None else rows.select(~gone[rows.series])
        self._settled = batch.with_columns(**changes)

    def _settle(self) -> MetricBatch:
        """Drop what is not the newest; return the rest."""
        settled = self._settled if self._settled is not None else _empty(self.table, self._context)
        if not self._parts:
            return settled
        parts = [settled, *self._parts]
        self._parts = []
        joined = _joined(parts)
        index = newest(joined.series, joined.time_ns)
        columns: dict[str, Any] = {name: getattr(joined, name)[index] for name in _NUMBERS}
        columns["integers"] = None if joined.integers is None else joined.integers[index]
        columns["histograms"] = _newest_rows(joined.histograms, "time_ns")
        columns["native"] = _newest_rows(joined.native, "time_ms")
        columns["exemplars"] = _newest_rows(joined.exemplars, "time_ns")
        self._settled = settled = joined.with_columns(**columns)
        self._rows = self._distinct = sum(len(rows.series) for rows in _beside(settled))
        return settled

    # -- state ---------------------------------------------------------------------------------------------

    def state(self) -> Part:
        """Return all that `restore` needs."""
        batch = self._settle()
        every = np.concatenate([rows.series for rows in _beside(batch)])
        ids = np.unique(every)
        columns, heads = packed(self.table, ids)
        arrays = {f"ids.{name}": column for name, column in columns.items()}
        for name in _NUMBERS:
            arrays[f"numbers.{name}"] = getattr(batch, name)
        arrays["numbers.integers"] = np.empty(0, np.int64) if batch.integers is None else batch.integers
        for kind in _BESIDE:
            rows = getattr(batch, kind)
            if rows is not None:
                arrays |= {f"{kind}.{name}": getattr(rows, name) for name in rows.__slots__}
        for key in [key for key in arrays if key.endswith(".series")]:
            arrays[key] = np.searchsorted(ids, arrays[key]).astype(np.int32)
        return Part({"ids": heads}, arrays)

    def restore(self, part: Part) -> None:
        """Take over what waited.

        Raises:
            ValueError: It does not hold together.
        """
        groups: dict[str, dict[str, NDArray[Any]]] = {}
        for key, array in part.arrays.items():
            kind, _, name = key.partition(".")
            groups.setdefault(kind, {})[name] = array
        ids = unpacked(self.table, groups.pop("ids"), part.value["ids"])
        for group in groups.values():
            group["series"] = ids[group["series"]]
        numbers = groups.pop("numbers")
        integers = numbers.pop("integers")
        columns: dict[str, Any] = {name: numbers[name] for name in _NUMBERS}
        columns["integers"] = integers if len(integers) else None
        batch = MetricBatch.of(self.table, **columns, context=self._context)
        beside = {kind: _BESIDE[kind](**group) for kind, group in groups.items()}
        self.add(_live(batch.with_columns(**beside)))


def _live(batch: MetricBatch) -> MetricBatch:
    """Return the batch without rows of series that the table has refused."""
    changes: dict[str, Any] = {}
    for name in _BESIDE:
        rows = getattr(batch, name)
        changes[name] = None if rows is None else rows.select(rows.series >= 0)
    return batch.select(batch.series >= 0).with_columns(**changes)


def _empty(table: SeriesTable, context: BatchContext) -> MetricBatch:
    batch = MetricBatch.of(table, np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), context=context)
    return batch.with_columns(pin=_NO_PIN)


def _beside(batch: MetricBatch) -> list[Any]:
    """Return all that has series."""
    return [rows for rows in (batch, batch.histograms, batch.native, batch.exemplars) if rows is not None]


def _joined(parts: list[MetricBatch]) -> MetricBatch:
    """Return the rows of all parts, one part after the other."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _NUMBERS}
    exact = any(part.integers is not None for part in parts)
    columns["integers"] = np.concatenate([_integers(part) for part in parts]) if exact else None
    columns["histograms"] = joined_histograms([part.histograms for part in parts if part.histograms is not None])
    native = [part.native for part in parts if part.native is not None]
    columns["native"] = NativeHistograms.joined(native) if native else None
    columns["exemplars"] = joined_exemplars([part.exemplars for part in parts if part.exemplars is not None])
    return parts[0].with_columns(**columns)


def _integers(batch: MetricBatch) -> NDArray[np.int64]:
    if batch.integers is not None:
        return batch.integers
    whole = np.where(np.isfinite(batch.value) & (np.abs(batch.value) < 2.0**62), batch.value, 0.0)
    return whole.astype(np.int64)


def _newest_rows(rows: R | None, time: str) -> R | None:
    if rows is None or not len(rows):
        return None
    index = newest(rows.series, getattr(rows, time))
    if isinstance(rows, ExemplarColumns):
        keep = np.zeros(len(rows), np.bool_)
        keep[index] = True
        return narrowed(rows.select(keep))
    return rows.take(index) if isinstance(rows, NativeHistograms) else taken(rows, index)
