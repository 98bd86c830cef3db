"""Sinks and exporters that keep what they get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.component import NoReservation, Outcome

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.errors import Refused
    from headrace.pipeline.host import Host


class MemorySink:
    """A receiver's sink that keeps every batch.

    Attributes:
        batches: What came, in order.
        refusal: Raised by `check` and `send` where set.
        outcome: Answered by `send` where set, instead of full acceptance.
    """

    def __init__(self) -> None:
        self.batches: list[MetricBatch] = []
        self.refusal: Refused | None = None
        self.outcome: Outcome | None = None

    def check(self, points: int, size_bytes: int) -> None:  # noqa: ARG002 -- the protocol's names
        """Raise `refusal` where set."""
        if self.refusal:
            raise self.refusal

    async def send(self, batch: MetricBatch) -> Outcome:
        """Keep `batch`."""
        if self.refusal:
            raise self.refusal
        self.batches.append(batch)
        return self.outcome or Outcome(len(batch))


class MemoryExporter:
    """An exporter that keeps every batch; the attributes are those of `MemorySink`."""

    def __init__(self, *, optional: bool = False) -> None:
        self.optional = optional
        self.batches: list[MetricBatch] = []
        self.refusal: Refused | None = None
        self.outcome: Outcome | None = None
        self.started = False

    async def start(self, host: Host) -> None:  # noqa: ARG002 -- the protocol's names
        """Note that it was started."""
        self.started = True

    async def shutdown(self) -> None:
        """Note that it was stopped."""
        self.started = False

    def reserve(self, points: int, size_bytes: int) -> Reservation:  # noqa: ARG002 -- the protocol's names
        """Grant room, or raise `refusal` where set."""
        if self.refusal:
            raise self.refusal
        return NoReservation()

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Keep `batch`."""
        self.batches.append(batch)
        return self.outcome or Outcome(len(batch))
