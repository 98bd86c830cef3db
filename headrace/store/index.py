"""The index: which series have which labels.

A label set is a row of symbol pairs. Beside them there is, for each label name, a column of (ref, value) rows, sorted
by ref because refs are given out in ascending order, and the same by value. Matchers are set algebra on them: those
for one value are intersected, smallest first; a pattern is evaluated on the distinct values that are left, and stands
for the union of their lists or filters what was found so far; what a series without the label fulfils is a difference.

One thread adds; readers see the columns as long as they were when they began.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.kernels.buffers import padded
from headrace.kernels.growth import grown
from headrace.pipeline.errors import CorruptChunk
from headrace.store import column_kernels as columns
from headrace.store import index_kernels as kernels
from headrace.store.column import Column
from headrace.store.labels import LabelTable, QuerySymbols
from headrace.store.matchers import MatchType
from headrace.store.symbol_matches import SymbolMatches
from headrace.store.symbols import ABSENT, Symbols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from headrace.store.interfaces import Labels
    from headrace.store.matchers import Matcher

_MAX_REFS = (1 << 31) - 1
_NO_REFS = np.empty(0, np.int32)
_BY_SYMBOL = frozenset({MatchType.EQUAL, MatchType.NOT_EQUAL})
_FEW = 16
"""Series whose label sets are looked at one by one, which of more takes longer than to ask all columns."""

_MAX_REMEMBERED = 256
_MAX_REMEMBERED_REFS = 1 << 14
"""Selections that are remembered, and series that one of them may have."""

_SORT_BELOW = 16
"""Values are told apart by sorting while the dictionary has this many times more texts, else by marking them."""


class LabelSets(NamedTuple):
    """Label sets as bytes: sorted by name, without empty values, valid UTF-8.

    Attributes:
        buf: uint8 with PAD readable bytes behind the last span.
        spans: (2 k, 2) int32: offset and size of names and values in turn.
        starts: (n + 1,) int32; label set i has names and values ``spans[2 * starts[i]:2 * starts[i + 1]]``.
    """

    buf: NDArray[np.uint8]
    spans: NDArray[np.int32]
    starts: NDArray[np.int32]

    @classmethod
    def of(cls, series: Sequence[Labels]) -> LabelSets:
        """Encode label sets that Python code made."""
        texts = [text.encode("utf-8", "surrogatepass") for labels in series for pair in labels for text in pair]
        sizes = np.fromiter(map(len, texts), np.int32, len(texts))
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if texts else np.empty(0)
        starts = np.cumsum([0, *map(len, series)])
        spans = np.stack([offsets, sizes], axis=1).astype(np.int32) if texts else np.empty((0, 2), np.int32)
        return cls(padded(b"".join(texts)), spans, starts.astype(np.int32))


class Index:
    """Label sets by ref."""

    def __init__(self) -> None:
        self.symbols = Symbols()
        self.matches = SymbolMatches(self.symbols)
        self._columns: dict[int, Column] = {}
        self._firsts = np.zeros(256, np.int64)
        self._lengths = np.zeros(256, np.uint16)
        self._pairs = np.zeros((1024, 2), np.int32)
        self._slots = np.full(512, kernels.EMPTY, np.int32)
        self._counts = np.zeros(3, np.int64)
        self._alive = np.zeros(256, np.bool_)
        low, high = np.frombuffer(secrets.token_bytes(16), np.uint64)
        self._secret = (np.uint64(low), np.uint64(high))
        self._edition = 0
        self._selected: dict[tuple[Matcher, ...], tuple[int, NDArray[np.int32]]] = {}
        self.created = 0
        """Series that were given a ref of their own, those of logs and blocks not counted."""

    def __len__(self) -> int:
        return int(self._counts[kernels.LIVE])

    @property
    def next_ref(self) -> int:
        """The ref that the next new series gets."""
        return int(self._counts[kernels.NEXT_REF])

    def reserve_refs(self, upto: int) -> None:
        """Give no refs below `upto` out."""
        self._counts[kernels.NEXT_REF] = max(self.next_ref, upto)
        self._make_room(0, 0, self.next_ref)

    def labels(self, ref: int) -> Labels:
        """Return the label set of a live ref."""
        first = int(self._firsts[ref])
        text = self.symbols.text
        pairs = self._pairs[first : first + int(self._lengths[ref])].tolist()
        return tuple((text(name), text(value)) for name, value in pairs)

    def alive(self, refs: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of `refs` stand for a series; any int32 may be asked for."""
        known = (refs >= 0) & (refs < self.next_ref)
        known[known] = self._alive[refs[known]]
        return known

    def intern(self, sets: LabelSets, wanted: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
        """Return the refs of label sets, adding those that are new.

        Args:
            sets: n label sets.
            wanted: (n,) int32: refs that new ones have to get, from a log or a block; distinct, and nobody has them.

        Returns:
            (n,) int32.
        """
        n = len(sets.starts) - 1
        pairs = self.symbols.intern_spans(sets.buf, sets.spans).reshape(-1, 2)
        raw = padded(pairs.tobytes())
        before = self.next_ref
        last = before + n if wanted is None else max(int(wanted.max(initial=0)) + 1, before)
        if last > _MAX_REFS:
            raise AssertionError(f"bug: {last} refs")
        self._make_room(n, len(pairs), last)
        out = np.empty(n, np.int32)
        used = int(self._counts[kernels.PAIRS])
        kernels.assign(
            pairs, raw, sets.starts, np.empty(0, np.int32) if wanted is None else wanted, self._firsts, self._lengths,
            self._pairs, self._slots, self._counts, *self._secret, out,
        )  # fmt: skip
        new = np.unique(out[out >= before]) if wanted is None else out[out == wanted]
        self._extend(new, used)
        if wanted is None:
            self.created += len(new)
        return out

    def _extend(self, new: NDArray[np.int32], used: int) -> None:
        """Put the label sets of new refs, whose pairs lie one after the other from place `used`, into the columns."""
        if not len(new):
            return
        pairs = self._pairs[used : int(self._counts[kernels.PAIRS])]
        refs = np.repeat(new, self._lengths[new])
        order = self._by_name(np.ascontiguousarray(pairs[:, 0]))
        names, firsts = np.unique(pairs[order, 0], return_index=True)
        for name, rows in zip(names.tolist(), np.split(order, firsts[1:]), strict=True):
            column = self._columns.get(name)
            if column is None:
                # A new dict, so that readers who walk the old one are not disturbed.
                column = Column()
                self._columns = {**self._columns, name: column}
            column.extend(refs[rows], pairs[rows, 1])
        self._alive[new] = True
        # Last, so that what a reader finds meanwhile is remembered of the edition before.
        self._edition += 1

    def _by_name(self, names: NDArray[np.int32]) -> NDArray[np.integer[Any]]:
        """Return the rows sorted by name, those of one name in their order."""
        if len(names) < len(self.symbols):
            return np.argsort(names, kind="stable")
        places = np.zeros(len(self.symbols) + 1, np.int32)
        columns.count(names, places[1:])
        np.cumsum(places, out=places)
        order = np.empty(len(names), np.int32)
        columns.fill(_NO_REFS, names, places, order)
        return order

    def _make_room(self, series: int, pairs: int, refs: int) -> None:
        self._firsts = grown(self._firsts, refs)
        self._lengths = grown(self._lengths, refs)
        self._alive = grown(self._alive, refs, fill=False)
        self._pairs = grown(self._pairs, int(self._counts[kernels.PAIRS]) + pairs + 2)
        if 2 * (len(self) + series) > len(self._slots):
            self._rebuild(2 * (len(self) + series))

    def _rebuild(self, room: int) -> None:
        slots = np.full(1 << room.bit_length(), kernels.EMPTY, np.int32)
        raw = self._pairs.view(np.uint8).ravel()
        kernels.rebuild(self._alive, self.next_ref, self._firsts, self._lengths, raw, slots, *self._secret)
        self._slots = slots

    # -- records -------------------------------------------------------------------------------------------

    def encode(self, refs: NDArray[np.int32]) -> bytes:
        """Return the series record of live `refs`; see docs/format/wal.md."""
        total = int(self._lengths[refs].sum(dtype=np.int64))
        pairs, starts = np.empty((total, 2), np.int32), np.empty(len(refs) + 1, np.int32)
        kernels.gather_pairs(refs, self._firsts, self._lengths, self._pairs, pairs, starts)
        text, bounds = self.symbols.arrays
        symbols = pairs.ravel().astype(np.int64)
        size = int((bounds[symbols + 1] - bounds[symbols]).sum()) + 8 * total + 6 * len(refs) + 4
        out = np.empty(size, np.uint8)
        kernels.encode(refs, pairs, starts, text, bounds, out)
        return out.tobytes()

    def restore(self, record: bytes | bytearray | memoryview) -> NDArray[np.int32]:
        """Take the series of a record that are not known yet; return the refs of all in it.

        Raises:
            CorruptChunk: The record ends early, or gives a ref out twice.
        """
        refs, sets = decode_series(record)
        new = ~self.alive(refs)
        if not new.any():
            return refs
        wanted, sets = refs[new], _chosen(sets, new)
        if len(np.unique(wanted)) < len(wanted):
            raise CorruptChunk("series record: gives a ref out twice")
        self.intern(sets, wanted)
        return refs

    # -- removal -------------------------------------------------------------------------------------------

    def remove(self, refs: NDArray[np.int32]) -> None:
        """Forget series; their refs are not given out again."""
        self._alive[refs] = False
        self._counts[kernels.LIVE] -= len(refs)
        self._rebuild(2 * len(self) + 512)
        kept = {name: column.kept(self._alive) for name, column in self._columns.items()}
        self._columns = {name: column for name, column in kept.items() if len(column)}
        self._edition += 1

    @property
    def wasteful(self) -> bool:
        """Whether most of what the index holds belongs to series that are gone."""
        live = self._alive[: self.next_ref]
        pairs = int(self._lengths[: self.next_ref][live].sum(dtype=np.int64))
        return int(self._counts[kernels.PAIRS]) > 2 * pairs + 10_000

    def packed(self) -> Index:
        """Return an index of the same series by the same refs that holds nothing else; symbols have other numbers."""
        refs = self.refs()
        other = Index()
        total = int(self._lengths[refs].sum(dtype=np.int64))
        pairs, starts = np.empty((total, 2), np.int32), np.empty(len(refs) + 1, np.int32)
        kernels.gather_pairs(refs, self._firsts, self._lengths, self._pairs, pairs, starts)
        symbols = self._distinct(pairs.ravel())
        numbers = np.zeros(len(self.symbols), np.int32)
        numbers[symbols] = np.arange(len(symbols), dtype=np.int32)
        other.symbols = self.symbols.gathered(symbols)
        other.matches = SymbolMatches(other.symbols)
        other._counts[:] = self.next_ref, total, len(refs)
        other._make_room(0, 0, self.next_ref)
        other._pairs = np.concatenate([numbers[pairs], np.zeros((2, 2), np.int32)])
        other._firsts[refs] = starts[:-1]
        other._lengths[refs] = np.diff(starts)
        other._extend(refs, 0)
        # Of those that are alive, which `_extend` has made all of them.
        other._rebuild(2 * len(refs) + 512)
        other.created = self.created
        return other

    # -- reading -------------------------------------------------------------------------------------------

    def refs(self) -> NDArray[np.int32]:
        """Return the refs of all series, ascending."""
        return np.flatnonzero(self._alive[: self.next_ref]).astype(np.int32)

    def select(self, matchers: Sequence[Matcher]) -> NDArray[np.int32]:
        """Return the refs of the series that fulfil all matchers, ascending; remembered while no series come or go."""
        key, edition = tuple(matchers), self._edition
        known = self._selected.get(key)
        if known is not None and known[0] == edition:
            return known[1].copy()
        # It may be a list of the index; who asks may write to it.
        found = self._select(matchers).copy()
        if len(found) <= _MAX_REMEMBERED_REFS:
            if len(self._selected) >= _MAX_REMEMBERED:
                self._selected = {}
            self._selected[key] = edition, found.copy()
        return found

    def _select(self, matchers: Sequence[Matcher]) -> NDArray[np.int32]:
        found, first = self._shortest(matchers)
        for matcher in sorted((one for one in matchers if one is not first), key=self._effort):
            if found is not None and len(found) <= _FEW:
                return self._narrow_few(matchers, found)
            found = self._narrow(matcher, found)
        return self.refs() if found is None else found

    def table(self, refs: NDArray[np.int32], symbols: QuerySymbols) -> LabelTable:
        """Return the label sets of `refs`, in their order.

        Values that are newer than `symbols`, and all of them where a packed index has taken the place of the one that
        `symbols` is of, are translated.
        """
        if len(refs) <= _FEW:
            return self._table_of_few(refs, symbols)
        text = self.symbols.text
        found = []
        for name, column in self._columns.items():
            values = column.gather(refs)
            if values is not None:
                found.append((text(name), values))
        found.sort(key=lambda one: one[0])
        table = np.empty((len(refs), len(found)), np.int32)
        for i, (_, values) in enumerate(found):
            table[:, i] = self._known(values, symbols)
        return LabelTable(tuple(name for name, _ in found), table, symbols)

    def column(self, name: str, refs: NDArray[np.int32], symbols: QuerySymbols) -> NDArray[np.int32] | None:
        """Return one column of `table`, None where no ref has the label."""
        column = self._column(name)
        values = None if column is None else column.gather(refs)
        return None if values is None else self._known(values, symbols)

    def names(self, refs: NDArray[np.int32] | None) -> list[str]:
        """Return the label names of `refs`, or of all series, sorted."""
        found = self._columns.items()
        text = self.symbols.text
        if refs is None:
            return sorted(text(name) for name, _ in found)
        return sorted(text(name) for name, column in found if column.gather(refs) is not None)

    def values(self, name: str, refs: NDArray[np.int32] | None) -> list[str]:
        """Return the values of label `name` of `refs`, or of all series, sorted."""
        column = self._column(name)
        if column is None:
            return []
        if refs is None:
            ids = column.distinct()
        else:
            own = column.gather(refs)
            ids = _NO_REFS if own is None else self._distinct(own)
        return self.symbols.sorted_texts(ids)

    def values_with(self, name: str, fulfil: Callable[[NDArray[np.int32]], NDArray[np.bool_]]) -> list[str]:
        """Return the values of label `name`, sorted, that some series has which fulfils a condition.

        Args:
            name: The label.
            fulfil: Returns which of some refs, ascending, do; asked about few of them where few will do.
        """
        column = self._column(name)
        return [] if column is None else self.symbols.sorted_texts(column.values_with(fulfil))

    def cardinality(self) -> list[tuple[str, NDArray[np.int32], NDArray[np.int64]]]:
        """Return, for each label name, its distinct values as symbols and the series that have each."""
        return [(self.symbols.text(name), *column.counts()) for name, column in self._columns.items()]

    def memory_bytes(self) -> int:
        """Return the bytes that the index takes, symbols and columns included."""
        own = self._firsts.nbytes + self._lengths.nbytes + self._alive.nbytes + self._slots.nbytes
        pairs = 8 * int(self._counts[kernels.PAIRS])
        rows = sum(map(Column.memory_bytes, self._columns.values()))
        remembered = sum(refs.nbytes for _, refs in tuple(self._selected.values()))
        return own + pairs + rows + remembered + self.symbols.memory_bytes() + self.matches.memory_bytes()

    def _column(self, name: str) -> Column | None:
        symbol = self.symbols.find(name)
        return None if symbol == ABSENT else self._columns.get(symbol)

    def _distinct(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        seen = np.zeros(len(self.symbols) + 1, np.bool_)
        seen[ids] = True
        # Absent ones mark the last cell.
        return np.flatnonzero(seen[:-1]).astype(np.int32)

    def _sets(self, refs: NDArray[np.int32]) -> list[dict[int, int]]:
        """Return the label sets of a few refs: symbols of values by those of names."""
        found = []
        for ref in refs.tolist():
            first = int(self._firsts[ref])
            found.append(dict(self._pairs[first : first + int(self._lengths[ref])].tolist()))
        return found

    def _table_of_few(self, refs: NDArray[np.int32], symbols: QuerySymbols) -> LabelTable:
        sets = self._sets(refs)
        text = self.symbols.text
        names = sorted((text(name), name) for name in set().union(*sets))
        values = np.array([[one.get(name, ABSENT) for _, name in names] for one in sets], np.int32)
        values = values.reshape(len(refs), len(names))
        return LabelTable(tuple(name for name, _ in names), self._known(values, symbols), symbols)

    def _shortest(self, matchers: Sequence[Matcher]) -> tuple[NDArray[np.int32] | None, Matcher | None]:
        """Return the shortest list of a matcher for one value, and the matcher; any list of a few is short enough."""
        best, whose = None, None
        for matcher in matchers:
            if _is_literal(matcher):
                found = self._having(matcher)
                if best is None or len(found) < len(best):
                    best, whose = found, matcher
                if len(found) <= _FEW:
                    break
        return best, whose

    def _narrow_few(self, matchers: Sequence[Matcher], found: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return those of a few refs that fulfil all matchers."""
        sets = self._sets(found)
        keep = np.ones(len(found), np.bool_)
        for matcher in matchers:
            name = self.symbols.find(matcher.name)
            values = np.array([one.get(name, ABSENT) for one in sets], np.int32)
            keep &= self._fulfil(matcher, values)
        return found[keep]

    def _known(self, values: NDArray[np.int32], symbols: QuerySymbols) -> NDArray[np.int32]:
        known = symbols.base is self.symbols and int(values.max(initial=ABSENT)) < symbols.size
        return values if known else self._translated(values, symbols)

    def _translated(self, values: NDArray[np.int32], symbols: QuerySymbols) -> NDArray[np.int32]:
        distinct = self._distinct(values)
        numbers = np.full(len(self.symbols) + 1, ABSENT, np.int32)
        numbers[distinct] = [symbols.intern(self.symbols.text(i)) for i in distinct.tolist()]
        return numbers[values]

    def _having(self, matcher: Matcher) -> NDArray[np.int32]:
        column = self._column(matcher.name)
        symbol = self.symbols.find(matcher.value)
        return _NO_REFS if column is None or symbol == ABSENT else column.having(symbol)

    def _effort(self, matcher: Matcher) -> tuple[bool, bool, int]:
        """Order matchers: single values, then other conditions, then what series without the label fulfil as well."""
        column = self._column(matcher.name)
        return matcher.matches_empty, matcher.type is not MatchType.EQUAL, 0 if column is None else len(column)

    def _narrow(self, matcher: Matcher, found: NDArray[np.int32] | None) -> NDArray[np.int32] | None:
        """Return those of `found` that fulfil `matcher`; None stands for all series."""
        column = self._column(matcher.name)
        if column is None:
            return found if matcher.matches_empty else _NO_REFS
        if found is not None:
            values = column.gather(found)
            if values is None:
                return found if matcher.matches_empty else _NO_REFS
            return found[self._fulfil(matcher, values)]
        if not matcher.matches_empty:
            return column.having_any(lambda symbols: self._fulfil_distinct(matcher, symbols), self.next_ref)
        left = self._alive[: self.next_ref].copy()
        column.exclude(lambda symbols: self._fulfil_distinct(matcher, symbols), left)
        return np.flatnonzero(left).astype(np.int32)

    def _fulfil(self, matcher: Matcher, values: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which value symbols (ABSENT for none) fulfil `matcher`."""
        if matcher.type in _BY_SYMBOL:
            return self._fulfil_distinct(matcher, values)
        if len(values) < len(self.symbols) // _SORT_BELOW:
            symbols, which = np.unique(values, return_inverse=True)
            return self._fulfil_distinct(matcher, symbols)[which.ravel()]
        distinct = self._distinct(values)
        answers = np.zeros(len(self.symbols) + 1, np.bool_)
        answers[distinct] = self._fulfil_distinct(matcher, distinct)
        # Symbol -1 is the last cell.
        answers[ABSENT] = matcher.matches_empty
        fulfilled: NDArray[np.bool_] = answers[values]
        return fulfilled

    def _fulfil_distinct(self, matcher: Matcher, symbols: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which symbols fulfil `matcher`; where it is a pattern they ascend and are distinct, ABSENT first."""
        if matcher.type in _BY_SYMBOL:
            wanted = self.symbols.find(matcher.value) if matcher.value else ABSENT
            # A text that is nobody's label has no symbol, which is not the same as no label.
            equal = symbols == wanted if wanted != ABSENT or not matcher.value else np.zeros(len(symbols), np.bool_)
            return equal if matcher.type is MatchType.EQUAL else ~equal
        absent = int(len(symbols) > 0 and symbols[0] == ABSENT)
        found = np.empty(len(symbols), np.bool_)
        found[absent:] = self.matches.of(matcher.value, symbols[absent:])
        if matcher.type is MatchType.NOT_REGEX:
            found = ~found
        found[:absent] = matcher.matches_empty
        return found


def _is_literal(matcher: Matcher) -> bool:
    return matcher.type is MatchType.EQUAL and bool(matcher.value)


def decode_series(record: bytes | bytearray | memoryview) -> tuple[NDArray[np.int32], LabelSets]:
    """Read a series record: refs and their label sets.

    Raises:
        CorruptChunk: It ends early, or its refs are negative.
    """
    size = len(record)
    if size < 4:
        raise CorruptChunk("series record: shorter than its count")
    n = int.from_bytes(record[:4], "little")
    if 6 * n > size - 4:
        raise CorruptChunk(f"series record: {size} bytes do not hold {n} series")
    buf = padded(record)
    refs, starts = np.empty(n, np.int32), np.zeros(n + 1, np.int32)
    spans = np.empty((size // 4 + 1, 2), np.int32)
    found = kernels.parse(buf, size, refs, starts, spans)
    if found < 0 or (refs < 0).any():
        raise CorruptChunk("series record: a label ends after the record")
    return refs, LabelSets(buf, spans[:found], starts)


def _chosen(sets: LabelSets, keep: NDArray[np.bool_]) -> LabelSets:
    lengths = np.diff(sets.starts)
    starts = np.concatenate([[0], np.cumsum(lengths[keep])]).astype(np.int32)
    return LabelSets(sets.buf, sets.spans[np.repeat(keep, 2 * lengths)], starts)


def label_texts(record: bytes) -> Iterable[tuple[int, Labels]]:
    """Yield the refs and label sets of a series record as text; slow, for tools.

    Raises:
        CorruptChunk: As `decode_series`.
    """
    refs, sets = decode_series(record)
    raw = sets.buf.tobytes()
    for i, ref in enumerate(refs.tolist()):
        spans = sets.spans[2 * sets.starts[i] : 2 * sets.starts[i + 1]].tolist()
        texts = [raw[at : at + size].decode("utf-8", "surrogatepass") for at, size in spans]
        yield ref, tuple(zip(texts[::2], texts[1::2], strict=True))
