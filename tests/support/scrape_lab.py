"""A target on loopback that answers what a test tells it, and a receiver that scrapes it; the fixture is ``lab``."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

from aiohttp import web

from headrace.pipeline.host import Host
from headrace.pipeline.targets import TargetsRegistry
from headrace.receivers.prometheus.config import PrometheusConfig
from headrace.receivers.prometheus.receiver import PrometheusReceiver
from headrace.testing.batches import make_settings
from headrace.testing.clock import ManualClock
from headrace.testing.sinks import MemorySink

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from headrace.receivers.prometheus.scrape import TargetScraper

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
STALE = 0x7FF0000000000002

Found = dict[str, "float | str"]


class ScrapeLab:
    """One target, and a receiver whose loops never come to scrape by themselves: their interval is a day.

    Attributes:
        page: What the target answers.
        content_type: Of the page; None for an empty one.
        status: Of the answer.
        zipped: Answer with gzip.
        answer: Answers instead of all that, where set.
        requests: What came.
    """

    def __init__(self) -> None:
        self.page: bytes | str = ""
        self.content_type: str | None = TEXT
        self.status = 200
        self.zipped = False
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.requests: list[web.Request] = []
        self.clock = ManualClock()
        self.sink = MemorySink()
        self.host = Host(clock_ns=self.clock.clock_ns)
        self.host.services["targets"] = TargetsRegistry()
        self.settings = make_settings(
            "prometheus", kind="receivers", clock_ns=self.clock.clock_ns, monotonic_s=self.clock.monotonic_s
        )
        self._runner: web.AppRunner | None = None
        self._receivers: list[PrometheusReceiver] = []
        self.address = ""

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        # A handler that hangs must not hold up the end of a test.
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        for receiver in self._receivers:
            await receiver.shutdown()
        if self._runner is not None:
            await self._runner.cleanup()

    async def receiver(self, *, shared: dict[str, Any] | None = None, **job: Any) -> PrometheusReceiver:
        receiver = self.make(job, shared=shared)
        await receiver.start(self.host)
        return receiver

    def make(self, *jobs: dict[str, Any], shared: dict[str, Any] | None = None) -> PrometheusReceiver:
        """Return a receiver that has not been started."""
        options = {"job_name": "test", "scrape_interval": "1d", "static_configs": [{"targets": [self.address]}]}
        document = {"global": shared or {}, "scrape_configs": [{**options, **job} for job in jobs]}
        config = PrometheusConfig.model_validate({"config": document})
        receiver = PrometheusReceiver(self.settings, config, self.sink)
        self._receivers.append(receiver)
        return receiver

    async def reload(
        self, before: PrometheusReceiver, *jobs: dict[str, Any], shared: dict[str, Any] | None = None
    ) -> PrometheusReceiver:
        """Put a receiver with other jobs in the place of one, as a reload does."""
        receiver = self.make(*jobs, shared=shared)
        await receiver.start_after(self.host, before)
        receiver.succeed()
        await before.shutdown()
        return receiver

    async def scraper(self, *, shared: dict[str, Any] | None = None, **job: Any) -> TargetScraper:
        receiver = await self.receiver(shared=shared, **job)
        return receiver.pools[0].scrapers[0]

    async def scrape(self, scraper: TargetScraper, page: bytes | str | None = None) -> Found:
        """Scrape once, ten seconds after the last time; return values by series without the target's labels."""
        if page is not None:
            self.page = page
        self.clock.advance(10)
        await asyncio.wait_for(scraper.scrape(self.clock.now_ns), 20)
        return self.found()

    def found(self) -> Found:
        """Return the last batch: values by series, ``stale`` for markers."""
        batch = self.sink.batches[-1]
        bits = batch.value.view("uint64").tolist()
        found: Found = {}
        for i, series in enumerate(batch.series.tolist()):
            own = {("instance", self.address), ("job", "test")}
            identity = batch.table.series(series)
            name = str(identity.with_labels(pair for pair in identity.labels if pair not in own))
            assert name not in found, f"{name} twice"
            found[name] = "stale" if bits[i] == STALE else float(batch.value[i])
            assert bool(batch.flags[i]) == (bits[i] == STALE)
        return found

    def failures(self, reason: str) -> float:
        return self.settings.counters.value("headrace_scrapes_failed", {"reason": reason})

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.answer is not None:
            return await self.answer(request)
        body = self.page.encode() if isinstance(self.page, str) else self.page
        headers = {"Content-Type": self.content_type or ""}
        if self.zipped:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        return web.Response(body=body, status=self.status, headers=headers)


REPORT = (
    "up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)  # fmt: skip


def samples(found: Found) -> Found:
    """Return what the page brought, without the metrics about the target."""
    return {name: value for name, value in found.items() if name not in REPORT}


def report(found: Found) -> tuple[float | str, ...]:
    """Return up, scraped, kept, added."""
    return tuple(found[name] for name in REPORT if name != "scrape_duration_seconds")
