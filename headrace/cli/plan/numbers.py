"""Numbers for the streams of all tables, so that they can be counted in arrays however many workspaces there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable

NONE = -1


class Numbers:
    """Numbers series from 0, in the order in which they are first seen."""

    def __init__(self) -> None:
        self._by_table: dict[SeriesTable, NDArray[np.int64]] = {}
        self._known: list[tuple[SeriesTable, int]] = []

    def __len__(self) -> int:
        return len(self._known)

    def of(self, table: SeriesTable, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the numbers of (n,) ids of a table."""
        numbers = grown(self._by_table.get(table, np.full(1024, NONE, np.int64)), table.capacity, NONE)
        self._by_table[table] = numbers
        new = np.unique(ids[numbers[ids] == NONE])
        numbers[new] = np.arange(len(self._known), len(self._known) + len(new))
        self._known += [(table, one) for one in new.tolist()]
        return numbers[ids]

    def series(self, number: int) -> Series:
        """Return the series with a number."""
        table, one = self._known[number]
        return table.series(one)


def ids_of(batch: MetricBatch) -> NDArray[np.int32]:
    """Return the ids of all points: numbers, then histograms as OTLP has them, then native ones."""
    sides = [side.series for side in (batch.histograms, batch.native) if side is not None]
    return np.concatenate([batch.series, *sides]) if sides else batch.series


def times_of(batch: MetricBatch) -> NDArray[np.int64]:
    """Return the times of all points, in the same order, in a unit of their own kind."""
    sides = [] if batch.histograms is None else [batch.histograms.time_ns]
    sides += [] if batch.native is None else [batch.native.time_ms]
    return np.concatenate([batch.time_ns, *sides]) if sides else batch.time_ns
