"""What holds for every exporter."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.pipeline.series import SeriesTable
from headrace.testing.batches import make_batch
from headrace.testing.components import ComponentContract
from headrace.testing.hosts import running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import ExporterFactory, Outcome

_SECOND_NS = 1_000_000_000
_FIRST_NS = 1_700_000_000 * _SECOND_NS


class ExporterContract(ComponentContract):
    """Subclass it, set `factory`, write `arrived`, and pytest runs the contract."""

    factory: ClassVar[ExporterFactory[Any]]
    kind: ClassVar[str] = "exporters"

    def create(self, config: Any) -> Any:
        """Return a new exporter."""
        return self.factory.create(self.settings, config)

    async def open(self) -> None:
        """Begin to listen where the exporter sends to; override it where there is such a place."""

    async def close(self) -> None:
        """End what `open` began."""

    def arrived(self) -> int:
        """Return how many points are where the exporter sends to, now that it was shut down."""
        raise NotImplementedError

    def batches(self) -> list[MetricBatch]:
        """Return batches to deliver, of one table and of another, with points whose times ascend."""
        first, second = SeriesTable(), SeriesTable()
        names = [{"__name__": "requests_total", "code": code} for code in ("200", "500", "404")]
        return [
            make_batch(names, table=first, time_ns=_FIRST_NS, value=[1.0, 2.0, 3.0]),
            make_batch(names, table=first, time_ns=_FIRST_NS + _SECOND_NS, value=[2.0, 4.0, 6.0]),
            make_batch([{"__name__": "other"}], table=second, time_ns=_FIRST_NS),
        ]

    def test_points_arrive(self) -> None:
        """All of what was acknowledged is there after `shutdown`, and nothing else."""
        outcomes = self._deliver(self.batches())
        assert [one.points for one in outcomes] == [len(batch) for batch in self.batches()]
        assert self.arrived() == sum(one.accepted for one in outcomes) > 0

    def test_batches_are_not_changed(self) -> None:
        """Other exporters get the same columns."""
        batches = self.batches()
        columns = [column for one in batches for column in (one.series, one.time_ns, one.value, one.flags)]
        before = [column.tobytes() for column in columns]
        self._deliver(batches)
        assert [column.tobytes() for column in columns] == before

    def test_a_batch_may_be_empty(self) -> None:
        """A processor may have dropped everything."""
        (outcome,) = self._deliver([make_batch([])])
        assert (outcome.points, outcome.accepted) == (0, 0)

    def test_room_is_given_back_once(self) -> None:
        """A reservation that is released twice does not make room for others."""

        async def reserve() -> None:
            exporter = self.make()
            await self.open()
            try:
                async with running(exporter, self.host):
                    held = exporter.reserve(10, 1000)
                    held.release()
                    held.release()
            finally:
                await self.close()

        asyncio.run(reserve())

    def test_it_says_whether_senders_wait_for_it(self) -> None:
        """By its attribute ``optional``."""
        assert isinstance(self.make().optional, bool)

    def _deliver(self, batches: Sequence[MetricBatch]) -> list[Outcome]:
        """Deliver as a pipeline does."""

        async def deliver() -> list[Outcome]:
            exporter = self.make()
            await self.open()
            try:
                async with running(exporter, self.host):
                    return [await self._one(exporter, batch) for batch in batches]
            finally:
                await self.close()

        return asyncio.run(deliver())

    @staticmethod
    async def _one(exporter: Any, batch: MetricBatch) -> Outcome:
        held = exporter.reserve(len(batch), batch.size_bytes)
        try:
            outcome: Outcome = await exporter.deliver(batch)
        finally:
            held.release()
        return outcome
