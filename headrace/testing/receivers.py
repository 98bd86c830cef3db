"""What holds for every receiver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.pipeline.errors import Refused
from headrace.testing.components import ComponentContract
from headrace.testing.hosts import running
from headrace.testing.sinks import MemorySink

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import ReceiverFactory

_PATIENCE_S = 20.0


class ReceiverContract(ComponentContract):
    """Subclass it, set `factory`, write `provoke`, and pytest runs the contract.

    Attributes:
        sink: Of each test; what the receiver sends to.
    """

    factory: ClassVar[ReceiverFactory[Any]]
    kind: ClassVar[str] = "receivers"

    sink: MemorySink

    def renew(self) -> None:
        """Make a new host and a new sink."""
        super().renew()
        self.sink = MemorySink()

    def create(self, config: Any) -> Any:
        """Return a new receiver that sends to `sink`."""
        return self.factory.create(self.settings, config, self.sink)

    async def provoke(self, receiver: Any) -> None:
        """Bring some points to the started receiver, whatever it answers; return when it has tried to send them."""
        raise NotImplementedError

    def test_points_reach_the_sink(self) -> None:
        """With the receiver's name on them, in a table of the host, in columns of one length."""

        async def receive() -> None:
            receiver = self.make()
            async with running(receiver, self.host):
                await self.provoke(receiver)
                await self._some()

        asyncio.run(receive())
        for batch in self.sink.batches:
            assert batch.context.source == self.settings.id
            assert any(batch.table is table for table in self.host.workspaces.tables.values())
            _check(batch)

    def test_a_refusal_is_survived(self) -> None:
        """After the pipelines were full, points come again."""

        async def receive() -> None:
            receiver = self.make()
            async with running(receiver, self.host):
                self.sink.refusal = Refused("full", 1)
                await self.provoke(receiver)
                self.sink.refusal = None
                await self.provoke(receiver)
                await self._some()

        asyncio.run(receive())

    def test_nothing_comes_after_shutdown(self) -> None:
        """What was not sent by then is not sent any more."""

        async def receive() -> None:
            receiver = self.make()
            async with running(receiver, self.host):
                await self.provoke(receiver)
            before = len(self.sink.batches)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(self.sink.batches) == before

        asyncio.run(receive())

    async def _some(self) -> None:
        """Wait for the first batch."""
        async with asyncio.timeout(_PATIENCE_S):
            while not self.sink.batches:  # noqa: ASYNC110 -- a list has no event
                await asyncio.sleep(0.01)


def _check(batch: MetricBatch) -> None:
    columns = (batch.series, batch.time_ns, batch.value, batch.flags, batch.start_ns)
    assert len({len(column) for column in columns}) == 1
    for series in batch.series.tolist():
        assert batch.table.series(series).name
