"""From a receiver's hand to the durable point: reservation, processing, fan-out, acknowledgement.

Room is reserved at every limiter and exporter before the first processor runs: a refusal can only arise there, so that
a batch that is sent again never passes a stateful processor twice. Acknowledgements travel back from the exporters;
the worst answer wins.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.pipeline.component import Deciding, Limiter, NoReservation, Outcome
from headrace.pipeline.deciding import decide
from headrace.pipeline.errors import Refused
from headrace.pipeline.taps.hub import Taps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import ColumnProcessor, Exporter, Reservation
    from headrace.pipeline.counters import Counter, Counters

NO_RESERVATION = NoReservation()


class Step:
    """A processor in its place, with its item counts.

    Args:
        processor_id: For the counts; empty for what is not counted.
        processor: Runs.
        counters: Where the counts go.
        pipeline_id: Which pipeline the place is in.
        members: Ids of the processors, where several are fused.

    Attributes:
        edges: Names of the edges behind the processors, see `headrace.pipeline.taps.hub`.
    """

    def __init__(
        self,
        processor_id: str,
        processor: ColumnProcessor,
        counters: Counters,
        pipeline_id: str = "metrics",
        members: Sequence[str] = (),
    ) -> None:
        self.id = processor_id
        self.processor = processor
        # Asking a protocol takes as long as much of what is done for a batch.
        self._deciding = processor if isinstance(processor, Deciding) else None
        self.edges = tuple(f"{pipeline_id}.{name}" for name in members or (processor_id,))
        attributes = {"processor": processor_id, "pipeline": pipeline_id}
        self._incoming = counters.counter(
            "otelcol_processor_incoming_items", "Items that came to a processor.", attributes, "{item}"
        )
        self._outgoing = counters.counter(
            "otelcol_processor_outgoing_items", "Items that a processor passed on.", attributes, "{item}"
        )

    async def run(self, batch: MetricBatch) -> MetricBatch:
        """Process one batch, after the decisions about its new series, which give way to others now and then."""
        if self._deciding is not None:
            await decide(self._deciding, batch)
        self._incoming.add(len(batch))
        batch = self.processor.process(batch)
        self._outgoing.add(len(batch))
        return batch

    async def show(self, taps: Taps, before: MetricBatch, after: MetricBatch) -> None:
        """Show taps what each of the processors has passed on."""
        for edge, chain in taps.inside(self.edges, self.processor) if len(self.edges) > 1 else ():
            if taps.want(edge):
                await decide(chain, before)
                taps.see(edge, chain.process(before))
        taps.see(self.edges[-1], after)


class Gate:
    """Keeps batches waiting before the first pipeline while a reload puts one graph in place of another."""

    def __init__(self) -> None:
        self._open: asyncio.Event | None = None

    @property
    def closed(self) -> bool:
        """Whether batches have to wait."""
        return self._open is not None

    def close(self) -> None:
        """Keep batches waiting."""
        self._open = self._open or asyncio.Event()

    def open(self) -> None:
        """Let them pass."""
        if self._open is not None:
            self._open.set()
            self._open = None

    async def passed(self) -> None:
        """Wait until batches may pass."""
        while self._open is not None:
            await self._open.wait()


class Pipeline:
    """Steps and the exporters behind them.

    Args:
        pipeline_id: Such as ``metrics/edge``.
        steps: In order.
        exporters: All get every batch.
        taps: Who looks at batches on their way.
        edges: Names of the edges to the exporters, see `headrace.pipeline.taps.hub`.
    """

    def __init__(
        self,
        pipeline_id: str,
        steps: Sequence[Step],
        exporters: Sequence[Exporter],
        taps: Taps | None = None,
        edges: Sequence[str] = (),
    ) -> None:
        self._taps = taps or Taps()
        self.edges = tuple(edges)
        self.id = pipeline_id
        self.steps = tuple(steps)
        self.exporters = tuple(exporters)
        self.successor: Pipeline | None = None
        """The pipeline that has taken this one's place: what was on its way here goes there."""
        self.processing = 0
        """Batches between the first step and the last."""
        self.under_way = 0
        """Batches between the first step and their acknowledgement."""
        self._limiters = [step.processor for step in steps if isinstance(step.processor, Limiter)]

    def reserve(self, points: int, size_bytes: int) -> list[Reservation]:
        """Grant room for a batch at every limiter and exporter, or at none.

        Raises:
            Refused: There is none now.
        """
        for limiter in self._limiters:
            limiter.admit_batch(points, size_bytes)
        granted: list[Reservation] = []
        try:
            granted.extend(exporter.reserve(points, size_bytes) for exporter in self.exporters)
        except Refused:
            release(granted)
            raise
        return granted

    async def process(self, batch: MetricBatch, first: int = 0) -> Outcome:
        """Run the steps from number `first` on, and deliver; room has been granted.

        Raises:
            Refused: An exporter could not take the batch after all.
        """
        if self.successor is not None and not first:
            return await self.successor.process(batch)
        self.under_way += 1
        try:
            return await self._process(batch, first)
        finally:
            self.under_way -= 1

    async def _process(self, batch: MetricBatch, first: int) -> Outcome:
        points = len(batch)
        self.processing += 1
        try:
            if self._taps.active:
                batch = await self._run_watched(batch, first)
            else:
                for step in self.steps[first:]:
                    batch = await step.run(batch)
        finally:
            self.processing -= 1
        if batch.is_empty:
            return Outcome(points)
        if len(self.exporters) == 1:
            outcome = await _deliver(self.exporters[0], batch)
            return outcome if outcome.points == points else replace(outcome, points=points)
        answers = await asyncio.gather(
            *(_deliver(exporter, batch) for exporter in self.exporters), return_exceptions=True
        )
        return worst(points, answers)

    async def _run_watched(self, batch: MetricBatch, first: int) -> MetricBatch:
        """Run the steps, and show taps what passes each edge."""
        taps = self._taps
        taps.see(self.steps[first - 1].edges[-1] if first else self.id, batch)
        for step in self.steps[first:]:
            before, batch = batch, await step.run(batch)
            await step.show(taps, before, batch)
        if not batch.is_empty:
            for edge in self.edges:
                taps.see(edge, batch)
        return batch


