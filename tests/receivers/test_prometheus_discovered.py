"""Targets that are discovered: what a change leaves as it is, and what it does not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from headrace.pipeline.discovery import TargetGroup
from headrace.pipeline.relabel import Relabeler
from headrace.receivers.prometheus import population
from headrace.receivers.prometheus.config import PrometheusConfig
from headrace.receivers.prometheus.job import jobs_of
from scrape_lab import ScrapeLab, samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from headrace.receivers.prometheus.pool import ScrapePool


@pytest.fixture
async def lab() -> AsyncIterator[ScrapeLab]:
    made = ScrapeLab()
    await made.start()
    yield made
    await made.close()


class Groups:
    """A file with target groups."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "targets.json"

    def write(self, groups: list[dict[str, Any]]) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(groups))
        new.replace(self.path)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 -- there is nothing to wait for
            await asyncio.sleep(0.02)


async def pool_of(lab: ScrapeLab, groups: Groups, **job: Any) -> ScrapePool:
    receiver = await lab.receiver(static_configs=[], file_sd_configs=[{"files": [str(groups.path)]}], **job)
    return receiver.pools[0]


async def test_a_change_of_one_leaves_the_others(
    lab: ScrapeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 2,000 targets one changes, one goes and one comes: the other loops run on, and are not looked at again."""
    groups = Groups(tmp_path)
    found = [{"targets": [f"10.0.{i // 250}.{i % 250}:1"], "labels": {"n": str(i)}} for i in range(2000)]
    groups.write(found)
    pool = await pool_of(lab, groups)
    await until(lambda: len(pool.scrapers) == 2000)
    before = {dict(one.target.labels)["n"]: one for one in pool.scrapers}
    worked_out: list[str] = []
    make = population.target_of

    def counted(job: Any, discovered: Any, labels: dict[str, str]) -> Any:
        worked_out.append(labels["n"])
        return make(job, discovered, labels)

    monkeypatch.setattr(population, "target_of", counted)
    found[7] = {**found[7], "labels": {"n": "7", "new": "x"}}
    del found[1999]
    groups.write([*found, {"targets": ["10.1.1.1:1"], "labels": {"n": "2000"}}])
    await until(lambda: any(dict(one.target.labels).get("n") == "2000" for one in pool.scrapers))
    after = {dict(one.target.labels)["n"]: one for one in pool.scrapers}
    assert len(after) == 2000
    assert {n for n, one in after.items() if before.get(n) is not one} == {"7", "2000"}
    assert sorted(worked_out) == ["2000", "7"]


async def test_one_address_more_in_a_large_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets of the same group with the same labels are not worked out again; with other labels they are."""
    config = PrometheusConfig.model_validate({"config": {"scrape_configs": [{"job_name": "j"}]}})
    [job] = jobs_of(config)
    made: list[str] = []
    make = population.target_of

    def counted(job: Any, discovered: Any, labels: dict[str, str]) -> Any:
        made.append(labels["__address__"])
        return make(job, discovered, labels)

    monkeypatch.setattr(population, "target_of", counted)
    populator = population.Populator(job, Relabeler([]))
    addresses = [f"a:{i}" for i in range(1, 100)]
    populator.populate([TargetGroup.of("s", addresses, {"x": "1"})])
    made.clear()
    found = populator.populate([TargetGroup.of("s", [*addresses[1:], "a:7000"], {"x": "1"})])
    assert made == ["a:7000"]
    assert [target.url for target in found.targets] == [f"http://{a}/metrics" for a in [*addresses[1:], "a:7000"]]
    made.clear()
    found = populator.populate([TargetGroup.of("s", addresses, {"x": "2"})])
    assert made == addresses
    assert {dict(target.labels)["x"] for target in found.targets} == {"2"}
    assert populator.populate([]).targets == ()


async def test_what_is_discovered_about_a_target_is_shown(lab: ScrapeLab, tmp_path: Path) -> None:
    """Also where it changes without making another target of it: its loop runs on."""
    groups = Groups(tmp_path)

    def found(zone: str) -> list[dict[str, Any]]:
        return [{"targets": [lab.address], "labels": {"__meta_zone": zone}}]

    groups.write(found("a"))
    pool = await pool_of(lab, groups)
    await until(lambda: len(pool.scrapers) == 1)
    [scraper] = pool.scrapers
    groups.write(found("b"))
    await until(lambda: pool.targets().active[0].discovered_labels["__meta_zone"] == "b")
    assert pool.scrapers == [scraper]


async def test_a_target_that_comes_back_goes_on(lab: ScrapeLab, tmp_path: Path) -> None:
    """Before its series are marked as stale: they are not, and its cache is still there."""
    groups = Groups(tmp_path)
    here: list[dict[str, Any]] = [{"targets": [lab.address]}]
    groups.write(here)
    pool = await pool_of(lab, groups)
    await until(lambda: len(pool.scrapers) == 1)
    [scraper] = pool.scrapers
    await lab.scrape(scraper, "a 1\nb 1\n")
    groups.write([])
    await until(lambda: not pool.scrapers)
    groups.write(here)
    await until(lambda: bool(pool.scrapers))
    assert pool.scrapers == [scraper]
    assert len(lab.sink.batches) == 1
    assert samples(await lab.scrape(scraper, "a 2\n")) == {"a": 2.0, "b": "stale"}


async def test_the_series_of_a_target_that_went_are_marked(lab: ScrapeLab, tmp_path: Path) -> None:
    """After two intervals and a little, all of them and the metrics about it; a target that comes later begins anew."""
    groups = Groups(tmp_path)
    here: list[dict[str, Any]] = [{"targets": [lab.address], "labels": {"__scrape_interval__": "100ms",
                                   "__scrape_timeout__": "100ms"}}]  # fmt: skip
    lab.page = "a 1\n"
    groups.write(here)
    pool = await pool_of(lab, groups)
    await until(lambda: len(lab.sink.batches) > 1)
    [scraper] = pool.scrapers
    groups.write([])
    await until(lambda: not pool.scrapers)
    await until(lambda: lab.found().get("up") == "stale")
    assert lab.found()["a"] == "stale"
    assert len(lab.found()) == 6
    await until(lambda: not pool._ending and not pool._marking)
    groups.write(here)
    await until(lambda: bool(pool.scrapers))
    assert pool.scrapers[0] is not scraper


async def test_a_stop_while_series_are_marked(lab: ScrapeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent after it."""
    groups = Groups(tmp_path)
    lab.page = "a 1\n"
    groups.write([{"targets": [lab.address], "labels": {"__scrape_interval__": "50ms", "__scrape_timeout__": "50ms"}}])
    pool = await pool_of(lab, groups)
    await until(lambda: bool(lab.sink.batches))
    sent: list[str] = []

    async def slow(_batch: Any) -> None:
        sent.append("begun")
        await asyncio.sleep(30)
        sent.append("ended")

    groups.write([])
    await until(lambda: not pool.scrapers)
    monkeypatch.setattr(lab.sink, "send", slow)
    await until(lambda: bool(sent))
    await pool.shutdown()
    assert not pool._marking
    assert sent == ["begun"]
