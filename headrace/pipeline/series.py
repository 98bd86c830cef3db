"""The table of series: from identities to dense ids.

One table serves one workspace. It has one writer, the event loop's thread; kernels that decode may run elsewhere,
looking up and interning do not. Nothing durable contains its ids.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from headrace.kernels import siphash_kernels
from headrace.kernels.buffers import padded
from headrace.kernels.growth import grown
from headrace.kernels.key_table import KeyTable
from headrace.kernels.text_cache_kernels import CELLS, EMPTY
from headrace.pipeline import series_kernels as kernels
from headrace.pipeline.epochs import Epochs, Holder, Pin
from headrace.pipeline.families import Families
from headrace.pipeline.identity import Form, Kind, Resource, Scope, Series
from headrace.pipeline.wire.spans import LabelSpans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

_Part = TypeVar("_Part", Resource, Scope)

UNKNOWN = -1
"""Id of a raw key that the table has not seen."""

_REFUSED_CELLS = 1 << 16
_NO_RENAMING = np.empty(0, np.int32)


class Refusal(IntEnum):
    """Why a stream has no id; its id column says ``-2 - refusal``."""

    LIMIT = kernels.LIMIT
    NO_NAME = kernels.NO_NAME
    DUPLICATE_LABEL = kernels.DUPLICATE_LABEL
    INVALID_UTF8 = kernels.INVALID_UTF8
    TOO_MANY_LABELS = kernels.TOO_MANY_LABELS
    LABEL_TOO_LONG = kernels.LABEL_TOO_LONG
    EMPTY_LABEL_NAME = kernels.EMPTY_LABEL_NAME

    @property
    def reason(self) -> str:
        """The reason as drop counters name it."""
        return "series_limit" if self is Refusal.LIMIT else self.name.lower()

    @property
    def text(self) -> str:
        """The reason in words."""
        return _REFUSALS[self]

    @property
    def id(self) -> int:
        """What stands in an id column."""
        return -2 - self

    @classmethod
    def of(cls, series_id: int) -> Refusal:
        """Return the refusal that an id below UNKNOWN stands for."""
        return cls(-2 - series_id)


_REFUSALS = {
    Refusal.LIMIT: "the limit of series in this workspace is reached",
    Refusal.NO_NAME: "the series has no metric name",
    Refusal.DUPLICATE_LABEL: "a label name occurs twice",
    Refusal.INVALID_UTF8: "a label is not valid UTF-8",
    Refusal.TOO_MANY_LABELS: "the series has too many labels",
    Refusal.LABEL_TOO_LONG: "a label name or value is too long",
    Refusal.EMPTY_LABEL_NAME: "a label name is empty",
}


@dataclass(frozen=True, slots=True)
class SeriesLimits:
    """What a table takes.

    Attributes:
        max_series: Most series at a time.
        max_labels: Most labels of one series.
        max_name_bytes: Most bytes of a label name.
        max_value_bytes: Most bytes of a label value.
    """

    max_series: int = 10_000_000
    max_labels: int = 512
    max_name_bytes: int = 1024
    max_value_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class Head:
    """What a stream is besides its labels, as ids of the table; the default is a Prometheus source.

    Attributes:
        form: How the labels are to be read.
        kind: A packed `Kind`.
        unit: Symbol of the unit, -1 for none.
        resource: Id of the resource, -1 for none.
        scope: Id of the scope, -1 for none.
        variant: Symbol of the text that says which attributes were not strings, -1 for none.
    """

    form: int = Form.PROMETHEUS
    kind: int = 0
    unit: int = -1
    resource: int = -1
    scope: int = -1
    variant: int = -1

    def row(self) -> tuple[int, int, int, int, int, int]:
        """Return the columns in the kernels' order."""
        return self.form, self.kind, self.unit, self.resource, self.scope, self.variant


PROMETHEUS = np.array([Head().row()], np.int32)
"""The head that all streams of Prometheus sources share: (1, 6) int32."""


