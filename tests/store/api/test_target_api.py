"""What the API tells about scrape targets: their metadata, their jobs, and what relabelling does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from api_lab import ApiLab
from headrace.pipeline.batch import Metadata
from headrace.pipeline.counters import Counters
from headrace.pipeline.identity import MetricType
from headrace.pipeline.relabel import RelabelConfig, steps
from headrace.pipeline.targets import ActiveTarget, PoolFacts, Targets, TargetsRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RULES = [
    RelabelConfig(source_labels=("job",), target_label="team"),
    RelabelConfig(source_labels=("job",), regex="b", action="drop"),
    RelabelConfig(target_label="after", replacement="x"),
]


class Scraper:
    """Two jobs, one without targets."""

    def targets(self) -> Targets:
        metadata = {
            "up": Metadata("up", MetricType.GAUGE, "Whether it is up."),
            "x": Metadata("x", MetricType.COUNTER, "", "seconds"),
        }
        return Targets(
            active=[
                ActiveTarget(
                    discovered_labels={}, labels={"job": job}, scrape_pool="first", scrape_url="", metadata=metadata
                )
                for job in "ab"
            ],
            dropped_counts={"second": 3},
            pools={
                "first": PoolFacts(
                    config=lambda: {"job_name": "first", "limit": 3}, relabel=lambda labels: steps(RULES, labels)
                )
            },
        )


@pytest.fixture
async def scraping() -> AsyncIterator[ApiLab]:
    registry = TargetsRegistry()
    registry.add(Scraper())
    counters = Counters()
    counters.counter("answers", "Answers.", {"status": "200"}).add(3)
    counters.observe("depth", "How deep.", lambda: float("nan"))
    api = ApiLab(targets=registry, counters=counters)
    await api.start()
    yield api
    await api.close()


async def ask(api: ApiLab, path: str, *form: tuple[str, str]) -> Any:
    return (await api.get(f"/api/v1/{path}", *form)).json


async def test_jobs(scraping: ApiLab) -> None:
    """All names, sorted; the settings of one as YAML."""
    assert (await ask(scraping, "scrape_pools"))["data"] == {"scrapePools": ["first", "second"]}
    config = (await ask(scraping, "scrape_pools/config", ("scrapePool", "first")))["data"]["yaml"]
    assert yaml.safe_load(config) == {"job_name": "first", "limit": 3}


@pytest.mark.parametrize(
    ("path", "form", "message"),
    [
        ("scrape_pools/config", [], "no scrapePool parameter provided"),
        (
            "scrape_pools/config",
            [("scrapePool", "x")],
            'error retrieving scrape config: scrape pool "x" not found',
        ),
        ("targets/relabel_steps", [], "no scrapePool parameter provided"),
        ("targets/relabel_steps", [("scrapePool", "first")], "no labels parameter provided"),
        (
            "targets/relabel_steps",
            [("scrapePool", "x"), ("labels", "{}")],
            'error retrieving scrape config: scrape pool "x" not found',
        ),
        (
            "targets/relabel_steps",
            [("scrapePool", "first"), ("labels", "[1]")],
            "error parsing labels: an object of strings is expected",
        ),
        ("targets/metadata", [("match_target", "+")], 'invalid parameter "match_target": 1:1: parse error: no name'),
        ("targets/metadata", [("limit", "x")], "limit must be a number"),
    ],
)
async def test_parameters(scraping: ApiLab, path: str, form: list[tuple[str, str]], message: str) -> None:
    """What is missing or wrong is told."""
    assert await ask(scraping, path, *form) == {"status": "error", "errorType": "bad_data", "error": message}


async def test_relabelling_step_by_step(scraping: ApiLab) -> None:
    """Each rule with the labels after it; once the set is dropped nothing comes back."""

    async def run(labels: dict[str, str]) -> list[tuple[dict[str, str], bool]]:
        form = ("scrapePool", "first"), ("labels", json.dumps(labels))
        found = (await ask(scraping, "targets/relabel_steps", *form))["data"]["steps"]
        assert [one["rule"]["action"] for one in found] == ["replace", "drop", "replace"]
        return [(one["output"], one["keep"]) for one in found]

    assert await run({"job": "a"}) == [
        ({"job": "a", "team": "a"}, True), ({"job": "a", "team": "a"}, True),
        ({"job": "a", "team": "a", "after": "x"}, True),
    ]  # fmt: skip
    assert await run({"job": "b"}) == [({"job": "b", "team": "b"}, True), ({}, False), ({}, False)]


async def test_metadata_of_targets(scraping: ApiLab) -> None:
    """All families with their names, or one without; a limit counts entries and stops between targets."""
    everything = (await ask(scraping, "targets/metadata"))["data"]
    one = (await ask(scraping, "targets/metadata", ("metric", "x")))["data"]
    limited = (await ask(scraping, "targets/metadata", ("limit", "1")))["data"]
    none = (await ask(scraping, "targets/metadata", ("limit", "0")))["data"]

    assert [(row["target"]["job"], row["metric"]) for row in everything] == [
        ("a", "up"), ("a", "x"), ("b", "up"), ("b", "x"),
    ]  # fmt: skip
    assert one[0] == {"target": {"job": "a"}, "type": "counter", "help": "", "unit": "seconds"}
    assert (len(one), len(limited), none) == (2, 2, [])


async def test_own_metrics(scraping: ApiLab) -> None:
    """Families by name, those whose whole name matches, numbers that are none as text."""
    everything = (await ask(scraping, "status/self_metrics"))["data"]
    some = (await ask(scraping, "status/self_metrics", ("metric_name_pattern", "ans")))["data"]

    assert everything == [
        {
            "name": "answers_total", "help": "Answers.", "type": "COUNTER",
            "metric": [{"label": [{"name": "status", "value": "200"}], "counter": {"value": 3}}],
        },
        {"name": "depth", "help": "How deep.", "type": "GAUGE", "metric": [{"label": [], "gauge": {"value": "NaN"}}]},
    ]  # fmt: skip
    assert some == []
    bad = await ask(scraping, "status/self_metrics", ("metric_name_pattern", "("))
    assert bad["error"].startswith("invalid metric_name_pattern: ")


async def test_what_is_off_says_so(scraping: ApiLab) -> None:
    """The search, reloading and quitting; news that never come."""
    assert (await ask(scraping, "search/label_names"))["error"] == "search API disabled"
    assert (await scraping.get("/api/v1/notifications/live")).status == 204
    assert (await scraping.ask("/-/reload", "POST")).raw == b"Lifecycle API is not enabled."


async def test_blocks(scraping: ApiLab) -> None:
    """In Prometheus' words, with an id that has the block's time and number."""
    (block,) = (await ask(scraping, "status/tsdb/blocks"))["data"]["blocks"]

    assert block == {
        "ulid": "00000000Z80000000000000007", "minTime": 1000, "maxTime": 3000,
        "stats": {"numSamples": 10, "numSeries": 2},
        "compaction": {"level": 2, "sources": ["00000000Z80000000000000003", "00000000Z80000000000000004"]},
        "version": 1,
    }  # fmt: skip
