"""The index: which series have which labels.

For each label name there is a column of (ref, value) rows, sorted by ref because refs are given out in ascending
order. A matcher is evaluated on the distinct values, and becomes one pass over a column of small integers; label
sets of an answer are gathered from the same columns. The columns together take 8 bytes for each label of each series.

One thread adds; readers see the columns as long as they were when they began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.store.labels import ABSENT, LabelTable, QuerySymbols, Symbols
from headrace.store.matchers import MatchType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from headrace.store.interfaces import Labels
    from headrace.store.matchers import Matcher


class Index:
    """Label sets by ref."""

    def __init__(self) -> None:
        self.symbols = Symbols()
        self._columns: dict[str, _Column] = {}
        self._refs: dict[Labels, int] = {}
        self._labels: dict[int, Labels] = {}
        self._alive = np.zeros(256, np.bool_)
        self.next_ref = 0
        """The ref that the next new series gets."""

    def __len__(self) -> int:
        return len(self._refs)

    def find(self, labels: Labels) -> int:
        """Return the ref of a label set, or -1."""
        return self._refs.get(labels, -1)

    def labels(self, ref: int) -> Labels:
        """Return the label set of a live ref."""
        return self._labels[ref]

    def __contains__(self, ref: object) -> bool:
        return ref in self._labels

    def add(self, labels: Labels) -> int:
        """Give a new ref to a label set that has none."""
        ref = self.next_ref
        self.restore(ref, labels)
        return ref

    def restore(self, ref: int, labels: Labels) -> None:
        """Take a series whose ref is known, from a log or a block; refs have to come in ascending order.

        Args:
            ref: At or above `next_ref`.
            labels: Sorted by name.
        """
        if ref < self.next_ref:
            raise AssertionError(f"bug: ref {ref} comes after {self.next_ref - 1}")
        self._alive = grown(self._alive, ref + 1, fill=False)
        intern = self.symbols.intern
        for name, value in labels:
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = _Column()
            column.add(ref, intern(value))
        self._refs[labels] = ref
        self._labels[ref] = labels
        self._alive[ref] = True
        self.next_ref = ref + 1

    def remove(self, refs: Iterable[int]) -> None:
        """Forget series; their refs are not given out again."""
        for ref in refs:
            del self._refs[self._labels.pop(ref)]
            self._alive[ref] = False
        for name, column in list(self._columns.items()):
            kept = column.kept(self._alive)
            if len(kept):
                self._columns[name] = kept
            else:
                del self._columns[name]

    def select(self, matchers: Sequence[Matcher]) -> NDArray[np.int32]:
        """Return the refs of the series that fulfil all matchers, ascending."""
        n = self.next_ref
        found: NDArray[np.int32] | None = None
        # Equality first: it leaves the fewest for the others.
        for matcher in sorted(matchers, key=lambda m: (m.matches_empty, m.type is not MatchType.EQUAL)):
            found = self._narrow(matcher, found, n)
            if not len(found):
                break
        if found is None:
            found = np.flatnonzero(self._alive[:n]).astype(np.int32)
        return found

    def table(self, refs: NDArray[np.int32], symbols: QuerySymbols) -> LabelTable:
        """Return the label sets of `refs`, in their order."""
        names: list[str] = []
        columns: list[NDArray[np.int32]] = []
        for name in sorted(self._columns):
            values = self._columns[name].gather(refs)
            if values is not None:
                names.append(name)
                columns.append(values)
        values_table = np.stack(columns, axis=1) if columns else np.empty((len(refs), 0), np.int32)
        return LabelTable(tuple(names), values_table, symbols)

    def names(self, refs: NDArray[np.int32] | None) -> list[str]:
        """Return the label names of `refs`, or of all series, sorted."""
        if refs is None:
            return sorted(self._columns)
        return sorted(name for name, column in list(self._columns.items()) if column.gather(refs) is not None)

    def values(self, name: str, refs: NDArray[np.int32] | None) -> list[str]:
        """Return the values of label `name` of `refs`, or of all series, sorted."""
        column = self._columns.get(name)
        if column is None:
            return []
        ids = column.values if refs is None else column.gather(refs)
        if ids is None:
            return []
        strings = self.symbols.strings
        return sorted(strings[i] for i in np.unique(ids).tolist() if i != ABSENT)

    def _narrow(self, matcher: Matcher, found: NDArray[np.int32] | None, n: int) -> NDArray[np.int32]:
        column = self._columns.get(matcher.name)
        if column is None:
            if not matcher.matches_empty:
                return np.empty(0, np.int32)
            return np.flatnonzero(self._alive[:n]).astype(np.int32) if found is None else found
        if matcher.matches_empty:
            if found is None:
                found = np.flatnonzero(self._alive[:n]).astype(np.int32)
            values = column.gather(found)
            return found if values is None else found[self._fulfil(matcher, values)]
        if found is None:
            refs, values = column.rows()
            kept = refs[self._fulfil(matcher, values)]
            return kept[kept < n]
        values = column.gather(found)
        return np.empty(0, np.int32) if values is None else found[self._fulfil(matcher, values)]

    def _fulfil(self, matcher: Matcher, values: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which value symbols (ABSENT for none) fulfil `matcher`."""
        if matcher.type is MatchType.EQUAL:
            result: NDArray[np.bool_] = values == (self.symbols.find(matcher.value) if matcher.value else ABSENT)
            return result
        if matcher.type is MatchType.NOT_EQUAL:
            unequal: NDArray[np.bool_] = values != (self.symbols.find(matcher.value) if matcher.value else ABSENT)
            return unequal
        distinct, inverse = np.unique(values, return_inverse=True)
        strings = self.symbols.strings
        answers = np.array([matcher.matches("" if i == ABSENT else strings[i]) for i in distinct.tolist()], np.bool_)
        fulfilled: NDArray[np.bool_] = answers[inverse]
        return fulfilled


class _Column:
    """Rows of one label name."""

    __slots__ = ("_n", "_refs", "_values")

    def __init__(self) -> None:
        self._refs = np.empty(16, np.int32)
        self._values = np.empty(16, np.int32)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, ref: int, value: int) -> None:
        """Append a row; refs ascend."""
        n = self._n
        if n == len(self._refs):
            self._refs = grown(self._refs, n + 1)
            self._values = grown(self._values, n + 1)
        self._refs[n] = ref
        self._values[n] = value
        # Last, so that a reader on another thread never counts a row that is not written.
        self._n = n + 1

    def rows(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return refs and value symbols."""
        n = self._n
        return self._refs[:n], self._values[:n]

    @property
    def values(self) -> NDArray[np.int32]:
        """Value symbols of all rows."""
        return self.rows()[1]

    def gather(self, refs: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """Return the value symbol of each ref, ABSENT for none; None where no ref has the label."""
        own, values = self.rows()
        if not len(own) or not len(refs):
            return None
        if own[-1] == len(own) - 1 and refs[-1] < len(own):
            return values[refs]
        at = np.searchsorted(own, refs)
        at[at == len(own)] = 0
        hit = own[at] == refs
        return np.where(hit, values[at], np.int32(ABSENT)) if hit.any() else None

    def kept(self, alive: NDArray[np.bool_]) -> _Column:
        """Return the column without the rows of refs that are not alive; readers may still hold the old one."""
        refs, values = self.rows()
        keep = alive[refs]
        if keep.all():
            return self
        column = _Column()
        column._refs, column._values = refs[keep], values[keep]
        column._n = len(column._refs)
        return column
