"""From ids of a series table to refs of the store: a memo of one gather a batch."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.store.index import LabelSets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.series import SeriesTable
    from headrace.store.engine import Engine

_UNKNOWN = -1


class StoreRefs:
    """Refs of one engine by id of one table.

    Args:
        table: The workspace's series table; told when ids are freed.
        engine: The workspace's engine.
    """

    def __init__(self, table: SeriesTable, engine: Engine) -> None:
        self._table = weakref.ref(table)
        self._engine = engine
        self._refs = np.full(1024, _UNKNOWN, np.int32)
        table.register(self)

    def of(self, table: SeriesTable, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the refs of (n,) int32 `ids`, defining the series that the engine has not seen."""
        self._refs = grown(self._refs, table.capacity, _UNKNOWN)
        refs = self._refs[ids]
        if (refs == _UNKNOWN).any():
            new = np.unique(ids[refs == _UNKNOWN])
            labels = table.label_spans(new)
            self._refs[new] = self._engine.refs_of(LabelSets(labels.buf, labels.spans.reshape(-1, 2), labels.starts))
            refs = self._refs[ids]
        return refs

    def serves(self, table: SeriesTable) -> bool:
        """Return whether the memo is about `table`."""
        return self._table() is table

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the refs of ids that were freed."""
        self._refs[ids[ids < len(self._refs)]] = _UNKNOWN

    def forget_refs(self, refs: NDArray[np.int32]) -> None:
        """Drop refs that the engine has given up."""
        self._refs[np.isin(self._refs, refs)] = _UNKNOWN
