"""Overflow series: what their members come to, and the points that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.processors.cardinality_limit import fold_kernels as kernels
from headrace.processors.cardinality_limit.identity import counts_up, overflow
from headrace.processors.cardinality_limit.state import Sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable

Points = tuple["NDArray[np.int32]", "NDArray[np.int64]", "NDArray[np.float64]"]
"""Series, time and value of n points; a series below 0 is one that the table has refused."""

_FIRST = 64


class Folding:
    """Overflow series of one workspace, each with a number: its slot."""

    def __init__(self) -> None:
        self.slot_of = np.zeros(0, np.int32)
        """Slot by id; of use for series that are folded."""
        self.last = np.zeros(0, np.float64)
        """Newest value by id."""
        self.known = np.zeros(0, np.bool_)
        """By id, whether there is one."""
        self._numbers: dict[Series, int] = {}
        self._series: dict[int, Series] = {}
        self._used = 0
        self._free: list[int] = []
        self._counts_up = np.zeros(_FIRST, np.bool_)
        self._totals = np.zeros(_FIRST, np.float64)
        self._pending = np.zeros(_FIRST, np.int64)
        self._begun = np.zeros(_FIRST, np.bool_)
        self._touched_s = np.zeros(_FIRST, np.float64)

    # -- members -------------------------------------------------------------------------------------------

    def join(self, series_id: int, series: Series, last: float | None, now_s: float) -> None:
        """Fold a series from now on; `last` is its newest value, if there is one."""
        wanted = series_id + 1
        self.slot_of = grown(self.slot_of, wanted)
        self.last = grown(self.last, wanted)
        self.known = grown(self.known, wanted)
        self.slot_of[series_id] = self._slot(overflow(series), now_s)
        self.known[series_id] = last is not None
        self.last[series_id] = last or 0.0

    def leave(self, ids: NDArray[np.int32]) -> None:
        """Fold series no longer, (n,) int32; sums of gauges fall by their values."""
        gone = ids[self.known[ids]]
        self.subtract(self.slot_of[gone], self.last[gone])
        self.known[ids] = False

    def subtract(self, slots: NDArray[np.int32], values: NDArray[np.float64]) -> None:
        """Take values of series that are gone out of sums of gauges, (n,) each."""
        falls = ~self._counts_up[slots]
        np.subtract.at(self._totals, slots[falls], values[falls])

    # -- points --------------------------------------------------------------------------------------------

    def fold(self, batch: MetricBatch, rows: NDArray[np.intp], now_s: float) -> Points:
        """Add points; return the overflow points that are complete."""
        rows = rows[np.argsort(batch.time_ns[rows], kind="stable")].astype(np.int64)
        slots = np.empty(len(rows), np.int32)
        times = np.empty(len(rows), np.int64)
        values = np.empty(len(rows), np.float64)
        count = kernels.fold(
            rows, batch.series, batch.time_ns, batch.value, self.slot_of, self.last, self.known, self._counts_up,
            self._totals, self._pending, self._begun, slots, times, values,
        )  # fmt: skip
        self._touched_s[self.slot_of[batch.series[rows]]] = now_s
        return self._ids(batch.table, slots[:count]), times[:count], values[:count]

    def flushed(self, table: SeriesTable, before_s: float) -> Points:
        """Return the points that wait and were not added to since `before_s`."""
        waits = self._pending[: self._used] != kernels.NEVER
        due = np.flatnonzero(waits & (self._touched_s[: self._used] <= before_s)).astype(np.int32)
        points = self._ids(table, due), self._pending[due], self._totals[due]
        self._pending[due] = kernels.NEVER
        self._begun[due] = True
        return points

    def _ids(self, table: SeriesTable, slots: NDArray[np.int32]) -> NDArray[np.int32]:
        used, inverse = np.unique(slots, return_inverse=True)
        ids = table.intern([self._series[slot] for slot in used.tolist()])
        return ids[inverse.reshape(-1)]

    # -- slots ---------------------------------------------------------------------------------------------

    def _slot(self, series: Series, now_s: float) -> int:
        number = self._numbers.get(series)
        return self._open(series, now_s) if number is None else number

    def _open(self, series: Series, now_s: float) -> int:
        number = self._free.pop() if self._free else self._used
        self._used = max(self._used, number + 1)
        self._counts_up = grown(self._counts_up, self._used)
        self._totals = grown(self._totals, self._used)
        self._pending = grown(self._pending, self._used)
        self._begun = grown(self._begun, self._used)
        self._touched_s = grown(self._touched_s, self._used)
        self._counts_up[number] = counts_up(series)
        self._totals[number] = 0.0
        self._pending[number] = kernels.NEVER
        self._begun[number] = False
        self._touched_s[number] = now_s
        self._numbers[series] = number
        self._series[number] = series
        return number

    def close_idle(self, before_s: float) -> NDArray[np.bool_] | None:
        """Forget the overflow series that were not added to since `before_s`.

        Returns:
            For each number, whether it is one of these; None where there is none.
        """
        live = np.zeros(self._used, np.bool_)
        live[list(self._series)] = True
        idle = self._touched_s[: self._used] <= before_s
        closed: NDArray[np.bool_] = live & idle & (self._pending[: self._used] == kernels.NEVER)
        if not closed.any():
            return None
        for number in np.flatnonzero(closed).tolist():
            del self._numbers[self._series.pop(number)]
            self._free.append(number)
        return closed

    # -- state ---------------------------------------------------------------------------------------------

    def sums(self, now_s: float) -> tuple[Sums, NDArray[np.int32]]:
        """Return the overflow series for a state, and by slot, (slots,) int32, the place there."""
        slots = np.array(sorted(self._series), np.int64)
        place = np.zeros(self._used, np.int32)
        place[slots] = np.arange(len(slots), dtype=np.int32)
        series = [self._series[slot] for slot in slots.tolist()]
        columns = (self._totals[slots], self._pending[slots], self._begun[slots], now_s - self._touched_s[slots])
        return Sums(series, *columns), place

    def restore(self, sums: Sums, now_s: float) -> NDArray[np.int32]:
        """Go on with overflow series; return their slots, (n,) int32."""
        slots = np.array([self._slot(one, now_s) for one in sums.series], np.int32)
        self._totals[slots] = sums.total
        self._pending[slots] = sums.pending
        self._begun[slots] = sums.begun
        self._touched_s[slots] = now_s - sums.age_s
        return slots
