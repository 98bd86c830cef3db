"""A reload: jobs that stay go on as they are, targets of others as far as they are the same, and the rest is marked."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.targets import TargetsRegistry
from headrace.receivers.prometheus.config import PrometheusConfig
from headrace.receivers.prometheus.job import jobs_of
from headrace.receivers.prometheus.scrape import next_tick
from scrape_lab import ScrapeLab, report, samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from headrace.receivers.prometheus.receiver import PrometheusReceiver

SOON = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
"""Times of jobs whose targets are marked soon; as the clock stands still, they do not come to scrape."""


@pytest.fixture
async def lab() -> AsyncIterator[ScrapeLab]:
    lab = ScrapeLab()
    await lab.start()
    yield lab
    await lab.close()


async def started(lab: ScrapeLab, *jobs: dict[str, Any], shared: dict[str, Any] | None = None) -> PrometheusReceiver:
    receiver = lab.make(*jobs, shared=shared)
    await receiver.start(lab.host)
    return receiver


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 -- there is nothing to wait for
            await asyncio.sleep(0.01)


def pools(receiver: PrometheusReceiver) -> dict[str, Any]:
    return {pool.job.name: pool for pool in receiver.pools}


async def test_jobs_that_stay_go_on(lab: ScrapeLab) -> None:
    """The same pool, scrapers, loops and caches, wherever the job stands now; the others are made anew, or gone."""
    names: tuple[dict[str, Any], ...] = ({"job_name": "other"}, {}, {"job_name": "gone"})
    before = await started(lab, *names)
    pool = pools(before)["test"]
    [scraper] = pool.scrapers
    cache, [running] = scraper._cache, pool._running.values()
    await lab.scrape(scraper, "a 1\nb 1\n")
    after = await lab.reload(before, {}, {"job_name": "other", "scrape_interval": "2d"}, {"job_name": "new"})
    assert [one.job.name for one in after.pools] == ["test", "other", "new"]
    assert after.pools[0] is pool
    assert list(pool._running.values()) == [running]
    assert (pool.scrapers, scraper._cache, running.task.done()) == ([scraper], cache, False)
    assert pools(after)["other"] is not pools(before).get("other")
    assert before.pools == []
    assert report(await lab.scrape(scraper)) == (1, 2, 2, 0)
    active = lab.host.service("targets", TargetsRegistry).targets().active
    assert sorted(one.scrape_pool for one in active) == ["new", "other", "test"]


async def test_a_scrape_under_way_goes_on(lab: ScrapeLab) -> None:
    """Of a job that stays; its page is delivered."""
    gate = asyncio.Event()

    async def late(_request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return web.Response(text="a 1\n", content_type="text/plain")

    lab.answer = late
    before = await started(lab, {}, {"job_name": "gone"})
    scrape = asyncio.create_task(before.pools[0].scrapers[0].scrape(lab.clock.now_ns))
    await until(lambda: bool(lab.requests))
    await lab.reload(before, {})
    gate.set()
    await asyncio.wait_for(scrape, 20)
    assert samples(lab.found()) == {"a": 1.0}


async def test_targets_of_a_job_that_is_gone_are_marked(lab: ScrapeLab) -> None:
    """Two intervals later, also where the configuration is reloaded again in between; then nothing is left of it."""
    before = await started(lab, {**SOON, "job_name": "stays"}, SOON)
    await lab.scrape(before.pools[1].scrapers[0], "a 1\n")
    between = await lab.reload(before, {**SOON, "job_name": "stays"}, {"job_name": "more"})
    after = await lab.reload(between, {**SOON, "job_name": "stays"})
    await until(lambda: len(lab.sink.batches) == 2)
    assert set(lab.found().values()) == {"stale"}
    assert set(samples(lab.found())) == {"a"}
    assert len(lab.found()) == 6
    await until(lambda: all(pool.left for pool in after.departing._pools if pool.job.name == "test"))
    assert len(lab.sink.batches) == 2


async def test_targets_that_a_changed_job_does_not_have(lab: ScrapeLab) -> None:
    """They are marked, and those that it has are not."""
    both = [{"targets": [lab.address]}, {"targets": [lab.address], "labels": {"n": "2"}}]
    before = await started(lab, {**SOON, "static_configs": both})
    first, second = before.pools[0].scrapers
    for scraper in (first, second):
        await scraper.scrape(lab.clock.now_ns)
    after = await lab.reload(before, {**SOON, "static_configs": both[:1]})
    await until(lambda: len(lab.sink.batches) == 3)
    assert all(
        ("n", "2") in lab.sink.batches[2].table.series(one).labels for one in lab.sink.batches[2].series.tolist()
    )
    [scraper] = after.pools[0].scrapers
    assert scraper._cache is first._cache


async def test_other_times_keep_what_is_known(lab: ScrapeLab) -> None:
    """Of pages: nothing is new, what is missing is marked; the target's health is shown as it was."""
    before = await started(lab, {})
    await lab.scrape(before.pools[0].scrapers[0], "# TYPE a gauge\na 1\nb 1\n")
    after = await lab.reload(before, {"scrape_interval": "2d", "sample_limit": 5, "params": {}})
    [active] = after.targets().active
    assert (active.health, active.scrape_interval, list(active.metadata)) == ("up", "2d", ["a"])
    found = await lab.scrape(after.pools[0].scrapers[0], "# TYPE a gauge\na 1\n")
    assert (samples(found), report(found)) == ({"a": 1.0, "b": "stale"}, (1, 1, 1, 0))
    assert lab.sink.batches[-1].metadata == ()


