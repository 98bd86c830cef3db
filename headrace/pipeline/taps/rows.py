"""Which rows of a batch belong to series that a selector fits: decided once for each series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.selectors import selector
from headrace.pipeline.verdicts import UNDECIDED, Verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.series import SeriesTable

_NO, _YES = UNDECIDED + 1, UNDECIDED + 2


class SeriesFilter:
    """Narrows batches to some series.

    Args:
        text: A selector; empty for all series.

    Raises:
        InvalidInput: It is none.
    """

    def __init__(self, text: str) -> None:
        self._fits = selector(text) if text else None
        self._verdicts = Verdicts()

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
        verdicts = self._verdicts.of(table)
        new = np.unique(series[verdicts[series] == UNDECIDED])
        for one in new.tolist():
            fits = self._fits is None or self._fits(table.series(one))
            verdicts[one] = _YES if fits else _NO
        keep: NDArray[np.bool_] = verdicts[series] == _YES
        return keep
