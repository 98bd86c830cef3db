"""In-memory stand-ins for the store's interfaces: slow, plain, obviously right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store.interfaces import Offset, Record
from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
from headrace.store.symbols import Symbols

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.store.matchers import Matcher


class MemoryQueryable:
    """Series as dictionaries; fulfils `Queryable`."""

    def __init__(self) -> None:
        self._symbols = Symbols()
        self._samples: dict[tuple[tuple[str, str], ...], dict[int, float]] = {}

    def add(self, labels: Mapping[str, str], times_ms: Sequence[int], values: Sequence[float]) -> None:
        """Add samples to a series; a later one of the same time stands."""
        key = tuple(sorted((name, value) for name, value in labels.items() if value))
        self._samples.setdefault(key, {}).update(zip(times_ms, values, strict=True))

    def symbols(self) -> Symbols:
        """Return the dictionary of label values."""
        return self._symbols

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> ColumnarSeries:
        """Return the samples of all series that fulfil `matchers`, in order of labels."""
        found: list[tuple[dict[str, str], list[tuple[int, float]]]] = []
        for key in sorted(self._samples):
            labels = dict(key)
            if all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers):
                samples = sorted((t, v) for t, v in self._samples[key].items() if start_ms <= t <= end_ms)
                if samples:
                    found.append((labels, samples))
        table = LabelTable.of(
            [labels for labels, _ in found], QuerySymbols(self._symbols) if symbols is None else symbols
        )
        offsets = np.cumsum([0, *(len(samples) for _, samples in found)]).astype(np.int64)
        times = np.array([t for _, samples in found for t, _ in samples], np.int64)
        return ColumnarSeries(table, offsets, times, np.array([v for _, samples in found for _, v in samples], float))

    def series(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> LabelTable:
        """Return the label sets of the series that have samples in the time range."""
        return self.select(matchers, start_ms, end_ms, symbols).labels


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
