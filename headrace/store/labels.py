"""Label sets of many series as columns.

Labels stay dictionary ids from the index to the answer: grouping, matching and dropping labels are NumPy
operations on small integers, and text is made only for what is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.store import labels_kernels as kernels
from headrace.store.symbols import ABSENT, Symbols

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


class QuerySymbols:
    """A dictionary for one query: reads an engine's and keeps what the query adds to itself.

    Args:
        base: The engine's dictionary; it may grow meanwhile, ids at or above its present length are not seen.
    """

    __slots__ = ("_ids", "_own", "base", "size")

    def __init__(self, base: Symbols) -> None:
        self.base = base
        self.size = len(base)
        self._own: list[str] = []
        self._ids: dict[str, int] = {}

    def __len__(self) -> int:
        return self.size + len(self._own)

    def intern(self, text: str) -> int:
        """Return the id of `text`, adding it to this query where the engine does not have it."""
        found = self.find(text)
        if found == ABSENT:
            found = self._ids[text] = len(self)
            self._own.append(text)
        return found

    def find(self, text: str) -> int:
        """Return the id of `text`, or ABSENT."""
        found = self.base.find(text)
        return found if 0 <= found < self.size else self._ids.get(text, ABSENT)

    def text(self, symbol: int) -> str:
        """Return the string with id `symbol`."""
        return self.base.text(symbol) if symbol < self.size else self._own[symbol - self.size]


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Label sets of n series.

    Attributes:
        names: Label names in ascending order (by code point, which is the order of their UTF-8 bytes).
        values: (n, len(names)) int32, value symbols; ABSENT where a series lacks the label. An empty value is
            never stored: it means absence.
        symbols: What the ids mean.
    """

    names: tuple[str, ...]
    values: NDArray[np.int32]
    symbols: QuerySymbols

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, sets: Sequence[Mapping[str, str]], symbols: QuerySymbols) -> LabelTable:
        """Build a table from label sets as text; slow, for tests and small results."""
        names = tuple(sorted({name for labels in sets for name, value in labels.items() if value}))
        values = np.full((len(sets), len(names)), ABSENT, np.int32)
        column = {name: i for i, name in enumerate(names)}
        for row, labels in enumerate(sets):
            for name, value in labels.items():
                if value:
                    values[row, column[name]] = symbols.intern(value)
        return cls(names, values, symbols)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> LabelTable:
        """Return the table of the chosen rows, in the order given."""
        return LabelTable(self.names, self.values[rows], self.symbols)

    def keep(self, names: Iterable[str]) -> LabelTable:
        """Return the table with only the labels `names`."""
        wanted = set(names)
        columns = [i for i, name in enumerate(self.names) if name in wanted]
        return LabelTable(tuple(self.names[i] for i in columns), self.values[:, columns], self.symbols)

    def drop(self, names: Iterable[str]) -> LabelTable:
        """Return the table without the labels `names`."""
        unwanted = set(names)
        return self.keep(name for name in self.names if name not in unwanted)

    def column(self, name: str) -> NDArray[np.int32]:
        """Return the (n,) value symbols of label `name`; all ABSENT where no series has it."""
        if name in self.names:
            return self.values[:, self.names.index(name)]
        return np.full(len(self), ABSENT, np.int32)

    def with_column(self, name: str, values: NDArray[np.int32]) -> LabelTable:
        """Return the table with label `name` set to `values` (ABSENT deletes it for that row)."""
        rest = self.drop([name])
        names = tuple(sorted((*rest.names, name)))
        at = names.index(name)
        return LabelTable(names, np.insert(rest.values, at, values, axis=1), self.symbols)

    def text(self, symbol: int) -> str:
        """Return the value with id `symbol`; empty for ABSENT."""
        return "" if symbol == ABSENT else self.symbols.text(symbol)

    def labels(self, row: int) -> dict[str, str]:
        """Return one label set as text, in ascending order of names."""
        return {
            name: self.symbols.text(symbol)
            for name, symbol in zip(self.names, self.values[row].tolist(), strict=True)
            if symbol != ABSENT
        }

    def groups(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Find rows with equal label sets.

        Returns:
            (n,) group number of each row, numbered by first appearance; (groups,) first row of each group.
        """
        n = len(self)
        if not n or not self.names:
            return np.zeros(n, np.intp), np.zeros(min(n, 1), np.intp)
        numbers, first = np.empty(n, np.int64), np.empty(n, np.int64)
        slots = np.full(1 << n.bit_length() + 1, -1, np.int32)
        count = kernels.number_rows(np.ascontiguousarray(self.values), slots, numbers, first)
        return numbers, first[:count]

    def order(self) -> NDArray[np.intp]:
        """Return the rows in Prometheus' order of label sets: name by name, value by value, prefixes first."""
        if len(self) < 2:
            return np.arange(len(self))
        keys = []
        more = np.zeros(len(self), np.bool_)
        for column in self.values.T[::-1]:
            ranks, ranked = self._ranks(column)
            present = column != ABSENT
            # A row without the label goes on with a later name, which comes behind this one, or ends, and is a prefix.
            keys.append(np.where(present, ranks, np.where(more, ranked + 1, 0)))
            more |= present
        return np.lexsort(keys) if keys else np.arange(len(self))

    def _ranks(self, column: NDArray[np.int32]) -> tuple[NDArray[np.int64], int]:
        """Return for each row the rank of its value among those of the column, from 1, and how many there are."""
        symbols, which = np.unique(column, return_inverse=True)
        texts = [self.text(symbol) for symbol in symbols.tolist()]
        ranks = np.empty(len(texts), np.int64)
        ranks[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(1, len(texts) + 1)
        return ranks[which.ravel()], len(texts)


@dataclass(frozen=True, slots=True)
class ColumnarSeries:
    """What a selection returns: samples of n series, one after the other.

    Attributes:
        labels: n label sets, distinct.
        offsets: (n + 1,) int64; samples of series i are ``offsets[i]:offsets[i + 1]``.
        times_ms: (offsets[-1],) int64, ascending and distinct within a series.
        values: (offsets[-1],) float64; stale markers (bits 0x7ff0000000000002) are samples like others.
        starts_ms: (offsets[-1],) int64, when what each sample counts began, 0 where that is unknown; None where no
            sample says.
        refs: (n,) int32 of the series in their store, ascending; None where it has none.
    """

    labels: LabelTable
    offsets: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    starts_ms: NDArray[np.int64] | None = None
    refs: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1
