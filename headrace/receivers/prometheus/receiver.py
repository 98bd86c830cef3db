"""The ``prometheus`` receiver: one pool of targets for each job."""

from __future__ import annotations

from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import BatchContext
from headrace.pipeline.component import ReceiverFactory
from headrace.pipeline.discovery import Discoverer
from headrace.pipeline.discovery.kinds import configured
from headrace.pipeline.prometheus_http import PrometheusClient
from headrace.pipeline.relabel import Relabeler
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.targets import Targets, TargetsRegistry
from headrace.pipeline.wire.exposition_proto import ProtoReader
from headrace.pipeline.wire.text import PageReader
from headrace.receivers.prometheus.cache import ScrapeCache, Stamps
from headrace.receivers.prometheus.config import PrometheusConfig
from headrace.receivers.prometheus.departing import Departing
from headrace.receivers.prometheus.fetch import Fetcher
from headrace.receivers.prometheus.job import Job, jobs_of
from headrace.receivers.prometheus.pool import ScrapePool
from headrace.receivers.prometheus.scrape import Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.pipeline.component import Settings, Sink
    from headrace.pipeline.host import Host
    from headrace.pipeline.wire.exposition import Exposition


_WARM_PROTO = bytes.fromhex(
    "3b0a0168180422340a060a01611201623a2a08011a1e080111000000000000f03f1a110a060a016112016211000000000000f03f"
    "62040800100168020b0a01731802220422020801120a01631800220b1a0909000000000000f03f"
)
"""A native histogram with a classic bucket and an exemplar, a summary, and a counter."""


