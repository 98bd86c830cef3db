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
from headrace.receivers.prometheus.fetch import Fetcher
from headrace.receivers.prometheus.job import Job, jobs_of
from headrace.receivers.prometheus.pool import ScrapePool
from headrace.receivers.prometheus.scrape import Shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.component import Settings, Sink
    from headrace.pipeline.host import Host
    from headrace.pipeline.wire.exposition import Exposition


_WARM_PROTO = bytes.fromhex(
    "3b0a0168180422340a060a01611201623a2a08011a1e080111000000000000f03f1a110a060a016112016211000000000000f03f"
    "62040800100168020b0a01731802220422020801120a01631800220b1a0909000000000000f03f"
)
"""A native histogram with a classic bucket and an exemplar, a summary, and a counter."""


class PrometheusReceiver:
    """Scrapes the targets of all its jobs."""

    def __init__(self, settings: Settings, config: PrometheusConfig, sink: Sink) -> None:
        self._settings = settings
        self._sink = sink
        self._jobs = tuple(jobs_of(config))
        self._sharding = config.sharding
        self._registry: TargetsRegistry | None = None
        self._user_agent = f"Headrace/{metadata.version('headrace')}"
        self.pools: list[ScrapePool] = []
        """One a job, once started."""

    async def start(self, host: Host) -> None:
        """Find the targets and begin to scrape.

        Raises:
            ConfigError: A file of a job does not load.
        """
        table = host.workspaces.table(BatchContext().workspace)
        stamps = Stamps(table)
        self.pools = [self._pool(job, table, stamps) for job in self._jobs]
        for pool in self.pools:
            await pool.start()
        self._registry = host.service("targets", TargetsRegistry)
        self._registry.add(self)

    async def shutdown(self) -> None:
        """Stop scraping."""
        if self._registry is not None:
            self._registry.remove(self)
            self._registry = None
        for pool in self.pools:
            await pool.shutdown()
        self.pools = []

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
        pool = ScrapePool(job, shared, relabeler, partial(self._discoverer, job), self._sharding)
        return pool

    def _discoverer(self, job: Job, changed: Callable[[], None]) -> Discoverer:
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
