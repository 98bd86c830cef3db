"""Batches as remote write requests of version 2.0: symbols, samples, histograms, exemplars and metadata in one."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.batch import NS_PER_MS
from headrace.pipeline.identity import METRIC_NAME
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.wire import remote_write_encode_more_kernels as more_kernels
from headrace.pipeline.wire import remote_write_v2_kernels as kernels
from headrace.pipeline.wire.protobuf_text import varint
from headrace.pipeline.wire.remote_write_request import Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.batch import ExemplarColumns, MetricBatch
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.families import Families

# Bounds of the bytes that fields take.
_MESSAGE = 144
_SPAN = 16
_BUCKET = 10
_BOUND = 8
_EXEMPLAR = 48
_TEXT = 14


class SymbolArena:
    """What a table's series are made of, as numbers of texts; found out once for each series.

    Args:
        table: Whose series.
        external: Labels to add where a series lacks them.
        families: What is known about metrics; None to send no metadata.
    """

    def __init__(self, table: SeriesTable, external: Mapping[str, str], families: Families | None) -> None:
        self._table = weakref.ref(table)
        self._external = dict(external)
        self._families = families
        self.places = np.zeros(1024, np.int64)
        self.lengths = np.zeros(1024, np.int32)
        self.names = np.zeros(1024, np.int32)
        self._reset()
        table.register(self)

    def _reset(self) -> None:
        self.lengths[:] = 0
        self.references = np.zeros(8192, np.int32)
        self.metadata = np.zeros((256, 3), np.int32)
        self.text_places = np.zeros(1024, np.int64)
        self.text_sizes = np.zeros(1024, np.int32)
        self.texts = np.zeros(65_536, np.uint8)
        self.numbers: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._used = self._freed = self._text_bytes = 0
        self._generation = -1
        self.intern("")

    def learn(self, ids: NDArray[np.int32]) -> None:
        """Take apart the series that are new, and note what has become known about metrics."""
        table = self._table()
        if table is None:
            raise AssertionError("bug: the table of a batch is gone")
        for name in ("places", "lengths", "names"):
            setattr(self, name, grown(getattr(self, name), table.capacity))
        for one in ids[self.lengths[ids] == 0].tolist():
            self._learn(one, self._external | dict(table.series(one).labels))
        if self._families is not None and self._families.generation != self._generation:
            self._generation = self._families.generation
            for name, number in self._names.items():
                self._describe(name, number)

    def _learn(self, series_id: int, labels: Mapping[str, str]) -> None:
        symbols = [self.intern(text) for pair in sorted(labels.items()) for text in pair]
        end = self._used + len(symbols)
        self.references = grown(self.references, end)
        self.references[self._used : end] = symbols
        self.places[series_id], self.lengths[series_id] = self._used, len(symbols)
        self._used = end
        name = labels.get(METRIC_NAME, "")
        number = self._names.get(name)
        if number is None:
            number = self._names[name] = len(self._names)
            self.metadata = grown(self.metadata, number + 1)
            self._describe(name, number)
        self.names[series_id] = number

    def _describe(self, name: str, number: int) -> None:
        found = self._families.of(name) if self._families is not None else None
        if found is not None:
            self.metadata[number] = (found.type, self.intern(found.help), self.intern(found.unit))

    def intern(self, text: str) -> int:
        """Return the number of a text."""
        number = self.numbers.get(text)
        if number is None:
            number = self.numbers[text] = len(self.numbers)
            data = text.encode("utf-8", "surrogatepass")
            end = self._text_bytes + len(data)
            self.texts = grown(self.texts, end)
            self.texts[self._text_bytes : end] = np.frombuffer(data, np.uint8)
            self.text_places = grown(self.text_places, number + 1)
            self.text_sizes = grown(self.text_sizes, number + 1)
            self.text_places[number], self.text_sizes[number] = self._text_bytes, len(data)
            self._text_bytes = end
        return number

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop ids that the table frees; start over when half of the arena is of no use."""
        ids = ids[ids < len(self.lengths)]
        self._freed += int(self.lengths[ids].sum())
        self.lengths[ids] = 0
        if 2 * self._freed > self._used:
            self._reset()


