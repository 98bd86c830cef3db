"""Discoveries of a job: side by side, run again when they break, and kinds from other packages."""

from __future__ import annotations

import asyncio
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from discovery_lab import DiscoveryLab
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.discovery import Discoverer, DiscoveryFactory, DiscoveryFailed, TargetGroup, kinds, poll, polling
from headrace.pipeline.discovery.kinds import configured
from headrace.receivers.prometheus.config import PrometheusConfig
from headrace.receivers.prometheus.job import jobs_of
from headrace.testing.batches import make_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from headrace.pipeline.discovery import DiscoverySettings


class OneConfig(ComponentConfig):
    """Settings of the kind of these tests."""

    server: str
    """Where to look."""


class Broken(Exception):  # noqa: N818 -- what a careless plugin raises
    """Nobody expects it."""


class One:
    """Publishes what a test hands it; an exception breaks it."""

    made: list[One]

    def __init__(self, settings: DiscoverySettings, config: OneConfig) -> None:
        self.settings = settings
        self.config = config
        self.queue: asyncio.Queue[list[TargetGroup] | Exception] = asyncio.Queue()
        self.runs = 0
        One.made.append(self)

    async def run(self, publish: Callable[[Iterable[TargetGroup]], None]) -> None:
        self.runs += 1
        while True:
            found = await self.queue.get()
            if isinstance(found, Exception):
                raise found
            publish(found)
            self.queue.task_done()


FACTORY = DiscoveryFactory(name="one", config=OneConfig, create=One)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_FIRST_RETRY_S", 0.001)
    monkeypatch.setattr("headrace.pipeline.discovery.runner._LEAST_PAUSE_S", 0.0)
    One.made = []


class Job:
    """A discoverer with two discoveries, and what it said."""

    def __init__(self) -> None:
        self.settings = make_settings("prometheus", kind="receivers")
        self.calls: list[list[str]] = []
        self.news = asyncio.Event()
        self.discoverer = Discoverer([TargetGroup.of("0", ["fixed:1"])], self.changed, self.settings, "j")
        for server in ("a", "b"):
            self.discoverer.add(FACTORY, OneConfig(server=server))
        self.first, self.second = One.made

    def changed(self) -> None:
        self.calls.append(self.addresses())
        self.news.set()

    def addresses(self) -> list[str]:
        return [target["__address__"] for group in self.discoverer.groups() for target in group.targets]

    async def told(self) -> list[str]:
        async with asyncio.timeout(20):
            await self.news.wait()
        self.news.clear()
        return self.calls[-1]


@pytest.fixture
async def one_job() -> AsyncIterator[Job]:
    made = Job()
    made.discoverer.start()
    yield made
    await made.discoverer.shutdown()
    await made.discoverer.shutdown()


async def test_groups_of_all_discoveries_are_gathered(one_job: Job) -> None:
    """Sources are apart for each discovery; a group without targets is gone, and what is equal is no news."""
    assert one_job.addresses() == ["fixed:1"]
    one_job.first.queue.put_nowait([TargetGroup.of("x", ["a:1"]), TargetGroup.of("y", ["a:2"])])
    assert await one_job.told() == ["fixed:1", "a:1", "a:2"]
    one_job.second.queue.put_nowait([TargetGroup.of("x", ["b:1"])])
    assert await one_job.told() == ["fixed:1", "a:1", "a:2", "b:1"]
    one_job.first.queue.put_nowait([TargetGroup("x")])
    assert await one_job.told() == ["fixed:1", "a:2", "b:1"]
    one_job.first.queue.put_nowait([TargetGroup.of("y", ["a:2"]), TargetGroup("x")])
    await one_job.first.queue.join()
    one_job.first.queue.put_nowait([TargetGroup.of("y", ["a:3"], {"l": "m"})])
    assert await one_job.told() == ["fixed:1", "a:3", "b:1"]
    assert len(one_job.calls) == 4
    attributes = {"receiver": "prometheus", "job": "j", "kind": "one"}
    assert one_job.settings.counters.value("headrace_discovered_targets", attributes) == 2


async def test_changes_at_the_same_time_are_told_once(one_job: Job) -> None:
    """However many there are."""
    for i in range(10):
        one_job.first.queue.put_nowait([TargetGroup.of("x", [f"a:{i}"])])
    assert await one_job.told() == ["fixed:1", "a:9"]
    assert len(one_job.calls) == 1


