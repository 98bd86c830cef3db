"""What holds for every connector."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from headrace.pipeline.delivery import Pipeline
from headrace.pipeline.errors import Refused
from headrace.pipeline.outlets import Outlets
from headrace.testing.batches import make_batch
from headrace.testing.components import ComponentContract
from headrace.testing.hosts import running
from headrace.testing.sinks import MemoryExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import ConnectorFactory


class ConnectorContract(ComponentContract):
    """Subclass it, set `factory`, and pytest runs the contract.

    Attributes:
        pipelines: Ids of the pipelines behind the connector, those that `config` names among them.
    """

    factory: ClassVar[ConnectorFactory[Any]]
    kind: ClassVar[str] = "connectors"
    pipelines: ClassVar[tuple[str, ...]] = ("metrics/a", "metrics/b")

    ends: dict[str, MemoryExporter]

    def create(self, config: Any) -> Any:
        """Return a new connector with an exporter in memory behind each of the pipelines."""
        self.ends = {name: MemoryExporter() for name in self.pipelines}
        outlets = Outlets(self.settings.id, self.host.counters)
        outlets.lead_to({name: Pipeline(name, [], [end]) for name, end in self.ends.items()})
        return self.factory.create(self.settings, config, outlets)

    def batch(self) -> MetricBatch:
        """Return a batch of which the connector passes on every point."""
        return make_batch([{"__name__": "requests_total", "code": code} for code in ("200", "500", "404")])

    def test_it_names_pipelines_that_there_are(self) -> None:
        """Its settings name no others than those behind it, each with its place."""
        config = self.factory.config.model_validate(self.configuration())
        named = list(self.factory.pipelines(config))
        assert {name for _, name in named} <= set(self.pipelines)
        assert all(path for path, _ in named)

    def test_every_point_goes_on(self) -> None:
        """To one of the pipelines at least; what was acknowledged is there."""

        async def deliver(connector: Any) -> None:
            batch = self.batch()
            outcome = await _deliver(connector, batch)
            assert (outcome.points, outcome.accepted) == (len(batch), len(batch))
            assert {one for got in self._arrived() for one in got.series.tolist()} == set(batch.series.tolist())

        self._run(deliver)

    def test_batches_are_not_changed(self) -> None:
        """Other exporters and connectors get the same columns."""

        async def deliver(connector: Any) -> None:
            batch = self.batch()
            columns = (batch.series, batch.time_ns, batch.value, batch.flags)
            before = [column.tobytes() for column in columns]
            await _deliver(connector, batch)
            assert [column.tobytes() for column in columns] == before

        self._run(deliver)

    def test_a_batch_may_be_empty(self) -> None:
        """A processor may have dropped everything."""

        async def deliver(connector: Any) -> None:
            outcome = await _deliver(connector, make_batch([]))
            assert (outcome.points, outcome.accepted) == (0, 0)

        self._run(deliver)

    def test_no_room_behind_it_is_none_in_it(self) -> None:
        """Where every pipeline refuses, the reservation does, and nothing is delivered."""

        async def deliver(connector: Any) -> None:
            for end in self.ends.values():
                end.refusal = Refused("full", 7)
            with pytest.raises(Refused):
                connector.reserve(3, 100)
            assert self._arrived() == []

        self._run(deliver)

    def test_room_is_given_back_twice(self) -> None:
        """A reservation may be released again."""

        async def deliver(connector: Any) -> None:
            held = connector.reserve(3, 100)
            held.release()
            held.release()

        self._run(deliver)

    def _arrived(self) -> list[MetricBatch]:
        return [batch for end in self.ends.values() for batch in end.batches]

    def _run(self, test: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        async def run() -> None:
            connector = self.make()
            async with running(connector, self.host):
                await test(connector)

        asyncio.run(run())


async def _deliver(connector: Any, batch: MetricBatch) -> Any:
    """Deliver as a pipeline does."""
    held = connector.reserve(len(batch), batch.size_bytes)
    try:
        return await connector.deliver(batch)
    finally:
        held.release()