def requests(arena: SymbolArena, batch: MetricBatch, now_ms: int, max_bytes: int) -> Iterator[Encoded]:
    """Yield requests of about `max_bytes` at most (or one series); no series is in two of them.

    Args:
        arena: Of the batch's table.
        batch: Prometheus samples, native histograms and exemplars.
        now_ms: The time of exemplars that have none.
        max_bytes: Before compression.
    """
    rows = _Rows.of(batch)
    if not len(rows.owners):
        return
    arena.learn(rows.owners)
    histogram_starts, histograms = _histogram_messages(rows.native)
    more = rows.bytes_of_exemplars() + np.diff(histogram_starts[rows.native_starts]) + 4 * np.diff(rows.native_starts)
    local = np.full(len(arena.numbers), -1, np.int32)
    used = np.zeros(len(local), np.int32)
    counts = np.zeros(1, np.int64)
    first = 0
    while first < len(rows.owners):
        local[0], counts[0] = 0, 1
        until = kernels.plan(
            first, rows.owners, rows.starts, more, arena.places, arena.lengths, arena.references, arena.names,
            arena.metadata, arena.text_sizes, max_bytes, local, used, counts,
        )  # fmt: skip
        texts = _RequestTexts(arena, local, int(counts[0]))
        exemplars = _exemplar_messages(rows, first, until, texts, now_ms)
        size = 6 * int(counts[0]) + int(arena.text_sizes[used[: counts[0]]].sum()) + len(texts.more) + 64
        size += int(more[first:until].sum()) + len(exemplars[2]) + 36 * int(rows.starts[until] - rows.starts[first])
        size += int(48 * (until - first) + 5 * arena.lengths[rows.owners[first:until]].sum())
        out = np.empty(size, np.uint8)
        p = kernels.write_symbols(used, int(counts[0]), arena.text_places, arena.text_sizes, arena.texts, out)
        out[p : p + len(texts.more)] = np.frombuffer(bytes(texts.more), np.uint8)
        p += len(texts.more)
        p += kernels.write_series(
            first, until, rows.owners, rows.starts, rows.times, rows.created, rows.values, rows.native_starts,
            histogram_starts, histograms, rows.native.start_ms, *exemplars, arena.places, arena.lengths,
            arena.references, arena.names, arena.metadata, local, out[p:],
        )  # fmt: skip
        yield Encoded(
            out[:p].data,
            rows.owners[first:until],
            int(rows.starts[until] - rows.starts[first]),
            int(rows.native_starts[until] - rows.native_starts[first]),
            len(exemplars[1]) - 1,
        )
        local[used[: counts[0]]] = -1
        first = until


@dataclass(frozen=True, slots=True)
class _Rows:
    """A batch by series: (g,) owners, and for each kind of rows where those of each series begin, (g + 1,)."""

    owners: NDArray[np.int32]
    starts: NDArray[np.int64]
    times: NDArray[np.int64]
    created: NDArray[np.int64]
    values: NDArray[np.float64]
    native: NativeHistograms
    native_starts: NDArray[np.int64]
    exemplars: ExemplarColumns | None
    exemplar_order: NDArray[np.int64]
    exemplar_starts: NDArray[np.int64]

    @classmethod
    def of(cls, batch: MetricBatch) -> _Rows:
        native = batch.native or NativeHistograms.empty()
        about = batch.exemplars.series if batch.exemplars is not None else np.empty(0, np.int32)
        owners = np.unique(np.concatenate([batch.series, native.series, about])).astype(np.int32)
        order, starts = _by_owner(batch.series, owners)
        native_order, native_starts = _by_owner(native.series, owners)
        exemplar_order, exemplar_starts = _by_owner(about, owners)
        if (native_order != np.arange(len(native_order))).any():
            native = native.take(native_order)
        return cls(
            owners,
            starts,
            batch.time_ms[order],
            batch.start_ns[order] // NS_PER_MS,
            batch.value[order],
            native,
            native_starts,
            batch.exemplars,
            exemplar_order,
            exemplar_starts,
        )

    def bytes_of_exemplars(self) -> NDArray[np.int64]:
        """Return how many bytes the exemplars of each series take at most, their symbols included; (g,)."""
        if self.exemplars is None:
            return np.zeros(len(self.owners), np.int64)
        spans, starts = self.exemplars.spans, self.exemplars.starts
        texts = np.concatenate([[0], np.cumsum(spans[:, 1].astype(np.int64) + spans[:, 3] + 2 * _TEXT)])
        sizes = (_EXEMPLAR + texts[starts[1:]] - texts[starts[:-1]])[self.exemplar_order]
        totals = np.concatenate([[0], np.cumsum(sizes)])
        found: NDArray[np.int64] = np.diff(totals[self.exemplar_starts])
        return found


