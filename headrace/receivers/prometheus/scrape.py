"""One target: when it is scraped, and what becomes of a page.

Source:
    Prometheus, "Jobs and instances" and "Staleness".
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import NS_PER_MS, BatchContext, ExemplarColumns, Metadata, MetricBatch
from headrace.pipeline.errors import InvalidInput, Refused
from headrace.receivers.prometheus.cache import ScrapeCache
from headrace.receivers.prometheus.columns import Columns, PageColumns, Result, stale_rows
from headrace.receivers.prometheus.errors import ScrapeFailed
from headrace.receivers.prometheus.labels import Labeller
from headrace.receivers.prometheus.reading import BodyReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.pipeline.component import Settings, Sink
    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.pipeline.relabel import Relabeler
    from headrace.pipeline.series import SeriesTable
    from headrace.receivers.prometheus.cache import Stamps
    from headrace.receivers.prometheus.fetch import Fetcher
    from headrace.receivers.prometheus.job import Job
    from headrace.receivers.prometheus.targets import Target

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
        reading: See `Job.reading`.
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
    reading: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reading", self.job.reading)


class TargetScraper:
    """Scrapes one target.

    Args:
        shared: What the targets of its job share.
        target: The target.
        cache: What is known about its pages, None for nothing.
    """

    def __init__(self, shared: Shared, target: Target, cache: ScrapeCache | None = None) -> None:
        self.target = target
        self.status = Status()
        self._shared = shared
        self._labeller = Labeller(shared.job, target.labels, shared.relabeler, shared.table)
        if cache is None:
            cache = ScrapeCache(shared.table, shared.stamps, repr(target.place).encode())
        self._cache = cache
        self._reader = BodyReader(shared.job, self._cache)
        self._columns = PageColumns(shared.job, shared.settings, shared.table, self._labeller, self._cache, target.url)
        self._names = _REPORT + (_EXTRA if shared.job.extra_metrics else ())
        self._report_ids = _NOTHING
        self._digest: tuple[int, int] | None = None
        self.metadata: dict[str, Metadata] = {}
        """What the last page said about its metric families."""
        shared.table.register(self)

    def successor(self, shared: Shared, target: Target) -> TargetScraper:
        """Return what goes on with the same target, which may be of another job now; see `follow`."""
        if shared is self._shared:
            self.target = target
            return self
        same = shared.reading == self._shared.reading and shared.stamps is self._shared.stamps
        scraper = TargetScraper(shared, target, self._cache if same else None)
        scraper.status = self.status
        if same:
            scraper.metadata, scraper._digest, scraper._report_ids = self.metadata, self._digest, self._report_ids
        return scraper

    def follow(self, before: TargetScraper) -> None:
        """Take over from `before`, which has ended, what is to be marked as stale if it does not come again."""
        if before._cache is self._cache:
            return
        reports = before._report_ids
        lost = np.setdiff1d(reports[reports >= 0], self._reports())
        self._cache.restore_tracked(np.union1d(lost, before._cache.clear_tracked()))

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
        if tick_ns == self.status.began_ns:
            # The loop before this one came early for it, within the tolerance.
            tick_ns += interval_ns
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
        result = Result()
        error = ""
        try:
            batch = await self._good(time_ns, result)
        except ScrapeFailed as failed:
            self._cache.undecide()
            error = str(failed)
            self._shared.on_failure(failed.reason)
            result = Result(0.0, failed.scraped or result.scraped, failed.kept, 0, failed.size_bytes)
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
        await self._send(self._batch(*stale_rows(series, time_ns)), _NOTHING)

    async def _good(self, time_ns: int, result: Result) -> Columns:
        """Return the samples of a page."""
        shared = self._shared
        fault = shared.fault()
        if fault:
            raise ScrapeFailed("target_limit", fault)
        body = await shared.fetcher.fetch(self.target)
        result.size_bytes = len(body.data)
        page = await self._reader.read(body)
        result.scraped = len(page)
        try:
            return await self._columns.of(page, time_ns, result, self._digest)
        except InvalidInput as error:
            raise self._failed("parse", str(error), result) from None
        except ScrapeFailed as failed:
            failed.scraped, failed.size_bytes = result.scraped, result.size_bytes
            raise

    def _reports(self) -> NDArray[np.int32]:
        """Return the ids of the metrics about the target."""
        if not len(self._report_ids):
            self._report_ids = self._shared.table.intern([self._labeller.series(name) for name in self._names])
        return self._report_ids

    async def _deliver(self, columns: Columns | None, result: Result, time_ns: int, took_s: float) -> None:
        """Send what a scrape brought, with the metrics about it."""
        if columns is None:
            stale = self._cache.clear_tracked()
            columns = Columns.of_markers(stale, time_ns, self._digest)
        values = [result.up, took_s, result.scraped, result.kept, result.added]
        if self._shared.job.extra_metrics:
            values += [self.target.timeout.total_seconds(), self._shared.job.sample_limit, result.size_bytes]
        reports = self._reports()
        room = reports >= 0
        reports = reports[room]
        self._shared.table.touch(reports)
        n = len(reports)
        batch = self._batch(
            np.concatenate([columns.series, reports]),
            np.concatenate([columns.times, np.full(n, time_ns, np.int64)]),
            np.concatenate([columns.values, np.array(values, np.float64)[room]]),
            np.concatenate([columns.flags, np.zeros(n, np.uint8)]),
            None if columns.starts is None else np.concatenate([columns.starts, np.zeros(n, np.int64)]),
            columns.native,
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
        except BaseException:
            # Such as the end of the target half-way: if it comes back, or is gone for good, these are still to mark.
            self._cache.restore_tracked(stale)
            raise
        return True

    def _batch(
        self,
        series: NDArray[np.int32],
        times: NDArray[np.int64],
        values: NDArray[np.float64],
        flags: NDArray[np.uint8],
        starts: NDArray[np.int64] | None = None,
        native: NativeHistograms | None = None,
        exemplars: ExemplarColumns | None = None,
        metadata: tuple[Metadata, ...] = (),
    ) -> MetricBatch:
        settings = self._shared.settings
        return MetricBatch.of(
            self._shared.table, series, times, values, flags=flags, start_ns=starts, native=native, exemplars=exemplars,
            metadata=metadata,
            context=BatchContext(source=settings.id, received_ns=settings.clock_ns()),
        )  # fmt: skip

    @staticmethod
    def _failed(reason: str, why: str, result: Result) -> ScrapeFailed:
        failed = ScrapeFailed(reason, why)
        failed.scraped, failed.size_bytes = result.scraped, result.size_bytes
        return failed


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
