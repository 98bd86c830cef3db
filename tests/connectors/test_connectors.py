"""Connectors in a graph: merging and forking, routing by conditions, failing over and back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from headrace.connectors import failover, forward, routing
from headrace.pipeline.component import Outcome
from headrace.pipeline.errors import Refused
from headrace.pipeline.graph import Graph, GraphPlan, PipelinePlan, Planned
from headrace.pipeline.host import Host
from headrace.pipeline.identity import Series
from headrace.testing.batches import make_batch, rows, with_native
from headrace.testing.sinks import MemoryExporter

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Sink


class Source:
    """A receiver that is fed by the test."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    async def start(self, host: Host) -> None:
        del host

    async def shutdown(self) -> None:
        pass


class Rig:
    """One pipeline in front of a connector and one for each exporter behind it."""

    def __init__(self, factory: Any, config: dict[str, Any], ends: str = "abc") -> None:
        self.now_s = 0.0
        self.host = Host(monotonic_s=lambda: self.now_s)
        self.ends = {name: MemoryExporter() for name in ends}
        source = SimpleNamespace(create=lambda _settings, _config, sink: Source(sink))
        plan = GraphPlan(
            {"source": Planned(source, None)},
            {},
            {name: Planned(SimpleNamespace(create=lambda *_, one=one: one), None) for name, one in self.ends.items()},
            [
                PipelinePlan("metrics/in", ["source"], [], ["link"]),
                *(PipelinePlan(f"metrics/{name}", ["link"], [], [name]) for name in ends),
            ],
            {"link": Planned(factory, factory.config.model_validate(config))},
        )
        self.graph = Graph(plan, self.host)

    async def send(self, batch: MetricBatch) -> Outcome:
        source: Any = self.graph.receivers["source"]
        outcome: Outcome = await source.sink.send(batch)
        return outcome

    def names(self, end: str) -> list[str]:
        """Return the series that came to an exporter, and forget them."""
        found = [name for batch in self.ends[end].batches for name, _, _ in rows(batch)]
        self.ends[end].batches.clear()
        return found


def level(*names: str) -> list[str]:
    return [f"metrics/{name}" for name in names]


async def test_forward_sends_everything_everywhere() -> None:
    """The same batch, not copies; and it is refused as a whole where one of the pipelines has no room."""
    rig = Rig(forward.FACTORY, {})
    batch = make_batch(["one", "two"])
    assert (await rig.send(batch)).accepted == 2
    assert all(end.batches == [batch] for end in rig.ends.values())
    rig.ends["c"].refusal = Refused("full", 7)
    with pytest.raises(Refused, match="full"):
        await rig.send(batch)
    assert [len(end.batches) for end in rig.ends.values()] == [1, 1, 1]
    counted = rig.host.counters.value
    assert counted("otelcol_connector_consumed_items", {"connector": "link"}) == 2
    assert counted("otelcol_connector_produced_items", {"connector": "link"}) == 6


TABLE = {
    "table": [
        {"context": "metric", "condition": 'name == "one"', "pipelines": level("a")},
        {"context": "datapoint", "condition": 'attributes["env"] == "dev"', "pipelines": level("b"), "action": "copy"},
        {"context": "datapoint", "statement": "route() where value_double > 5.0", "pipelines": level("b")},
    ],
    "default_pipelines": level("c"),
}


async def test_routing_asks_the_table_in_order() -> None:
    """The first entry that moves a point has it alone; copies are seen further down; the rest has a place too."""
    rig = Rig(routing.FACTORY, TABLE)
    dev = Series.of(__name__="two", env="dev")
    batch = make_batch(["one", dev, "three", "three"], value=[9.0, 1.0, 6.0, 2.0])
    for _ in range(2):
        assert (await rig.send(batch)).accepted == 4
        assert rig.names("a") == ["one"]
        assert rig.names("b") == ['two{env="dev"}', "three"]
        assert rig.names("c") == ['two{env="dev"}', "three"]


async def test_routing_takes_histograms_and_exemplars_along() -> None:
    """Each goes where the points of its series go."""
    rig = Rig(routing.FACTORY, TABLE)
    batch = with_native(make_batch(["one"]), ["one", "seven"])
    assert (await rig.send(batch)).accepted == 3
    (at_a,), (at_c,) = rig.ends["a"].batches, rig.ends["c"].batches
    assert rig.ends["b"].batches == []
    assert at_a.native is not None
    assert at_a.exemplars is not None
    assert (len(at_a.series), at_a.native.sum.tolist(), at_a.exemplars.value.tolist()) == (1, [1.0], [1.0])
    assert at_c.native is not None
    assert at_c.exemplars is not None
    assert (len(at_c.series), at_c.native.sum.tolist(), at_c.exemplars.value.tolist()) == (0, [2.0], [2.0])


async def test_what_is_not_routed_is_counted() -> None:
    """Without default pipelines; and rejections of the parts add up."""
    rig = Rig(routing.FACTORY, {"table": TABLE["table"]}, "ab")
    rig.ends["a"].outcome = Outcome(1, {"too_old": 1}, "one is too old")
    outcome = await rig.send(make_batch(["one", "three"]))
    assert (outcome.points, dict(outcome.rejected), outcome.message) == (2, {"too_old": 1}, "one is too old")
    dropped = {"component": "connectors.link", "reason": "not_routed"}
    assert rig.host.counters.value("headrace_dropped_points", dropped) == 1


