"""Batches as records: columns as they are, and series by numbers that hold within one file.

The first record of a file that names a series defines it; later ones give its number. So a record costs about what
its columns do, and a file can be read without any other.

A payload is compressed by snappy's block format. In it is what `streams.snapshots` writes: a value for JSON (where
the batch comes from, metadata, what the series are besides labels) and arrays by name: the columns of the batch, of
its histograms (``h.``), native histograms (``n.``) and exemplars (``e.``), columns that are all zero left out, and the
new series (``d.``).
"""

from __future__ import annotations

import weakref
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.batch import BatchContext, ExemplarColumns, HistogramColumns, Metadata, MetricBatch
from headrace.pipeline.identity import MetricType
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.storage.record_log import Record
from headrace.pipeline.storage.records import RecordFlag
from headrace.pipeline.streams import identities, snapshots
from headrace.pipeline.streams.snapshots import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.series import SeriesTable

_KIND = "queue"
_VERSION = 1
_NONE = -1

_POINTS = {"time_ns": np.int64, "value": np.float64, "flags": np.uint8, "start_ns": np.int64}
_SIDES: dict[str, tuple[str, type[Any]]] = {
    "h.": ("histograms", HistogramColumns),
    "n.": ("native", NativeHistograms),
    "e.": ("exemplars", ExemplarColumns),
}


class BatchEncoder:
    """Writes the records of one file after the other."""

    def __init__(self) -> None:
        self._numbers: weakref.WeakKeyDictionary[SeriesTable, _Numbers] = weakref.WeakKeyDictionary()
        self._tables = 0

    def reset(self) -> None:
        """Begin a file."""
        self._numbers = weakref.WeakKeyDictionary()
        self._tables = 0

    def encode(self, batch: MetricBatch, about: Mapping[str, Any] | None = None) -> Record:
        """Return `batch` as the next record of the file; `about` is kept beside it, JSON."""
        numbers = self._numbers.get(batch.table)
        if numbers is None:
            numbers = self._numbers[batch.table] = _Numbers(batch.table, self._tables)
            self._tables += 1
        arrays = _columns(batch)
        new = numbers.missing([arrays[name] for name in _SERIES if name in arrays])
        value = _value(batch) | {"dictionary": numbers.index, "first": numbers.used}
        if about is not None:
            value["about"] = dict(about)
        if len(new):
            defined, heads = identities.packed(batch.table, new)
            arrays |= {f"d.{name}": column for name, column in defined.items()}
            value |= heads
            numbers.define(new)
        for name in _SERIES:
            if name in arrays:
                arrays[name] = numbers.of(arrays[name])
        payload = snapshots.encode(_KIND, _VERSION, {batch.context.workspace: Part(value, arrays)})
        return Record(
            len(batch),
            batch.size_bytes,
            RecordFlag.DEFINES if len(new) else 0,
            bytes(cramjam.snappy.compress_raw(payload)),
        )


_SERIES = ("series", "h.series", "n.series", "e.series")


class _Numbers:
    """The numbers that series of a table have in a file."""

    def __init__(self, table: SeriesTable, index: int) -> None:
        self.index = index
        self.used = 0
        self._by_id = np.full(1024, _NONE, np.int32)
        self._table = weakref.ref(table)
        table.register(self)

    def missing(self, columns: list[NDArray[np.int32]]) -> NDArray[np.int32]:
        """Return the ids that have no number, each once."""
        table = self._table()
        self._by_id = grown(self._by_id, 0 if table is None else table.capacity, _NONE)
        return np.unique(np.concatenate([ids[self._by_id[ids] < 0] for ids in columns]))

    def define(self, ids: NDArray[np.int32]) -> None:
        """Give ids the next numbers."""
        self._by_id[ids] = np.arange(self.used, self.used + len(ids), dtype=np.int32)
        self.used += len(ids)

    def of(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the numbers of ids."""
        return self._by_id[ids]

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the numbers of ids that the table frees."""
        self._by_id[ids[ids < len(self._by_id)]] = _NONE


class BatchDecoder:
    """Reads the records of one file after the other.

    Args:
        table_of: Returns the table of a workspace.
        lost: Called with a number of points that cannot be read, and why.
    """

    def __init__(self, table_of: Callable[[str], SeriesTable], lost: Callable[[int, str], None]) -> None:
        self._table_of = table_of
        self._lost = lost
        self._dictionaries: dict[int, _Definitions] = {}

    def reset(self) -> None:
        """Begin a file."""
        self._dictionaries = {}

    def define(self, payload: bytes) -> None:
        """Take the definitions of a record that is not wanted itself; what is damaged defines nothing."""
        try:
            workspace, part = _unpacked(payload)
            self._dictionary(workspace, part).take(part)
        except (ValueError, KeyError):
            return

    def decode(self, payload: bytes) -> MetricBatch:
        """Return the batch of a record; points whose series are not known are left out, and counted.

        Raises:
            ValueError: It is no record.
        """
        return self.decode_with(payload)[0]

    def decode_with(self, payload: bytes) -> tuple[MetricBatch, dict[str, Any]]:
        """Return the batch of a record and what is kept beside it; see `decode`."""
        try:
            workspace, part = _unpacked(payload)
            dictionary = self._dictionary(workspace, part)
            dictionary.take(part)
            return self._batch(workspace, part, dictionary), part.value.get("about", {})
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"it does not hold together: {error}") from None

    def _dictionary(self, workspace: str, part: Part) -> _Definitions:
        index = int(part.value["dictionary"])
        found = self._dictionaries.get(index)
        if found is None:
            found = self._dictionaries[index] = _Definitions(self._table_of(workspace))
        return found

    def _batch(self, workspace: str, part: Part, dictionary: _Definitions) -> MetricBatch:
        arrays, value = part.arrays, part.value
        # Pinned before ids are made, so that none of them is given to another series meanwhile.
        table = dictionary.table
        pin = table.pin()
        n = len(arrays["series"])
        points = {name: arrays.get(name, np.zeros(n, dtype)) for name, dtype in _POINTS.items()}
        sides = {attribute: self._side(kind, arrays, prefix) for prefix, (attribute, kind) in _SIDES.items()}
        batch = MetricBatch(
            table,
            pin,
            dictionary.ids(arrays["series"]),
            points["time_ns"],
            points["value"],
            points["flags"],
            points["start_ns"],
            integers=arrays.get("integers"),
            metadata=tuple(Metadata(f, MetricType(t), h, u) for f, t, h, u in value["metadata"]),
            context=_context(workspace, value),
        )
        found = {
            name: replace(side, series=dictionary.ids(side.series)) for name, side in sides.items() if side is not None
        }
        return self._known(batch.with_columns(**found))

    @staticmethod
    def _side(kind: type[Any], arrays: dict[str, NDArray[Any]], prefix: str) -> Any:
        if f"{prefix}series" not in arrays:
            return None
        return kind(**{one.name: arrays[prefix + one.name] for one in fields(kind)})

    def _known(self, batch: MetricBatch) -> MetricBatch:
        """Return `batch` without the points whose series have no id."""
        points = len(batch)
        if (batch.series < 0).any():
            batch = batch.select(batch.series >= 0)
        for name in ("histograms", "native", "exemplars"):
            side = getattr(batch, name)
            if side is not None and (side.series < 0).any():
                batch = batch.with_columns(**{name: side.select(side.series >= 0)})
        if points > len(batch):
            self._lost(points - len(batch), "undefined_series")
        return batch


