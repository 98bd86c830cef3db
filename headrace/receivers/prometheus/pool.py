"""The targets of one job: found, scraped, and marked as stale when they go."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headrace.pipeline.prometheus_values import format_duration
from headrace.pipeline.relabel import steps
from headrace.pipeline.targets import ActiveTarget, DroppedTarget, PoolFacts, Targets
from headrace.receivers.prometheus.population import Population, Populator
from headrace.receivers.prometheus.scrape import Shared, TargetScraper, cancel
from headrace.receivers.prometheus.targets import seed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.pipeline.discovery import Discoverer
    from headrace.pipeline.relabel import Relabeler
    from headrace.pipeline.targets import RelabelStep
    from headrace.receivers.prometheus.job import Job
    from headrace.receivers.prometheus.sharding import ShardingConfig
    from headrace.receivers.prometheus.targets import Place, Target

_GRACE = 1.1
"""Intervals after which the series of a target that is gone are marked: it may come back under another job."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(slots=True)
class _Running:
    scraper: TargetScraper
    task: asyncio.Task[None]


@dataclass(slots=True)
class Gone:
    """A target that is not scraped any more.

    Attributes:
        scraper: What scraped it.
        loop: The task of that, which has been told to end.
        marking: The task that is going to mark the series of the target.
    """

    scraper: TargetScraper
    loop: asyncio.Task[None]
    marking: asyncio.Task[None]