@pytest.mark.parametrize(("mode", "kept"), [("propagate", []), ("ignore", ["one"]), ("silent", ["one"])])
async def test_a_condition_without_a_value(mode: str, kept: list[str]) -> None:
    """Drops the series, or is none."""
    table = [{"context": "metric", "condition": 'Substring(name, 1, 50) == "x"', "pipelines": level("a")}]
    rig = Rig(routing.FACTORY, {"table": table, "default_pipelines": level("b"), "error_mode": mode}, "ab")
    await rig.send(make_batch(["one"]))
    assert rig.names("b") == kept
    dropped = {"component": "connectors.link", "reason": "expression_failed"}
    assert rig.host.counters.value("headrace_dropped_points", dropped) == 1 - len(kept)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"context": "request", "condition": 'request["a"] == "b"'}, "context 'request' is not supported"),
        ({}, "either condition or statement"),
        ({"condition": "true", "statement": "route()"}, "either condition or statement"),
        ({"statement": 'delete_key(attributes, "a")'}, "write route"),
        ({"condition": "metric.name =="}, "metric.name"),
    ],
)
def test_what_routing_refuses(entry: dict[str, str], why: str) -> None:
    """With the reason, when the configuration is read."""
    with pytest.raises(ValidationError, match=why):
        routing.RoutingConfig.model_validate({"table": [{**entry, "pipelines": ["metrics/a"]}]})


LEVELS = {"priority_levels": [level("a"), level("b"), level("c")], "retry_interval": "60s"}


async def test_failover_moves_on_and_comes_back() -> None:
    """To the next level at once, and back to the best one after the retry interval, if it works again."""
    rig = Rig(failover.FACTORY, LEVELS)
    batch = make_batch(["one"])
    await rig.send(batch)
    assert rig.names("a") == ["one"]
    rig.ends["a"].refusal = Refused("down")
    for _ in range(2):
        assert (await rig.send(batch)).accepted == 1
        assert rig.names("b") == ["one"]
    assert rig.host.counters.value("headrace_failover_level", {"connector": "link"}) == 1
    rig.now_s = 61
    await rig.send(batch)
    assert rig.names("b") == ["one"]
    rig.ends["a"].refusal = None
    await rig.send(batch)
    assert (rig.names("a"), rig.names("b")) == ([], ["one"])
    rig.now_s = 122
    await rig.send(batch)
    await rig.send(batch)
    assert (rig.names("a"), rig.names("b")) == (["one", "one"], [])


async def test_failover_by_what_becomes_of_batches() -> None:
    """A level that can deliver nothing of a batch has failed; one that rejects a part of it has not."""
    rig = Rig(failover.FACTORY, LEVELS)
    batch = make_batch(["one", "two"])
    rig.ends["a"].outcome = Outcome(2, {"too_old": 1})
    assert (await rig.send(batch)).accepted == 1
    rig.ends["a"].outcome = Outcome(2, {"rejected_by_server": 2}, "401")
    assert (await rig.send(batch)).accepted == 2
    assert len(rig.names("b")) == 2
    for name in "bc":
        rig.ends[name].outcome = rig.ends["a"].outcome
    assert (await rig.send(batch)).accepted == 0


async def test_failover_refuses_when_no_level_works() -> None:
    """And tries all of them for each batch that comes then."""
    rig = Rig(failover.FACTORY, LEVELS)
    for end in rig.ends.values():
        end.refusal = Refused("down", 3)
    for _ in range(3):
        with pytest.raises(Refused, match="down"):
            await rig.send(make_batch(["one"]))
    rig.ends["b"].refusal = None
    assert (await rig.send(make_batch(["one"]))).accepted == 1
    assert rig.names("b") == ["one"]


async def test_failover_tries_levels_with_a_gap_and_gives_up() -> None:
    """One level at a time, and not more often than it is told."""
    rig = Rig(failover.FACTORY, {**LEVELS, "retry_gap": "10s", "max_retries": 1})
    batch = make_batch(["one"])
    rig.ends["a"].outcome = rig.ends["b"].outcome = Outcome(1, {"rejected_by_server": 1})
    tried = []
    for now_s in (0, 61, 62, 72, 140, 210):
        rig.now_s = now_s
        assert (await rig.send(batch)).accepted == 1
        tried.append("".join(name for name in "abc" if rig.names(name)))
    assert tried == ["abc", "ac", "c", "bc", "c", "c"]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"priority_levels": []}, "at least 1"),
        ({"priority_levels": [["metrics/a"], ["metrics/a"]]}, "is named twice"),
        ({"priority_levels": [["metrics/a"]], "sending_queue": {"enabled": True}}, "queues of their own"),
    ],
)
def test_what_failover_refuses(config: dict[str, Any], why: str) -> None:
    """With the reason, when the configuration is read."""
    with pytest.raises(ValidationError, match=why):
        failover.FailoverConfig.model_validate(config)
