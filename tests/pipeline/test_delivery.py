"""Reservation, fan-out and acknowledgement."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.pipeline.component import Outcome
from headrace.pipeline.counters import Counters
from headrace.pipeline.delivery import Entry, Pipeline, Step
from headrace.pipeline.errors import Refused
from headrace.testing.batches import make_batch
from headrace.testing.sinks import MemoryExporter


class Recorder:
    """A processor that counts its batches, and a limiter that may refuse."""

    def __init__(self) -> None:
        self.seen = 0
        self.full = False

    def process(self, batch: Any) -> Any:
        self.seen += 1
        return batch

    def admit_batch(self, points: int, size_bytes: int) -> None:
        if self.full:
            raise Refused("no memory", 2.0)


def entry_of(*pipelines: Pipeline, counters: Counters | None = None) -> Entry:
    """Make an entry to the pipelines."""
    entry = Entry("test", counters or Counters())
    entry.pipelines = pipelines
    return entry


async def test_refusal_comes_before_the_first_processor() -> None:
    """Where one exporter has no room, no processor of any pipeline runs, and other reservations are given back."""
    counters = Counters()
    recorder, full, free = Recorder(), MemoryExporter(), MemoryExporter()
    full.refusal = Refused("queue full")
    entry = entry_of(
        Pipeline("metrics/1", [Step("r", recorder, counters)], [free]),
        Pipeline("metrics/2", [Step("r", recorder, counters)], [full]),
        counters=counters,
    )
    with pytest.raises(Refused, match="queue full"):
        await entry.send(make_batch(["a", "b"]))
    with pytest.raises(Refused):
        entry.check(2, 10)
    assert recorder.seen == 0
    assert not free.batches
    assert counters.value("otelcol_receiver_refused_metric_points") == 4
    assert counters.value("otelcol_receiver_accepted_metric_points") == 0


async def test_limiter_refuses_before_anything_runs() -> None:
    """A processor that limits is asked first, wherever it stands."""
    counters = Counters()
    first, limiter = Recorder(), Recorder()
    limiter.full = True
    entry = entry_of(Pipeline("m", [Step("a", first, counters), Step("b", limiter, counters)], [MemoryExporter()]))
    with pytest.raises(Refused, match="no memory"):
        await entry.send(make_batch(["a"]))
    assert first.seen == 0


async def test_worst_answer_wins() -> None:
    """With several exporters, the answer with most rejections is the sender's."""
    counters = Counters()
    good, bad = MemoryExporter(), MemoryExporter()
    bad.outcome = Outcome(3, {"out_of_order": 2}, "a: out of order")
    entry = entry_of(Pipeline("m", [], [good, bad]), counters=counters)
    outcome = await entry.send(make_batch(["a", "b", "c"]))
    assert outcome.accepted == 1
    assert outcome.message == "a: out of order"
    assert counters.value("otelcol_receiver_accepted_metric_points") == 1
    assert counters.value("otelcol_receiver_failed_metric_points") == 2


async def test_optional_exporter_does_not_hold_the_answer() -> None:
    """What an optional exporter rejects or refuses is its own affair."""
    optional = MemoryExporter(optional=True)
    optional.outcome = Outcome(1, {"x": 1}, "no")
    outcome = await entry_of(Pipeline("m", [], [MemoryExporter(), optional])).send(make_batch(["a"]))
    assert outcome.accepted == 1


async def test_points_dropped_by_configuration_count_as_accepted() -> None:
    """A processor that drops everything makes no failure, and exporters see nothing."""

    class DropAll:
        def process(self, batch: Any) -> Any:
            return batch.select(batch.series < 0)

    counters = Counters()
    exporter = MemoryExporter()
    entry = entry_of(Pipeline("m", [Step("drop", DropAll(), counters)], [exporter]), counters=counters)
    outcome = await entry.send(make_batch(["a", "b"]))
    assert outcome.accepted == 2
    assert not exporter.batches
    assert counters.value("otelcol_processor_incoming_items", {"processor": "drop"}) == 2
    assert counters.value("otelcol_processor_outgoing_items", {"processor": "drop"}) == 0
