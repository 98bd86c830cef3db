"""Consecutive series processors, fused into one remap.

However many rules there are, a batch costs one gather from series to verdict. A verdict is made once for each new
series, in plain Python, and kept until the series is freed.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline import chain_kernels as kernels
from headrace.pipeline.batch import HistogramColumns
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.series import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.batch import ExemplarColumns, MetricBatch
    from headrace.pipeline.component import SeriesProcessor
    from headrace.pipeline.counters import Drops
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable

_FIRST_DROP = -2

_Rows = TypeVar("_Rows", HistogramColumns, NativeHistograms)


@dataclass(frozen=True, slots=True)
class Stage:
    """One processor of a chain.

    Attributes:
        processor: Decides.
        drops: Where what it drops is counted, under ``reason``.
        reason: Why it drops.
    """

    processor: SeriesProcessor
    drops: Drops
    reason: str = "dropped_by_rule"


class SeriesChain:
    """Series processors as one column processor with memoised verdicts.

    Args:
        stages: In the order in which they run.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        self._leaves_plain = all(getattr(stage.processor, "leaves_plain", False) for stage in self.stages)
        self._memos: weakref.WeakKeyDictionary[SeriesTable, _Memo] = weakref.WeakKeyDictionary()

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the distinct ids of `batch` that have no verdict."""
        memo = self._memo(batch.table)
        found = memo.undecided(batch.series)
        for rows in (batch.histograms, batch.native, batch.exemplars):
            if rows is not None:
                found = np.concatenate([found, memo.undecided(rows.series)])
        return np.unique(found) if len(found) else found

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Run the stages for `ids`, (n,) int32, and remember the verdicts."""
        table = batch.table
        if self._leaves_plain:
            plain = table.is_plain(ids)
            self._memo(table).set(ids[plain], ids[plain])
            ids = ids[~plain]
            if not len(ids):
                return
        kept: list[int] = []
        results: list[Series] = []
        verdicts = np.empty(len(ids), np.int32)
        for i, series_id in enumerate(ids.tolist()):
            series = table.series(series_id)
            verdict, result = self._run(series)
            if result is series:
                verdicts[i] = series_id
            elif result is None:
                verdicts[i] = verdict
            else:
                kept.append(i)
                results.append(result)
        if results:
            made = table.intern(results)
            # A refused result is a drop of the last stage, told apart by its number.
            verdicts[kept] = np.where(made >= 0, made, made - len(self.stages))
        self._memo(table).set(ids, verdicts)

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return `batch` with the series that the stages pass on; the same object where nothing changes."""
        memo = self._memo(batch.table)
        out, changed = memo.gather(batch.series)
        histograms = batch.histograms
        if histograms is not None:
            histograms = self._rows(memo, batch, histograms)
        native = batch.native
        if native is not None:
            native = self._rows(memo, batch, native)
        exemplars = batch.exemplars
        if exemplars is not None:
            exemplars = _exemplars(memo, exemplars)
        aside = histograms is batch.histograms and native is batch.native and exemplars is batch.exemplars
        if not changed and aside:
            return batch
        if changed == 2:
            keep = out >= 0
            self._count(batch, out)
            batch = batch.select(keep)
            out = out[keep]
        batch.table.touch(out)
        return replace(batch, series=out, histograms=histograms, native=native, exemplars=exemplars)

    def verdicts(self, table: SeriesTable, series: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return what (n,) ids became in batches that were processed: ids, or something below 0 for what is dropped."""
        return self._memo(table).gather(series)[0]

    def _run(self, series: Series) -> tuple[int, Series | None]:
        for number, stage in enumerate(self.stages):
            result = stage.processor.admit(series)
            if result is None:
                return _FIRST_DROP - number, None
            series = result
        return 0, series

    def _rows(self, memo: _Memo, batch: MetricBatch, rows: _Rows) -> _Rows | None:
        """Return histograms with the series that the stages pass on."""
        out, changed = memo.gather(rows.series)
        if not changed:
            return rows
        if changed == 2:
            self._count(replace(batch, series=rows.series), out)
            rows = rows.select(out >= 0)
            out = out[out >= 0]
        batch.table.touch(out)
        return replace(rows, series=out) if len(out) else None

    def _count(self, batch: MetricBatch, verdicts: NDArray[np.int32]) -> None:
        """Count what is dropped, by the stage that dropped it."""
        for verdict in np.unique(verdicts[verdicts < 0])[::-1].tolist():
            number = _FIRST_DROP - verdict
            dropped = verdicts == verdict
            if number < len(self.stages):
                stage = self.stages[number]
                stage.drops.count(stage.reason, batch, dropped)
            else:
                refusal = Refusal(number - len(self.stages))
                self.stages[-1].drops.count(refusal.reason, batch, dropped)

    def _memo(self, table: SeriesTable) -> _Memo:
        memo = self._memos.get(table)
        if memo is None:
            memo = self._memos[table] = _Memo()
            table.register(memo)
        memo.fit(table.capacity)
        return memo


class _Memo:
    """Verdicts of one table, by id."""

    def __init__(self) -> None:
        self._verdicts = np.full(1024, kernels.UNDECIDED, np.int32)

    def fit(self, capacity: int) -> None:
        """Make room for all ids of the table."""
        self._verdicts = grown(self._verdicts, capacity, kernels.UNDECIDED)

    def undecided(self, series: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the ids without a verdict, with repeats."""
        out = np.empty(len(series), np.int32)
        return out[: kernels.undecided(self._verdicts, series, out)]

    def gather(self, series: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
        """Return the verdicts, and 0 when nothing changes, 1 when something does, 2 when something is dropped."""
        out = np.empty(len(series), np.int32)
        return out, kernels.gather(self._verdicts, series, out)

    def set(self, ids: NDArray[np.int32], verdicts: NDArray[np.int32]) -> None:
        """Remember verdicts."""
        self._verdicts[ids] = verdicts

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the verdicts about `ids` and those that lead to one of them."""
        gone = np.zeros(len(self._verdicts), np.bool_)
        gone[ids[ids < len(gone)]] = True
        kernels.forget(self._verdicts, gone)


def _exemplars(memo: _Memo, exemplars: ExemplarColumns) -> ExemplarColumns | None:
    out, changed = memo.gather(exemplars.series)
    if not changed:
        return exemplars
    if changed == 2:
        exemplars = exemplars.select(out >= 0)
        out = out[out >= 0]
    return replace(exemplars, series=out) if len(out) else None
