"""Chunks of native histograms of many series: written in one go, read by series and time.

What a block holds and what the head keeps in memory is the same thing. Layout: docs/format/histograms.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.bits import PAD
from headrace.pipeline.errors import CorruptChunk, InvalidInput
from headrace.pipeline.native_histograms import NativeFlag, NativeHistograms
from headrace.store.codec import histogram_layouts_kernels as layouts
from headrace.store.codec import histograms_kernels as kernels
from headrace.store.codec.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CHUNK = 240
"""Histograms of a chunk: an hour of a series that is scraped every 15 seconds."""

STALE_BITS = np.uint64(0x7FF0000000000002)

_STALE_SUM = STALE_BITS.view(np.float64)
_OF_PLAIN: dict[str, type[np.generic]] = {
    "start_ms": np.int64,
    "hint": np.uint8,
    "schema": np.int8,
    "zero_threshold": np.float64,
    "zero_count": np.uint64,
    "count": np.uint64,
    "positive_spans": np.int32,
}
_BUFFER = 1 << 20
_CHUNKS_AT_ONCE = 4096
_MAX_HINT = 3


def is_stale(histograms: NativeHistograms) -> NDArray[np.bool_]:
    """Return which rows are stale markers."""
    found: NDArray[np.bool_] = (histograms.flags & NativeFlag.STALE) != 0
    return found


def canonical(histograms: NativeHistograms) -> NativeHistograms:
    """Return the histograms as they are stored: a stale marker has a time and nothing else.

    Raises:
        InvalidInput: The columns of a row contradict each other.
    """
    stale = is_stale(histograms) | (histograms.sum.view(np.uint64) == STALE_BITS)
    plain = ~stale
    spans, buckets, bounds = (
        np.diff(starts) for starts in (histograms.span_starts, histograms.bucket_starts, histograms.bound_starts)
    )
    _check(histograms, plain, spans, buckets, bounds)
    known = (histograms.flags & ~np.uint8(NativeFlag.FLOAT_COUNTS | NativeFlag.STALE)) == 0
    if not stale.any() and known.all():
        return _owned(histograms)
    kept = {name: np.where(plain, getattr(histograms, name), 0).astype(dtype) for name, dtype in _OF_PLAIN.items()}
    flags = np.where(stale, NativeFlag.STALE, histograms.flags & NativeFlag.FLOAT_COUNTS).astype(np.uint8)
    sums = histograms.sum.copy()
    sums[stale] = _STALE_SUM
    made = NativeHistograms(
        series=histograms.series, time_ms=histograms.time_ms, flags=flags, sum=sums, **kept,
        span_starts=_starts(spans * plain), spans=histograms.spans[np.repeat(plain, spans)],
        bucket_starts=_starts(buckets * plain), buckets=histograms.buckets[np.repeat(plain, buckets)],
        bound_starts=_starts(bounds * plain), bounds=histograms.bounds[np.repeat(plain, bounds)],
    )  # fmt: skip
    return _owned(made)


def _owned(histograms: NativeHistograms) -> NativeHistograms:
    """Return the histograms in arrays that may be written to: kernels are compiled for these and no others."""
    found = {name: getattr(histograms, name) for name in histograms.__slots__}
    foreign = {n: a.copy() for n, a in found.items() if not (a.flags.c_contiguous and a.flags.writeable)}
    return replace(histograms, **foreign) if foreign else histograms


def _check(
    histograms: NativeHistograms,
    plain: NDArray[np.bool_],
    spans: NDArray[np.int64],
    buckets: NDArray[np.int64],
    bounds: NDArray[np.int64],
) -> None:
    """Check that kernels can walk the rows.

    Raises:
        InvalidInput: They cannot.
    """
    owner = np.repeat(np.arange(len(histograms)), spans)
    offsets, lengths = histograms.spans[:, 0], histograms.spans[:, 1]
    place = np.arange(len(owner)) - histograms.span_starts[owner]
    follows = (place > 0) & (place != histograms.positive_spans[owner])
    wrong = (lengths < 0) | ((offsets < 0) & follows)
    bad = np.zeros(len(histograms), np.bool_)
    bad[owner[wrong]] = True
    bad |= np.bincount(owner, weights=lengths, minlength=len(histograms)) != buckets
    bad |= (histograms.positive_spans < 0) | (histograms.positive_spans > spans)
    bad |= (bounds > kernels.MAX_CELLS) | (histograms.hint > _MAX_HINT)
    bad &= plain
    if bad.any():
        row = int(bad.argmax())
        raise InvalidInput(
            f"native histogram {row}: {int(buckets[row])} buckets, {int(bounds[row])} bounds and hint "
            f"{int(histograms.hint[row])} do not fit its spans {histograms.spans[owner == row].tolist()}"
        )


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    out = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=out[1:])
    return out


def columns(histograms: NativeHistograms) -> kernels.Histograms:
    """Return the columns as kernels take them."""
    one = histograms
    return kernels.Histograms(
        one.time_ms, one.start_ms, one.flags, one.hint, one.schema, one.zero_threshold, one.zero_count.view(np.int64),
        one.count.view(np.int64), one.sum, one.span_starts, one.positive_spans, one.spans, one.bucket_starts,
        one.buckets.view(np.int64), one.bound_starts, one.bounds,
    )  # fmt: skip


def room(largest: int = 0) -> kernels.Room:
    """Return room to work in, for chunks of at most `largest` bytes where they are decoded."""
    rows = kernels.MAX_ROWS + 128
    return kernels.Room(
        np.zeros((layouts.MAX_LAYOUTS, layouts.FIELDS), np.int64), np.zeros((largest // 2 + 1, 2), np.int32),
        np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64),
        np.zeros(rows, np.float64), np.zeros(rows, np.int64), np.zeros(4, np.int64),
    )  # fmt: skip


def _blank(sizes: NDArray[np.int64]) -> kernels.Histograms:
    """Return columns to write into: (4,) rows, spans, buckets, bounds."""
    rows, spans, buckets, bounds = sizes.tolist()
    return kernels.Histograms(
        np.empty(rows, np.int64), np.empty(rows, np.int64), np.empty(rows, np.uint8), np.empty(rows, np.uint8),
        np.empty(rows, np.int8), np.empty(rows, np.float64), np.empty(rows, np.int64), np.empty(rows, np.int64),
        np.empty(rows, np.float64), np.zeros(rows + 1, np.int64), np.empty(rows, np.int32),
        np.empty((spans, 2), np.int32), np.zeros(rows + 1, np.int64), np.empty(buckets, np.int64),
        np.zeros(rows + 1, np.int64), np.empty(bounds, np.float64),
    )  # fmt: skip


class Part(NamedTuple):
    """Some chunks.

    Attributes:
        data: Their bytes.
        refs: (c,) int32 series of each.
        table: (c, 4) int64: size, rows, first and last time of each.
    """

    data: bytes
    refs: NDArray[np.int32]
    table: NDArray[np.int64]


def encode(histograms: NativeHistograms) -> Iterator[Part]:
    """Write chunks, a megabyte or so at a time.

    Args:
        histograms: Canonical, sorted by series and, strictly, by time.
    """
    one, limits = columns(histograms), _limits(histograms.series)
    buffer, table = np.empty(_BUFFER, np.uint8), np.empty((_CHUNKS_AT_ONCE, 5), np.int64)
    row, work, own = 0, scratch(), room()
    while row < len(histograms):
        state = np.zeros(3, np.int64)
        row = int(kernels.write_chunks(one, row, len(histograms), limits, buffer, table, state, own, work))
        chunks, size, wanted = state.tolist()
        if chunks:
            found = table[:chunks]
            yield Part(buffer[:size].tobytes(), histograms.series[found[:, 4]], found[:, :4].copy())
        elif row < len(histograms):
            buffer = np.empty(wanted, np.uint8)


def _limits(series: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return one past the last row that may share a chunk with each row: parts of a series of one size."""
    n = len(series)
    starts = np.flatnonzero(np.diff(series, prepend=np.int32(-1)))
    counts = np.diff(starts, append=n)
    owner = np.repeat(np.arange(len(starts)), counts)
    parts = -(-counts // CHUNK)
    place = np.arange(n) - starts[owner]
    part = ((place + 1) * parts[owner] - 1) // counts[owner]
    limits: NDArray[np.int64] = starts[owner] + (counts[owner] * (part + 1)) // parts[owner]
    return limits


@dataclass(frozen=True, slots=True)
class HistogramChunks:
    """Chunks of many series.

    Attributes:
        name: What they are part of, for errors.
        refs: (n,) int32, ascending.
        firsts: (n + 1,) int64: chunks of series i are ``firsts[i]:firsts[i + 1]``.
        rows: (c,) int64 histograms of each chunk.
        first_ms: (c,) int64.
        last_ms: (c,) int64.
        places: (c + 1,) int64: chunk i is ``buf[places[i]:places[i + 1]]``.
        buf: uint8 with 16 readable bytes after the last chunk.
    """

    name: str
    refs: NDArray[np.int32]
    firsts: NDArray[np.int64]
    rows: NDArray[np.int64]
    first_ms: NDArray[np.int64]
    last_ms: NDArray[np.int64]
    places: NDArray[np.int64]
    buf: NDArray[np.uint8]

    @classmethod
    def of(cls, name: str, histograms: NativeHistograms) -> HistogramChunks:
        """Encode histograms in memory; see `encode`."""
        parts = list(encode(histograms))
        owners = np.concatenate([part.refs for part in parts])
        table = np.concatenate([part.table for part in parts])
        starts = np.flatnonzero(np.diff(owners, prepend=np.int32(-1)))
        firsts = np.append(starts, len(owners)).astype(np.int64)
        data = b"".join([*(part.data for part in parts), bytes(PAD)])
        return cls(
            name, owners[starts], firsts, table[:, 1].copy(), table[:, 2].copy(), table[:, 3].copy(),
            _starts(table[:, 0]), np.frombuffer(data, np.uint8),
        )  # fmt: skip

    @property
    def samples(self) -> int:
        """All histograms."""
        return int(self.rows.sum())

    @property
    def size_bytes(self) -> int:
        """Bytes in memory."""
        return int(self.places[-1] - self.places[0]) + 32 * len(self.rows) + 12 * len(self.refs)

    def newest_ms(self) -> NDArray[np.int64]:
        """Return the newest time of each series."""
        newest: NDArray[np.int64] = self.last_ms[self.firsts[1:] - 1]
        return newest

    def counts(self, refs: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the histograms of each ref."""
        total = _starts(self.rows)
        of_each = total[self.firsts[1:]] - total[self.firsts[:-1]]
        at = np.minimum(np.searchsorted(self.refs, refs), len(self.refs) - 1)
        counts: NDArray[np.int64] = np.where(self.refs[at] == refs, of_each[at], 0)
        return counts

    def read(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NativeHistograms:
        """Return the histograms of `refs`, ascending, in a time range: sorted by ref and time.

        Raises:
            CorruptChunk: A chunk does not decode.
        """
        numbers, owners = self._chunks(refs, start_ms, end_ms)
        if not len(numbers):
            return NativeHistograms.empty()
        own, work = self._room(numbers), scratch()
        counts, sizes = np.empty(len(numbers), np.int64), np.zeros(4, np.int64)
        args = (numbers, self.places, self.rows, self.buf, start_ms, end_ms, own, work)
        status = kernels.measure_chunks(*args, counts, sizes)
        out = _blank(sizes)
        if status < 0 or kernels.read_chunks(*args, out) < 0:
            raise CorruptChunk(f"{self.name}: a chunk of histograms does not decode")
        counted = {name: getattr(out, name).view(np.uint64) for name in ("zero_count", "count", "buckets")}
        return NativeHistograms(series=np.repeat(owners, counts), **{**out._asdict(), **counted})

    def present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.bool_]:
        """Return which of `refs` have histograms in a time range.

        Raises:
            CorruptChunk: A chunk does not decode.
        """
        numbers, owners = self._chunks(refs, start_ms, end_ms)
        sure = (self.first_ms[numbers] >= start_ms) | (self.last_ms[numbers] <= end_ms)
        unsure = numbers[~sure]
        counts = np.ones(len(numbers), np.int64)
        found = np.empty(len(unsure), np.int64)
        args = (self.places, self.rows, self.buf, start_ms, end_ms, self._room(unsure), scratch())
        if len(unsure) and kernels.measure_chunks(unsure, *args, found, np.zeros(4, np.int64)) < 0:
            raise CorruptChunk(f"{self.name}: a chunk of histograms does not decode")
        counts[~sure] = found
        present: NDArray[np.bool_] = np.isin(refs, owners[counts > 0])
        return present

    def _room(self, numbers: NDArray[np.int64]) -> kernels.Room:
        sizes = self.places[numbers + 1] - self.places[numbers]
        return room(int(sizes.max(initial=0)))

    def _chunks(
        self, refs: NDArray[np.int32], start_ms: int, end_ms: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the numbers of the chunks of `refs` that a time range touches, and whose they are."""
        at = np.minimum(np.searchsorted(self.refs, refs), len(self.refs) - 1)
        rows = at[self.refs[at] == refs]
        counts = self.firsts[rows + 1] - self.firsts[rows]
        begins = _starts(counts)
        numbers = np.repeat(self.firsts[rows] - begins[:-1], counts) + np.arange(begins[-1])
        owners = np.repeat(self.refs[rows], counts)
        touched = (self.last_ms[numbers] >= start_ms) & (self.first_ms[numbers] <= end_ms)
        return numbers[touched], owners[touched]
