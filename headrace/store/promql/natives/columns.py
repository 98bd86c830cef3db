"""Native histograms in queries: beside the numbers of a vector or range, in the same rows.

Numbers and histograms of a series share one time line: at any time the newest of either kind is what is there, and a
stale marker of either kind ends both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from headrace.store.codec.histograms import STALE_BITS, is_stale
from headrace.store.labels import LabelTable
from headrace.store.promql.natives.float_histograms import GAUGE, UNKNOWN, FloatHistograms
from headrace.store.promql.natives.math import with_stored_hints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.labels import ColumnarSeries, QuerySymbols
    from headrace.store.matchers import Matcher


@runtime_checkable
class NativeSource(Protocol):
    """What the evaluator asks of an engine that has native histograms."""

    def select_histograms(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols
    ) -> HistogramSeries:
        """Return native histograms as `select` does samples."""


@dataclass(frozen=True, slots=True)
class Natives:
    """Native histograms of instant vectors.

    Attributes:
        rows: (n, steps) int64 rows of `histograms`, -1 where there is none.
        histograms: All that there are.
    """

    rows: NDArray[np.int64]
    histograms: FloatHistograms

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n, steps): where there is one."""
        return self.rows >= 0

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Natives:
        """Return the chosen rows."""
        return Natives(self.rows[rows], self.histograms)

    def where(self, keep: NDArray[np.bool_]) -> Natives:
        """Return those where (n, steps) `keep` is true."""
        return Natives(np.where(keep, self.rows, -1), self.histograms)

    def grouped(self, groups: NDArray[np.intp], count: int) -> Natives:
        """Merge rows by group, (n,) numbers below `count`."""
        rows = np.full((count, self.rows.shape[1]), -1, np.int64)
        np.maximum.at(rows, groups, self.rows)
        return Natives(rows, self.histograms)

    def repeat(self, steps: int) -> Natives:
        """Repeat those of one step."""
        return Natives(np.repeat(self.rows, steps, axis=1), self.histograms)

    def counts(self) -> NDArray[np.float64]:
        """Return (n, steps) how many observations each has; anything where there is none."""
        return self.histograms.count[self.rows] if len(self.histograms) else np.zeros(self.rows.shape)

    def sums(self) -> NDArray[np.float64]:
        """Return (n, steps) the sums of observations; anything where there is none."""
        return self.histograms.sum[self.rows] if len(self.histograms) else np.zeros(self.rows.shape)

    def scaled(self, factor: float) -> Natives:
        """Return the histograms times a factor."""
        return Natives(self.rows, self.histograms.scaled(np.full(len(self.histograms), factor)))

    def ranges(self, times_ms: NDArray[np.int64]) -> NativeRanges:
        """Return them as those of a range vector, (steps,) times given; nothing is known of resets any more."""
        series, steps = np.nonzero(self.present)
        histograms = self.histograms.take(self.rows[series, steps])
        hints = np.where(histograms.hint == GAUGE, np.uint8(GAUGE), np.uint8(UNKNOWN))
        offsets = np.searchsorted(series, np.arange(len(self.rows) + 1)).astype(np.int64)
        times = times_ms[steps]
        return NativeRanges(offsets, times, histograms.with_hints(hints), np.zeros_like(times))

    @classmethod
    def placed(cls, there: NDArray[np.bool_], places: NDArray[np.int64], histograms: FloatHistograms) -> Natives:
        """Put rows of `histograms`, -1 for none, in this order to where (n, steps) `there` is true."""
        rows = np.full(there.shape, -1, np.int64)
        rows[there] = places
        return cls(rows, histograms)


@dataclass(frozen=True, slots=True)
class NativeRanges:
    """Native histograms to look at through windows; stale markers are gone.

    Attributes:
        offsets: (n + 1,) int64; those of series i are rows ``offsets[i]:offsets[i + 1]``.
        times_ms: (m,) int64, ascending within a series.
        histograms: (m,) of them.
        starts_ms: (m,) int64 since when each counts, 0 for unknown.
    """

    offsets: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    histograms: FloatHistograms
    starts_ms: NDArray[np.int64]

    def grouped(self, groups: NDArray[np.intp], count: int) -> tuple[NativeRanges, bool]:
        """Put the histograms of series together, (n,) groups below `count`; tell whether their times are distinct."""
        owners = np.repeat(groups, np.diff(self.offsets))
        order = np.lexsort((self.times_ms, owners))
        owners, times = owners[order], self.times_ms[order]
        distinct = not ((owners[1:] == owners[:-1]) & (times[1:] == times[:-1])).any()
        offsets = np.searchsorted(owners, np.arange(count + 1)).astype(np.int64)
        return NativeRanges(offsets, times, self.histograms.take(order), self.starts_ms[order]), distinct

    def before(self) -> NDArray[np.int64]:
        """Return (m,) the row before each in its series, -1 for none."""
        rows = np.arange(-1, len(self.times_ms) - 1)
        begins = self.offsets[:-1]
        rows[begins[begins < len(rows)]] = -1
        return rows


