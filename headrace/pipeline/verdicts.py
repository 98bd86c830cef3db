"""A number for each series, decided once: what a component remembers of the series of each table."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.series import SeriesTable

UNDECIDED = 0
"""Number of a series about which nothing is decided yet, or any more because its id was freed."""


class Verdicts:
    """Numbers by table; those of a table go with it."""

    def __init__(self) -> None:
        self._memos: weakref.WeakKeyDictionary[SeriesTable, _Memo] = weakref.WeakKeyDictionary()

    def of(self, table: SeriesTable) -> NDArray[np.int32]:
        """Return the numbers of all series of a table, by id; to be written to, and not to be kept."""
        memo = self._memos.get(table)
        if memo is None:
            memo = self._memos[table] = _Memo()
            table.register(memo)
        memo.numbers = grown(memo.numbers, table.capacity)
        return memo.numbers


class _Memo:
    """Numbers of one table."""

    def __init__(self) -> None:
        self.numbers = np.zeros(1024, np.int32)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop what is known about `ids`, which the table frees."""
        self.numbers[ids[ids < len(self.numbers)]] = UNDECIDED
