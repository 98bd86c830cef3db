"""A scrape without the network: from the bytes of a page to a batch, in steady state and at first sight.

Compared with prometheus_client's parser on the same page in the same run; it stops at Python objects, without labels
of the target, series ids, repeats and staleness.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from headrace.pipeline.component import Outcome
from headrace.pipeline.relabel import Relabeler
from headrace.pipeline.series import SeriesTable
from headrace.receivers.prometheus.cache import Stamps
from headrace.receivers.prometheus.config import PrometheusConfig
from headrace.receivers.prometheus.fetch import Body
from headrace.receivers.prometheus.job import Job, jobs_of
from headrace.receivers.prometheus.population import Populator
from headrace.receivers.prometheus.protocols import Format
from headrace.receivers.prometheus.scrape import Shared, TargetScraper
from headrace.testing.batches import make_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.batch import MetricBatch
    from headrace.receivers.prometheus.fetch import Fetcher

FAMILIES = 200
SERIES = 10
ROUNDS = 200
RULES = 50


class Nowhere:
    """A sink that counts."""

    def __init__(self) -> None:
        self.points = 0

    async def send(self, batch: MetricBatch) -> Outcome:
        self.points += len(batch)
        return Outcome(len(batch))

    def check(self, points: int, size_bytes: int) -> None:
        """Grant everything."""


class Canned:
    """A fetcher that answers one page."""

    def __init__(self, body: Body) -> None:
        self.body = body

    async def fetch(self, _target: object) -> Body:
        return self.body


def page(*, openmetrics: bool) -> bytes:
    """Make a page such as a node-exporter or an API server has: counters and gauges with three labels."""
    lines = []
    for family in range(FAMILIES):
        name, kind = f"some_subsystem_operation_{family}_seconds", ("counter", "gauge")[family % 2]
        sample = name + ("_total" if kind == "counter" else "")
        header = name if openmetrics else sample
        lines += [f"# HELP {header} What it is that operation {family} has counted.", f"# TYPE {header} {kind}"]
        lines += [
            f'{sample}{{device="nvme{i}n1",method="GET",path="/api/v1/resource/{i}"}} {family * 1000 + i * 17.25}'
            for i in range(SERIES)
        ]
    return ("\n".join(lines) + "\n" + ("# EOF\n" if openmetrics else "")).encode()


def run() -> dict[str, float]:
    """Return nanoseconds of CPU for each sample, and how often ours goes into prometheus_client's."""
    out: dict[str, float] = {}
    for kind, openmetrics, client in (("text", False, parse_text), ("openmetrics", True, parse_openmetrics)):
        data = page(openmetrics=openmetrics)
        body = Body(data, Format.OPENMETRICS if openmetrics else Format.TEXT)
        samples = FAMILIES * SERIES
        text = data.decode()
        theirs = best(lambda: sum(len(family.samples) for family in client(text)), 3) / samples  # noqa: B023 -- runs here
        ours = asyncio.run(steady(body)) / samples
        out[f"{kind}_ns_per_sample"] = ours
        out[f"{kind}_samples_per_s"] = 1e9 / ours
        out[f"{kind}_prometheus_client_ns_per_sample"] = theirs
        out[f"{kind}_speedup"] = theirs / ours
    body = Body(page(openmetrics=False), Format.TEXT)
    out["first_sight_us_per_series"] = asyncio.run(first_sight(body, 0)) / (FAMILIES * SERIES) / 1000
    out[f"first_sight_{RULES}_rules_us_per_series"] = asyncio.run(first_sight(body, RULES)) / (FAMILIES * SERIES) / 1000
    return out


async def steady(body: Body) -> float:
    """Return CPU nanoseconds of one scrape of a page whose series are known."""
    one = scraper(body, 0)
    for _ in range(3):
        await one.scrape(1_700_000_000_000_000_000)
    least = float("inf")
    for _ in range(5):
        began = time.process_time_ns()
        for n in range(ROUNDS // 5):
            await one.scrape(1_700_000_000_000_000_000 + n)
        least = min(least, (time.process_time_ns() - began) / (ROUNDS // 5))
    return least


async def first_sight(body: Body, rules: int) -> float:
    """Return CPU nanoseconds of the first scrape of a page, with `rules` rules for its series."""
    least = float("inf")
    for _ in range(4):
        one = scraper(body, rules)
        began = time.process_time_ns()
        await one.scrape(1_700_000_000_000_000_000)
        least = min(least, time.process_time_ns() - began)
    return least


def scraper(body: Body, rules: int) -> TargetScraper:
    """Make a scraper that gets `body`."""
    job = make_job(rules)
    groups = [group.group("") for group in job.config.static_configs]
    [target] = Populator(job, Relabeler([])).populate(groups).targets
    table = SeriesTable()
    relabeler = Relabeler(job.config.metric_relabel_configs) if rules else None
    shared = Shared(
        job, make_settings("prometheus", kind="receivers"), table, Stamps(table), Nowhere(),
        cast("Fetcher", Canned(body)), relabeler, lambda _reason: None, lambda: "",
    )  # fmt: skip
    return TargetScraper(shared, target)


def make_job(rules: int) -> Job:
    """Make a job with rules of the kinds that people write most."""
    kinds: list[dict[str, Any]] = [
        {"source_labels": ["__name__"], "regex": "go_%d_.*|process_%d_.*", "action": "drop"},
        {"source_labels": ["path"], "regex": "/api/v1/resource/(%d.)", "target_label": "resource"},
        {"regex": "tmp_%d.*", "action": "labeldrop"},
        {"source_labels": ["device", "method"], "regex": "nvme%d.*;POST", "action": "drop"},
        {"source_labels": ["method"], "regex": "G(.%d)", "target_label": "m", "replacement": "${1}"},
    ]
    chosen = []
    for n in range(rules):
        kind = dict(kinds[n % len(kinds)])
        kind["regex"] = kind["regex"].replace("%d", str(n))
        chosen.append(kind)
    config = {"scrape_configs": [{"job_name": "bench", "static_configs": [{"targets": ["127.0.0.1:9100"]}],
                                  "metric_relabel_configs": chosen}]}  # fmt: skip
    return next(iter(jobs_of(PrometheusConfig.model_validate({"config": config}))))


def best(work: Callable[[], object], times: int) -> float:
    """Return the least CPU nanoseconds of some runs."""
    least = float("inf")
    for _ in range(times):
        began = time.process_time_ns()
        work()
        least = min(least, time.process_time_ns() - began)
    return least
