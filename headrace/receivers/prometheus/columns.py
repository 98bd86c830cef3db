"""From a page to the columns of a batch: series, labels that are new, limits, timestamps, stale markers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import NS_PER_MS, STALE_BITS, ExemplarColumns, Flag, Metadata
from headrace.pipeline.series import Refusal
from headrace.receivers.prometheus.cache_kernels import DROPPED, REFUSED, UNKNOWN
from headrace.receivers.prometheus.labels import Labeller, Turns
from headrace.receivers.prometheus.native import kept_histograms, limited

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.component import Settings
    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.exposition import Exposition
    from headrace.pipeline.wire.spans import LabelSpans
    from headrace.receivers.prometheus.cache import Admission, ScrapeCache
    from headrace.receivers.prometheus.job import Job

_AHEAD_NS = 600 * 1_000_000_000
"""How far a timestamp of a page may lie ahead of the clock."""

_MAX_MS = ((1 << 63) - 1) // NS_PER_MS
_MAX_EXEMPLAR_CHARACTERS = 128


@dataclass(slots=True)
class Result:
    """What a scrape brought, for the metrics about it."""

    up: float = 0.0
    scraped: int = 0
    kept: int = 0
    added: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of a batch, stale markers last, and what goes with them."""

    series: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    flags: NDArray[np.uint8]
    starts: NDArray[np.int64] | None
    stale: NDArray[np.int32]
    native: NativeHistograms | None
    exemplars: ExemplarColumns | None
    metadata: tuple[Metadata, ...]
    digest: tuple[int, int] | None

    @classmethod
    def of_markers(cls, series: NDArray[np.int32], time_ns: int, digest: tuple[int, int] | None) -> Columns:
        """Return rows that mark series as stale."""
        return cls(*stale_rows(series, time_ns), None, series, None, None, (), digest)


