"""In-memory stand-ins for the store's interfaces: slow, plain, obviously right."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from headrace.store.histogram_rows import HistogramSeries
from headrace.store.interfaces import Offset, Record
from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
from headrace.store.runs import SeriesSamples
from headrace.store.symbols import Symbols
from headrace.testing.promql_script_histograms import as_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.store.matchers import Matcher
    from headrace.testing.promql_script_histograms import Histogram, Timed

_T = TypeVar("_T")
_Key = tuple[tuple[str, str], ...]


class MemoryScan:
    """What was selected, series by series; fulfils `Scan`."""

    def __init__(self, found: ColumnarSeries) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    @property
    def labels(self) -> LabelTable:
        """The label sets of all."""
        return self._found.labels

    def labels_at(self, rows: NDArray[np.int64]) -> LabelTable:
        """Return the label sets of some."""
        return self._found.labels.take(rows)

    def column(self, name: str) -> NDArray[np.int32]:
        """Return the value symbols of one label."""
        return self._found.labels.column(name)

    def counts(self) -> NDArray[np.int64]:
        """Return how many samples each series has."""
        return np.diff(self._found.offsets)

    def at_least(self) -> int:
        """Return how many series have samples."""
        return int(np.count_nonzero(self.counts()))

    def read(self, first: int, last: int) -> SeriesSamples:
        """Return the samples of some."""
        places = self._found.offsets[first:last]
        return SeriesSamples(places, self.counts()[first:last], places, self._found.times_ms, self._found.values)


class MemoryQueryable:
    """Series as dictionaries; fulfils `Queryable`, `ScanSource`, and `NativeSource` for native histograms."""

    def __init__(self) -> None:
        self._symbols = Symbols()
        self._samples: dict[_Key, dict[int, tuple[float, int]]] = {}
        self._histograms: dict[_Key, dict[int, Timed]] = {}

    def __len__(self) -> int:
        """Count the series."""
        return len({*self._samples, *self._histograms})

    def add(
        self,
        labels: Mapping[str, str],
        times_ms: Sequence[int],
        values: Sequence[float],
        starts_ms: Sequence[int] | None = None,
    ) -> None:
        """Add samples to a series, with their start timestamps; a later one of the same time stands."""
        key = _key(labels)
        starts = [0] * len(times_ms) if starts_ms is None else starts_ms
        self._samples.setdefault(key, {}).update(zip(times_ms, zip(values, starts, strict=True), strict=True))
        for time_ms in times_ms:
            self._histograms.get(key, {}).pop(time_ms, None)

    def add_histograms(self, labels: Mapping[str, str], histograms: Sequence[Timed]) -> None:
        """Add native histograms to a series; a later one of the same time stands."""
        key = _key(labels)
        self._histograms.setdefault(key, {}).update({row.time_ms: row for row in histograms})
        for row in histograms:
            self._samples.get(key, {}).pop(row.time_ms, None)

    def contents(self) -> Iterator[tuple[dict[str, str], list[tuple[int, float | Histogram]]]]:
        """Yield all series with their samples and histograms, in order of labels and time."""
        for key in sorted({*self._samples, *self._histograms}):
            points: dict[int, float | Histogram] = {t: value for t, (value, _) in self._samples.get(key, {}).items()}
            points |= {t: row.histogram for t, row in self._histograms.get(key, {}).items()}
            yield dict(key), sorted(points.items(), key=lambda point: point[0])

    def symbols(self) -> Symbols:
        """Return the dictionary of label values."""
        return self._symbols

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> ColumnarSeries:
        """Return the samples of all series that fulfil `matchers`, in order of labels."""
        found = _selected(self._samples, matchers, start_ms, end_ms)
        table, offsets = self._heads(found, symbols)
        rows = [(time_ms, *sample) for _, samples in found for time_ms, sample in samples]
        starts = np.array([start for _, _, start in rows], np.int64)
        return ColumnarSeries(
            table,
            offsets,
            np.array([time_ms for time_ms, _, _ in rows], np.int64),
            np.array([value for _, value, _ in rows], float),
            starts if starts.any() else None,
        )

    def scan(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> MemoryScan:
        """Return the series that fulfil `matchers` and have samples, to read these later."""
        return MemoryScan(self.select(matchers, start_ms, end_ms, symbols))

    def select_histograms(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> HistogramSeries:
        """Return the native histograms of all series that fulfil `matchers`, in order of labels."""
        found = _selected(self._histograms, matchers, start_ms, end_ms)
        table, offsets = self._heads(found, symbols)
        rows = [(series, row) for series, (_, samples) in enumerate(found) for _, row in samples]
        return HistogramSeries(table, offsets, as_columns(rows))

    def _heads(
        self, found: Sequence[tuple[dict[str, str], Sequence[object]]], symbols: QuerySymbols | None
    ) -> tuple[LabelTable, NDArray[np.int64]]:
        of = QuerySymbols(self._symbols) if symbols is None else symbols
        offsets = np.cumsum([0, *(len(samples) for _, samples in found)]).astype(np.int64)
        return LabelTable.of([labels for labels, _ in found], of), offsets

    def series(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> LabelTable:
        """Return the label sets of the series that have samples in the time range."""
        found = {
            _key(labels): labels
            for of_kind in (self._samples, self._histograms)
            for labels, _ in _selected(of_kind, matchers, start_ms, end_ms)
        }
        return self._heads([(found[key], ()) for key in sorted(found)], symbols)[0]


def _key(labels: Mapping[str, str]) -> _Key:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _selected(
    series: Mapping[_Key, Mapping[int, _T]], matchers: Sequence[Matcher], start_ms: int, end_ms: int
) -> list[tuple[dict[str, str], list[tuple[int, _T]]]]:
    found = []
    for key in sorted(series):
        labels = dict(key)
        if all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers):
            samples = [(t, series[key][t]) for t in sorted(series[key]) if start_ms <= t <= end_ms]
            if samples:
                found.append((labels, samples))
    return found


class MemoryLog:
    """A list of records; fulfils `IngestLog`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._first = 0

    async def append(self, records: Sequence[Record]) -> Offset:
        """Keep `records`."""
        self.records += records
        return Offset(0, self._first + len(self.records))

    def read(self) -> Iterator[tuple[Offset, Record]]:
        """Yield all records in order."""
        for i, record in enumerate(self.records):
            yield Offset(0, self._first + i + 1), record

    def trim(self, upto: Offset, keep: Sequence[Record]) -> None:
        """Forget the records before `upto`; `keep` stands in their place."""
        rest = self.records[max(0, upto.position - self._first) :]
        self._first = upto.position - len(keep)
        self.records = [*keep, *rest]


class MemoryBlocks:
    """A dictionary of bytes; fulfils `BlockStore`."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def put_if_absent(self, key: str, data: bytes | bytearray | memoryview) -> bool:
        """Keep `data` under `key`; False where the key is taken."""
        return self._objects.setdefault(key, taken := bytes(data)) is taken

    def get_range(self, key: str, start: int, length: int) -> memoryview:
        """Return bytes of an object."""
        return memoryview(self._objects[key])[start : start + length]

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        return sorted(key for key in self._objects if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._objects.pop(key, None)
