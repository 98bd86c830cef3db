"""One label name of the index: which series have it, and with which value.

Rows of (ref, value symbol) in ascending order of refs answer what values some series have. The same rows sorted by
value, as one array of refs and the place where each value's list begins, answer which series have some values. The
lists are made when a matcher asks for several values, or again and again for one, and made anew when many rows have
come since; the rows after them are searched one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.growth import grown
from headrace.store import column_kernels as kernels
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_NO_REFS = np.empty(0, np.int32)

_MAX_TAIL = 2048
"""Rows behind the lists at which these are made anew, where they are more than a quarter of all."""

LISTS_ARE_SORTED_BELOW = 64
"""Lists that hold no more than one ref in this many are joined by sorting, longer ones by marking refs."""


_MORE = 8
"""How many times as many refs of a value are asked about as before."""


_SEARCHES = 8
"""How often all rows are searched for a value before lists are made, which takes about as long."""


class _Rows(NamedTuple):
    """Rows, replaced as a whole where they do not just get more.

    Attributes:
        refs: (room,) int32, or empty while row i is of ref i.
        values: (room,) int32 symbols.
    """

    refs: NDArray[np.int32]
    values: NDArray[np.int32]


class Postings(NamedTuple):
    """The first rows of a column by value.

    Attributes:
        of: Edition of the column that they are about.
        rows: How many rows.
        values: (k,) int32 symbols, ascending.
        starts: (k + 1,) int32; value i has ``refs[starts[i]:starts[i + 1]]``.
        refs: (rows,) int32, ascending within a value.
    """

    of: int
    rows: int
    values: NDArray[np.int32]
    starts: NDArray[np.int32]
    refs: NDArray[np.int32]


class Column:
    """Rows of one label name. One thread adds; readers see the rows that were there when they began."""

    __slots__ = ("_edition", "_n", "_postings", "_rows", "_searches")

    def __init__(self, refs: NDArray[np.int32] = _NO_REFS, values: NDArray[np.int32] = _NO_REFS) -> None:
        dense = not len(refs) or int(refs[-1]) == len(refs) - 1
        self._rows = _Rows(_NO_REFS if dense else refs, values)
        self._n = len(values)
        self._edition = 0
        self._postings: Postings | None = None
        self._searches = 0

    def __len__(self) -> int:
        return self._n

    # -- adding --------------------------------------------------------------------------------------------

    def extend(self, refs: NDArray[np.int32], values: NDArray[np.int32]) -> None:
        """Add rows. Refs ascend but for those that a log or a block brings back."""
        n = self._n
        last = self._last_ref()
        if (n and refs[0] < last) or (np.diff(refs) < 0).any():
            own, symbols = self.rows()
            merged = np.concatenate([own, refs])
            order = np.argsort(merged, kind="stable")
            self._replace(merged[order], np.concatenate([symbols, values])[order])
            return
        end = n + len(refs)
        dense = not len(self._rows.refs)
        if dense and int(refs[-1]) != end - 1:
            self._rows = _Rows(np.arange(n, dtype=np.int32), self._rows.values)
            dense = False
        own = self._rows.refs if dense else grown(self._rows.refs, end)
        rows = _Rows(own, grown(self._rows.values, end))
        if not dense:
            rows.refs[n:end] = refs
        rows.values[n:end] = values
        self._rows = rows
        # Last, so that a reader on another thread never counts a row that is not written.
        self._n = end

    def _last_ref(self) -> int:
        n = self._n
        return int(self._rows.refs[n - 1]) if len(self._rows.refs) else n - 1

    def _replace(self, refs: NDArray[np.int32], values: NDArray[np.int32]) -> None:
        dense = int(refs[-1]) == len(refs) - 1
        self._edition += 1
        self._postings = None
        self._rows = _Rows(_NO_REFS if dense else refs, values)
        self._n = len(values)

    def kept(self, alive: NDArray[np.bool_]) -> Column:
        """Return the column without the rows of refs that are not alive; readers may still hold the old one."""
        refs, values = self.rows()
        keep = alive[refs]
        return self if keep.all() else Column(refs[keep], values[keep])

    # -- rows ----------------------------------------------------------------------------------------------

    def rows(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return refs and value symbols."""
        n, (refs, values) = self._n, self._rows
        return (refs[:n] if len(refs) else np.arange(n, dtype=np.int32)), values[:n]

    @property
    def values(self) -> NDArray[np.int32]:
        """Value symbols of all rows."""
        n = self._n
        return self._rows.values[:n]

    def gather(self, refs: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """Return the value symbol of each ref, ABSENT for none; None where no ref has the label."""
        n, (own, values) = self._n, self._rows
        if not n or not len(refs):
            return None
        if not len(own):
            if refs[-1] < n:
                return values[refs]
            within = np.minimum(refs, n - 1)
            hit = refs < n
            return np.where(hit, values[within], np.int32(ABSENT)) if hit.any() else None
        own = own[:n]
        at = own.searchsorted(refs)
        at[at == n] = 0
        hit = own[at] == refs
        return np.where(hit, values[at], np.int32(ABSENT)) if hit.any() else None

    # -- lists ---------------------------------------------------------------------------------------------

    def distinct(self) -> NDArray[np.int32]:
        """Return the value symbols, ascending."""
        postings, _, tail = self._current()
        return np.union1d(postings.values, tail) if len(tail) else postings.values

    def counts(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the value symbols, ascending, and the series that have each."""
        postings, _, tail = self._current()
        own = np.diff(postings.starts).astype(np.int64)
        if not len(tail):
            return postings.values, own
        symbols, amounts = np.unique(tail, return_counts=True)
        merged = np.union1d(postings.values, symbols)
        counts = np.zeros(len(merged), np.int64)
        counts[np.searchsorted(merged, postings.values)] += own
        counts[np.searchsorted(merged, symbols)] += amounts
        return merged, counts

    def values_with(self, fulfil: Callable[[NDArray[np.int32]], NDArray[np.bool_]]) -> NDArray[np.int32]:
        """Return the value symbols, ascending, that some ref has which fulfils a condition.

        Most values need one ref to be known for good, so few are asked about first, then more of the values that are
        left.

        Args:
            fulfil: Returns which of some refs, ascending, do.
        """
        postings, tail_refs, tail = self._current()
        found = np.zeros(len(postings.values), np.bool_)
        left, firsts, size = np.arange(len(found)), postings.starts[:-1].astype(np.int64), 1
        while len(left):
            ends = np.minimum(firsts + size, postings.starts[left + 1])
            which, places = _spread(firsts, ends)
            order = np.argsort(postings.refs[places])
            hit = fulfil(postings.refs[places[order]])
            found[left[which[order[hit]]]] = True
            more = ~found[left] & (ends < postings.starts[left + 1])
            left, firsts, size = left[more], ends[more], _MORE * size
        known = postings.values[found]
        return np.union1d(known, tail[fulfil(tail_refs)]) if len(tail) else known

    def having(self, symbol: int) -> NDArray[np.int32]:
        """Return the refs that have a value, ascending; only to be read."""
        if self._postings is None and self._searches < _SEARCHES:
            self._searches += 1
            n, (own, values) = self._n, self._rows
            hit = np.flatnonzero(values[:n] == symbol)
            return own[hit] if len(own) else hit.astype(np.int32)
        postings, tail_refs, tail = self._current()
        at = int(postings.values.searchsorted(np.int32(symbol)))
        found = _NO_REFS
        if at < len(postings.values) and postings.values[at] == symbol:
            found = postings.refs[postings.starts[at] : postings.starts[at + 1]]
        more = tail_refs[tail == symbol]
        return np.concatenate([found, more]) if len(more) else found

    def having_any(self, fulfil: Callable[[NDArray[np.int32]], NDArray[np.bool_]], refs: int) -> NDArray[np.int32]:
        """Return the refs whose value fulfils a condition, ascending.

        Args:
            fulfil: Returns which of some distinct symbols, ascending, do.
            refs: One more than the largest ref; what is newer may be left out.
        """
        postings, tail_refs, tail = self._current()
        chosen = np.flatnonzero(fulfil(postings.values))
        more = _NO_REFS
        if len(tail):
            symbols, which = np.unique(tail, return_inverse=True)
            more = tail_refs[fulfil(symbols)[which.ravel()]]
        return np.concatenate([_joined(postings, chosen, refs), more]) if len(more) else _joined(postings, chosen, refs)

    def exclude(self, fulfil: Callable[[NDArray[np.int32]], NDArray[np.bool_]], out: NDArray[np.bool_]) -> None:
        """Unmark in `out`, bool by ref, the refs whose value does not fulfil a condition; see `having_any`."""
        postings, tail_refs, tail = self._current()
        kernels.mark(postings.refs, postings.starts, np.flatnonzero(~fulfil(postings.values)), out, False)
        if len(tail):
            symbols, which = np.unique(tail, return_inverse=True)
            gone = tail_refs[~fulfil(symbols)[which.ravel()]]
            out[gone[gone < len(out)]] = False

    def memory_bytes(self) -> int:
        """Return the bytes that rows and lists take, not counting room for more."""
        rows = self._n * (8 if len(self._rows.refs) else 4)
        postings = self._postings
        return rows + (0 if postings is None else 4 * (len(postings.refs) + 2 * len(postings.values)))

    def _current(self) -> tuple[Postings, NDArray[np.int32], NDArray[np.int32]]:
        """Return lists, and refs and values of the rows behind them."""
        edition, n, (refs, values) = self._edition, self._n, self._rows
        postings = self._postings
        if postings is None or postings.of != edition or n - postings.rows > max(_MAX_TAIL, postings.rows // 4):
            postings = self._postings = _postings(edition, refs[:n], values[:n])
        first = postings.rows
        tail = refs[first:n] if len(refs) else np.arange(first, n, dtype=np.int32)
        return postings, tail, values[first:n]


def _postings(edition: int, refs: NDArray[np.int32], values: NDArray[np.int32]) -> Postings:
    counts = np.zeros(int(values.max(initial=-1)) + 1, np.int32)
    kernels.count(values, counts)
    distinct = np.flatnonzero(counts).astype(np.int32)
    starts = np.zeros(len(distinct) + 1, np.int32)
    np.cumsum(counts[distinct], out=starts[1:])
    counts[distinct] = starts[:-1]
    out = np.empty(len(values), np.int32)
    kernels.fill(refs, values, counts, out)
    return Postings(edition, len(values), distinct, starts, out)


def _spread(firsts: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of all spans, and for each the number of its span."""
    sizes = ends - firsts
    which = np.repeat(np.arange(len(sizes)), sizes)
    return which, np.arange(len(which)) + (firsts - np.cumsum(sizes) + sizes)[which]


def _joined(postings: Postings, chosen: NDArray[np.int64], refs: int) -> NDArray[np.int32]:
    """Return the refs in the lists with numbers `chosen`, ascending."""
    _, _, _, starts, own = postings
    if not len(chosen):
        return _NO_REFS
    if len(chosen) == 1:
        return own[starts[chosen[0]] : starts[chosen[0] + 1]]
    total = int((starts[chosen + 1] - starts[chosen]).sum(dtype=np.int64))
    if total * LISTS_ARE_SORTED_BELOW > refs:
        marks = np.zeros(refs, np.bool_)
        kernels.mark(own, starts, chosen, marks, True)
        return np.flatnonzero(marks).astype(np.int32)
    out = np.empty(total, np.int32)
    kernels.join(own, starts, chosen, out)
    out.sort()
    return out
