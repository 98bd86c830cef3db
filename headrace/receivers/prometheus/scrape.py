"""One target: when it is scraped, and what becomes of a page.

Source:
    Prometheus, "Jobs and instances" and "Staleness".
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import NS_PER_MS, STALE_BITS, BatchContext, ExemplarColumns, Flag, Metadata, MetricBatch
from headrace.pipeline.errors import InvalidInput, Refused
from headrace.pipeline.series import Refusal
from headrace.pipeline.wire.text import PageReader
from headrace.receivers.prometheus.cache import Admission, ScrapeCache
from headrace.receivers.prometheus.cache_kernels import DROPPED, REFUSED
from headrace.receivers.prometheus.errors import ScrapeFailed
from headrace.receivers.prometheus.labels import Labeller, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.pipeline.component import Settings, Sink
    from headrace.pipeline.relabel import Relabeler
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.text import Page
    from headrace.receivers.prometheus.cache import Stamps
    from headrace.receivers.prometheus.config import Job
    from headrace.receivers.prometheus.fetch import Fetcher
    from headrace.receivers.prometheus.targets import Target

_INLINE_BYTES = 512 * 1024
"""Longer pages are read on a thread: the loop is not held for more than a millisecond or two."""

_AHEAD_NS = 600 * 1_000_000_000
"""How far a timestamp of a page may lie ahead of the clock."""

_MAX_MS = ((1 << 63) - 1) // NS_PER_MS
_MAX_EXEMPLAR_CHARACTERS = 128
_NOTHING = np.empty(0, np.int32)

_REPORT = ("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
           "scrape_series_added")  # fmt: skip
_EXTRA = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")


@dataclass(slots=True)
class Status:
    """What is known about a target.

    Attributes:
        error: Why the last scrape failed; empty after a good one.
        began_ns: When it began, 0 before the first.
        took_s: Seconds it took.
        scrapes: How many there were.
    """

    error: str = ""
    began_ns: int = 0
    took_s: float = 0.0
    scrapes: int = 0


@dataclass(frozen=True, slots=True)
class Shared:
    """What the targets of a job share.

    Attributes:
        job: The job.
        settings: Of the receiver.
        table: Series.
        stamps: Of the table.
        sink: Where batches go.
        fetcher: Fetches pages.
        relabeler: The job's ``metric_relabel_configs``, None without.
        on_failure: Counts a failed scrape by reason.
        fault: Why no target of the job may be scraped, or nothing.
    """

    job: Job
    settings: Settings
    table: SeriesTable
    stamps: Stamps
    sink: Sink
    fetcher: Fetcher
    relabeler: Relabeler | None
    on_failure: Callable[[str], None]
    fault: Callable[[], str]


@dataclass(slots=True)
class _Result:
    """What a scrape brought, for the metrics about it."""

    up: float = 0.0
    scraped: int = 0
    kept: int = 0
    added: int = 0
    size_bytes: int = 0


class TargetScraper:
    """Scrapes one target."""

    def __init__(self, shared: Shared, target: Target) -> None:
        self.target = target
        self.status = Status()
        self._shared = shared
        self._labeller = Labeller(shared.job, target.labels, shared.relabeler, shared.table)
        self._cache = ScrapeCache(shared.table, shared.stamps, repr((target.labels, target.url)).encode())
        self._reader = PageReader(self._cache.secrets)
        self._names = _REPORT + (_EXTRA if shared.job.extra_metrics else ())
        self._report_ids = _NOTHING
        self._digest: tuple[int, int] | None = None
        self.metadata: dict[str, Metadata] = {}
        """What the last page said about its metric families."""
        shared.table.register(self)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop what is known about ids that the table frees."""
        self._cache.forget(ids)
        if np.isin(self._report_ids, ids).any():
            self._report_ids = _NOTHING

    async def run(self, seed: int) -> None:
        """Scrape at the target's times, until cancelled."""
        interval_ns = self.target.interval // timedelta(microseconds=1) * 1000
        offset_ns = self.target.offset_ns(seed)
        clock_ns = self._shared.settings.clock_ns
        tolerance_ns = min(2 * NS_PER_MS, interval_ns // 100)
        tick_ns = next_tick(clock_ns(), interval_ns, offset_ns)
        while True:
            await asyncio.sleep(max(0, tick_ns - clock_ns()) / 1e9)
            now_ns = clock_ns()
            if now_ns < tick_ns - tolerance_ns:
                # The timer came early, or the clock was set back.
                tick_ns = next_tick(now_ns, interval_ns, offset_ns)
                continue
            await self.scrape(tick_ns if now_ns - tick_ns <= tolerance_ns else now_ns)
            now_ns = clock_ns()
            set_back = now_ns < tick_ns - interval_ns
            tick_ns = next_tick(now_ns if set_back else max(now_ns, tick_ns), interval_ns, offset_ns)

    async def scrape(self, time_ns: int) -> None:
        """Scrape once.

        Args:
            time_ns: Time of samples without a timestamp, Unix nanoseconds.
        """
        began_s = self._shared.settings.monotonic_s()
        # Whoever is in flight keeps the ids it has gathered from being given to other series.
        pin = self._shared.table.pin()
        result = _Result()
        error = ""
        try:
            batch = await self._good(time_ns, result)
        except ScrapeFailed as failed:
            self._cache.undecide()
            error = str(failed)
            self._shared.on_failure(failed.reason)
            result = _Result(0.0, failed.scraped or result.scraped, failed.kept, 0, failed.size_bytes)
            batch = None
        took_s = self._shared.settings.monotonic_s() - began_s
        scrapes = self.status.scrapes + 1
        if error and error != self.status.error:
            self._shared.settings.logger.warning("scrape of %s failed: %s", self.target.url, error)
        self.status = Status(error, time_ns, took_s, scrapes)
        await self._deliver(batch, result, time_ns, took_s)
        del pin

    async def end(self, time_ns: int) -> None:
        """Mark everything about the target as stale: it is gone."""
        reports = self._reports()
        series = np.concatenate([self._cache.clear_tracked(), reports[reports >= 0]])
        await self._send(self._batch(*_stale_rows(series, time_ns)), _NOTHING)

    async def _good(self, time_ns: int, result: _Result) -> _Columns:
        """Return the samples of a page."""
        shared = self._shared
        fault = shared.fault()
        if fault:
            raise ScrapeFailed("target_limit", fault)
        body = await shared.fetcher.fetch(self.target)
        result.size_bytes = len(body.data)
        # An empty body is a page without samples in any format.
        page = await self._read(body.data, openmetrics=body.openmetrics and bool(body.data))
        result.scraped = len(page)
        try:
            return await self._columns(page, time_ns, result)
        except InvalidInput as error:
            raise self._failed("parse", str(error), result) from None
        except ScrapeFailed as failed:
            failed.scraped, failed.size_bytes = result.scraped, result.size_bytes
            raise

    async def _read(self, data: bytes, *, openmetrics: bool) -> Page:
        try:
            if len(data) <= _INLINE_BYTES:
                return self._reader.read(data, openmetrics=openmetrics)
            return await asyncio.to_thread(self._reader.read, data, openmetrics=openmetrics)
        except InvalidInput as error:
            raise self._failed("parse", str(error), _Result(size_bytes=len(data))) from None

    async def _columns(self, page: Page, time_ns: int, result: _Result) -> _Columns:
        shared, cache = self._shared, self._cache
        metadata = await self._news(page)
        entries, series, rows = cache.resolve(page)
        shared.table.touch(series[series >= 0])
        if len(rows):
            known = int((series != DROPPED).sum()) - int((series == -1).sum())
            cache.decide(entries[rows], await self._labeller.verdicts(page, rows, known))
            series = cache.verdicts(entries)
        result.kept = int((series != DROPPED).sum())
        self._labeller.check_samples(result.kept)
        exemplar_labels = page.exemplar_labels() if len(page.exemplars) else None
        config = shared.job.config
        timed = page.timed if config.honor_timestamps else np.zeros(len(page), np.bool_)
        admission = cache.admit(entries, series, timed, track_timed=config.track_timestamps_staleness)
        result.up, result.added = 1.0, admission.added
        self._count(admission)
        keep = admission.keep
        times = np.full(len(page), time_ns, np.int64)
        if timed.any():
            keep, times = self._timed(page, timed, keep, times)
        stale = _stale_rows(admission.stale, time_ns)
        exemplars = None
        if exemplar_labels is not None:
            exemplars = self._exemplars(
                page, series, exemplar_labels.spans, exemplar_labels.starts, exemplar_labels.buf
            )
        return _Columns(
            np.concatenate([series[keep], stale[0]]),
            np.concatenate([times[keep], stale[1]]),
            np.concatenate([page.values[keep], stale[2]]),
            np.concatenate([np.zeros(int(keep.sum()), np.uint8), stale[3]]),
            admission.stale,
            exemplars,
            metadata,
            page.digest,
        )

    def _timed(
        self, page: Page, timed: NDArray[np.bool_], keep: NDArray[np.bool_], times: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Use the timestamps of a page, and drop samples whose own is out of range."""
        latest_ms = min(_MAX_MS, (self._shared.settings.clock_ns() + _AHEAD_NS) // NS_PER_MS)
        fits = (page.times <= latest_ms) & (page.times >= -_MAX_MS)
        lost = keep & timed & ~fits
        if lost.any():
            self._shared.settings.drops.add("out_of_bounds", int(lost.sum()), self.target.url)
            keep = keep & ~lost
        usable = timed & fits
        times[usable] = page.times[usable] * NS_PER_MS
        return keep, times

    def _count(self, admission: Admission) -> None:
        """Count the samples that have no place."""
        drops = self._shared.settings.drops
        if admission.repeats:
            drops.add("duplicate_sample", admission.repeats, self.target.url)
        refused = admission.series[admission.series <= REFUSED]
        for verdict, count in zip(*(part.tolist() for part in np.unique(refused, return_counts=True)), strict=True):
            drops.add(Refusal(REFUSED - verdict).reason, count, self.target.url)

    def _exemplars(
        self, page: Page, series: NDArray[np.int32], spans: NDArray[np.int32], starts: NDArray[np.int32],
        arena: NDArray[np.uint8],
    ) -> ExemplarColumns | None:  # fmt: skip
        """Return the exemplars of series that are kept, without those whose labels are too long."""
        ids = series[page.exemplars[:, 0]]
        sizes = np.concatenate([[0], np.cumsum(spans[:, 1] + spans[:, 3])])
        long = sizes[starts[1:]] - sizes[starts[:-1]] > _MAX_EXEMPLAR_CHARACTERS
        for i in np.flatnonzero(long).tolist():
            texts = spans[starts[i] : starts[i + 1]].reshape(-1, 2).tolist()
            long[i] = sum(len(arena[at : at + n].tobytes().decode()) for at, n in texts) > _MAX_EXEMPLAR_CHARACTERS
        if long.any():
            self._shared.settings.drops.add("exemplar_too_long", int(long.sum()), self.target.url)
        fits = np.abs(page.exemplar_times) <= _MAX_MS
        times = np.where(fits, page.exemplar_times, 0) * NS_PER_MS
        found = ExemplarColumns(ids, times, page.exemplar_values, starts, spans, arena)
        keep = (ids >= 0) & ~long & fits
        return found.select(keep) if keep.any() else None

    async def _news(self, page: Page) -> tuple[Metadata, ...]:
        """Return the metadata of a page where it differs from the last one's."""
        if page.digest == self._digest:
            return ()
        found: dict[str, Metadata] = {}
        turns = Turns()
        for number, _ in enumerate(page.collect_metadata(found)):
            if not number % 256:
                await turns.give_way()
        return tuple(found.values())

    def _reports(self) -> NDArray[np.int32]:
        """Return the ids of the metrics about the target."""
        if not len(self._report_ids):
            self._report_ids = self._shared.table.intern([self._labeller.series(name) for name in self._names])
        return self._report_ids

    async def _deliver(self, columns: _Columns | None, result: _Result, time_ns: int, took_s: float) -> None:
        """Send what a scrape brought, with the metrics about it."""
        if columns is None:
            stale = self._cache.clear_tracked()
            columns = _Columns(*_stale_rows(stale, time_ns), stale, None, (), self._digest)
        values = [result.up, took_s, result.scraped, result.kept, result.added]
        if self._shared.job.extra_metrics:
            values += [self.target.timeout.total_seconds(), self._shared.job.sample_limit, result.size_bytes]
        reports = self._reports()
        self._shared.table.touch(reports[reports >= 0])
        room = reports >= 0
        batch = self._batch(
            np.concatenate([columns.series, reports[room]]),
            np.concatenate([columns.times, np.full(int(room.sum()), time_ns, np.int64)]),
            np.concatenate([columns.values, np.array(values, np.float64)[room]]),
            np.concatenate([columns.flags, np.zeros(int(room.sum()), np.uint8)]),
            columns.exemplars,
            tuple(one for one in columns.metadata if self.metadata.get(one.family) != one),
        )
        if await self._send(batch, columns.stale) and columns.digest != self._digest:
            self._digest = columns.digest
            self.metadata = {one.family: one for one in columns.metadata}

    async def _send(self, batch: MetricBatch, stale: NDArray[np.int32]) -> bool:
        """Deliver, once more after a refusal; return whether it was taken."""
        settings = self._shared.settings
        try:
            try:
                await self._shared.sink.send(batch)
            except Refused as refused:
                await asyncio.sleep(min(refused.retry_after, self.target.interval.total_seconds() / 4))
                await self._shared.sink.send(batch)
        except Refused as refused:
            self._cache.restore_tracked(stale)
            settings.drops.add("refused", len(batch), self.target.url)
            settings.logger.warning("a scrape of %s was not taken: %s", self.target.url, refused)
            return False
        return True

    def _batch(
        self,
        series: NDArray[np.int32],
        times: NDArray[np.int64],
        values: NDArray[np.float64],
        flags: NDArray[np.uint8],
        exemplars: ExemplarColumns | None = None,
        metadata: tuple[Metadata, ...] = (),
    ) -> MetricBatch:
        settings = self._shared.settings
        return MetricBatch.of(
            self._shared.table, series, times, values, flags=flags, exemplars=exemplars, metadata=metadata,
            context=BatchContext(source=settings.id, received_ns=settings.clock_ns()),
        )  # fmt: skip

    @staticmethod
    def _failed(reason: str, why: str, result: _Result) -> ScrapeFailed:
        failed = ScrapeFailed(reason, why)
        failed.scraped, failed.size_bytes = result.scraped, result.size_bytes
        return failed


@dataclass(frozen=True, slots=True)
class _Columns:
    """Rows of a batch, stale markers last, and what goes with them."""

    series: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    flags: NDArray[np.uint8]
    stale: NDArray[np.int32]
    exemplars: ExemplarColumns | None
    metadata: tuple[Metadata, ...]
    digest: tuple[int, int] | None


def next_tick(now_ns: int, interval_ns: int, offset_ns: int) -> int:
    """Return the first time after `now_ns` that lies `offset_ns` past a multiple of the interval."""
    return now_ns + interval_ns - (now_ns - offset_ns) % interval_ns


async def cancel(*tasks: asyncio.Task[None]) -> None:
    """End tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _stale_rows(
    series: NDArray[np.int32], time_ns: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8]]:
    """Return columns that mark series as stale."""
    n = len(series)
    values = np.full(n, STALE_BITS, np.uint64).view(np.float64)
    return series, np.full(n, time_ns, np.int64), values, np.full(n, Flag.STALE, np.uint8)
