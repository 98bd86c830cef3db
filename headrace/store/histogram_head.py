"""The newest native histograms of a workspace, in memory.

What came in order is kept as it came until there is enough of it to be encoded; those chunks never change. One thread
writes. Readers take the lock for as long as it takes to look what is there.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store.codec.histograms import HistogramChunks
from headrace.store.histogram_rows import merge, ordered, within

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEVER = np.iinfo(np.int64).min
_FOREVER = np.iinfo(np.int64).max

OPEN_BYTES = 16 << 20
"""Histograms that are not encoded, at most."""

_OPEN_ROWS = 64
"""Histograms of a series, on average, that are worth encoding."""


class HistogramHead:
    """Histograms as they came, chunks, and histograms that came out of order."""

    def __init__(self, open_bytes: int = OPEN_BYTES) -> None:
        self._lock = threading.Lock()
        self._open_bytes = open_bytes
        self._open: list[NativeHistograms] = []
        self._sealed: tuple[HistogramChunks, ...] = ()
        self._late: list[NativeHistograms] = []
        self._writing = _NEVER, 0
        """Late histograms that a flush writes: so many of those older than this time."""
        self._seen = np.zeros(256, np.bool_)
        self.valid_from = _NEVER
        """Histograms before this time that came in order are in blocks."""

    # -- writing -------------------------------------------------------------------------------------------

    def add(self, histograms: NativeHistograms) -> None:
        """Keep histograms that are newer than all before them of their series; canonical."""
        if not len(histograms):
            return
        self._seen = grown(self._seen, int(histograms.series.max()) + 1, fill=False)
        self._seen[histograms.series] = True
        with self._lock:
            _push(self._open, histograms)

    def add_late(self, histograms: NativeHistograms) -> None:
        """Keep histograms that came out of order, or too late for the others; canonical."""
        if len(histograms):
            with self._lock:
                _push(self._late, histograms)

    def seal_where_due(self) -> None:
        """Encode what is open where there is enough of it; readers see it all the time. On the writer's thread."""
        with self._lock:
            parts = tuple(self._open)
        rows, size = sum(map(len, parts)), sum(part.size_bytes for part in parts)
        if size <= self._open_bytes and rows <= _OPEN_ROWS * int(np.count_nonzero(self._seen)):
            return
        chunks = HistogramChunks.of("the head", ordered(NativeHistograms.joined(parts)))
        with self._lock:
            self._sealed = (*self._sealed, chunks)
            self._open = []
        self._seen[:] = False

    def forget_before(self, limit_ms: int) -> None:
        """Hide what came in order before `limit_ms`, and drop it where nothing newer is kept with it."""
        with self._lock:
            self.valid_from = limit_ms
            self._sealed = tuple(chunks for chunks in self._sealed if int(chunks.last_ms.max()) >= limit_ms)
            self._open = [part for part in self._open if int(part.time_ms.max()) >= limit_ms]

    def begin_flush(self, limit_ms: int) -> NativeHistograms:
        """Return the late histograms older than `limit_ms`, in the order in which they came; see `end_flush`."""
        with self._lock:
            late = NativeHistograms.joined(self._late)
            old = late.time_ms < limit_ms
            self._writing = limit_ms, int(old.sum())
        return late.select(old)

    def end_flush(self, *, worked: bool) -> None:
        """Drop the late histograms that `begin_flush` returned: blocks hold them now. Where that failed, they stay."""
        with self._lock:
            limit_ms, count = self._writing
            if worked and count:
                late = NativeHistograms.joined(self._late)
                old = late.time_ms < limit_ms
                self._keep_late(late, ~old | (np.cumsum(old) > count))
            self._writing = _NEVER, 0

    def drop_late(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> None:
        """Drop late histograms of some series within a time range: they are deleted."""
        with self._lock:
            late = NativeHistograms.joined(self._late)
            hit = (late.time_ms >= start_ms) & (late.time_ms <= end_ms) & np.isin(late.series, refs)
            limit_ms, count = self._writing
            old = late.time_ms < limit_ms
            self._writing = limit_ms, count - int((hit & old & (np.cumsum(old) <= count)).sum())
            self._keep_late(late, ~hit)

    def _keep_late(self, late: NativeHistograms, keep: NDArray[np.bool_]) -> None:
        left = late.select(keep)
        self._late = [left] if len(left) else []

    # -- reading -------------------------------------------------------------------------------------------

    def read(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[NativeHistograms]:
        """Return the histograms of `refs`, ascending, in a time range: those that came in order, then late ones."""
        late = within(self.late(), refs, start_ms, end_ms)
        return [*self.read_in_order(refs, start_ms, end_ms), late]

    def read_in_order(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[NativeHistograms]:
        """Return the histograms of `refs`, ascending, that came in order, oldest first."""
        with self._lock:
            sealed, parts = self._sealed, tuple(self._open)
            start_ms = max(start_ms, self.valid_from)
        found = [chunks.read(refs, start_ms, end_ms) for chunks in sealed]
        return found + [within(part, refs, start_ms, end_ms) for part in parts]

    def present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.bool_]:
        """Return which of `refs` have histograms in a time range."""
        with self._lock:
            sealed, parts, late = self._sealed, tuple(self._open), tuple(self._late)
            first = max(start_ms, self.valid_from)
        found = np.zeros(len(refs), np.bool_)
        for chunks in sealed:
            found |= chunks.present(refs, first, end_ms)
        for since, some in ((first, parts), (start_ms, late)):
            for part in some:
                found |= np.isin(refs, part.series[(part.time_ms >= since) & (part.time_ms <= end_ms)])
        return found

    def late(self) -> NativeHistograms:
        """Return all late histograms, in the order in which they came."""
        with self._lock:
            if len(self._late) > 1:
                self._late = [NativeHistograms.joined(self._late)]
            return self._late[0] if self._late else NativeHistograms.empty()

    def has_samples(self, refs: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of `refs` have histograms here."""
        with self._lock:
            limit = self.valid_from
            held = [part.series[part.time_ms >= limit] for part in self._open]
            held += [chunks.refs[chunks.newest_ms() >= limit] for chunks in self._sealed]
            held += [part.series for part in self._late]
        found: NDArray[np.bool_] = np.isin(refs, np.concatenate([np.empty(0, np.int32), *held]))
        return found

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing here."""
        with self._lock:
            return not (self._open or self._sealed or self._late)

    @property
    def oldest_in_order_ms(self) -> int:
        """Oldest time of histograms that came in order and are shown; the largest int64 without any."""
        with self._lock:
            parts = [part.time_ms for part in self._open] + [chunks.first_ms for chunks in self._sealed]
            newest = [part.time_ms for part in self._open] + [chunks.last_ms for chunks in self._sealed]
            limit = self.valid_from
        oldest = min((int(times.min()) for times in parts), default=_FOREVER)
        return max(oldest, limit) if any(int(times.max()) >= limit for times in newest) else _FOREVER

    def extents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return first and last time of what came in order: chunks, and each histogram that is in none."""
        with self._lock:
            parts = [part.time_ms for part in self._open]
            firsts, lasts = [chunks.first_ms for chunks in self._sealed], [chunks.last_ms for chunks in self._sealed]
        none = np.empty(0, np.int64)
        return np.concatenate([none, *parts, *firsts]), np.concatenate([none, *parts, *lasts])

    @property
    def oldest_late_ms(self) -> int:
        """Oldest time of late histograms; the largest int64 without any."""
        return int(self.late().time_ms.min(initial=_FOREVER))

    @property
    def late_samples(self) -> int:
        """Late histograms."""
        with self._lock:
            return sum(map(len, self._late))

    def memory_bytes(self) -> int:
        """Return the bytes in use."""
        with self._lock:
            open_and_late = sum(part.size_bytes for part in (*self._open, *self._late))
            return open_and_late + sum(chunks.size_bytes for chunks in self._sealed)


def late_of(late: NativeHistograms, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NativeHistograms:
    """Return the late histograms of `refs` in a time range, sorted by ref and strictly by time."""
    return merge([within(late, refs, start_ms, end_ms)])


def _push(parts: list[NativeHistograms], part: NativeHistograms) -> None:
    """Append a part; small ones become larger ones, so that their number is the logarithm of their rows."""
    parts.append(part)
    while len(parts) > 1 and len(parts[-2]) <= 2 * len(parts[-1]):
        parts[-2:] = [NativeHistograms.joined(parts[-2:])]
