"""From settings and files to targets: labels, URLs, times, and what happens when targets come and go."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.relabel import Relabeler
from headrace.pipeline.targets import TargetsRegistry
from headrace.receivers.prometheus.config import PrometheusConfig
from headrace.receivers.prometheus.job import Job, jobs_of
from headrace.receivers.prometheus.population import Population, Populator
from headrace.receivers.prometheus.scrape import next_tick
from headrace.receivers.prometheus.targets import seed_of
from running import wait_until
from scrape_lab import ScrapeLab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DAY_NS = 86_400 * 10**9


@pytest.fixture
async def lab() -> AsyncIterator[ScrapeLab]:
    lab = ScrapeLab()
    await lab.start()
    yield lab
    await lab.close()


def job(**options: Any) -> Job:
    config = {"config": {"scrape_configs": [{"job_name": "j", **options}]}}
    return next(iter(jobs_of(PrometheusConfig.model_validate(config))))


def population(*groups: dict[str, Any], **options: Any) -> Population:
    one = job(static_configs=list(groups), **options)
    populator = Populator(one, Relabeler(one.config.relabel_configs))
    return populator.populate(group.group("") for group in one.config.static_configs)


def test_labels_of_a_target() -> None:
    """Job and instance by default; what is given wins."""
    found = population({"targets": ["a:1", "b:2"], "labels": {"x": "y"}},
                       {"targets": ["c:3"], "labels": {"job": "other", "instance": "i"}})  # fmt: skip
    assert [dict(target.labels) for target in found.targets] == [
        {"instance": "a:1", "job": "j", "x": "y"},
        {"instance": "b:2", "job": "j", "x": "y"},
        {"instance": "i", "job": "other"},
    ]
    assert dict(found.targets[0].discovered) == {
        "__address__": "a:1", "__metrics_path__": "/metrics", "__scheme__": "http", "__scrape_interval__": "1m",
        "__scrape_timeout__": "10s", "job": "j", "x": "y",
    }  # fmt: skip


def test_relabelling_makes_url_times_and_labels() -> None:
    """Every special label does its work, and none of them is left."""
    rules = [
        {"target_label": "__scheme__", "replacement": "https"},
        {"target_label": "__metrics_path__", "replacement": "/probe"},
        {"source_labels": ["__address__"], "target_label": "__param_target"},
        {"source_labels": ["__param_target"], "target_label": "instance"},
        {"target_label": "__address__", "replacement": "prober:9115"},
        {"target_label": "__scrape_interval__", "replacement": "5s"},
        {"target_label": "__scrape_timeout__", "replacement": "2s"},
        {"target_label": "__tmp_x", "replacement": "z"},
    ]
    [target] = population({"targets": ["web:80"]}, params={"module": ["http", "b"], "target": ["?"]},
                          relabel_configs=rules).targets  # fmt: skip
    assert target.url == "https://prober:9115/probe?module=http&module=b&target=web%3A80"
    assert dict(target.labels) == {"instance": "web:80", "job": "j"}
    assert (target.interval.total_seconds(), target.timeout.total_seconds()) == (5, 2)


def test_dropped_and_impossible_targets() -> None:
    """A rule drops one, others cannot be scraped; each says why."""
    rules = [
        {"source_labels": ["__address__"], "regex": "drop.*", "action": "drop"},
        {"source_labels": ["__address__"], "regex": "none.*", "target_label": "__address__", "replacement": ""},
        {"source_labels": ["__address__"], "regex": "slow.*", "target_label": "__scrape_timeout__",
         "replacement": "2m"},
        {"source_labels": ["__address__"], "regex": "never.*", "target_label": "__scrape_interval__",
         "replacement": "0"},
        {"source_labels": ["__address__"], "regex": "ftp.*", "target_label": "__scheme__", "replacement": "ftp"},
    ]  # fmt: skip
    found = population({"targets": ["drop:1", "none:1", "slow:1", "never:1", "ftp:1", "ok:1"]}, relabel_configs=rules)
    assert [target.url for target in found.targets] == ["http://ok:1/metrics"]
    assert [dict(labels)["__address__"] for labels in found.dropped] == ["drop:1"]
    text = "\n".join(found.faults)
    for why in ("none:1: no address", "slow:1: scrape timeout", "never:1: __scrape_interval__ cannot be 0",
                "ftp:1: scheme 'ftp'"):  # fmt: skip
        assert why in text


def test_the_same_target_twice_is_one() -> None:
    """However often it is listed."""
    assert len(population({"targets": ["a:1", "a:1"]}, {"targets": ["a:1"]}).targets) == 1


def test_targets_are_spread_over_the_interval() -> None:
    """Offsets depend on target and daemon, stay, and fill the interval."""
    targets = population({"targets": [f"host{i}:9100" for i in range(400)]}, scrape_interval="20s").targets
    offsets = [target.offset_ns(seed_of(())) for target in targets]
    assert offsets == [target.offset_ns(seed_of(())) for target in targets]
    assert offsets != [target.offset_ns(seed_of((("a", "b"),))) for target in targets]
    assert all(0 <= offset < 20 * 10**9 for offset in offsets)
    buckets = [sum(offset // 10**9 == second for offset in offsets) for second in range(20)]
    assert min(buckets) >= 5
    assert max(buckets) <= 45


@pytest.mark.parametrize(
    ("now", "tick"), [(0, 3), (2, 3), (3, 13), (4, 13), (12, 13), (1_000_003, 1_000_013), (-1, 3), (-8, -7)]
)
def test_ticks(now: int, tick: int) -> None:
    """The next time that lies three past a multiple of ten."""
    assert next_tick(now, 10, 3) == tick


def write(path: Path, *targets: str) -> None:
    """Replace a file as a careful writer does."""
    spare = path.with_suffix(".new")
    spare.write_text(json.dumps([{"targets": list(targets)}]))
    spare.replace(path)


async def test_a_file_with_targets_is_watched(lab: ScrapeLab, tmp_path: Path) -> None:
    """A target that is written into the file is found by itself, and one that is taken out is no more."""
    path = tmp_path / "t.json"
    receiver = await lab.receiver(static_configs=[], file_sd_configs=[{"files": [str(path)]}])
    registry = lab.host.service("targets", TargetsRegistry)
    assert registry.targets().active == []
    write(path, "a:1", "b:2")
    await until(lambda: len(registry.targets().active) == 2)
    write(path, "b:2")
    await until(lambda: [target.labels["instance"] for target in registry.targets().active] == ["b:2"])
    await receiver.shutdown()
    assert registry.targets().active == []


async def until(check: Any) -> None:
    await asyncio.to_thread(wait_until, check, "the targets are seen")


@pytest.mark.parametrize("address", ["localhost:99999", "localhost:x", "[::1"])
async def test_an_address_that_is_none(lab: ScrapeLab, address: str) -> None:
    """Its target is shown as it is, and the others as ever."""
    await lab.receiver(static_configs=[{"targets": [address, "a:1"]}])
    active = lab.host.service("targets", TargetsRegistry).targets().active
    assert {one.global_url for one in active} == {f"http://{address}/metrics", "http://a:1/metrics"}


async def test_the_password_of_a_proxy_is_not_shown(lab: ScrapeLab) -> None:
    """Not by the page that shows the settings of a scrape pool."""
    await lab.receiver(static_configs=[{"targets": ["a:1"]}], proxy_url="http://me:s3cret@127.0.0.1:1")
    (facts,) = lab.host.service("targets", TargetsRegistry).targets().pools.values()
    assert facts.config()["proxy_url"] == "http://me:[REDACTED]@127.0.0.1:1"


async def test_targets_for_the_api(lab: ScrapeLab) -> None:
    """Health, times and errors as the last scrape left them; dropped targets with a count."""
    lab.page = "a 1\n"
    receiver = await lab.receiver(
        static_configs=[{"targets": [lab.address, "drop:1", "drop:2"]}],
        relabel_configs=[{"source_labels": ["__address__"], "regex": "drop.*", "action": "drop"}],
        keep_dropped_targets=1, params={"a": ["b"]},
    )  # fmt: skip
    registry = lab.host.service("targets", TargetsRegistry)
    [active] = registry.targets().active
    assert (active.health, active.last_error, active.last_scrape_ns) == ("unknown", "", 0)
    assert (active.scrape_pool, active.scrape_interval, active.scrape_timeout) == ("test", "1d", "10s")
    assert active.scrape_url == f"http://{lab.address}/metrics?a=b"
    assert active.labels == {"instance": lab.address, "job": "test"}
    scraper = receiver.pools[0].scrapers[0]
    await scraper.scrape(7)
    [active] = registry.targets().active
    assert (active.health, active.last_scrape_ns) == ("up", 7)
    lab.status = 503
    await scraper.scrape(9)
    [active] = registry.targets().active
    assert (active.health, active.last_error) == ("down", "server returned HTTP status 503 Service Unavailable")
    assert [one.discovered_labels["__address__"] for one in registry.targets().dropped] == ["drop:1"]
    assert registry.targets().dropped_counts == {"test": 2}


async def test_a_target_that_goes_is_marked_and_one_that_comes_back_is_not(
    lab: ScrapeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two intervals and a little, all its series are stale as of the scrape that was missed."""
    lab.page = "a 1\n"
    receiver = await lab.receiver()
    pool = receiver.pools[0]
    [scraper] = pool.scrapers
    await scraper.scrape(lab.clock.now_ns)
    slept: list[float] = []
    gates = [asyncio.Event(), asyncio.Event()]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await gates[min(len(slept), 2) - 1].wait()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return sleep if name == "sleep" else getattr(asyncio, name)

    monkeypatch.setattr("headrace.receivers.prometheus.pool.asyncio", Slow())
    there = pool.discoverer._fixed
    pool.discoverer._fixed = []
    pool.sync()
    assert pool.scrapers == []
    pool.discoverer._fixed = there
    pool.sync()
    assert pool.scrapers == [scraper]
    await asyncio.sleep(0)
    pool.discoverer._fixed = []
    pool.sync()
    slept.clear()
    await until(lambda: len(slept) == 1)
    missed_ns = lab.clock.now_ns + DAY_NS
    lab.clock.advance(86_400)
    gates[0].set()
    await until(lambda: len(slept) == 2)
    lab.clock.advance(100_000)
    batches = len(lab.sink.batches)
    gates[1].set()
    await until(lambda: len(lab.sink.batches) > batches)
    assert slept == [86_400.0, pytest.approx(86_400 * 1.1)]
    assert set(lab.found().values()) == {"stale"}
    assert len(lab.found()) == 6
    assert set(lab.sink.batches[-1].time_ns.tolist()) == {missed_ns}