class PrometheusReceiver:
    """Scrapes the targets of all its jobs.

    In a reload the jobs that have not changed go on as they are, with all that is known about their targets, and
    targets of others as far as they are the same.
    """

    def __init__(self, settings: Settings, config: PrometheusConfig, sink: Sink) -> None:
        self._settings = settings
        self._sink = sink
        self._jobs = tuple(jobs_of(config))
        self.sharding = config.sharding
        self._registry: TargetsRegistry | None = None
        self._predecessor: PrometheusReceiver | None = None
        self._user_agent = f"Headrace/{metadata.version('headrace')}"
        self.pools: list[ScrapePool] = []
        """One a job, once started."""
        self.departing = Departing()
        """Those of jobs that were there before a reload."""
        self.stamps: Stamps | None = None

    async def start(self, host: Host) -> None:
        """Find the targets and begin to scrape.

        Raises:
            ConfigError: A file of a job does not load.
        """
        self._prepare(host, self._jobs)
        self._begin(self.pools)

    def can_succeed(self, predecessor: PrometheusReceiver) -> bool:
        """Return that it can, whatever has changed."""
        del predecessor
        return True

    async def start_after(self, host: Host, predecessor: PrometheusReceiver) -> None:
        """Prepare what has changed; see `headrace.pipeline.component.Succeeding`.

        Raises:
            ConfigError: A file of a job does not load.
        """
        self._predecessor = predecessor
        self.stamps = predecessor.stamps
        kept = [pool.job for pool in self._kept(predecessor)]
        self._prepare(host, [job for job in self._jobs if job not in kept])

    def succeed(self) -> None:
        """Go on with the jobs that are the same, begin with the others, and let go what is not there any more."""
        before, self._predecessor = self._predecessor, None
        if before is None:
            raise AssertionError("bug: a successor of nobody")
        fresh, kept = self.pools, self._kept(before)
        gone = [pool for pool in before.pools if pool not in kept]
        self.departing, before.departing, before.pools = before.departing, Departing(), []
        found = {pool.job.name: pool for pool in (*kept, *fresh)}
        self.pools = [found[job.name] for job in self._jobs]
        for pool in gone:
            self.departing.add(pool)
            if pool.job.name not in found:
                self._settings.counters.forget({"receiver": self._settings.id, "job": pool.job.name})
        self._begin(fresh)

    async def leave(self) -> None:
        """Mark the series of all targets as stale at once: nobody is left to do it later."""
        pools, self.pools = self.pools, []
        for pool in pools:
            self.departing.add(pool)
        await self.departing.mark()

    async def shutdown(self) -> None:
        """Stop scraping."""
        if self._registry is not None:
            self._registry.remove(self)
            self._registry = None
        for pool in self.pools:
            await pool.shutdown()
        self.pools = []
        await self.departing.shutdown()

    def _kept(self, before: PrometheusReceiver) -> list[ScrapePool]:
        """Return the pools of a predecessor that go on as they are."""
        return [pool for pool in before.pools if pool.job in self._jobs and before.sharding == self.sharding]

    def _prepare(self, host: Host, jobs: Iterable[Job]) -> None:
        table = host.workspaces.table(BatchContext().workspace)
        self.stamps = stamps = self.stamps or Stamps(table)
        self._registry = host.service("targets", TargetsRegistry)
        self.pools = [self._pool(job, table, stamps) for job in jobs]
        for pool in self.pools:
            pool.prepare()

    def _begin(self, pools: Iterable[ScrapePool]) -> None:
        for pool in pools:
            pool.begin()
        if self._registry is not None:
            self._registry.add(self)

    def targets(self) -> Targets:
        """Return the targets of all jobs."""
        registry = TargetsRegistry()
        for pool in self.pools:
            registry.add(pool)
        return registry.targets()

    def _pool(self, job: Job, table: SeriesTable, stamps: Stamps) -> ScrapePool:
        settings = self._settings
        key = f"{settings.kind}.{settings.id}.config.scrape_configs.{job.name}"
        client = PrometheusClient(
            job.config, key, user_agent=self._user_agent,
            monotonic_s=settings.monotonic_s, warn=settings.logger.warning, unpack=False,
        )  # fmt: skip
        fetcher = Fetcher(job, client)
        rules = job.config.metric_relabel_configs
        pool: ScrapePool

        def failed(reason: str) -> None:
            settings.counters.counter(
                "headrace_scrapes_failed",
                "Scrapes that brought no samples, by reason.",
                {"receiver": settings.id, "job": job.name, "reason": reason},
                "{scrape}",
            ).add()

        shared = Shared(
            job, settings, table, stamps, self._sink, fetcher, Relabeler(rules) if rules else None,
            failed, lambda: pool.fault,
        )  # fmt: skip
        relabeler = Relabeler(job.config.relabel_configs)
        departing = (self._predecessor or self).departing
        pool = ScrapePool(job, shared, relabeler, partial(self._discoverer, job), departing.give_up, self.sharding)
        return pool

    def _discoverer(self, job: Job, changed: Callable[[], None]) -> Discoverer:
        """Return what finds the targets of a job: the predecessor's where that looks for the same."""
        for pool in self._predecessor.pools if self._predecessor is not None else ():
            if pool.job.finding == job.finding:
                return pool.discoverer
        fixed = [group.group(str(i)) for i, group in enumerate(job.config.static_configs)]
        discoverer = Discoverer(fixed, changed, self._settings, job.name, self._user_agent)
        for kind, config in configured(job.config):
            discoverer.add(kind, config)
        return discoverer


def warm_up() -> None:
    """Compile what a scrape needs."""
    table = SeriesTable()
    cache = ScrapeCache(table, Stamps(table), b"warm")
    text, proto = PageReader(cache.secrets), ProtoReader(cache.secrets[0], native=True, classic=True)
    pages: list[Exposition] = [
        text.read(b'# TYPE a histogram\na_bucket{le="1"} 1\n# EOF\n', openmetrics=openmetrics)
        for openmetrics in (False, True)
    ]
    for page in [*pages, proto.read(_WARM_PROTO)]:
        entries, _, rows = cache.resolve(page)
        cache.decide(entries[rows], table.intern_spans(page.labels(rows.astype(np.intp))))
        cache.admit(entries, cache.verdicts(entries), page.timed, track_timed=False)
        page.exemplar_labels()


FACTORY = ReceiverFactory(name="prometheus", config=PrometheusConfig, create=PrometheusReceiver, warm_up=warm_up)