def _by_owner(series: NDArray[np.int32], owners: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of rows by series, in which rows of a series stay in order, and where those of each begin."""
    order = np.argsort(series, kind="stable")
    starts = np.searchsorted(series[order], np.append(owners, np.iinfo(np.int32).max))
    return order, starts.astype(np.int64)


def _histogram_messages(rows: NativeHistograms) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return where the message of each histogram begins, (h + 1,), and all of them."""
    room = _MESSAGE * len(rows)
    for size, starts in ((_SPAN, rows.span_starts), (_BUCKET, rows.bucket_starts), (_BOUND, rows.bound_starts)):
        room += size * int(starts[-1])
    starts, out = np.zeros(len(rows) + 1, np.int64), np.empty(room, np.uint8)
    if len(rows):
        more_kernels.write_histogram_messages(
            rows.start_ms, rows.time_ms, rows.flags, rows.hint, rows.schema, rows.zero_threshold, rows.zero_count,
            rows.count, rows.sum, rows.span_starts, rows.positive_spans, rows.spans, rows.bucket_starts, rows.buckets,
            rows.bound_starts, rows.bounds, starts, out,
        )  # fmt: skip
    return starts, out


class _RequestTexts:
    """Numbers for texts that are in one request alone, behind those of its series: labels of exemplars."""

    def __init__(self, arena: SymbolArena, local: NDArray[np.int32], count: int) -> None:
        self._arena = arena
        self._local = local
        self._own: dict[bytes, int] = {}
        self._count = count
        self.more = bytearray()

    def number(self, text: bytes) -> int:
        """Return the number of a text in the request."""
        known = self._arena.numbers.get(text.decode("utf-8", "surrogateescape"), -1)
        if known >= 0 and self._local[known] >= 0:
            return int(self._local[known])
        number = self._own.get(text)
        if number is None:
            number = self._own[text] = self._count + len(self._own)
            self.more += b"\x22" + varint(len(text)) + text
        return number


def _exemplar_messages(
    rows: _Rows, first: int, until: int, texts: _RequestTexts, now_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Return the exemplars of some series: where each series' begin, where each message begins, and the messages."""
    begin, end = int(rows.exemplar_starts[first]), int(rows.exemplar_starts[until])
    places = rows.exemplar_starts[first : until + 1] - begin
    messages: list[bytes] = []
    exemplars = rows.exemplars
    if exemplars is not None:
        buf = exemplars.arena.data
        for row in rows.exemplar_order[begin:end].tolist():
            spans = exemplars.spans[exemplars.starts[row] : exemplars.starts[row + 1]].tolist()
            parts = [bytes(buf[at : at + size]) for pair in spans for at, size in (pair[:2], pair[2:])]
            references = b"".join(varint(texts.number(part)) for part in parts)
            time_ms = int(exemplars.time_ns[row]) // NS_PER_MS or now_ms
            messages.append(
                (b"\x0a" + varint(len(references)) + references if references else b"")
                + b"\x11" + exemplars.value[row : row + 1].tobytes() + b"\x18" + varint(time_ms & (1 << 64) - 1)
            )  # fmt: skip
    starts = np.concatenate([[0], np.cumsum([len(one) for one in messages])]).astype(np.int64)
    return places, starts, np.frombuffer(b"".join(messages), np.uint8).copy()