async def test_shutdown_marks_nothing(lab: ScrapeLab) -> None:
    """The targets are not gone, the daemon is; and it may be told twice, or before it started."""
    receiver = await lab.receiver()
    await receiver.pools[0].scrapers[0].scrape(1)
    await receiver.shutdown()
    await receiver.shutdown()
    assert len(lab.sink.batches) == 1
    await type(receiver)(lab.settings, PrometheusConfig.model_validate(
        {"config": {"scrape_configs": [{"job_name": "a"}]}}), lab.sink).shutdown()  # fmt: skip


async def test_targets_are_scraped_at_their_times(lab: ScrapeLab) -> None:
    """A loop with a real clock comes by itself, at the same place in each interval."""
    import time

    lab.page = "a 1\n"
    lab.clock.clock_ns = time.time_ns  # type: ignore[method-assign]
    object.__setattr__(lab.settings, "clock_ns", time.time_ns)
    receiver = await lab.receiver(scrape_interval="200ms", scrape_timeout="200ms")
    target = receiver.pools[0].scrapers[0].target
    await until(lambda: len(lab.sink.batches) >= 3)
    offset_ns = target.offset_ns(seed_of(()))
    late = [(int(batch.time_ns[0]) - offset_ns) % 200_000_000 for batch in lab.sink.batches[:3]]
    assert all(ns == 0 or 0 < ns < 150_000_000 for ns in late)
    times = [int(batch.time_ns[0]) for batch in lab.sink.batches[:3]]
    assert times == sorted(set(times))


async def test_a_loop_that_breaks_goes_on(lab: ScrapeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours costs one scrape and is counted."""
    import time

    object.__setattr__(lab.settings, "clock_ns", time.time_ns)
    lab.page = "a 1\n"
    receiver = await lab.receiver(scrape_interval="50ms", scrape_timeout="50ms")
    scraper = receiver.pools[0].scrapers[0]
    monkeypatch.setattr(scraper._cache, "resolve", lambda _page: 1 / 0)
    await until(lambda: lab.failures("internal") >= 1)
    monkeypatch.undo()
    await until(lambda: len(lab.sink.batches) >= 1)


async def test_missing_files_stop_the_start(lab: ScrapeLab, tmp_path: Path) -> None:
    """The setting is named."""
    with pytest.raises(ConfigError, match=r"scrape_configs\.test.*password_file: cannot use"):
        await lab.receiver(basic_auth={"username": "a", "password_file": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match=r"scrape_configs\.test\.tls_config: cannot load"):
        await lab.receiver(scheme="https", tls_config={"ca_file": str(tmp_path / "none")})