class _Definitions:
    """The series that a file has defined so far, by number."""

    def __init__(self, table: SeriesTable) -> None:
        self.table = table
        self._ids = np.full(1024, _NONE, np.int32)
        self._parts: list[tuple[int, int, Part]] = []
        table.register(self)

    def take(self, part: Part) -> None:
        """Take what a record defines."""
        defined = {name[2:]: column for name, column in part.arrays.items() if name.startswith("d.")}
        if defined:
            first = int(part.value["first"])
            self._parts.append((first, first + len(defined["head"]), Part(part.value, defined)))
            self._ids = grown(self._ids, self._parts[-1][1], _NONE)
            self._intern(*self._parts[-1])

    def ids(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the ids of numbers, -1 and less for those that are not known."""
        if not len(numbers):
            return np.empty(0, np.int32)
        self._ids = grown(self._ids, int(numbers.max()) + 1, _NONE)
        found = self._ids[numbers]
        gone = numbers[found == _NONE]
        if len(gone):
            # The table has freed them since: nothing came of these series but what waits here.
            for first, end, part in self._parts:
                if ((gone >= first) & (gone < end)).any():
                    self._intern(first, end, part)
            found = self._ids[numbers]
        self.table.touch(found[found >= 0])
        return found

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop ids that the table frees."""
        self._ids[np.isin(self._ids, ids)] = _NONE

    def _intern(self, first: int, end: int, part: Part) -> None:
        self._ids[first:end] = identities.unpacked(self.table, part.arrays, part.value)


def _columns(batch: MetricBatch) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"series": batch.series}
    for name in _POINTS:
        column = getattr(batch, name)
        if column.view(np.uint8).any():  # Bits: a negative zero is no zero, and a stale marker no number.
            arrays[name] = column
    if batch.integers is not None:
        arrays["integers"] = batch.integers
    for prefix, (attribute, _) in _SIDES.items():
        side = getattr(batch, attribute)
        if side is not None and len(side):
            side = _compact(side) if isinstance(side, ExemplarColumns) else side
            arrays |= {prefix + one.name: getattr(side, one.name) for one in fields(side)}
    return arrays


def _compact(exemplars: ExemplarColumns) -> ExemplarColumns:
    """Return exemplars whose arena is what they use of it: it may be a whole request."""
    offsets, sizes = exemplars.spans[:, 0::2].ravel(), exemplars.spans[:, 1::2].ravel().astype(np.int64)
    ends = np.cumsum(sizes)
    size = int(ends[-1]) if len(ends) else 0
    places = np.repeat(offsets - (ends - sizes), sizes) + np.arange(size)
    spans = np.stack([ends - sizes, sizes], axis=1).astype(np.int32).reshape(-1, 4)
    return replace(exemplars, spans=spans, arena=exemplars.arena[places])


def _value(batch: MetricBatch) -> dict[str, Any]:
    context = batch.context
    return {
        "source": context.source,
        "principal": context.principal,
        "received_ns": context.received_ns,
        "headers": {name: list(values) for name, values in context.metadata.items()},
        "metadata": [[one.family, int(one.type), one.help, one.unit] for one in batch.metadata],
    }


def _context(workspace: str, value: Mapping[str, Any]) -> BatchContext:
    headers = {name: tuple(values) for name, values in value.get("headers", {}).items()}
    return BatchContext(workspace, value["source"], value["principal"], value["received_ns"], headers)


def _unpacked(payload: bytes) -> tuple[str, Part]:
    try:
        data = bytes(cramjam.snappy.decompress_raw(payload))
    except cramjam.DecompressionError as error:
        raise ValueError(str(error)) from None
    ((workspace, part),) = snapshots.decode(_KIND, _VERSION, data).items()
    return workspace, part