class SeriesTable:
    """Interns identities of one workspace.

    Args:
        limits: What to take; checked before anything is stored.
        clock_s: Seconds that never go back, for `collect`.
    """

    def __init__(self, limits: SeriesLimits | None = None, clock_s: Callable[[], float] = lambda: 0.0) -> None:
        self.limits = limits or SeriesLimits()
        self.epochs = Epochs()
        self._clock_s = clock_s
        low, high = np.frombuffer(secrets.token_bytes(16), np.uint64)
        self._secret = (np.uint64(low), np.uint64(high))
        self._symbols = _SymbolStore(self._secret)
        self._known = KeyTable()
        self._slots = np.full(1024, kernels.NO_ROW, np.int32)
        self._heads = np.zeros((1024, kernels.HEAD), np.int32)
        self._first = np.zeros(1024, np.int64)
        self._length = np.full(1024, -1, np.int32)
        self._seen = np.zeros(1024, np.int32)
        self._pairs = np.zeros((8192, 2), np.int32)
        self._free = np.zeros(16, np.int32)
        self._counts = np.zeros(4, np.int64)
        self._scratch = np.zeros(kernels.HEAD + 2 * self.limits.max_labels + 4, np.int32)
        self._refused_keys = np.zeros((_REFUSED_CELLS, 2), np.uint64)
        self._refused = np.full(_REFUSED_CELLS, -1, np.int8)
        self._resources: _Parts[Resource] = _Parts()
        self._scopes: _Parts[Scope] = _Parts()
        self.families = Families()
        """What sources have said about metric families."""

    # -- raw keys ------------------------------------------------------------------------------------------

    def domain_key(self, domain: bytes) -> tuple[np.uint64, np.uint64]:
        """Derive the secret key under which the raw keys of one format and context are hashed.

        Args:
            domain: All that gives the encoded bytes their meaning: format, target labels, resource and so on.
        """
        low, high = siphash_kernels.siphash128(padded(domain), 0, len(domain), *self._secret)
        return np.uint64(low), np.uint64(high)

    def lookup(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the ids of raw keys and note that they were seen.

        Args:
            keys: (n, 2) uint64, C-contiguous, hashed under a `domain_key` of this table.

        Returns:
            (n,) int32: an id, UNKNOWN, or below that a refusal remembered from an earlier `learn`.
        """
        out = np.empty(len(keys), np.int32)
        kernels.resolve(
            keys, *self._known.arrays, self._refused_keys, self._refused, self._seen, int(self._clock_s()), out
        )
        return out

    def learn(
        self, keys: NDArray[np.uint64], labels: LabelSpans, heads: NDArray[np.int32] = PROMETHEUS
    ) -> NDArray[np.int32]:
        """Intern the labels behind raw keys and remember the keys, refused ones too.

        Args:
            keys: (n, 2) uint64 that `lookup` did not know.
            labels: Labels of the n streams.
            heads: (n, 6) int32, or (1, 6) for all.

        Returns:
            (n,) int32: ids, or refusals below UNKNOWN.
        """
        ids = self.intern_spans(labels, heads)
        self.remember(keys, ids)
        return ids

    def remember(self, keys: NDArray[np.uint64], ids: NDArray[np.int32]) -> None:
        """Have `lookup` answer `ids`, refusals too, for `keys`."""
        kept = ids >= 0
        self._known.insert(np.ascontiguousarray(keys[kept]), ids[kept])
        if not kept.all():
            kernels.note_refused(keys, ids, self._refused_keys, self._refused)

    # -- identities ----------------------------------------------------------------------------------------

    def intern_spans(self, labels: LabelSpans, heads: NDArray[np.int32] = PROMETHEUS) -> NDArray[np.int32]:
        """Intern n streams.

        Args:
            labels: Labels in any order; checked here: names, duplicates, UTF-8, sizes. Its spans are changed.
            heads: (n, 6) int32, or (1, 6) for all.

        Returns:
            (n,) int32: ids, or refusals below UNKNOWN.
        """
        n = len(labels.starts) - 1
        limits = self.limits
        lengths = np.empty(n, np.int32)
        kernels.canonicalise(
            labels.buf, labels.spans, labels.starts,
            limits.max_labels, limits.max_name_bytes, limits.max_value_bytes, lengths,
        )  # fmt: skip
        pairs = self._symbols.intern_spans(labels, lengths)
        self._make_room(n, len(pairs))
        out = np.empty(n, np.int32)
        kernels.assign(
            heads, pairs, labels.starts, lengths, limits.max_series, self._slots, self._free,
            self._counts, self._heads, self._first, self._length, self._pairs, self._scratch, *self._secret, out,
        )  # fmt: skip
        self.touch(out[out >= 0])
        return out

    def intern(self, series: Sequence[Series]) -> NDArray[np.int32]:
        """Intern series made by Python code; (n,) int32 ids, or refusals below UNKNOWN."""
        parts: list[bytes] = []
        spans = np.empty((sum(len(s.labels) for s in series), 4), np.int32)
        flat: list[int] = []
        starts = [0]
        position = 0
        for one in series:
            for pair in one.labels:
                for text in pair:
                    encoded = text.encode("utf-8", "surrogatepass")
                    parts.append(encoded)
                    flat += (position, len(encoded))
                    position += len(encoded)
            starts.append(len(flat) // 4)
        spans.ravel()[:] = flat
        labels = LabelSpans(padded(b"".join(parts)), spans, np.array(starts, np.int32))
        return self.intern_spans(labels, np.array([self._head_of(s).row() for s in series], np.int32).reshape(-1, 6))

    def series(self, series_id: int) -> Series:
        """Return the identity with id `series_id`, which is live."""
        length = int(self._length[series_id])
        if length < 0:
            raise AssertionError(f"bug: series {series_id} is not live")
        first = int(self._first[series_id])
        text = self._symbols.text
        labels = tuple((text(name), text(value)) for name, value in self._pairs[first : first + length].tolist())
        head = Head(*self._heads[series_id].tolist())
        if head == Head():
            return Series(labels)
        return Series(
            labels,
            Form(head.form),
            Kind.unpack(head.kind),
            "" if head.unit < 0 else text(head.unit),
            None if head.resource < 0 else self._resources[head.resource],
            None if head.scope < 0 else self._scopes[head.scope],
            () if head.variant < 0 else _types_of(text(head.variant)),
        )

    @property
    def has_resources(self) -> bool:
        """Whether any series is of a resource; those from Prometheus sources are of none."""
        return len(self._resources) > 0

    def head_column(self, ids: NDArray[np.int32], column: str) -> NDArray[np.int32]:
        """Return one field of `Head` for each of `ids`, (n,) int32."""
        index = Head.__slots__.index(column)
        return self._heads[:, index][ids]

    def holds_form(self, ids: NDArray[np.int32], form: int) -> bool:
        """Return whether one of (n,) int32 `ids` has a head of this `Form`."""
        return bool(kernels.holds_form(self._heads, ids, form))

    def is_plain(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of (n,) int32 `ids` are of Prometheus sources: labels and nothing else."""
        plain: NDArray[np.bool_] = (self._heads[ids] == PROMETHEUS).all(axis=1)
        return plain

    def pairs(self, series_id: int) -> NDArray[np.int32]:
        """Return the (labels, 2) int32 symbols of a live series, sorted by name; valid until the next `collect`."""
        first = int(self._first[series_id])
        return self._pairs[first : first + max(0, int(self._length[series_id]))]

    def label_spans(self, ids: NDArray[np.int32]) -> LabelSpans:
        """Return the labels of live series as bytes of the table's own arena, sorted by name; copy to keep them."""
        return self.spans_of(*self.label_symbols(ids))

    def label_symbols(self, ids: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the labels of live series as symbols.

        Returns:
            (k, 2) int32 symbols of names and values, and (n + 1,) int32 where those of each series begin. Symbols may
            be renamed by the next `collect`.
        """
        places, starts = self._places(ids)
        return self._pairs[places], starts

    def spans_of(self, pairs: NDArray[np.int32], starts: NDArray[np.int32]) -> LabelSpans:
        """Return what `label_symbols` gave as bytes of the table's own arena; copy to keep them."""
        return LabelSpans(*self._symbols.spans(pairs), starts)

    def heads(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the (n, 6) int32 rows of `Head` of live series."""
        return self._heads[ids]

    def types_of(self, variant: int) -> tuple[tuple[str, str], ...]:
        """Return `Series.types` of the `Head.variant`."""
        return _types_of(self._symbols.text(variant))

    def symbol(self, text: str) -> int:
        """Return the symbol of a text."""
        return self._symbols.intern(text)

    def _places(self, ids: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return where the pairs of live series are, one series after the other, and where each one's begin."""
        sizes = self._length[ids]
        starts = np.zeros(len(ids) + 1, np.int32)
        np.cumsum(sizes, out=starts[1:])
        return np.repeat(self._first[ids] - starts[:-1], sizes) + np.arange(int(starts[-1])), starts

    def symbol_text(self, symbol: int) -> str:
        """Return the text of a symbol."""
        return self._symbols.text(symbol)

    def head(
        self,
        kind: Kind,
        *,
        unit: str = "",
        resource: Resource | None = None,
        scope: Scope | None = None,
        types: Iterable[tuple[str, str]] = (),
        form: Form = Form.OTLP,
    ) -> Head:
        """Intern what a stream is besides its labels."""
        variant = "\0".join(f"{name}\0{type_}" for name, type_ in types)
        return Head(
            form,
            kind.pack(),
            self._symbols.intern(unit) if unit else -1,
            -1 if resource is None else self._resources.intern(resource),
            -1 if scope is None else self._scopes.intern(scope),
            self._symbols.intern(variant) if variant else -1,
        )

    def resource(self, resource_id: int) -> Resource:
        """Return the resource with an id out of a `Head`."""
        return self._resources[resource_id]

    def scope(self, scope_id: int) -> Scope:
        """Return the scope with an id out of a `Head`."""
        return self._scopes[scope_id]

    # -- life of ids ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._counts[3])

    @property
    def capacity(self) -> int:
        """One more than the largest id in use: the size of an array indexed by id."""
        return int(self._counts[0])

    def is_live(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return whether each id stands for a series."""
        return self._length[ids] >= 0

    def pin(self) -> Pin:
        """Return what a new batch has to hold as long as it holds ids."""
        return self.epochs.pin()

    def register(self, holder: Holder) -> None:
        """Have `holder` told when ids are freed."""
        self.epochs.register(holder)

    def touch(self, ids: NDArray[np.int32]) -> None:
        """Note that ids were seen, for ids that come out of a memo instead of `lookup`."""
        kernels.touch(self._seen, np.ascontiguousarray(ids, np.int32), int(self._clock_s()))

    def collect(self, idle_s: float) -> int:
        """Free the series that were not seen for `idle_s` seconds, and reuse what nobody holds any more.

        Returns:
            Number of series freed.
        """
        rows = self.capacity
        cutoff = int(self._clock_s()) - idle_s
        idle = (self._length[:rows] >= 0) & (self._seen[:rows] < cutoff)
        ids = np.flatnonzero(idle).astype(np.int32)
        if len(ids):
            self._retire(ids, idle)
        self._reclaim()
        return len(ids)

    def _retire(self, ids: NDArray[np.int32], dead: NDArray[np.bool_]) -> None:
        self._known.discard(dead)
        self._length[ids] = -1
        self._counts[3] -= len(ids)
        self._refused.fill(-1)
        self.epochs.retire(ids)
        self._pack()
        self._place(len(self._slots))

    def _reclaim(self) -> None:
        for ids in self.epochs.reclaim():
            used = int(self._counts[2])
            self._free = grown(self._free, used + len(ids))
            self._free[used : used + len(ids)] = ids
            self._counts[2] += len(ids)

    def _pack(self) -> None:
        """Give back the room of dead rows, of symbols and of parts that no row names, once they are the most."""
        rows = self.capacity
        live = self._length[:rows] >= 0
        if 2 * int(self._length[:rows][live].sum()) > self._counts[1]:
            return
        heads = self._heads[:rows][live]
        self._resources.keep(heads[:, 3])
        self._scopes.keep(heads[:, 4])
        places, _ = self._places(np.flatnonzero(live))
        names = np.concatenate([self._pairs[places].ravel(), heads[:, 2], heads[:, 5]])
        renaming = self._symbols.keep(names[names >= 0]) if len(places) else _NO_RENAMING
        pairs = np.empty_like(self._pairs)
        self._counts[1] = kernels.pack_pairs(self._first, self._length, rows, self._pairs, pairs, renaming)
        self._pairs = pairs
        if len(renaming):
            self._rename_heads(renaming, live)

    def _rename_heads(self, renaming: NDArray[np.int32], live: NDArray[np.bool_]) -> None:
        """Give the symbols in the heads of live rows their new numbers."""
        rows = len(live)
        for column in (2, 5):
            named = live & (self._heads[:rows, column] >= 0)
            self._heads[:rows, column][named] = renaming[self._heads[:rows, column][named]]

    def _place(self, slots: int) -> None:
        """Find the live rows by hash again, with room for half of `slots`."""
        self._slots = np.full(1 << max(slots - 1, 15).bit_length(), kernels.NO_ROW, np.int32)
        kernels.place_rows(
            self.capacity, self._heads, self._first, self._length, self._pairs, self._scratch, *self._secret,
            self._slots,
        )  # fmt: skip

    def _make_room(self, rows: int, pairs: int) -> None:
        if 2 * (len(self) + rows) > len(self._slots):
            self._place(2 * (len(self) + rows))
        wanted = self.capacity + rows
        self._heads = grown(self._heads, wanted)
        self._first = grown(self._first, wanted)
        self._length = grown(self._length, wanted, -1)
        self._seen = grown(self._seen, wanted)
        self._pairs = grown(self._pairs, int(self._counts[1]) + pairs)

    def _head_of(self, series: Series) -> Head:
        if series.form is Form.PROMETHEUS and series.resource is None and series.scope is None:
            return Head()
        return self.head(
            series.kind,
            unit=series.unit,
            resource=series.resource,
            scope=series.scope,
            types=series.types,
            form=series.form,
        )


class _SymbolStore:
    """Texts by number: an arena of UTF-8 bytes and a table from hashed bytes to number."""

    def __init__(self, secret: tuple[np.uint64, np.uint64]) -> None:
        self._secret = secret
        self._text = np.zeros(65_536, np.uint8)
        self._bounds = np.zeros(4096, np.int64)
        self._table = KeyTable()
        self._counts = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return int(self._counts[0])

    def intern_spans(self, labels: LabelSpans, lengths: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the (k, 2) int32 symbols of all label names and values."""
        spans = len(labels.spans)
        self._table.reserve(2 * spans)
        self._bounds = grown(self._bounds, len(self) + 2 * spans + 1)
        room = int(self._bounds[len(self)]) + int(labels.spans[:, 1::2].sum(dtype=np.int64)) + 16
        self._text = grown(self._text, room)
        pairs = np.empty((spans, 2), np.int32)
        kernels.intern_symbols(
            labels.buf, labels.spans, labels.starts, lengths, self._text, self._bounds,
            *self._table.arrays, self._counts, *self._secret, np.full(CELLS, EMPTY, np.int32), pairs,
        )  # fmt: skip
        self._table.size = len(self)
        return pairs

    def intern(self, text: str) -> int:
        """Return the number of one text."""
        data = padded(text.encode("utf-8", "surrogatepass"))
        size = len(data) - 16
        spans = np.array([[0, size, 0, size]], np.int32)
        labels = LabelSpans(data, spans, np.array([0, 1], np.int32))
        return int(self.intern_spans(labels, np.ones(1, np.int32))[0, 0])

    def spans(self, pairs: NDArray[np.int32]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Return the arena, and the (k, 4) int32 spans of (k, 2) symbols in it."""
        starts = self._bounds[pairs]
        spans = np.stack([starts, self._bounds[pairs + 1] - starts], axis=2).astype(np.int32).reshape(-1, 4)
        return self._text, spans

    def text(self, symbol: int) -> str:
        """Return the text with number `symbol`."""
        start, end = self._bounds[symbol : symbol + 2].tolist()
        return self._text[start:end].tobytes().decode("utf-8", "surrogatepass")

    def keep(self, used: NDArray[np.int32]) -> NDArray[np.int32]:
        """Forget all symbols but `used`; return the new number by the old one, -1 for the forgotten."""
        renaming = np.full(len(self), -1, np.int32)
        marks = np.zeros(len(self), np.bool_)
        marks[used] = True
        kept = np.flatnonzero(marks).astype(np.int32)
        renaming[kept] = np.arange(len(kept), dtype=np.int32)
        # Each of them is interned again, as a name and as its own value, out of the old arena.
        text, spans = self.spans(np.stack([kept, kept], axis=1))
        size = int(spans[:, 1].sum(dtype=np.int64))
        self._text, self._bounds = np.zeros(size + 65_536, np.uint8), np.zeros(2 * len(kept) + 4096, np.int64)
        self._counts[0] = 0
        self._table.clear()
        labels = LabelSpans(text, spans, np.array([0, len(kept)], np.int32))
        self.intern_spans(labels, np.array([len(kept)], np.int32))
        return renaming


class _Parts(Generic[_Part]):
    """Values by number; numbers are never reused, and values that nobody names are dropped."""

    def __init__(self) -> None:
        self._values: dict[int, _Part] = {}
        self._numbers: dict[str, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, number: int) -> _Part:
        return self._values[number]

    def intern(self, value: _Part) -> int:
        """Return the number of `value`; attribute values may be lists and maps, so its text is the key."""
        key = repr(value)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._next
            self._values[number] = value
            self._next += 1
        return number

    def keep(self, used: NDArray[np.int32]) -> None:
        """Forget all values but those with numbers in `used`."""
        wanted = set(np.unique(used).tolist())
        self._values = {number: value for number, value in self._values.items() if number in wanted}
        self._numbers = {key: number for key, number in self._numbers.items() if number in wanted}


def _types_of(variant: str) -> tuple[tuple[str, str], ...]:
    parts = variant.split("\0")
    return tuple(zip(parts[::2], parts[1::2], strict=True))
