"""What taps cost a pipeline: with none on, with one that wants another edge, and with one that looks at every sample.

A batch of a thousand samples goes from a receiver's hand through three fused processors to an exporter that forgets it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.component import NoReservation, Outcome
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.delivery import Entry, Pipeline, Step
from headrace.pipeline.taps.hub import Taps
from headrace.pipeline.taps.routes import StreamTap
from headrace.pipeline.taps.rows import SeriesFilter
from headrace.testing.batches import make_batch

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.identity import Series

_BATCHES = 20_000
_LOOKS = 2_000_000


class _Same:
    def admit(self, series: Series) -> Series:
        return series


class _Forget:
    optional = False

    async def start(self, host: object) -> None:
        pass

    async def shutdown(self) -> None:
        pass

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        del points, size_bytes
        return NoReservation()

    async def deliver(self, batch: MetricBatch) -> Outcome:
        return Outcome(len(batch))


def run() -> dict[str, float]:
    """Measure; nanoseconds of processor time a look, microseconds a batch."""
    taps = Taps()
    counters = Counters()
    drops = Drops(counters, "bench")
    names = ["one", "two", "three"]
    chain = SeriesChain([Stage(_Same(), drops) for _ in names])
    step = Step("+".join(names), chain, counters, "metrics", names)
    entry = Entry("bench", counters, taps=taps)
    entry.pipelines = (Pipeline("metrics", [step], [_Forget()], taps, ["exporters.forget"]),)
    batch = make_batch([{"__name__": "up", "n": str(n)} for n in range(1000)])
    found = {"look_ns": _look_ns(taps), "off_us": _batch_us(entry, batch)}
    elsewhere = StreamTap(["exporters.other"], SeriesFilter(""), 1000, time.monotonic)
    taps.open(elsewhere)
    found["elsewhere_us"] = _batch_us(entry, batch)
    taps.close(elsewhere)
    every = StreamTap([], SeriesFilter('up{n="7"}'), 1000, time.monotonic)
    taps.open(every)
    found["every_edge_us"] = _batch_us(entry, batch)
    taps.close(every)
    return found


def _look_ns(taps: Taps) -> float:
    """Return what the question costs that is asked of every batch."""
    began = time.process_time()
    for _ in range(_LOOKS):
        pass
    empty = time.process_time() - began
    began = time.process_time()
    for _ in range(_LOOKS):
        if taps.active:
            raise AssertionError("bug: a tap is open")
    return (time.process_time() - began - empty) / _LOOKS * 1e9


def _batch_us(entry: Entry, batch: MetricBatch) -> float:
    async def send() -> float:
        await entry.send(batch)
        began = time.process_time()
        for _ in range(_BATCHES):
            await entry.send(batch)
        return (time.process_time() - began) / _BATCHES * 1e6

    return asyncio.run(send())
