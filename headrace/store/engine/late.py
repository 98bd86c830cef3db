"""Samples and histograms that come out of order.

Each is compared with what is stored at its time, in the head and in blocks: what is there already is a repeat or a
conflict, and a series has at one time either a sample or a histogram.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.errors import CorruptChunk
from headrace.store.codec.histograms import STALE_BITS, is_stale
from headrace.store.head_kernels import BELOW_FLOOR
from headrace.store.histogram_rows import compare as compare_histograms
from headrace.store.histogram_rows import merge as merge_histograms
from headrace.store.histogram_rows import taken
from headrace.store.interfaces import Code, SeriesBatch
from headrace.store.runs import merge
from headrace.store.samples_at import Stored, compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.engine.contents import Contents
    from headrace.store.engine.sources import Sources
    from headrace.store.runs import Runs


class LateArrivals:
    """Takes what comes out of order into the head of one workspace."""

    def __init__(self, contents: Contents, sources: Sources) -> None:
        self._head = contents.head
        self._logger = contents.logger
        self._sources = sources

    def take(self, batch: SeriesBatch, codes: NDArray[np.uint8]) -> SeriesBatch | None:
        """Keep what came out of order, as far as nothing of its time is there; settle the codes of these rows.

        Args:
            batch: n samples.
            codes: (n,) uint8 that the head gave them; changed.

        Returns:
            What was kept.
        """
        doubtful = _doubtful(codes)
        if doubtful.any():
            rows = np.flatnonzero(doubtful)
            late = SeriesBatch(batch.refs[rows], batch.times_ms[rows], batch.values[rows])
            stored = compare(late, self._stored)
            self._compare_kinds(late, stored)
            _settle(codes, rows, stored)
        kept = _kept(codes)
        if not kept.any():
            return None
        late = SeriesBatch(batch.refs[kept], batch.times_ms[kept], batch.values[kept])
        self._head.add_late(late)
        return late

    def take_histograms(self, histograms: NativeHistograms, codes: NDArray[np.uint8]) -> NativeHistograms:
        """Do what `take` does for histograms."""
        rows = np.flatnonzero(_doubtful(codes))
        if len(rows):
            late = histograms.take(rows)
            refs, start, end = np.unique(late.series), int(late.time_ms.min()), int(late.time_ms.max())
            stored = compare_histograms(late, self._stored_histograms(refs, start, end))
            samples = merge(self._stored(refs, start, end), len(refs))
            owners = np.repeat(refs, np.diff(samples.offsets))
            hit = taken(late.series, late.time_ms, owners, samples.times_ms)
            stored[hit] = np.where(is_stale(late), Stored.EQUAL, Stored.OTHER)[hit]
            _settle(codes, rows, stored)
        late = histograms.select(_kept(codes))
        self._head.histograms.add_late(late)
        return late

    def replay(self, batch: SeriesBatch) -> None:
        """Keep samples of the log as far as nothing of their time is there."""
        new = compare(batch, self._stored) == Stored.NOTHING
        self._head.seen(batch.refs, batch.times_ms)
        self._head.add_late(SeriesBatch(batch.refs[new], batch.times_ms[new], batch.values[new]))

    def replay_histograms(self, histograms: NativeHistograms) -> None:
        """Keep histograms of the log as far as no other of their time is there."""
        if not len(histograms):
            return
        times = histograms.time_ms
        sources = self._stored_histograms(np.unique(histograms.series), int(times.min()), int(times.max()))
        new = compare_histograms(histograms, sources) == Stored.NOTHING
        self._head.seen(histograms.series, times)
        self._head.histograms.add_late(histograms.select(new))

    def _compare_kinds(self, late: SeriesBatch, stored: NDArray[np.uint8]) -> None:
        """Settle samples at times of histograms of their series: conflicts, unless they are stale markers."""
        sources = self._stored_histograms(np.unique(late.refs), int(late.times_ms.min()), int(late.times_ms.max()))
        if sources:
            found = merge_histograms(sources)
            hit = taken(late.refs, late.times_ms, found.series, found.time_ms)
            stale = late.values.view(np.uint64) == STALE_BITS
            stored[hit] = np.where(stale, Stored.EQUAL, Stored.OTHER)[hit]

    def _stored(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[Runs]:
        try:
            return self._sources.samples(refs, start_ms, end_ms)
        except CorruptChunk as error:
            # Late samples are then taken unseen; a query settles which of two stands.
            self._logger.error("%s", error)  # noqa: TRY400 -- the message says all
            return []

    def _stored_histograms(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[NativeHistograms]:
        try:
            return self._sources.histograms(refs, start_ms, end_ms)
        except CorruptChunk as error:
            # As of samples: what is late is taken unseen.
            self._logger.error("%s", error)  # noqa: TRY400 -- the message says all
            return []


def _doubtful(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = _kept(codes) | (codes == Code.OUT_OF_ORDER)
    return found


def _kept(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (codes == Code.OUT_OF_ORDER_OK) | (codes == BELOW_FLOOR)
    return found


def _settle(codes: NDArray[np.uint8], rows: NDArray[np.int64], stored: NDArray[np.uint8]) -> None:
    codes[rows[stored == Stored.EQUAL]] = Code.DUPLICATE
    codes[rows[stored == Stored.OTHER]] = Code.CONFLICT