class ScrapePool:
    """The targets of one job.

    Args:
        job: The job.
        shared: What its targets share; its `fault` has to be this pool's.
        relabeler: The job's ``relabel_configs``.
        discoverer: Makes what finds its targets; given what to call when there are others. It may be one that runs for
            a pool whose place this one is going to take, which loses it in `begin`.
        elsewhere: Gives up a target that has gone from another job and not been marked yet.
        sharding: Which of the targets other daemons scrape; None for none.
    """

    def __init__(
        self,
        job: Job,
        shared: Shared,
        relabeler: Relabeler,
        discoverer: Callable[[Callable[[], None]], Discoverer],
        elsewhere: Callable[[Place], Gone | None] = lambda _place: None,
        sharding: ShardingConfig | None = None,
    ) -> None:
        self.job = job
        self._shared = shared
        self._populator = Populator(job, relabeler, sharding)
        self._seed = seed_of(job.external_labels)
        self.discoverer = discoverer(self.sync)
        self._elsewhere = elsewhere
        self._running: dict[object, _Running] = {}
        self._ending: dict[Place, Gone] = {}
        self._marking: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._population = Population((), (), ())

    def prepare(self) -> None:
        """Do all of the start that may fail.

        Raises:
            ConfigError: A TLS file does not load.
        """
        self._shared.fetcher.start()
        self._populator.populate(self.discoverer.groups())

    def begin(self) -> None:
        """Begin to find targets and to scrape them."""
        self.discoverer.changed = self.sync
        self.sync()
        self.discoverer.start()

    async def shutdown(self) -> None:
        """Stop; the targets are not gone, so nothing is marked as stale."""
        ending = self._ending.values()
        await cancel(*(one.task for one in self._running.values()), *(one.marking for one in ending), *self._marking)
        await self._close([one.loop for one in ending])
        self._running, self._ending = {}, {}

    def leave(self) -> None:
        """Stop because the job is gone: its targets are marked as stale later on, save those that are given up."""
        for identity in list(self._running):
            self._end(identity)
        self._closing = asyncio.create_task(self._close([gone.loop for gone in self._ending.values()]))

    async def mark(self) -> None:
        """Mark the targets that have gone now, instead of later on."""
        found = [gone for place in list(self._ending) if (gone := self.give_up(place)) is not None]
        await asyncio.gather(*(gone.loop for gone in found), return_exceptions=True)
        time_ns = self._shared.settings.clock_ns()
        await asyncio.gather(*(self._mark(gone.scraper, time_ns) for gone in found))

    @property
    def left(self) -> bool:
        """Whether nothing is left to do since `leave`."""
        return self._closing is not None and self._closing.done() and not self._ending and not self._marking

    def give_up(self, place: Place) -> Gone | None:
        """Return a target that has gone, to go on with it; it is not marked then."""
        gone = self._ending.pop(place, None)
        if gone is not None:
            gone.marking.cancel()
        return gone

    async def _close(self, loops: list[asyncio.Task[None]]) -> None:
        """Find and fetch no more, once some loops have ended that were told to."""
        if self.discoverer.changed == self.sync:
            await self.discoverer.shutdown()
        await asyncio.gather(*loops, return_exceptions=True)
        await self._shared.fetcher.close()

    def sync(self) -> None:
        """Scrape what is there now, and no more what is not."""
        population = self._populator.populate(self.discoverer.groups())
        for fault in set(population.faults) - set(self._population.faults):
            self._shared.settings.logger.warning("job %s: no target: %s", self.job.name, fault)
        self._population = population
        wanted = {target.identity: target for target in population.targets}
        for identity in [identity for identity in self._running if identity not in wanted]:
            self._end(identity)
        for identity, target in wanted.items():
            running = self._running.get(identity)
            if running is None:
                self._begin(identity, target)
            else:  # the same target, of which other things may have been discovered
                running.scraper.target = target

    @property
    def fault(self) -> str:
        """Why none of the targets is scraped, or nothing."""
        limit, count = self.job.target_limit, len(self._population.targets)
        return f"target_limit exceeded (number of targets: {count}, limit: {limit})" if 0 < limit < count else ""

    def targets(self) -> Targets:
        """Return the targets as they are now."""
        dropped = self._population.dropped
        kept = dropped[: self.job.keep_dropped_targets or None]
        return Targets(
            active=[_active(self.job.name, one.scraper) for one in self._running.values()],
            dropped=[DroppedTarget(discovered_labels=dict(labels), scrape_pool=self.job.name) for labels in kept],
            dropped_counts={self.job.name: len(dropped)},
            pools={self.job.name: PoolFacts(config=self._settings, relabel=self._relabel)},
        )

    def _relabel(self, labels: Mapping[str, str]) -> Sequence[RelabelStep]:
        return steps(self.job.config.relabel_configs, labels)

    def _settings(self) -> Mapping[str, Any]:
        settings: Mapping[str, Any] = self.job.config.model_dump(mode="json", by_alias=True)
        return settings

    @property
    def scrapers(self) -> list[TargetScraper]:
        """Those that run."""
        return [one.scraper for one in self._running.values()]

    async def _run(self, scraper: TargetScraper, before: asyncio.Task[None] | None = None) -> None:
        """Scrape, once the loop before has ended."""
        if before is not None:
            await asyncio.wait([before])
        while True:
            try:
                await scraper.run(self._seed)
            except Exception:  # the edge of a task: the target is scraped again
                self._shared.settings.logger.exception("scraping %s broke", scraper.target.url)
                self._shared.on_failure("internal")
                await asyncio.sleep(scraper.target.interval.total_seconds())

    def _begin(self, identity: object, target: Target) -> None:
        """Scrape a target; one that was gone for a moment, or belonged to another job, goes on where it was."""
        gone = self.give_up(target.place) or self._elsewhere(target.place)
        if gone is None:
            scraper = TargetScraper(self._shared, target)
            task = asyncio.create_task(self._run(scraper))
        else:
            before, scraper = gone.scraper, gone.scraper.successor(self._shared, target)
            gone.loop.add_done_callback(lambda _: scraper.follow(before))
            task = asyncio.create_task(self._run(scraper, gone.loop))
        self._running[identity] = _Running(scraper, task)

    def _end(self, identity: object) -> None:
        running = self._running.pop(identity)
        running.task.cancel()
        place = running.scraper.target.place
        self.give_up(place)  # the same at another interval, if anything
        marking = asyncio.create_task(self._mark_later(place, running.scraper))
        self._ending[place] = Gone(running.scraper, running.task, marking)

    async def _mark_later(self, place: Place, scraper: TargetScraper) -> None:
        """Mark the series of a target that is gone, at the time of the scrape that is missing."""
        interval_s = scraper.target.interval.total_seconds()
        await asyncio.sleep(interval_s)
        time_ns = self._shared.settings.clock_ns()
        await asyncio.sleep(interval_s * _GRACE)
        task = self._ending.pop(place).marking
        self._marking.add(task)
        try:
            await self._mark(scraper, time_ns)
        finally:
            self._marking.discard(task)

    async def _mark(self, scraper: TargetScraper, time_ns: int) -> None:
        try:
            await scraper.end(time_ns)
        except Exception:  # the edge of a task: the markers are lost, nothing else
            self._shared.settings.logger.exception("marking the series of %s as stale broke", scraper.target.url)


def _active(pool: str, scraper: TargetScraper) -> ActiveTarget:
    target, status = scraper.target, scraper.status
    health = "unknown" if not status.scrapes else "down" if status.error else "up"
    return ActiveTarget(
        discovered_labels=dict(target.discovered),
        labels=dict(target.labels),
        scrape_pool=pool,
        scrape_url=target.url,
        global_url=_global_url(target.url),
        last_error=status.error,
        last_scrape_ns=status.began_ns,
        last_scrape_s=status.took_s,
        health=health,
        scrape_interval=format_duration(target.interval),
        scrape_timeout=format_duration(target.timeout),
        metadata=scraper.metadata,
    )


def _global_url(url: str) -> str:
    """Return the URL of a target as other machines reach it: with the name of this one in place of loopback."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # it cannot be fetched, which its scrapes tell
        return url
    if host not in _LOOPBACK:
        return url
    return parts._replace(netloc=f"{socket.gethostname()}:{port}" if port else socket.gethostname()).geturl()
