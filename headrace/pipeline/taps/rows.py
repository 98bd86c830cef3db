"""Which rows of a batch belong to series that a selector fits: decided once for each series."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.selectors import selector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.series import SeriesTable

_UNDECIDED, _NO, _YES = 0, 1, 2


class SeriesFilter:
    """Narrows batches to some series.

    Args:
        text: A selector; empty for all series.

    Raises:
        InvalidInput: It is none.
    """

    def __init__(self, text: str) -> None:
        self._fits = selector(text) if text else None
        self._memos: weakref.WeakKeyDictionary[SeriesTable, _Memo] = weakref.WeakKeyDictionary()

    def narrow(self, batch: MetricBatch) -> MetricBatch:
        """Return the points, histograms and exemplars of series that fit."""
        if self._fits is None:
            return batch
        parts = {}
        for name in ("histograms", "native", "exemplars"):
            rows = getattr(batch, name)
            if rows is not None:
                keep = self._keep(batch.table, rows.series)
                parts[name] = rows.select(keep) if keep.any() else None
        keep = self._keep(batch.table, batch.series)
        return batch.select(keep).with_columns(**parts, metadata=())

    def _keep(self, table: SeriesTable, series: NDArray[np.int32]) -> NDArray[np.bool_]:
        memo = self._memos.get(table)
        if memo is None:
            memo = self._memos[table] = _Memo()
            table.register(memo)
        memo.verdicts = grown(memo.verdicts, table.capacity)
        new = np.unique(series[memo.verdicts[series] == _UNDECIDED])
        for one in new.tolist():
            fits = self._fits is None or self._fits(table.series(one))
            memo.verdicts[one] = _YES if fits else _NO
        keep: NDArray[np.bool_] = memo.verdicts[series] == _YES
        return keep


class _Memo:
    """Verdicts of one table, by id."""

    def __init__(self) -> None:
        self.verdicts = np.zeros(1024, np.uint8)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the verdicts about `ids`."""
        self.verdicts[ids[ids < len(self.verdicts)]] = _UNDECIDED
