"""What a connector sends to: the pipelines that name it as a receiver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headrace.pipeline.delivery import release, worst
from headrace.pipeline.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Outcome, Reservation
    from headrace.pipeline.counters import Counters
    from headrace.pipeline.delivery import Pipeline


class Granted:
    """Room in several pipelines."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[Reservation]) -> None:
        self._parts = parts

    def release(self) -> None:
        """Give all of it back; safe to call twice."""
        release(self._parts)


class Outlets:
    """Pipelines by id, with counts of what goes in and out of the connector.

    Args:
        connector_id: For the counts.
        counters: Where the counts go.
    """

    def __init__(self, connector_id: str, counters: Counters) -> None:
        attributes = {"connector": connector_id}
        self._pipelines: dict[str, Pipeline] = {}
        self._consumed = counters.counter(
            "otelcol_connector_consumed_items", "Items that came to a connector.", attributes, "{item}"
        )
        self._produced = counters.counter(
            "otelcol_connector_produced_items", "Items that a connector passed on.", attributes, "{item}"
        )

    def lead_to(self, pipelines: Mapping[str, Pipeline]) -> None:
        """Send to these from now on."""
        self._pipelines = dict(pipelines)

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of all pipelines."""
        return tuple(self._pipelines)

    def consumed(self, batch: MetricBatch) -> None:
        """Count a batch that came to the connector."""
        self._consumed.add(len(batch))

    def reserve(self, names: Iterable[str], points: int, size_bytes: int) -> Granted:
        """Grant room in all of some pipelines, or in none.

        Raises:
            Refused: There is none now.
        """
        parts: list[Reservation] = []
        try:
            for name in names:
                parts += self._pipelines[name].reserve(points, size_bytes)
        except Refused:
            release(parts)
            raise
        return Granted(parts)

    async def send(self, names: Iterable[str], batch: MetricBatch) -> Outcome:
        """Send `batch` into all of some pipelines, for which room has been granted.

        Raises:
            Refused: One of them could not take it after all.
        """
        chosen = [self._pipelines[name] for name in names]
        self._produced.add(len(batch) * len(chosen))
        if len(chosen) == 1:
            return await chosen[0].process(batch)
        answers = await asyncio.gather(*(one.process(batch) for one in chosen), return_exceptions=True)
        return worst(len(batch), answers)
