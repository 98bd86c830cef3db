"""One plan in place of another while batches go on."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from headrace.connectors import forward
from headrace.pipeline.component import Outcome
from headrace.pipeline.errors import ConfigError, Refused
from headrace.pipeline.graph import Graph, GraphPlan, PipelinePlan, Planned
from headrace.pipeline.host import Host
from headrace.pipeline.identity import MetricType, Temporality
from headrace.processors import deltatocumulative, filter, interval  # noqa: A004 -- the component's name
from headrace.testing.batches import make_batch, rows
from headrace.testing.sinks import MemoryExporter
from stream_points import Number, batch_of, numbers_of, otlp

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Sink
    from headrace.pipeline.replacement import Changes

DELTA = otlp("requests", MetricType.COUNTER, Temporality.DELTA)


class Source:
    """A receiver that is fed by the test."""

    def __init__(self, settings: Any, config: Any, sink: Sink) -> None:
        del settings
        self.config = config
        self.sink = sink
        self.life: list[str] = []

    async def start(self, host: Host) -> None:
        del host
        self.life.append("start")
        if self.config == "broken":
            raise ConfigError("receivers.source", "is broken")

    async def shutdown(self) -> None:
        self.life.append("shutdown")


class Drain(MemoryExporter):
    """An exporter that shares what it keeps with all of its name."""

    def __init__(self, settings: Any, config: dict[str, Any]) -> None:
        super().__init__()
        self.batches = config["batches"]
        self.config = config
        self.exclusive = config.get("exclusive", False)
        self.needs_restart = config.get("needs_restart", "")
        self.id = settings.id

    async def start(self, host: Host) -> None:
        if self.config.get("broken"):
            raise ConfigError(f"exporters.{self.id}", "is broken")
        if self.exclusive:
            assert self.config["open"] == []
            self.config["open"].append(self)
        await super().start(host)

    async def shutdown(self) -> None:
        await super().shutdown()
        if self in self.config.get("open", ()):
            self.config["open"].remove(self)


class Holding(Drain):
    """An exporter that keeps what it is given until it is told to send it."""

    def __init__(self, settings: Any, config: dict[str, Any]) -> None:
        super().__init__(settings, config)
        self.held: list[MetricBatch] = []

    async def deliver(self, batch: MetricBatch) -> Outcome:
        self.held.append(batch)
        return Outcome(len(batch))

    async def take_over(self, predecessor: Holding) -> None:
        self.held += predecessor.held
        predecessor.held = []


class Following(Source):
    """A receiver that goes on with the work of the one before."""

    def can_succeed(self, predecessor: Following) -> bool:
        return bool(predecessor.config != "unlike")

    async def start_after(self, host: Host, predecessor: Following) -> None:
        del host
        self.predecessor = predecessor
        self.life.append("start_after")
        if self.config == "broken":
            raise ConfigError("receivers.source", "is broken")

    def succeed(self) -> None:
        self.life.append(f"succeed {self.predecessor.life[-1]}")

    async def leave(self) -> None:
        self.life.append("leave")
        await self.sink.send(make_batch(["gone"]))
        if self.config == "breaks":
            raise RuntimeError("broken")


SOURCE = SimpleNamespace(create=Source)
FOLLOWING = SimpleNamespace(create=Following)
DRAIN = SimpleNamespace(create=Drain)
HOLDING = SimpleNamespace(create=Holding)


def plan(
    processors: dict[str, Planned] | None = None,
    exporters: dict[str, Planned] | None = None,
    source: str = "",
    pipelines: list[PipelinePlan] | None = None,
) -> GraphPlan:
    ends = exporters or {"memory": Planned(DRAIN, {"batches": []})}
    named = processors or {}
    wired = pipelines or [PipelinePlan("metrics", ["source"], list(named), list(ends))]
    return GraphPlan({"source": Planned(SOURCE, source)}, named, ends, wired, {"link": LINK})


LINK = Planned(forward.FACTORY, forward.ForwardConfig())


async def started(first: GraphPlan) -> Graph:
    graph = Graph(first, Host())
    await graph.start()
    return graph


async def replace(graph: Graph, second: GraphPlan, *renewed: str) -> Changes:
    replacement = graph.replacement(second, renewed)
    changes = replacement.changes
    await replacement.prepare()
    await replacement.swap(5)
    await replacement.retire(5)
    return changes


async def send(graph: Graph, *names: str) -> Outcome:
    source: Any = graph.receivers["source"]
    outcome: Outcome = await source.sink.send(make_batch(list(names), table=graph.host.workspaces.table("default")))
    return outcome


async def feed(graph: Graph, *points: Number) -> Outcome:
    source: Any = graph.receivers["source"]
    outcome: Outcome = await source.sink.send(batch_of(graph.host.workspaces.table("default"), points))
    return outcome


def dropping(name: str) -> Planned:
    return Planned(filter.FACTORY, filter.FACTORY.config.model_validate({"exclude": [{"metric_names": [name]}]}))


async def test_what_has_not_changed_is_kept() -> None:
    """The same objects, which were not stopped; the filter alone is another one."""
    first = plan({"filter": dropping("a")})
    graph = await started(first)
    source, memory = graph.receivers["source"], graph.exporters["memory"]
    changes = await replace(graph, plan({"filter": dropping("b")}, dict(first.exporters)))
    assert (changes.added, changes.changed, changes.removed, changes.kept) == ((), ("metrics.filter",), (), 2)
    assert graph.receivers["source"] is source
    assert graph.exporters["memory"] is memory
    assert source.life == ["start"]  # type: ignore[attr-defined]
    await send(graph, "a", "b")
    assert [name for name, _, _ in rows(memory.batches[0])] == ["a"]  # type: ignore[attr-defined]
    again = await replace(graph, plan({"filter": dropping("b")}, dict(first.exporters)), "exporters.memory")
    assert (again.changed, again.kept) == (("exporters.memory",), 2)
    assert graph.exporters["memory"] is not memory
    assert memory.started is False  # type: ignore[attr-defined]


async def test_state_goes_to_the_successor() -> None:
    """Of a processor with other settings; one that goes passes on what it holds."""
    ends = {"memory": Planned(DRAIN, {"batches": []})}
    memory: list[MetricBatch] = ends["memory"].config["batches"]

    def cumulative(streams: int) -> Planned:
        return Planned(deltatocumulative.FACTORY, deltatocumulative.FACTORY.config(max_streams=streams))

    graph = await started(plan({"sum": cumulative(5)}, ends))
    await feed(graph, Number(DELTA, 10, 2))
    await replace(
        graph, plan({"sum": cumulative(6), "interval": Planned(interval.FACTORY, interval.FACTORY.config())}, ends)
    )
    await feed(graph, Number(DELTA, 20, 3))
    assert [one.value for batch in memory for one in numbers_of(batch)] == [2.0]
    await replace(graph, plan({"sum": cumulative(7)}, ends))
    await feed(graph, Number(DELTA, 30, 4))
    assert [one.value for batch in memory for one in numbers_of(batch)] == [2.0, 5.0, 9.0]
    await graph.shutdown()


@pytest.mark.parametrize("broken", ["receiver", "exporter", "exclusive", "restart"])
async def test_an_error_changes_nothing(broken: str) -> None:
    """What was started is stopped, what was stopped is started again, and batches go where they went."""
    kept: list[MetricBatch] = []
    shared: dict[str, Any] = {"batches": kept, "open": []}
    config = {**shared, "exclusive": broken == "exclusive"}
    if broken == "restart":
        config["needs_restart"] = "its files are open"
    graph = await started(plan(None, {"memory": Planned(DRAIN, config)}))
    other: list[MetricBatch] = []
    wrong = {**config, "batches": other, "broken": broken in {"exporter", "exclusive"}}
    fresh = plan(None, {"memory": Planned(DRAIN, wrong)}, "broken" if broken == "receiver" else "")
    why = "its files are open" if broken == "restart" else "is broken"
    with pytest.raises(ConfigError, match=why):
        await replace(graph, fresh)
    assert (await send(graph, "a")).accepted == 1
    assert (len(kept), len(other)) == (1, 0)
    assert len(shared["open"]) == (1 if broken == "exclusive" else 0)
    assert await graph.shutdown() == []
    assert shared["open"] == []


async def test_queues_are_handed_over_in_order() -> None:
    """To an exporter with other settings, also where it does not start and the old one goes on."""
    holding: dict[str, Any] = {"batches": []}
    graph = await started(plan(None, {"memory": Planned(HOLDING, holding)}))
    await send(graph, "a")
    with pytest.raises(ConfigError):
        await replace(graph, plan(None, {"memory": Planned(HOLDING, {**holding, "broken": True})}))
    await send(graph, "b")
    await replace(graph, plan(None, {"memory": Planned(HOLDING, {**holding, "other": 1})}))
    await send(graph, "c")
    held = graph.exporters["memory"].held  # type: ignore[attr-defined]
    assert [name for batch in held for name, _, _ in rows(batch)] == ["a", "b", "c"]


async def test_a_receiver_goes_on_with_the_work_of_the_one_before() -> None:
    """It prepares beside it and takes over in the swap; where it cannot start, the one before is not stopped."""
    graph = await started(replaced(plan(), "first"))
    first: Any = graph.receivers["source"]
    with pytest.raises(ConfigError, match="is broken"):
        await replace(graph, replaced(plan(), "broken"))
    assert list(graph.receivers.values()) == [first]
    assert first.life == ["start"]
    await replace(graph, replaced(plan(), "second"))
    second: Any = graph.receivers["source"]
    assert second.predecessor is first
    assert (first.life, second.life) == (["start", "shutdown"], ["start_after", "succeed start"])
    assert (await send(graph, "a")).accepted == 1


@pytest.mark.parametrize("config", ["", "breaks"])
async def test_a_receiver_that_is_taken_away_takes_leave(config: str) -> None:
    """What it sends at its end passes the pipeline that is there now; where it breaks, it is stopped all the same."""
    ends = {"memory": Planned(DRAIN, {"batches": []})}
    both = replaced(plan(None, ends, pipelines=[PipelinePlan("metrics", ["source", "other"], [], ["memory"])]), config)
    graph = await started(dataclasses.replace(both, receivers={**both.receivers, "other": Planned(SOURCE, "")}))
    first: Any = graph.receivers["source"]
    await replace(graph, dataclasses.replace(
        both, receivers={"other": Planned(SOURCE, "")},
        pipelines=[PipelinePlan("metrics", ["other"], ["filter"], ["memory"])], processors={"filter": dropping("a")},
    ))  # fmt: skip
    assert first.life == ["start", "leave", "shutdown"]
    assert [name for batch in ends["memory"].config["batches"] for name, _, _ in rows(batch)] == ["gone"]
    assert list(graph.receivers) == ["other"]
    await graph.shutdown()


def replaced(of: GraphPlan, config: str) -> GraphPlan:
    return dataclasses.replace(of, receivers={"source": Planned(FOLLOWING, config)})


async def test_pipelines_and_connectors_come_and_go() -> None:
    """A pipeline is put behind a connector, then two, then none."""
    ends = {name: Planned(DRAIN, {"batches": []}) for name in "ab"}
    graph = await started(plan(None, {"a": ends["a"]}))
    forked = [PipelinePlan("metrics/in", ["source"], [], ["link"])]
    behind = [PipelinePlan(f"metrics/{name}", ["link"], [], [name]) for name in "ab"]
    for pipelines, counts in (([behind[0]], (1, 0)), (behind, (2, 1)), ([behind[1]], (2, 2))):
        await replace(graph, plan(None, ends, pipelines=[*forked, *pipelines]))
        assert (await send(graph, "x")).accepted == 1
        assert (len(ends["a"].config["batches"]), len(ends["b"].config["batches"])) == counts
    await replace(graph, plan(None, {"a": ends["a"]}))
    await send(graph, "x")
    assert len(ends["a"].config["batches"]) == 3
    assert list(graph.exporters) == ["a"]


async def test_batches_under_way_are_waited_for() -> None:
    """An exporter that cannot run beside its successor ends first; where batches hang on it, nothing changes."""
    gate = asyncio.Event()

    class Slow(Drain):
        async def deliver(self, batch: MetricBatch) -> Outcome:
            await gate.wait()
            return await super().deliver(batch)

    kept: list[MetricBatch] = []
    config: dict[str, Any] = {"batches": kept, "open": [], "exclusive": True}
    slow = SimpleNamespace(create=Slow)
    graph = await started(plan(None, {"memory": Planned(slow, config)}))
    hanging = asyncio.create_task(send(graph, "a"))
    await asyncio.sleep(0)
    replacement = graph.replacement(plan(None, {"memory": Planned(slow, {**config, "other": 1})}))
    await replacement.prepare()
    with pytest.raises(Refused, match=r"did not end within 0\.05 s"):
        await replacement.swap(0.05)
    late = asyncio.create_task(send(graph, "b"))
    gate.set()
    assert (await hanging).accepted == (await late).accepted == 1
    await replace(graph, plan(None, {"memory": Planned(slow, {**config, "other": 1})}))
    assert len(config["open"]) == 1
    assert (await send(graph, "c")).accepted == 1
    assert len(kept) == 3
