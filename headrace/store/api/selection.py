"""Samples and native histograms that a selector selects, put together by series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store.labels import LabelTable
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.labels import ColumnarSeries, QuerySymbols


@dataclass(frozen=True, slots=True)
class Selection:
    """n series in the order of their labels.

    Attributes:
        labels: n label sets, distinct, ascending.
        offsets: (n + 1,) int64; samples of series i are ``offsets[i]:offsets[i + 1]``.
        times_ms: (offsets[-1],) int64.
        values: (offsets[-1],) float64.
        native_offsets: (n + 1,) int64 of the histograms.
        natives: Histograms.
    """

    labels: LabelTable
    offsets: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    native_offsets: NDArray[np.int64]
    natives: NativeHistograms

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def samples(self) -> int:
        """Samples and histograms in all."""
        return len(self.times_ms) + len(self.natives)


def put_together(floats: ColumnarSeries, natives: HistogramSeries) -> Selection:
    """Return what two selections with the same symbols found, series by series."""
    table = stacked([floats.labels, natives.labels])
    group, first = table.groups()
    labels = table.take(first)
    order = labels.order()
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    places, count = rank[group], len(floats)
    rows, offsets = _moved(floats.offsets, places[:count], len(order))
    native_rows, native_offsets = _moved(natives.offsets, places[count:], len(order))
    return Selection(
        labels.take(order), offsets, floats.times_ms[rows], floats.values[rows], native_offsets,
        natives.histograms.take(native_rows),
    )  # fmt: skip


def merged(found: Sequence[Selection]) -> Selection:
    """Return the series of several selections, each once; they need not share their symbols."""
    if len(found) == 1:
        return found[0]
    symbols = found[0].labels.symbols
    table = stacked([_translated(one.labels, symbols) for one in found])
    _, first = table.groups()
    labels = table.take(first)
    order = first[labels.order()]
    rows, offsets = _gathered(_joined_offsets([one.offsets for one in found]), order)
    native_rows, native_offsets = _gathered(_joined_offsets([one.native_offsets for one in found]), order)
    return Selection(
        table.take(order), offsets, np.concatenate([one.times_ms for one in found])[rows],
        np.concatenate([one.values for one in found])[rows], native_offsets,
        NativeHistograms.joined([one.natives for one in found]).take(native_rows),
    )  # fmt: skip


def _translated(table: LabelTable, symbols: QuerySymbols) -> LabelTable:
    """Return the table with the ids of other symbols."""
    if table.symbols is symbols:
        return table
    known, which = np.unique(table.values, return_inverse=True)
    ids = [ABSENT if one == ABSENT else symbols.intern(table.text(one)) for one in known.tolist()]
    return LabelTable(table.names, np.array(ids, np.int32)[which.reshape(table.values.shape)], symbols)


def _joined_offsets(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.append(0, np.cumsum(np.concatenate([np.diff(part) for part in parts]))).astype(np.int64)


def _gathered(offsets: NDArray[np.int64], series: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of some series, and where those of each begin."""
    sizes = np.diff(offsets)[series]
    ends = np.append(0, np.cumsum(sizes)).astype(np.int64)
    return np.repeat(offsets[series] - ends[:-1], sizes) + np.arange(ends[-1]), ends


def stacked(tables: Sequence[LabelTable]) -> LabelTable:
    """Return the rows of all tables, which share their symbols, one after the other."""
    names = tuple(sorted({name for table in tables for name in table.names}))
    values = np.full((sum(map(len, tables)), len(names)), ABSENT, np.int32)
    begin = 0
    for table in tables:
        columns = [names.index(name) for name in table.names]
        values[begin : begin + len(table), columns] = table.values
        begin += len(table)
    return LabelTable(names, values, tables[0].symbols)


def with_labels(table: LabelTable, extra: Mapping[str, str]) -> LabelTable:
    """Return the table with labels added to the rows that lack them."""
    for name, value in extra.items():
        if value:
            column = table.column(name)
            table = table.with_column(name, np.where(column == ABSENT, table.symbols.intern(value), column))
    return table


def _moved(
    offsets: NDArray[np.int64], places: NDArray[np.intp], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows in the order of places, and where those of each of `count` places begin.

    Args:
        offsets: (s + 1,) where the rows of each series begin.
        places: (s,) distinct places of the series.
        count: Places there are.
    """
    sizes = np.zeros(count, np.int64)
    begins = np.zeros(count, np.int64)
    sizes[places], begins[places] = np.diff(offsets), offsets[:-1]
    ends = np.append(0, np.cumsum(sizes)).astype(np.int64)
    rows = np.repeat(begins - ends[:-1], sizes) + np.arange(ends[-1])
    return rows, ends