class PageColumns:
    """Makes the columns of one target's pages.

    Args:
        job: Its job.
        settings: Of the receiver.
        table: Where series are.
        labeller: Gives new series their ids.
        cache: Knows the others.
        source: The target, for the counts of drops.
    """

    def __init__(
        self, job: Job, settings: Settings, table: SeriesTable, labeller: Labeller, cache: ScrapeCache, source: str
    ) -> None:
        self._job = job
        self._settings = settings
        self._table = table
        self._labeller = labeller
        self._cache = cache
        self._source = source

    async def of(self, page: Exposition, time_ns: int, result: Result, known_digest: tuple[int, int] | None) -> Columns:
        """Return the rows of a page.

        Args:
            page: The page.
            time_ns: Time of samples without a timestamp.
            result: Takes the counts.
            known_digest: Of the metadata that is known: what is equal is not read.

        Raises:
            ScrapeFailed: A series is not valid, or a limit is passed.
            InvalidInput: Something of the page is not well formed.
        """
        metadata = () if page.digest == known_digest else await _news(page)
        entries, series = await self._resolved(page, result)
        exemplar_labels = page.exemplar_labels() if len(page.exemplars) else None
        histograms = None if page.native is None else limited(page.native, self._job)
        config = self._job.config
        timed = page.timed if config.honor_timestamps else np.zeros(len(page), np.bool_)
        admission = self._cache.admit(entries, series, timed, track_timed=config.track_timestamps_staleness)
        result.up, result.added = 1.0, admission.added
        self._count(admission)
        keep, times = admission.keep, np.full(len(page), time_ns, np.int64)
        if timed.any():
            keep, times = self._timed(page, timed, keep, times)
        native = None
        if histograms is not None:
            native = kept_histograms(histograms, keep, series, times, self._settings.drops, self._source)
            keep = keep.copy()
            keep[histograms.rows] = False
        stale = stale_rows(admission.stale, time_ns)
        kept = series[keep]
        created = None if page.created is None else _nanoseconds(page.created[keep])
        return Columns(
            np.concatenate([kept, stale[0]]),
            np.concatenate([times[keep], stale[1]]),
            np.concatenate([page.values[keep], stale[2]]),
            np.concatenate([np.zeros(len(kept), np.uint8), stale[3]]),
            None if created is None else np.concatenate([created, np.zeros(len(stale[0]), np.int64)]),
            admission.stale,
            native,
            None if exemplar_labels is None else self._exemplars(page, series, exemplar_labels),
            metadata,
            page.digest,
        )

    async def _resolved(self, page: Exposition, result: Result) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return entries and verdicts of all samples; what is new gets its verdict now."""
        cache = self._cache
        entries, series, rows = cache.resolve(page)
        self._table.touch(series[series >= 0])
        if len(rows):
            known = int(np.count_nonzero(series != DROPPED) - np.count_nonzero(series == UNKNOWN))
            cache.decide(entries[rows], await self._labeller.verdicts(page, rows, known))
            series = cache.verdicts(entries)
        result.kept = int(np.count_nonzero(series != DROPPED))
        self._labeller.check_samples(result.kept)
        return entries, series

    def _timed(
        self, page: Exposition, timed: NDArray[np.bool_], keep: NDArray[np.bool_], times: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Use the timestamps of a page, and drop samples whose own is out of range."""
        latest_ms = min(_MAX_MS, (self._settings.clock_ns() + _AHEAD_NS) // NS_PER_MS)
        fits = (page.times <= latest_ms) & (page.times >= -_MAX_MS)
        lost = keep & timed & ~fits
        if lost.any():
            self._settings.drops.add("out_of_bounds", int(lost.sum()), self._source)
            keep = keep & ~lost
        usable = timed & fits
        times[usable] = page.times[usable] * NS_PER_MS
        return keep, times

    def _count(self, admission: Admission) -> None:
        """Count the samples that have no place."""
        drops = self._settings.drops
        if admission.repeats:
            drops.add("duplicate_sample", admission.repeats, self._source)
        if not (admission.series <= REFUSED).any():
            return
        refused = admission.series[admission.series <= REFUSED]
        for verdict, count in zip(*(part.tolist() for part in np.unique(refused, return_counts=True)), strict=True):
            drops.add(Refusal(REFUSED - verdict).reason, count, self._source)

    def _exemplars(self, page: Exposition, series: NDArray[np.int32], labels: LabelSpans) -> ExemplarColumns | None:
        """Return the exemplars of series that are kept, without those whose labels are too long."""
        ids = series[page.exemplars[:, 0]]
        spans, starts, arena = labels.spans, labels.starts, labels.buf
        sizes = np.concatenate([[0], np.cumsum(spans[:, 1] + spans[:, 3])])
        long = sizes[starts[1:]] - sizes[starts[:-1]] > _MAX_EXEMPLAR_CHARACTERS
        for i in np.flatnonzero(long).tolist():
            texts = spans[starts[i] : starts[i + 1]].reshape(-1, 2).tolist()
            long[i] = sum(len(arena[at : at + n].tobytes().decode()) for at, n in texts) > _MAX_EXEMPLAR_CHARACTERS
        if long.any():
            self._settings.drops.add("exemplar_too_long", int(long.sum()), self._source)
        fits = np.abs(page.exemplar_times) <= _MAX_MS
        times = np.where(fits, page.exemplar_times, 0) * NS_PER_MS
        found = ExemplarColumns(ids, times, page.exemplar_values, starts, spans, arena)
        keep = (ids >= 0) & ~long & fits
        return found.select(keep) if keep.any() else None


async def _news(page: Exposition) -> tuple[Metadata, ...]:
    """Return the metadata of a page."""
    found: dict[str, Metadata] = {}
    turns = Turns()
    for number, _ in enumerate(page.collect_metadata(found)):
        if not number % 256:
            await turns.give_way()
    return tuple(found.values())


def stale_rows(
    series: NDArray[np.int32], time_ns: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8]]:
    """Return columns that mark series as stale."""
    n = len(series)
    values = np.full(n, STALE_BITS, np.uint64).view(np.float64)
    return series, np.full(n, time_ns, np.int64), values, np.full(n, Flag.STALE, np.uint8)


def _nanoseconds(times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return created timestamps in nanoseconds, 0 where they are out of range."""
    return np.where(np.abs(times_ms) <= _MAX_MS, times_ms, 0) * NS_PER_MS