class Entry:
    """A receiver's sink: all pipelines that name the receiver.

    Args:
        receiver_id: For the counts.
        counters: Where the counts go.
        transport: For the counts: ``http``, ``grpc`` or empty.
        gate: Where batches wait during a reload.
        taps: Who looks at batches on their way.
    """

    def __init__(
        self,
        receiver_id: str,
        counters: Counters,
        transport: str = "",
        gate: Gate | None = None,
        taps: Taps | None = None,
    ) -> None:
        self.gate = gate or Gate()
        self._taps = taps or Taps()
        self._counters = counters
        self._receiver_id = receiver_id
        self._transport = transport
        self.pipelines: tuple[Pipeline, ...] = ()
        self._accepted = self._counter("accepted", "Metric points taken from senders.")
        self._refused = self._counter("refused", "Metric points that senders were told to send again.")
        self._failed = self._counter("failed", "Metric points that senders were told never to send again.")

    def check(self, points: int, size_bytes: int) -> None:
        """Raise `Refused` where a batch of this size would be refused now."""
        try:
            for granted in [pipeline.reserve(points, size_bytes) for pipeline in self.pipelines]:
                release(granted)
        except Refused:
            self._refused.add(points)
            raise

    async def send(self, batch: MetricBatch) -> Outcome:
        """Deliver `batch` to all pipelines; see `headrace.pipeline.component.Sink`."""
        while self.gate.closed:
            await self.gate.passed()
        points = len(batch)
        granted: list[Reservation] = []
        batch.table.families.note(batch.metadata)
        try:
            for pipeline in self._in_use():
                granted += pipeline.reserve(points, batch.size_bytes)
            outcome = await self._process(batch)
        except Refused:
            self._refused.add(points)
            raise
        finally:
            release(granted)
        self._accepted.add(outcome.accepted)
        self._failed.add(points - outcome.accepted)
        return outcome

    def _in_use(self) -> tuple[Pipeline, ...]:
        if not self.pipelines:
            raise Refused("this receiver is not in use", 1)
        return self.pipelines

    async def _process(self, batch: MetricBatch) -> Outcome:
        if self._taps.active:
            self._taps.see(f"receivers.{self._receiver_id}", batch)
        if len(self.pipelines) == 1:
            return await self.pipelines[0].process(batch)
        answers = await asyncio.gather(
            *(pipeline.process(batch) for pipeline in self.pipelines), return_exceptions=True
        )
        return worst(len(batch), answers)

    def _counter(self, verb: str, description: str) -> Counter:
        return self._counters.counter(
            f"otelcol_receiver_{verb}_metric_points",
            description,
            {"receiver": self._receiver_id, "transport": self._transport},
            "{datapoint}",
        )


def worst(points: int, answers: Iterable[Outcome | BaseException]) -> Outcome:
    """Merge the answers of parallel branches.

    Raises:
        Refused: One of them is a refusal (or any other error): the sender has to send the batch again, and what the
            other branches have taken they will recognise as repeats.
    """
    found = Outcome(points)
    exemplars = found
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        if sum(answer.rejected.values()) > sum(found.rejected.values()):
            found = answer
        if answer.rejected_exemplars > exemplars.rejected_exemplars:
            exemplars = answer
    return replace(
        found,
        points=points,
        rejected_exemplars=exemplars.rejected_exemplars,
        exemplar_message=exemplars.exemplar_message,
    )


def release(granted: Iterable[Reservation]) -> None:
    """Give room back."""
    for reservation in granted:
        reservation.release()


async def _deliver(exporter: Exporter, batch: MetricBatch) -> Outcome:
    """Deliver to one exporter; one that is optional never holds the sender back."""
    if not exporter.optional:
        return await exporter.deliver(batch)
    with contextlib.suppress(Refused):  # The exporter has counted it; nobody waits for it.
        await exporter.deliver(batch)
    return Outcome(len(batch))
