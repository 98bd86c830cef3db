"""Taps: what they see, what they leave out, and the forms in which it leaves the daemon."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.delivery import Entry, Pipeline, Step
from headrace.pipeline.errors import InvalidInput, Refused
from headrace.pipeline.identity import MetricType, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.taps.frames import frame, frames
from headrace.pipeline.taps.hub import MAX_TAPS, Taps, matches
from headrace.pipeline.taps.lines import as_json, as_text, samples
from headrace.pipeline.taps.routes import MAX_HELD_POINTS, StreamTap
from headrace.pipeline.taps.rows import SeriesFilter
from headrace.testing.batches import make_batch, rows, with_native
from headrace.testing.sinks import MemoryExporter
from stream_points import Number, batch_of, numbers_of, otlp

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.identity import Series


class Half:
    """A processor that keeps the first half of a batch."""

    def process(self, batch: MetricBatch) -> MetricBatch:
        return batch.select(np.arange(len(batch)) < len(batch) // 2)


class Seen(list[tuple[str, int]]):
    """A tap that notes edges and numbers of points."""

    def wants(self, edge: str) -> bool:
        return bool(edge)

    def see(self, edge: str, batch: MetricBatch) -> None:
        self.append((edge, len(batch)))

    def end(self) -> None:
        pass


async def test_every_edge_is_seen() -> None:
    """In the order in which a batch passes them; nothing once the tap is closed."""
    taps, seen, counters = Taps(), Seen(), Counters()
    step = Step("half", Half(), counters, "metrics/a")
    pipeline = Pipeline("metrics/a", [step], [MemoryExporter()], taps, ["exporters.memory"])
    entry = Entry("otlp", counters, taps=taps)
    entry.pipelines = (pipeline,)
    await entry.send(make_batch(["a", "b"]))
    taps.open(seen)
    await entry.send(make_batch(["a", "b"]))
    taps.close(seen)
    await entry.send(make_batch(["a", "b"]))
    assert seen == [("receivers.otlp", 2), ("metrics/a", 2), ("metrics/a.half", 1), ("exporters.memory", 1)]
    assert taps.active is False


class Rename:
    """A series processor that appends a letter to names, and drops those that have grown too long."""

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.asked = 0

    def admit(self, series: Series) -> Series | None:
        self.asked += 1
        return series.set({"__name__": series.name + self.letter}) if len(series.name) < 4 else None


class Names(list[tuple[str, list[str]]]):
    """A tap that notes the names of series."""

    def wants(self, edge: str) -> bool:
        return edge != "metrics/a.second"

    def see(self, edge: str, batch: MetricBatch) -> None:
        self.append((edge, [name for name, _, _ in rows(batch)]))

    def end(self) -> None:
        pass


async def test_fused_processors_are_seen_one_by_one() -> None:
    """What goes from one to the next is computed for the tap alone, and only where it is wanted."""
    taps, seen, counters = Taps(), Names(), Counters()
    processors = [Rename(letter) for letter in "xyz"]
    drops = Drops(counters, "processors.rename")
    chain = SeriesChain([Stage(one, drops) for one in processors])
    step = Step("first+second+third", chain, counters, "metrics/a", ["first", "second", "third"])
    pipeline = Pipeline("metrics/a", [step], [MemoryExporter()], taps, ["exporters.memory"])
    batch = make_batch(["a", "bb"])
    taps.open(seen)
    for _ in range(2):
        await pipeline.process(batch)
    assert seen[:4] == [
        ("metrics/a", ["a", "bb"]),
        ("metrics/a.first", ["ax", "bbx"]),
        ("metrics/a.third", ["axyz"]),
        ("exporters.memory", ["axyz"]),
    ]
    assert processors[0].asked == 4
    assert drops.total("dropped_by_rule") == 2


async def test_what_a_processor_sends_by_itself_is_seen() -> None:
    """On the edge behind it and further on."""
    taps, seen, counters = Taps(), Seen(), Counters()
    steps = [Step(name, Half(), counters, "metrics/a") for name in ("one", "two")]
    pipeline = Pipeline("metrics/a", steps, [MemoryExporter()], taps, ["exporters.memory"])
    taps.open(seen)
    await pipeline.process(make_batch(["a", "b"]), 1)
    assert seen == [("metrics/a.one", 2), ("metrics/a.two", 1), ("exporters.memory", 1)]


def test_taps_are_bounded() -> None:
    """Each costs the pipelines time."""
    taps = Taps()
    for _ in range(MAX_TAPS):
        taps.open(Seen())
    with pytest.raises(Refused):
        taps.open(Seen())


def test_edges_are_chosen_by_patterns() -> None:
    """None stand for all."""
    assert matches("exporters.debug", [])
    assert matches("metrics/a.filter", ["receivers.*", "metrics/*.filter"])
    assert not matches("exporters.debug", ["receivers.*"])


def test_a_selector_narrows_points_histograms_and_exemplars() -> None:
    """Decided once for a series."""
    batch = with_native(make_batch(["up", {"__name__": "up", "job": "a"}, "down"]), ["up", "down"])
    narrowed = SeriesFilter('up{job=""}').narrow(batch)
    assert [name for name, _, _ in rows(narrowed)] == ["up"]
    assert narrowed.native is not None
    assert narrowed.exemplars is not None
    assert (len(narrowed.native), len(narrowed.exemplars)) == (1, 1)
    assert SeriesFilter("").narrow(batch) is batch
    with pytest.raises(InvalidInput):
        SeriesFilter("{job=")


@pytest.mark.large
async def test_a_slow_client_is_told_what_it_missed() -> None:
    """More than its limit in a second, and more than is held for it."""
    now = [0.0]
    tap = StreamTap(["a"], SeriesFilter(""), 3, lambda: now[0])
    tap.see("b", make_batch(["x"]))
    for _ in range(2):
        tap.see("a", make_batch(["x", "y"]))
    assert tap.skipped == 1
    now[0] = 1.0
    tap.see("a", make_batch(["x", "y"]))
    sizes = []
    for _ in range(3):
        found = await tap.next(0.01)
        assert found is not None
        sizes.append(len(found[1]))
    assert sizes == [2, 1, 2]
    assert await tap.next(0.01) is None
    unlimited = StreamTap([], SeriesFilter(""), float("inf"), lambda: 0.0)
    for _ in range(3):
        unlimited.see("a", make_batch(["x"] * (MAX_HELD_POINTS // 2)))
    assert unlimited.skipped == MAX_HELD_POINTS // 2


def test_lines() -> None:
    """For people and for programs; JSON has no infinity."""
    batch = with_native(make_batch(["up"], value=[float("inf")]), ["sizes"])
    first, second = samples("exporters.x", batch)
    assert as_text(first) == "exporters.x  up inf @1700000000.000"
    assert as_text(second) == "exporters.x  sizes count=1 sum=1 @1700000000.000"
    assert json.loads(as_json(first))["value"] == "inf"
    assert json.loads(as_json(second))["labels"] == {"__name__": "sizes"}


@pytest.mark.parametrize(
    ("value", "text"), [(0.1, "0.1"), (2.0, "2"), (-0.0, "-0"), (1e22, "1e+22"), (123456789.0, "123456789")]
)
def test_numbers_have_the_fewest_digits(value: float, text: str) -> None:
    """As they were written, and no digit less than tells them apart."""
    (sample,) = samples("exporters.x", make_batch(["up"], value=[value]))
    assert as_text(sample).split()[2] == text


def test_secrets_are_not_shown() -> None:
    """By the name of the label, and in URLs; in no form."""
    labels = {"__name__": "up", "api_key": "k3y", "url": "https://joe:s3cret@host/a?b=c@d", "job": "a"}
    (sample,) = samples("exporters.x", make_batch([labels]))
    assert sample["labels"] == {
        "__name__": "up", "api_key": "[REDACTED]", "url": "https://[REDACTED]@host/a?b=c@d", "job": "a",
    }  # fmt: skip
    text = as_text(sample) + as_json(sample)
    assert "k3y" not in text
    assert "s3cret" not in text


def test_recordings_are_exact() -> None:
    """Points, kinds, histograms, exemplars and context come back, in the terms of another table."""
    series = otlp("requests", MetricType.COUNTER, Temporality.DELTA)
    typed = batch_of(SeriesTable(), [Number(series, 10, 2), Number(series, 20, 3)])
    plain = with_native(make_batch(["a", "b", "a"], value=[1.0, float("nan"), -0.0]), ["c"])
    recording = frame("receivers.otlp", typed) + bytes(4) + frame("receivers.x", plain, 7)
    table = SeriesTable()
    table.intern([series])
    (edge, one), (_, other) = frames(io.BytesIO(recording), lambda _workspace: table)
    assert edge == "receivers.otlp"
    assert numbers_of(one) == numbers_of(typed)
    assert one.table.series(int(one.series[0])) == series
    assert [name for name, _, _ in rows(other)] == ["a", "b", "a"]
    assert np.array_equal(other.value.view(np.uint64), plain.value.view(np.uint64))
    assert other.native is not None
    assert other.exemplars is not None
    assert str(table.series(int(other.native.series[0]))) == "c"
    assert other.context == plain.context
    with pytest.raises(ValueError, match="cut off"):
        list(frames(io.BytesIO(recording[:-1]), lambda _workspace: table))
    with pytest.raises(ValueError, match="no recording"):
        list(frames(io.BytesIO(b"GET / HTTP/1.1"), lambda _workspace: table))
