"""Answering what queries ask: samples, histograms, exemplars and labels of the series that fulfil matchers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store.histogram_rows import HistogramSeries
from headrace.store.histogram_rows import merge as merge_histograms
from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
from headrace.store.runs import without_empty
from headrace.store.scan import EngineScan, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.engine.contents import Contents
    from headrace.store.engine.sources import Sources
    from headrace.store.exemplars import Exemplars
    from headrace.store.index import Index
    from headrace.store.matchers import Matcher

_NO_HISTOGRAMS = NativeHistograms.empty()


class Queries:
    """Queries one workspace, on any thread; see `Engine` for what its methods promise."""

    def __init__(self, contents: Contents, sources: Sources) -> None:
        self._contents = contents
        self._sources = sources

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None
    ) -> ColumnarSeries:
        """Return the samples of series."""
        scan = self.scan(matchers, start_ms, end_ms, symbols)
        refs, samples = without_empty(scan.refs, plain(scan.read(0, len(scan), share=False)))
        return ColumnarSeries(scan.labels_of(refs), *samples, refs=refs)

    def scan(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None) -> EngineScan:
        """Return series, to read their samples piece by piece."""
        contents, index = self._contents, self._contents.index
        refs, times = index.select(matchers), (start_ms, end_ms)
        reading = self._sources.reading
        return EngineScan(contents.head, contents.block_set, reading, index, refs, times, _symbols(index, symbols))

    def select_histograms(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None
    ) -> HistogramSeries:
        """Return the native histograms of series."""
        index = self._contents.index
        symbols = _symbols(index, symbols)
        if not self._sources.have_histograms:
            nothing = LabelTable((), np.empty((0, 0), np.int32), symbols)
            return HistogramSeries(nothing, np.zeros(1, np.int64), _NO_HISTOGRAMS)
        found = merge_histograms(self._sources.histograms(index.select(matchers), start_ms, end_ms))
        refs, counts = np.unique(found.series, return_counts=True)
        offsets = np.zeros(len(refs) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        return HistogramSeries(index.table(refs, symbols), offsets, found)

    def exemplars(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None
    ) -> tuple[LabelTable, Exemplars]:
        """Return the exemplars of series."""
        index = self._contents.index
        rows = self._contents.exemplars.select(index.select(matchers), start_ms, end_ms)
        return index.table(np.unique(rows.refs), _symbols(index, symbols)), rows

    def series(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None
    ) -> LabelTable:
        """Return the label sets of series."""
        index = self._contents.index
        refs = self._sources.present(index.select(matchers), start_ms, end_ms)
        return index.table(refs, _symbols(index, symbols))

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the label names of series."""
        index = self._contents.index
        return index.names(self._scope(index, matchers, start_ms, end_ms))

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the values of one label of series."""
        index = self._contents.index
        if matchers or self._holds_all(start_ms, end_ms):
            return index.values(name, self._scope(index, matchers, start_ms, end_ms))
        return index.values_with(name, lambda refs: self._sources.are_present(refs, start_ms, end_ms))

    def _scope(self, index: Index, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> NDArray[np.int32] | None:
        """Return the refs that answers about labels are taken from; None for all."""
        everything = self._holds_all(start_ms, end_ms)
        if everything and not matchers:
            return None
        refs = index.select(matchers)
        return refs if everything else self._sources.present(refs, start_ms, end_ms)

    def _holds_all(self, start_ms: int, end_ms: int) -> bool:
        """Return whether every series has samples in a time range, because it holds all of them."""
        deleted = len(self._contents.block_set.tombstones) > 0
        return start_ms <= self._contents.oldest_ms() and end_ms >= self._contents.newest_ms() and not deleted


def _symbols(index: Index, symbols: QuerySymbols | None) -> QuerySymbols:
    return QuerySymbols(index.symbols) if symbols is None else symbols