class Mixed:
    """Samples and histograms of a selection, in the order in which the store has its series.

    Args:
        found: The samples.
        natives: The histograms.
    """

    def __init__(self, found: ColumnarSeries, natives: HistogramSeries) -> None:
        self.found = found
        self._stored = natives.histograms
        self._stale = is_stale(natives.histograms)
        names = tuple(sorted({*found.labels.names, *natives.labels.names}))
        columns = [np.concatenate([found.labels.column(name), natives.labels.column(name)]) for name in names]
        values = np.stack(columns, axis=1) if names else np.empty((len(found) + len(natives), 0), np.int32)
        table = LabelTable(names, values, found.labels.symbols)
        numbers, first = table.groups()
        order = _order_of(found, natives, table, first)
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        self.labels = table.take(first[order])
        numbers = ranks[numbers]
        self._of_found = numbers[: len(found)]
        self._owners = np.repeat(numbers[len(found) :], np.diff(natives.offsets)).astype(np.int64)
        self._order, self._all_owners, self._times = self._sorted()
        self._before = self._before_each()

    def __len__(self) -> int:
        return len(self.labels)

    def _sorted(self) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
        """Return the order of samples, and of histograms behind them, by series and time; with the series and times."""
        own = np.repeat(self._of_found, np.diff(self.found.offsets))
        owners, times = np.concatenate([own, self._owners]), np.concatenate([self.found.times_ms, self._stored.time_ms])
        step = np.diff(owners)
        if bool(((step > 0) | ((step == 0) & (np.diff(times) >= 0))).all()):
            return np.arange(len(owners)), owners, times
        order = np.lexsort((times, owners))
        return order, owners[order], times[order]

    def _before_each(self) -> NDArray[np.int64]:
        """Return for each histogram the one stored directly before it, -1 where something else or nothing is."""
        samples = len(self.found.times_ms)
        here = self._order - samples
        follows = (self._all_owners[1:] == self._all_owners[:-1]) & (here[1:] >= 0) & (here[:-1] >= 0)
        before = np.full(len(self._stored), -1, np.int64)
        before[here[1:][follows]] = here[:-1][follows]
        before[(before >= 0) & self._stale[before]] = -1
        return before

    def line(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return offsets, times and, as numbers, places: of a sample, or behind these of a histogram; stale ones too.

        Places are below 2^53, so that doubles hold them, and the kernels of samples walk them.
        """
        places = np.arange(len(self._times)).astype(np.float64)
        stale = np.concatenate([self.found.values.view(np.uint64) == STALE_BITS, self._stale])
        places.view(np.uint64)[stale] = STALE_BITS
        offsets = np.searchsorted(self._all_owners, np.arange(len(self) + 1)).astype(np.int64)
        return offsets, self._times, places[self._order]

    def picked(
        self, places: NDArray[np.float64], there: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], Natives]:
        """Return numbers, where there are any, and histograms, from (n, steps) places of `line`."""
        samples = len(self.found.times_ms)
        at = places.astype(np.int64)
        is_number = there & (at < samples)
        values = np.zeros(places.shape)
        values[is_number] = self.found.values[at[is_number]]
        is_native = there & (at >= samples)
        rows, which = np.unique(at[is_native] - samples, return_inverse=True)
        return values, is_number, Natives.placed(is_native, which, self._floats(rows))

    def _floats(self, rows: NDArray[np.int64]) -> FloatHistograms:
        """Return stored rows to compute with; behind them may be those that their hints depend on."""
        before = self._before[rows]
        known = before >= 0
        place = np.searchsorted(rows, before[known])
        place = (
            np.where(rows[np.minimum(place, max(len(rows) - 1, 0))] == before[known], place, -1) if len(rows) else place
        )
        more = np.unique(before[known][place < 0])
        histograms = FloatHistograms.of(self._stored, np.concatenate([rows, more]))
        place = np.where(place < 0, len(rows) + np.searchsorted(more, before[known]), place)
        return with_stored_hints(histograms, np.flatnonzero(known), place.astype(np.int64))

    def offsets(self) -> NDArray[np.int64]:
        """Return the offsets of the samples, for all series."""
        sizes = np.zeros(len(self), np.int64)
        sizes[self._of_found] = np.diff(self.found.offsets)
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def ranges(self) -> NativeRanges:
        """Return the histograms by series, without stale markers."""
        rows = self._order[self._order >= len(self.found.times_ms)] - len(self.found.times_ms)
        rows = rows[~self._stale[rows]].astype(np.int64)
        offsets = np.searchsorted(self._owners[rows], np.arange(len(self) + 1)).astype(np.int64)
        before = self._before[rows]
        known = np.flatnonzero(before >= 0)
        histograms = with_stored_hints(FloatHistograms.of(self._stored, rows), known, known - 1)
        return NativeRanges(offsets, self._stored.time_ms[rows], histograms, self._stored.start_ms[rows])


def _order_of(
    found: ColumnarSeries, natives: HistogramSeries, table: LabelTable, first: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return the order of the series of `table`, of which `first` are the rows; samples stay in theirs."""
    if found.refs is None:
        order = table.take(first).order()
        known = order[order < len(found)]
        # Samples cannot be moved; where they are in some other order, histograms go behind them.
        return order if (np.diff(known) > 0).all() else np.arange(len(first))
    refs = np.concatenate([found.refs, natives.histograms.series[natives.offsets[:-1]]])
    return np.argsort(refs[first], kind="stable")


def joined_natives(parts: Sequence[tuple[Natives | None, tuple[int, ...]]]) -> Natives | None:
    """Put the rows of vectors, of which each has its shape, one after the other; None where none has histograms."""
    found = [part for part, _ in parts if part is not None]
    if not found:
        return None
    rows, before = [], 0
    for part, shape in parts:
        if part is None:
            rows.append(np.full(shape, -1, np.int64))
        else:
            rows.append(np.where(part.rows >= 0, part.rows + before, -1))
            before += len(part.histograms)
    return Natives(np.concatenate(rows), FloatHistograms.joined([part.histograms for part in found]))
