"""Native histograms by ref: put together from several sources, and looked up at the times of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store.codec.histograms import is_stale
from headrace.store.samples_at import Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.labels import LabelTable

_SCALARS = ("flags", "schema", "count", "zero_count", "positive_spans")
_FLOATS = ("sum", "zero_threshold")
_RAGGED = (("span_starts", "spans"), ("bucket_starts", "buckets"), ("bound_starts", "bounds"))


@dataclass(frozen=True, slots=True)
class HistogramSeries:
    """What a selection of native histograms returns: those of n series, one after the other.

    Attributes:
        labels: n label sets, distinct.
        offsets: (n + 1,) int64; histograms of series i are rows ``offsets[i]:offsets[i + 1]``.
        histograms: Their `series` are refs; times ascend strictly within a series. Stale markers are among them.
    """

    labels: LabelTable
    offsets: NDArray[np.int64]
    histograms: NativeHistograms

    def __len__(self) -> int:
        return len(self.offsets) - 1


def within(
    histograms: NativeHistograms, refs: NDArray[np.int32], start_ms: int, end_ms: int
) -> NativeHistograms:  # fmt: skip
    """Return the histograms of `refs` in a time range, in the order in which they are."""
    times = histograms.time_ms
    return histograms.select((times >= start_ms) & (times <= end_ms) & np.isin(histograms.series, refs))


def ordered(histograms: NativeHistograms) -> NativeHistograms:
    """Return the histograms sorted by ref and time; of the same time in the order in which they are."""
    series, times = histograms.series, histograms.time_ms
    steps = np.diff(series)
    if bool(((steps > 0) | ((steps == 0) & (np.diff(times) >= 0))).all()):
        return histograms
    return histograms.take(np.lexsort((times, series)))


def merge(sources: Sequence[NativeHistograms]) -> NativeHistograms:
    """Put the histograms of all sources together, sorted by ref and strictly by time.

    Args:
        sources: Where two have one of the same ref and time, the first one's stands, but a histogram beats a stale
            marker.
    """
    found = ordered(NativeHistograms.joined([source for source in sources if len(source)]))
    starts = _group_starts(found.series, found.time_ms)
    if len(starts) == len(found):
        return found
    return found.take(_standing(is_stale(found), starts))


def compare(late: NativeHistograms, stored: Sequence[NativeHistograms]) -> NDArray[np.uint8]:
    """Look late histograms up.

    Args:
        late: n histograms in any order, repeats allowed.
        stored: What is stored of their refs and times.

    Returns:
        (n,) uint8 of `Stored`. Of histograms of the same time within `late` the first counts as stored for the
        others. Equal are histograms whose reset hints and start times differ.
    """
    if not len(late):
        return np.zeros(0, np.uint8)
    # The stored ones before the late ones, and these in their order: a stable sort makes the first of a time stand.
    together = NativeHistograms.joined([*(part for part in stored if len(part)), late])
    order = np.lexsort((together.time_ms, together.series))
    starts = _group_starts(together.series[order], together.time_ms[order])
    stale = is_stale(together)[order]
    counts = np.diff(starts, append=len(order))
    standing = np.repeat(_standing(stale, starts), counts)
    places = np.arange(len(order))
    other = np.where(_equal(together, order, order[standing]), Stored.EQUAL, Stored.OTHER)
    of_value = np.where(standing < places, other, Stored.NOTHING)
    # A histogram beats a stale marker, whichever came first.
    of_stale = np.where(np.repeat(starts, counts) < places, Stored.EQUAL, Stored.NOTHING)
    verdict = np.empty(len(order), np.uint8)
    verdict[order] = np.where(stale, of_stale, of_value)
    return verdict[len(together) - len(late) :]


def taken(
    refs: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    other_refs: NDArray[np.int32],
    other_times_ms: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which of some refs and times are among others, which are those of samples of the other kind."""
    if not len(other_refs):
        return np.zeros(len(refs), np.bool_)
    all_refs, all_times = np.concatenate([other_refs, refs]), np.concatenate([other_times_ms, times_ms])
    order = np.lexsort((all_times, all_refs))
    starts = _group_starts(all_refs[order], all_times[order])
    hit = np.repeat(order[starts] < len(other_refs), np.diff(starts, append=len(order)))
    found = np.empty(len(order), np.bool_)
    found[order] = hit
    return found[len(other_refs) :]


def _group_starts(refs: NDArray[np.int32], times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first row of each ref and time, of sorted rows."""
    new = np.ones(len(refs), np.bool_)
    new[1:] = (refs[1:] != refs[:-1]) | (times_ms[1:] != times_ms[:-1])
    return np.flatnonzero(new)


def _standing(stale: NDArray[np.bool_], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of each group that stands: the first that is no stale marker, else the first."""
    if not len(starts):
        return starts
    n = len(stale)
    first = np.minimum.reduceat(np.where(stale, n, np.arange(n)), starts)
    standing: NDArray[np.int64] = np.where(first < n, first, starts)
    return standing


def _equal(histograms: NativeHistograms, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows have the same buckets and counts as others."""
    same = np.ones(len(rows), np.bool_)
    for name in _SCALARS:
        column = getattr(histograms, name)
        same &= column[rows] == column[others]
    for name in _FLOATS:
        column = getattr(histograms, name).view(np.uint64)
        same &= column[rows] == column[others]
    for starts, _ in _RAGGED:
        sizes = np.diff(getattr(histograms, starts))
        same &= sizes[rows] == sizes[others]
    doubtful = np.flatnonzero(same & (rows != others))
    one, other = histograms.take(rows[doubtful]), histograms.take(others[doubtful])
    for starts, contents in _RAGGED:
        at = getattr(one, starts)
        differ = _bits(getattr(one, contents)) != _bits(getattr(other, contents))
        owners = np.repeat(np.arange(len(doubtful)), np.diff(at))
        same[doubtful[owners[differ]]] = False
    return same


def _bits(contents: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return one 64-bit word for each span, count or bound."""
    return np.ascontiguousarray(contents).view(np.uint64).ravel()