async def test_a_discovery_that_breaks_is_run_again(one_job: Job, caplog: pytest.LogCaptureFixture) -> None:
    """Its targets stay meanwhile; the fault is counted each time, and told once."""
    one_job.first.queue.put_nowait([TargetGroup.of("x", ["a:1"])])
    await one_job.told()
    for _ in range(3):
        one_job.first.queue.put_nowait(Broken("no such thing"))
    one_job.first.queue.put_nowait([TargetGroup.of("x", ["a:2"])])
    assert await one_job.told() == ["fixed:1", "a:2"]
    assert one_job.first.runs == 4
    assert one_job.second.runs == 1
    assert one_job.settings.counters.value("headrace_discovery_failures", {"reason": "internal"}) == 3
    assert caplog.text.count("Broken: no such thing") == 1


async def test_a_listener_that_breaks_is_told_of_the_next_change(one_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fault is logged, and ends nothing."""

    def broken() -> None:
        one_job.changed()
        raise Broken("listener")

    monkeypatch.setattr(one_job.discoverer, "changed", broken)
    one_job.first.queue.put_nowait([TargetGroup.of("x", ["a:1"])])
    await one_job.told()
    one_job.first.queue.put_nowait([TargetGroup.of("x", ["a:2"])])
    assert await one_job.told() == ["fixed:1", "a:2"]


async def test_a_failed_look_is_repeated_soon_and_changes_nothing() -> None:
    """Pauses grow from one try to the next, up to the interval."""
    lab = DiscoveryLab()
    answers: list[Any] = [[TargetGroup.of("x", ["a:1"])], *[DiscoveryFailed("down", "it is down")] * 5, []]

    async def look() -> list[TargetGroup]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    class Once:
        async def run(self, publish: Callable[[Iterable[TargetGroup]], None]) -> None:
            await poll(look, 0.02, lab.settings, publish)

    async with lab.running(Once()):
        await lab.until(lambda: lab.addresses() == ["a:1"], "found")
        await lab.until(lambda: lab.failures("down") == 5, "failed")
        await lab.until(lambda: not lab.groups, "gone, as the last look said")


def test_pauses_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubled, within a fifth, and anew after a success."""
    monkeypatch.undo()
    backoff = polling.Backoff(10)
    planned = [1, 2, 4, 8, 10, 10]
    for plan in planned:
        assert 0.8 * plan <= backoff.next_s() <= 1.2 * plan
    backoff.reset()
    assert backoff.next_s() <= 1.2
    assert polling.Backoff(0.5).next_s() <= 0.6


def job(**options: Any) -> Any:
    config = {"config": {"scrape_configs": [{"job_name": "a", **options}]}}
    return next(iter(jobs_of(PrometheusConfig.model_validate(config)))).config


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "consul": EntryPoint("consul", f"{__name__}:FACTORY", kinds.GROUP),
        "nomad": EntryPoint("nomad", "no_such_module:X", kinds.GROUP),
        "gce": EntryPoint("gce", "json:loads", kinds.GROUP),
    }
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("types").SimpleNamespace(FACTORY=FACTORY))
    monkeypatch.setattr(kinds, "_offered", lambda: points)


@pytest.mark.usefixtures("offered")
def test_a_package_adds_a_kind() -> None:
    """Its option is read by its own settings, also where we name the kind as not supported."""
    [(factory, config)] = configured(job(consul_sd_configs=[{"server": "s"}]))
    assert (factory, config) == (FACTORY, OneConfig(server="s"))
    assert kinds.kinds() == [*sorted(["consul", "gce", "nomad", *kinds.BUILT_IN])]
    assert "server" in job(consul_sd_configs=[{"server": "s"}]).model_dump_json()


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"consul_sd_configs": [{"server": "s"}, {"servre": "s"}]}, "consul_sd_configs.1.server: Field required"),
        ({"nomad_sd_configs": [{}]}, "nomad_sd_configs: plugin no_such_module:X does not load"),
        ({"gce_sd_configs": [{}]}, "gce_sd_configs: plugin offers a function"),
        ({"azure_sd_configs": [{}]}, "azure_sd_configs (there is no such discovery"),
    ],
)
def test_faults_of_offered_kinds_are_named(options: dict[str, Any], why: str) -> None:
    """Option and field, or the package."""
    with pytest.raises(ValidationError) as caught:
        job(**options)
    assert why in str(caught.value)