async def test_other_rules_mark_what_does_not_come_again(lab: ScrapeLab) -> None:
    """By the first page: series that a rule drops now, and metrics about scrapes that are not wanted any more."""
    before = await started(lab, {"extra_scrape_metrics": True})
    await lab.scrape(before.pools[0].scrapers[0], "a 1\nb 1\nc 1\n")
    drop = {"source_labels": ["__name__"], "regex": "b", "action": "drop"}
    after = await lab.reload(before, {"metric_relabel_configs": [drop]})
    found = await lab.scrape(after.pools[0].scrapers[0])
    stale = {"b", "scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"}
    assert {name for name, value in found.items() if value == "stale"} == stale
    assert (found["a"], found["c"]) == (1.0, 1.0)


async def test_discovery_goes_on_where_it_looks_for_the_same(lab: ScrapeLab, tmp_path: Path) -> None:
    """What was found is scraped at once, and what comes later is seen; a reload that fails has not stopped it."""
    file = tmp_path / "targets.json"

    def write(*targets: str) -> None:
        new = file.with_suffix(".new")
        new.write_text(json.dumps([{"targets": list(targets)}]))
        new.replace(file)

    found = {"static_configs": [], "file_sd_configs": [{"files": [str(file)]}]}
    write("a:1")
    before = await started(lab, found)
    await until(lambda: len(before.pools[0].scrapers) == 1)
    given_up = lab.make({**found, "scrape_interval": "2d"})
    await given_up.start_after(lab.host, before)
    await given_up.shutdown()
    write("a:1", "b:2")
    await until(lambda: len(before.pools[0].scrapers) == 2)
    discoverer = before.pools[0].discoverer
    after = await lab.reload(before, {**found, "scrape_interval": "2d"})
    assert len(after.pools[0].scrapers) == 2
    assert after.pools[0].discoverer is discoverer
    write("a:1", "b:2", "c:3")
    await until(lambda: len(after.pools[0].scrapers) == 3)
    last = await lab.reload(after, {**found, "file_sd_configs": [{"files": [str(tmp_path / "none.json")]}]})
    assert last.pools[0].discoverer is not discoverer
    assert last.pools[0].scrapers == []
    await until(lambda: discoverer.groups() == [])


async def test_a_target_under_another_job(lab: ScrapeLab) -> None:
    """With the same labels and URL it is the same, and goes on."""
    same = [{"targets": [lab.address], "labels": {"job": "test"}}]
    before = await started(lab, {**SOON, "job_name": "a", "static_configs": same})
    await lab.scrape(before.pools[0].scrapers[0], "x 1\n")
    after = await lab.reload(before, {**SOON, "job_name": "b", "static_configs": same})
    assert report(await lab.scrape(after.pools[0].scrapers[0])) == (1, 1, 1, 0)
    await until(lambda: all(pool.left for pool in after.departing._pools))
    assert len(lab.sink.batches) == 2


async def test_a_loop_begins_when_the_one_before_has_ended(lab: ScrapeLab) -> None:
    """And what that one could not mark any more is marked by it."""
    held = asyncio.Event()
    send = lab.sink.send

    async def hold(batch: Any) -> Any:
        try:
            await held.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            raise
        return await send(batch)

    before = await started(lab, {})
    pool = before.pools[0]
    [scraper] = pool.scrapers
    await lab.scrape(scraper, "a 1\nb 1\n")
    lab.sink.send = hold  # type: ignore[method-assign]
    lab.page = "a 1\n"
    [running] = pool._running.values()
    running.task.cancel()
    running.task = asyncio.create_task(scraper.scrape(lab.clock.now_ns))
    await until(lambda: len(lab.requests) == 2 and len(scraper._cache._tracked) == 1)
    after = await lab.reload(before, {"metric_relabel_configs": [{"regex": "none", "action": "labeldrop"}]})
    [fresh] = after.pools[0].scrapers
    assert fresh is not scraper
    await until(running.task.done)
    await asyncio.sleep(0)
    lab.sink.send = send  # type: ignore[method-assign]
    assert samples(await lab.scrape(fresh)) == {"a": 1.0, "b": "stale"}


