"""Remote write requests, 1.0 and 2.0, as batches.

Source:
    Prometheus Remote-Write specification 1.0 and 2.0.
"""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import PAD
from headrace.kernels.growth import grown
from headrace.pipeline.batch import NS_PER_MS, STALE_BITS, ExemplarColumns, Flag, Metadata, MetricBatch
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import MetricType
from headrace.pipeline.series import UNKNOWN, Refusal
from headrace.pipeline.wire import protobuf_kernels as protobuf
from headrace.pipeline.wire import remote_write_histograms as native
from headrace.pipeline.wire import remote_write_kernels as kernels
from headrace.pipeline.wire import remote_write_plain_kernels as plain
from headrace.pipeline.wire.spans import LabelSpans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext
    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.pipeline.series import SeriesTable

_FAR_MS = 2**63 // NS_PER_MS - 1
_MAX_FAMILIES = 100_000
_MOST_PLAIN = 1 << 18
"""Series and samples of the largest request that room is kept for."""

_FAULTS = {
    protobuf.TRUNCATED: "a field passes the end of its message",
    protobuf.BAD_WIRE_TYPE: "a field has an unknown wire type",
    protobuf.BAD_VARINT: "a number has more than 64 bits",
    kernels.BAD_REFERENCE: "a label reference is not among the symbols, or has no partner",
}

