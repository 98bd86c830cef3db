"""Native histograms in queries: beside the numbers of a vector or range, in the same rows.

Numbers and histograms of a series share one time line: at any time the newest of either kind is what is there, and a
stale marker of either kind ends both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store.codec.histograms import STALE_BITS, is_stale
from headrace.store.labels import LabelTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.labels import ColumnarSeries, QuerySymbols
    from headrace.store.matchers import Matcher

SAMPLE_BYTES = 16
"""A histogram counts as so many samples as its bytes hold of these."""


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
    histograms: NativeHistograms

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
        return counts_of(self.histograms)[self.rows] if len(self.histograms) else np.zeros(self.rows.shape)

    def sums(self) -> NDArray[np.float64]:
        """Return (n, steps) the sums of observations; anything where there is none."""
        return self.histograms.sum[self.rows] if len(self.histograms) else np.zeros(self.rows.shape)


@dataclass(frozen=True, slots=True)
class NativeRanges:
    """Native histograms to look at through windows; stale markers are gone.

    Attributes:
        offsets: (n + 1,) int64; those of series i are rows ``offsets[i]:offsets[i + 1]``.
        histograms: All of them; times ascend within a series.
    """

    offsets: NDArray[np.int64]
    histograms: NativeHistograms


class Mixed:
    """Samples and histograms of a selection: the series with samples, then those with histograms alone.

    Args:
        found: The samples.
        natives: The histograms.
    """

    def __init__(self, found: ColumnarSeries, natives: HistogramSeries) -> None:
        self.found = found
        self.histograms = natives.histograms
        names = tuple(sorted({*found.labels.names, *natives.labels.names}))
        values = np.stack(
            [np.concatenate([found.labels.column(name), natives.labels.column(name)]) for name in names], axis=1
        ) if names else np.empty((len(found) + len(natives), 0), np.int32)  # fmt: skip
        table = LabelTable(names, values, found.labels.symbols)
        numbers, first = table.groups()
        self.labels = table.take(first)
        self._owners = np.repeat(numbers[len(found) :], np.diff(natives.offsets)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def line(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return offsets, times and, as numbers, places: of a sample, or behind these of a histogram; stale ones too.

        Places are below 2^53, so that doubles hold them, and the kernels of samples walk them.
        """
        owners = np.concatenate([np.repeat(np.arange(len(self.found)), np.diff(self.found.offsets)), self._owners])
        times = np.concatenate([self.found.times_ms, self.histograms.time_ms])
        places = np.arange(len(times)).astype(np.float64)
        stale = np.concatenate([self.found.values.view(np.uint64) == STALE_BITS, is_stale(self.histograms)])
        places.view(np.uint64)[stale] = STALE_BITS
        order = np.lexsort((times, owners))
        offsets = np.searchsorted(owners[order], np.arange(len(self) + 1)).astype(np.int64)
        return offsets, times[order], places[order]

    def picked(
        self, places: NDArray[np.float64], there: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], Natives]:
        """Return numbers, where there are any, and histograms, from (n, steps) places of `line`."""
        samples = len(self.found.times_ms)
        at = places.astype(np.int64)
        is_number = there & (at < samples)
        values = np.zeros(places.shape)
        values[is_number] = self.found.values[at[is_number]]
        return values, is_number, Natives(np.where(there & (at >= samples), at - samples, -1), self.histograms)

    def offsets(self) -> NDArray[np.int64]:
        """Return the offsets of the samples, for all series."""
        return np.concatenate([self.found.offsets, np.full(len(self) - len(self.found), self.found.offsets[-1])])

    def ranges(self) -> NativeRanges:
        """Return the histograms by series, without stale markers."""
        kept = np.flatnonzero(~is_stale(self.histograms))
        order = kept[np.argsort(self._owners[kept], kind="stable")]
        offsets = np.searchsorted(self._owners[order], np.arange(len(self) + 1)).astype(np.int64)
        return NativeRanges(offsets, self.histograms.take(order))


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
    return Natives(np.concatenate(rows), NativeHistograms.joined([part.histograms for part in found]))


def counts_of(histograms: NativeHistograms) -> NDArray[np.float64]:
    """Return the observations of each histogram as doubles."""
    return as_doubles(histograms.count, (histograms.flags & 1) != 0)


def as_doubles(counts: NDArray[np.uint64], are_doubles: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return counts as doubles, of which some are the bits of doubles already."""
    return np.where(are_doubles, counts.view(np.float64), counts.astype(np.float64))