async def test_a_tick_is_not_scraped_twice(lab: ScrapeLab) -> None:
    """Where the loop before came a little early for it, and the next one begins before it."""
    before = await started(lab, SOON)
    scraper = before.pools[0].scrapers[0]
    interval_ns = 500 * 10**6
    tick_ns = next_tick(lab.clock.now_ns, interval_ns, scraper.target.offset_ns(before.pools[0]._seed))
    lab.clock.now_ns = tick_ns - 10**6
    await scraper.scrape(tick_ns)
    await lab.reload(before, {**SOON, "sample_limit": 9})
    await asyncio.sleep(0.1)
    assert len(lab.requests) == 1
    lab.clock.now_ns = tick_ns + interval_ns
    await until(lambda: len(lab.sink.batches) == 2)
    assert [int(batch.time_ns[0]) for batch in lab.sink.batches] == [tick_ns, tick_ns + interval_ns]


async def test_a_reload_that_fails_changes_nothing(lab: ScrapeLab, tmp_path: Path) -> None:
    """The old receiver scrapes on with all that it knows, and the new one has touched nothing."""
    before = await started(lab, {}, {"job_name": "other"})
    known: Any = [(pool, *pool.scrapers, *pool._running.values()) for pool in before.pools]
    await lab.scrape(before.pools[0].scrapers[0], "a 1\n")
    broken = lab.make({}, {"job_name": "b", "basic_auth": {"username": "a", "password_file": str(tmp_path / "none")}})
    with pytest.raises(ConfigError, match="password_file: cannot use"):
        await broken.start_after(lab.host, before)
    await broken.shutdown()
    given_up = lab.make({}, {"job_name": "other", "scrape_interval": "2d"})
    await given_up.start_after(lab.host, before)
    await given_up.shutdown()
    assert [(pool, *pool.scrapers, *pool._running.values()) for pool in before.pools] == known
    assert not any(running.task.done() for _, _, running in known)
    assert report(await lab.scrape(before.pools[0].scrapers[0])) == (1, 1, 1, 0)


async def test_a_receiver_that_is_taken_away_marks_at_once(lab: ScrapeLab) -> None:
    """All its targets, also those that wait for it since the reload before."""
    before = await started(lab, {}, {"job_name": "waits"})
    for pool in before.pools:
        await pool.scrapers[0].scrape(lab.clock.now_ns)
    after = await lab.reload(before, {})
    lab.clock.advance(10)
    await after.leave()
    await after.shutdown()
    marked = lab.sink.batches[2:]
    found = [dict(batch.table.series(one).labels)["job"] for batch in marked for one in batch.series.tolist()]
    assert sorted(found) == ["test"] * 5 + ["waits"] * 5
    assert all(batch.flags.all() for batch in marked)
    assert {int(at) for batch in marked for at in batch.time_ns} == {lab.clock.now_ns}


async def test_the_end_of_the_daemon_marks_nothing(lab: ScrapeLab) -> None:
    """Not even what a reload had left to be marked."""
    before = await started(lab, {"scrape_interval": "20ms", "scrape_timeout": "20ms"})
    await lab.scrape(before.pools[0].scrapers[0], "a 1\n")
    after = await lab.reload(before, {"job_name": "other"})
    await after.shutdown()
    await after.shutdown()
    await asyncio.sleep(0.06)
    assert len(lab.sink.batches) == 1


async def test_other_sharding_makes_all_jobs_anew(lab: ScrapeLab) -> None:
    """As it decides about their targets; those that stay go on all the same."""
    before = await started(lab, {})
    [scraper] = before.pools[0].scrapers
    after = lab.make({})
    after.sharding = PrometheusConfig.model_validate(
        {"sharding": {"members": ["a"], "member": "a"}, "config": {"scrape_configs": [{"job_name": "a"}]}}
    ).sharding
    await after.start_after(lab.host, before)
    pool = before.pools[0]
    after.succeed()
    assert after.pools[0] is not pool
    assert after.pools[0].scrapers[0]._cache is scraper._cache


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"scrape_interval": "5s", "scrape_timeout": "1s"}, True),
        ({"bearer_token": "x", "sample_limit": 3, "target_limit": 1, "body_size_limit": "1KB"}, True),
        ({"relabel_configs": [{"target_label": "a", "replacement": "b"}], "static_configs": []}, True),
        ({"metric_relabel_configs": [{"target_label": "a", "replacement": "b"}]}, False),
        ({"honor_labels": True}, False),
        ({"honor_timestamps": False}, False),
        ({"track_timestamps_staleness": True}, False),
        ({"label_limit": 3}, False),
        ({"scrape_protocols": ["OpenMetricsText1.0.0"]}, False),
        ({"scrape_native_histograms": True}, False),
        ({"native_histogram_min_bucket_factor": 2}, False),
        ({"extra_scrape_metrics": True}, False),
    ],
)  # fmt: skip
def test_what_the_samples_of_a_page_depend_on(options: dict[str, Any], same: bool) -> None:
    """Rules, limits of labels and formats; not what is fetched, or when."""

    def reading(**more: Any) -> str:
        job = {"job_name": "j", **more}
        return next(iter(jobs_of(PrometheusConfig.model_validate({"config": {"scrape_configs": [job]}})))).reading

    assert (reading(**options) == reading()) is same