_SUFFIXES = {
    MetricType.HISTOGRAM: ("_bucket", "_count", "_sum"),
    MetricType.GAUGE_HISTOGRAM: ("_bucket", "_gcount", "_gsum", "_count", "_sum"),
    MetricType.SUMMARY: ("_count", "_sum"),
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A request.

    Attributes:
        batch: What could be read.
        samples: Samples of the request.
        histograms: Native histograms of the request.
        exemplars: Exemplars of the request.
        rejected: Samples and histograms that are not in the batch, by reason.
        message: The first reason in words; empty where all is in the batch.
        rejected_histograms: How many of the rejected are histograms.
    """

    batch: MetricBatch
    samples: int
    histograms: int
    exemplars: int
    rejected: dict[str, int] = field(default_factory=dict)
    message: str = ""
    rejected_histograms: int = 0


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the kernels fill; see `remote_write_kernels.read_v1`."""

    keys: NDArray[np.uint64]
    series: NDArray[np.int32]
    owner: NDArray[np.int32]
    times: NDArray[np.int64]
    starts: NDArray[np.int64]
    values: NDArray[np.float64]
    exemplars: NDArray[np.int32]
    exemplar_times: NDArray[np.int64]
    exemplar_values: NDArray[np.float64]
    histograms: NDArray[np.int32]
    histogram_starts: NDArray[np.int64]
    metadata: NDArray[np.int32]
    symbols: NDArray[np.int32]
    hashes: NDArray[np.uint64]

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> _Columns:
        sizes = counts.tolist()
        series, samples = sizes[kernels.SERIES], sizes[kernels.SAMPLES]
        exemplars, metadata = sizes[kernels.EXEMPLARS], sizes[kernels.METADATA]
        histograms = sizes[kernels.HISTOGRAMS]
        native.check_room(histograms)
        return cls(
            np.zeros((series, 2), np.uint64),
            np.zeros((series, kernels.SERIES_COLUMNS), np.int32),
            np.zeros(samples, np.int32),
            np.zeros(samples, np.int64),
            np.zeros(samples, np.int64),
            np.zeros(samples, np.float64),
            np.zeros((exemplars, kernels.EXEMPLAR_COLUMNS), np.int32),
            np.zeros(exemplars, np.int64),
            np.zeros(exemplars, np.float64),
            np.zeros((histograms, kernels.EXEMPLAR_COLUMNS), np.int32),
            np.zeros(histograms, np.int64),
            np.zeros((metadata, 2), np.int32),
            np.zeros((sizes[kernels.SYMBOLS], 2), np.int32),
            np.zeros((sizes[kernels.SYMBOLS], 2), np.uint64),
        )


class _Plain:
    """Reads requests of version 1.0 whose series are all known and which hold nothing but samples.

    Args:
        table: The workspace's series table.
        key: Its domain key.
    """

    def __init__(self, table: SeriesTable, key: tuple[np.uint64, np.uint64]) -> None:
        self._table = table
        self._key = key
        self._found = np.zeros(plain.FOUND, np.int64)
        self._make_room(0, 0)

    def _make_room(self, series: int, samples: int) -> None:
        self._places, self._sizes = np.zeros(series, np.int32), np.zeros(series, np.int32)
        self._keys = np.zeros((series, 2), np.uint64)
        self._owner, self._times, self._values = (
            np.zeros(samples, np.int32), np.zeros(samples, np.int64), np.zeros(samples, np.float64)
        )  # fmt: skip

    def expect(self, series: int, samples: int) -> None:
        """Make room for requests of such a size, unless it is an unusual one: room is kept."""
        if series > _MOST_PLAIN or samples > _MOST_PLAIN:
            return
        if series > len(self._places) or samples > len(self._times):
            self._make_room(max(series, len(self._places)), max(samples, len(self._times)))

    def decode(self, buf: NDArray[np.uint8], size: int, context: BatchContext) -> Decoded | None:
        """Return what a request holds, None where it has to be read the long way."""
        found = self._found
        status = plain.read_plain(
            buf, size, *self._key, self._places, self._sizes, self._keys, self._owner, self._times, self._values, found
        )
        if status < 0:
            return None
        series, samples, oldest, newest, stale = found.tolist()
        ids = self._table.lookup(self._keys[:series])
        if not samples or ids.min() < 0 or oldest < -_FAR_MS or newest > _FAR_MS:
            return None
        values = self._values[:samples].copy()
        batch = MetricBatch.of(
            self._table,
            ids[self._owner[:samples]],
            self._times[:samples] * NS_PER_MS,
            values,
            flags=_stale_flags(values) if stale else None,
            context=context,
        )
        return Decoded(batch, samples, 0, 0)


class RemoteWriteDecoder:
    """Reads the requests of one workspace.

    Args:
        table: The workspace's series table.
        v2: Whether the requests are of version 2.0.
    """

    def __init__(self, table: SeriesTable, *, v2: bool) -> None:
        self._table = table
        self._v2 = v2
        self._key = table.domain_key(b"remote_write 2.0" if v2 else b"remote_write 1.0")
        self._plain = None if v2 else _Plain(table, self._key)
        self._families: dict[str, Metadata] = {}
        self._described = np.zeros(1024, np.uint64)
        table.register(self)

    def decode(self, buf: NDArray[np.uint8], size: int, context: BatchContext) -> Decoded:
        """Read a request.

        Args:
            buf: The request, uint8, with PAD bytes after the last.
            size: Its bytes.
            context: For the batch.

        Raises:
            InvalidInput: It does not decode; nothing of it was taken.
        """
        if self._plain is not None:
            decoded = self._plain.decode(buf, size, context)
            if decoded is not None:
                return decoded
        counts = np.zeros(kernels.COUNTS, np.int64)
        self._checked(kernels.count(buf, size, self._v2, counts))
        if self._plain is not None:
            self._plain.expect(int(counts[kernels.SERIES]), int(counts[kernels.SAMPLES]))
        columns = _Columns.of(counts)
        if self._v2:
            self._read_v2(buf, size, columns, int(counts[kernels.REFERENCES]))
        else:
            self._read_v1(buf, size, columns)
        histograms = self._histograms(buf, columns)
        ids = self._identify(buf, columns)
        return self._decoded(buf, columns, ids, histograms, context)

    def _read_v1(self, buf: NDArray[np.uint8], size: int, columns: _Columns) -> None:
        scratch = np.empty(size + PAD, np.uint8)
        status = kernels.read_v1(
            buf, size, *self._key, scratch, columns.keys, columns.series, columns.owner, columns.times,
            columns.values, columns.exemplars, columns.exemplar_times, columns.exemplar_values, columns.histograms,
            columns.metadata,
        )  # fmt: skip
        self._checked(status)

    def _read_v2(self, buf: NDArray[np.uint8], size: int, columns: _Columns, references: int) -> None:
        self._checked(kernels.symbols(buf, size, *self._key, columns.symbols, columns.hashes))
        if len(columns.symbols) and columns.symbols[0, 1]:
            raise InvalidInput("remote write: the first symbol must be the empty string")
        scratch = np.empty(16 * references + PAD, np.uint8)
        status = kernels.read_v2(
            buf, size, *self._key, columns.hashes, scratch, columns.keys, columns.series, columns.owner, columns.times,
            columns.starts, columns.values, columns.exemplars, columns.exemplar_times, columns.exemplar_values,
            columns.histograms, columns.histogram_starts,
        )  # fmt: skip
        self._checked(status)
        self._checked(kernels.references_of_exemplars(buf, columns.exemplars))

    def _histograms(self, buf: NDArray[np.uint8], columns: _Columns) -> native.Read | None:
        places = columns.histograms
        if not len(places):
            return None
        sizes, status = native.measured(buf, places)
        self._checked(status)
        found, status = native.read(buf, places, sizes, columns.histogram_starts)
        self._checked(status)
        return found

    def _checked(self, status: int) -> int:
        if status < 0:
            version = "2.0" if self._v2 else "1.0"
            raise InvalidInput(f"remote write {version}: the request does not decode: {_FAULTS[status]}")
        return status

    # -- series --------------------------------------------------------------------------------------------

    def _identify(self, buf: NDArray[np.uint8], columns: _Columns) -> NDArray[np.int32]:
        """Return the id of each series, or a refusal."""
        ids = self._table.lookup(columns.keys)
        new = np.flatnonzero(ids == UNKNOWN)
        if len(new):
            # A request may name a series twice; both get the id of the same row.
            rows = columns.series[new]
            spans = self._labels(buf, rows[:, kernels.FIRST], rows[:, kernels.SIZE], columns)
            ids[new] = self._table.learn(np.ascontiguousarray(columns.keys[new]), spans)
        return ids

    def _labels(
        self, buf: NDArray[np.uint8], firsts: NDArray[np.int32], sizes: NDArray[np.int32], columns: _Columns
    ) -> LabelSpans:
        firsts, sizes = np.ascontiguousarray(firsts), np.ascontiguousarray(sizes)
        starts = np.zeros(len(firsts) + 1, np.int32)
        # A label takes two bytes at least. Room that stays empty is not resident.
        spans = np.empty((int(sizes.sum(dtype=np.int64)) // 2 + 1, 4), np.int32)
        if self._v2:
            total = kernels.labels_v2(buf, firsts, sizes, columns.symbols, spans, starts)
        else:
            total = kernels.labels_v1(buf, firsts, sizes, spans, starts)
        spans = spans[: self._checked(total)]
        return LabelSpans(buf, spans, starts)

    # -- the batch -----------------------------------------------------------------------------------------

    def _decoded(
        self,
        buf: NDArray[np.uint8],
        columns: _Columns,
        ids: NDArray[np.int32],
        histograms: native.Read | None,
        context: BatchContext,
    ) -> Decoded:
        rejected: Tally[str] = Tally()
        series, taken, message = self._taken(ids, columns.owner, columns.times, rejected)
        batch = self._batch(columns, series, taken, context)
        bad_histograms = 0
        if histograms is not None:
            before = rejected.total()
            rows, why = self._taken_histograms(ids, histograms, rejected)
            bad_histograms = rejected.total() - before
            message = message or why
            batch = batch.with_columns(native=rows)
        return Decoded(
            batch.with_columns(
                exemplars=self._exemplars(buf, columns, ids), metadata=tuple(self._metadata(buf, columns, ids))
            ),
            len(columns.times),
            len(columns.histograms),
            len(columns.exemplars),
            {reason: amount for reason, amount in rejected.items() if amount},
            message,
            bad_histograms,
        )

    def _taken(
        self, ids: NDArray[np.int32], owner: NDArray[np.int32], times: NDArray[np.int64], rejected: Tally[str]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_], str]:
        """Return ids, which rows have a series and a time, and the first that has not in words; count these."""
        message = ""
        series = ids[owner]
        taken: NDArray[np.bool_] = series >= 0
        if not taken.all():
            for code, amount in zip(*np.unique(series[~taken], return_counts=True), strict=True):
                refusal = Refusal.of(int(code))
                rejected[refusal.reason] += int(amount)
                message = message or f"{refusal.text}: series {owner[np.argmax(series == code)]} of the request"
        near = _is_near(times)
        if not near.all():
            far = taken & ~near
            rejected["out_of_bounds"] += int(far.sum())
            if far.any():
                message = message or f"out of bounds: timestamp {int(times[far.argmax()])} ms"
            taken &= near
        return series, taken, message

    def _taken_histograms(
        self, ids: NDArray[np.int32], read: native.Read, rejected: Tally[str]
    ) -> tuple[NativeHistograms | None, str]:
        rows, faults = read
        series, taken, message = self._taken(ids, rows.series, rows.time_ms, rejected)
        bad = np.flatnonzero(taken & (faults > 0))
        for fault, amount in zip(*np.unique(faults[bad], return_counts=True), strict=True):
            rejected[native.reason(int(fault))] += int(amount)
        if len(bad):
            first = int(bad[0])
            name = self._table.series(int(series[first]))
            why = native.text(int(faults[first]))
            message = message or f"native histogram of {name}, timestamp {int(rows.time_ms[first])} ms: {why}"
        rows = replace(rows, start_ms=np.where(_is_near(rows.start_ms), rows.start_ms, 0))
        return native.taken(rows, series, taken & (faults == 0)), message

    def _batch(
        self, columns: _Columns, series: NDArray[np.int32], taken: NDArray[np.bool_], context: BatchContext
    ) -> MetricBatch:
        times, starts, values = columns.times, columns.starts, columns.values
        if not taken.all():
            series, times, starts, values = series[taken], times[taken], starts[taken], values[taken]
        starts = np.where(_is_near(starts), starts, 0)
        return MetricBatch.of(
            self._table,
            series,
            times * NS_PER_MS,
            values,
            flags=_stale_flags(values),
            start_ns=starts * NS_PER_MS,
            context=context,
        )

    def _exemplars(self, buf: NDArray[np.uint8], columns: _Columns, ids: NDArray[np.int32]) -> ExemplarColumns | None:
        rows = columns.exemplars
        if not len(rows):
            return None
        series = ids[rows[:, kernels.EXEMPLAR_SERIES]]
        kept = (series >= 0) & _is_near(columns.exemplar_times)
        rows = rows[kept]
        firsts, sizes = rows[:, kernels.EXEMPLAR_FIRST], rows[:, kernels.EXEMPLAR_SIZE]
        labels = self._labels(buf, firsts, sizes, columns)
        times = columns.exemplar_times[kept] * NS_PER_MS
        return ExemplarColumns(series[kept], times, columns.exemplar_values[kept], labels.starts, labels.spans, buf)

    def _metadata(self, buf: NDArray[np.uint8], columns: _Columns, ids: NDArray[np.int32]) -> Iterator[Metadata]:
        """Yield the families whose metadata is new or changed."""
        found = self._metadata_v2(buf, columns, ids) if self._v2 else _metadata_v1(buf, columns)
        for one in found:
            if one.family and self._families.get(one.family) != one:
                if len(self._families) >= _MAX_FAMILIES:
                    self._families.clear()
                self._families[one.family] = one
                yield one

    def _metadata_v2(self, buf: NDArray[np.uint8], columns: _Columns, ids: NDArray[np.int32]) -> Iterator[Metadata]:
        rows, hashes = columns.series, columns.hashes[:, 0]
        helps, units = rows[:, kernels.HELP_OF], rows[:, kernels.UNIT_OF]
        having = ids >= 0
        having &= (rows[:, kernels.TYPE_OF] > 0) | (helps > 0) | (units > 0)
        if not having.any():
            return
        # What a series said last time: senders repeat it with every request.
        marks = hashes[helps] * np.uint64(3) + hashes[units] * np.uint64(5) + rows[:, kernels.TYPE_OF].astype(np.uint64)
        self._described = grown(self._described, self._table.capacity)
        changed = having & (self._described[ids] != marks)
        self._described[ids[changed]] = marks[changed]
        for row in np.flatnonzero(changed).tolist():
            type_ = MetricType(max(0, int(rows[row, kernels.TYPE_OF])))
            texts = [_text(buf, *columns.symbols[i].tolist()) for i in (int(helps[row]), int(units[row]))]
            yield Metadata(self._family(int(ids[row]), type_), type_, *texts)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop what is known about ids that the table frees."""
        self._described[ids[ids < len(self._described)]] = 0

    def _family(self, series_id: int, type_: MetricType) -> str:
        family = self._table.series(series_id).name
        for suffix in _SUFFIXES.get(type_, ()):
            if family.endswith(suffix):
                return family.removesuffix(suffix)
        return family


def _stale_flags(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.where(values.view(np.uint64) == STALE_BITS, np.uint8(Flag.STALE), np.uint8(0))


def _is_near(times_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each time has nanoseconds that fit."""
    return (times_ms >= -_FAR_MS) & (times_ms <= _FAR_MS)


def _metadata_v1(buf: NDArray[np.uint8], columns: _Columns) -> Iterator[Metadata]:
    for first, size in columns.metadata.tolist():
        fields = dict(_fields(bytes(buf[first : first + size])))
        kind = fields.get(1, 0)
        type_ = MetricType(kind) if isinstance(kind, int) and kind < len(MetricType) else MetricType.UNKNOWN
        texts = [fields.get(number, b"") for number in (2, 4, 5)]
        if all(isinstance(text, bytes) for text in texts):
            family, help_, unit = (text.decode("utf-8", "replace") for text in texts if isinstance(text, bytes))
            yield Metadata(family, type_, help_, unit)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the varint and bytes fields of a small message; what does not decode ends it."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while position < len(message):
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
        raise InvalidInput("remote write: metadata does not decode")

    while position < len(message):
        tag = varint()
        if tag & 7 == protobuf.VARINT:
            yield tag >> 3, varint()
        elif tag & 7 == protobuf.BYTES:
            size = varint()
            if size > len(message) - position:
                raise InvalidInput("remote write: metadata does not decode")
            yield tag >> 3, message[position : position + size]
            position += size
        elif tag & 7 in {protobuf.FIXED64, protobuf.FIXED32}:
            position += 8 if tag & 7 == protobuf.FIXED64 else 4
        else:
            raise InvalidInput("remote write: metadata does not decode")


def _text(buf: NDArray[np.uint8], first: int, size: int) -> str:
    return bytes(buf[first : first + size]).decode("utf-8", "replace")
