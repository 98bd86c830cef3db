"""What a graph does for processors that remember: it keeps their state, and lets them send what they hold back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.pipeline.batch import MetricBatch
from headrace.pipeline.errors import StoreFailed
from headrace.pipeline.graph import Graph, GraphPlan, PipelinePlan, Planned
from headrace.pipeline.host import Host
from headrace.pipeline.identity import MetricType, Temporality
from headrace.pipeline.state import StateDirectory
from headrace.processors import deltatocumulative, interval
from headrace.testing.sinks import MemoryExporter
from stream_points import Number, batch_of, numbers_of, otlp

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.pipeline.component import Outcome, Sink

DELTA = otlp("requests", MetricType.COUNTER, Temporality.DELTA)


class Source:
    """A receiver that is fed by the test."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    async def start(self, host: Host) -> None:
        del host

    async def shutdown(self) -> None:
        pass


def make(host: Host, exporter: Any, *processors: Any) -> Graph:
    source = SimpleNamespace(create=lambda _settings, _config, sink: Source(sink))
    sink = SimpleNamespace(create=lambda _settings, _config: exporter)
    named = {factory.name: Planned(factory, factory.config()) for factory in processors}
    plan = GraphPlan(
        {"source": Planned(source, None)},
        named,
        {"memory": Planned(sink, None)},
        [PipelinePlan("metrics", ["source"], list(named), ["memory"])],
    )
    return Graph(plan, host)


async def feed(graph: Graph, host: Host, *points: Number) -> Outcome:
    source: Any = graph.receivers["source"]
    outcome: Outcome = await source.sink.send(batch_of(host.workspaces.table("default"), points))
    return outcome


def _cut_off_the_end(directory: Path) -> None:
    (file,) = directory.iterdir()
    file.write_bytes(file.read_bytes()[:-1])


async def test_what_is_held_back_is_delivered_at_the_end() -> None:
    """Through the processors behind, before exporters stop; the next start finds nothing to send again."""
    host, exporter = Host(), MemoryExporter()
    graph = make(host, exporter, deltatocumulative.FACTORY, interval.FACTORY)
    await graph.start()
    for time, value in ((10, 2), (20, 3)):
        assert (await feed(graph, host, Number(DELTA, time, value))).accepted == 1
    assert exporter.batches == []
    assert await graph.shutdown() == []
    (batch,) = exporter.batches
    assert [(one.time, one.value) for one in numbers_of(batch)] == [(20, 5.0)]
    assert isinstance(batch, MetricBatch)
    assert np.array_equal(batch.table.is_live(batch.series), [True])


async def test_state_goes_from_one_daemon_to_the_next(tmp_path: Path) -> None:
    """By files; one that is broken keeps the daemon from starting, and the message names it."""
    found = []
    for time in (10, 20, 30):
        host, exporter = Host(services={"state": StateDirectory(tmp_path)}), MemoryExporter()
        graph = make(host, exporter, deltatocumulative.FACTORY)
        await graph.start()
        await feed(graph, host, Number(DELTA, time, 1))
        await graph.shutdown()
        found += [one.value for batch in exporter.batches for one in numbers_of(batch)]
    assert found == [1.0, 2.0, 3.0]
    _cut_off_the_end(tmp_path)
    graph = make(Host(services={"state": StateDirectory(tmp_path)}), MemoryExporter(), deltatocumulative.FACTORY)
    with pytest.raises(StoreFailed, match=r"metrics\.deltatocumulative does not fit: it is damaged"):
        await graph.start()
