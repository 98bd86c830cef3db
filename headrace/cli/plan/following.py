"""Follows points through a graph: which stream of the traffic each one was, when it comes to an exporter.

It listens as a tap does. Behind processors of series the answer is theirs; behind one that kept all rows it is the row;
else a point is of the stream that had its identity in front of the processor, or of none, such as a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.cli.plan.numbers import NONE, ids_of, times_of
from headrace.cli.plan.tally import Tally
from headrace.kernels.growth import grown
from headrace.pipeline.chain import SeriesChain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.cli.plan.numbers import Numbers
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.wiring import Wiring


@dataclass(slots=True)
class Rows:
    """A batch somewhere on its way.

    Attributes:
        batch: The batch.
        ids: (n,) ids of its points.
        origins: (n,) numbers of the streams that they were, or NONE.
    """

    batch: MetricBatch
    ids: NDArray[np.int32]
    origins: NDArray[np.int64]


class Memory:
    """Which streams the ids of a table were, by id, as far as an edge has seen them."""

    def __init__(self) -> None:
        self._origins = np.full(1024, NONE, np.int64)

    def note(self, ids: NDArray[np.int32], origins: NDArray[np.int64]) -> None:
        """Remember the first of several that have become one."""
        self._fit(ids)
        self._origins[ids[::-1]] = origins[::-1]

    def recall(self, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return what is remembered."""
        self._fit(ids)
        return self._origins[ids]

    def _fit(self, ids: NDArray[np.int32]) -> None:
        self._origins = grown(self._origins, int(ids.max()) + 1 if len(ids) else 0, NONE)


class Follower:
    """A tap that counts what comes to the exporters.

    Args:
        wiring: The graph's.
        numbers: Numbers of the streams.
    """

    def __init__(self, wiring: Wiring, numbers: Numbers) -> None:
        self._numbers = numbers
        self.tallies: dict[str, Tally] = {part.key: Tally() for part in wiring.exporters.values()}
        self._chains: dict[str, SeriesChain] = {}
        self._behind: dict[str, str] = {}
        self._pipeline_of: dict[str, str] = {}
        for pipeline in wiring.pipelines.values():
            self._pipeline_of[pipeline.id] = before = pipeline.id
            for step in pipeline.steps:
                edge = step.edges[-1]
                self._pipeline_of[edge], self._behind[edge], before = pipeline.id, before, edge
                if isinstance(step.processor, SeriesChain):
                    self._chains[edge] = step.processor
        self._feeders = {
            name: [f"connectors.{one}" for one, ways in wiring.ways.items() if name in ways]
            for name in wiring.pipelines
        }
        self._at: dict[str, tuple[str, Rows]] = {}
        self._connectors: dict[str, Rows] = {}
        self._memories: dict[tuple[str, object], Memory] = {}
        self._last: Rows | None = None

    def wants(self, edge: str) -> bool:
        """Return false: what goes on between fused processors says nothing more."""
        del edge
        return False

    def end(self) -> None:
        """Do nothing."""

    def see(self, edge: str, batch: MetricBatch) -> None:
        """Follow a batch over an edge."""
        pipeline = self._pipeline_of.get(edge)
        if pipeline is not None:
            self._last = rows = self._arrived(edge, pipeline, batch)
            self._at[pipeline] = edge, rows
        elif self._last is not None and edge in self.tallies:
            delivered = self._numbers.of(batch.table, self._last.ids)
            self.tallies[edge].add(self._last.origins, delivered)
        elif self._last is not None and edge.startswith("connectors."):
            self._connectors[edge] = self._last
            self._memory(edge, batch).note(self._last.ids, self._last.origins)

    def _arrived(self, edge: str, pipeline: str, batch: MetricBatch) -> Rows:
        ids = ids_of(batch)
        if edge == pipeline:
            return Rows(batch, ids, self._entered(pipeline, batch, ids))
        place, before = self._at.get(pipeline, ("", None))
        memory = self._memory(edge, batch)
        if before is None or place != self._behind[edge] or before.batch.table is not batch.table:
            return Rows(batch, ids, memory.recall(ids))  # sent by a processor of its own accord
        memory.note(before.ids, before.origins)
        origins = self._followed(before, batch, ids, self._chains.get(edge))
        memory.note(ids, origins)
        return Rows(batch, ids, origins)

    def _entered(self, pipeline: str, batch: MetricBatch, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the origins of a batch that a receiver or a connector sends."""
        feeders = [one for one in self._feeders[pipeline] if one in self._connectors]
        for name in feeders:
            if self._connectors[name].batch is batch:
                return self._connectors[name].origins
        if feeders:
            return self._memory(feeders[-1], batch).recall(ids)
        return self._numbers.of(batch.table, ids)

    def _memory(self, edge: str, batch: MetricBatch) -> Memory:
        return self._memories.setdefault((edge, batch.table), Memory())

    @staticmethod
    def _followed(
        before: Rows, batch: MetricBatch, ids: NDArray[np.int32], chain: SeriesChain | None
    ) -> NDArray[np.int64]:
        if batch is before.batch:
            return before.origins
        if chain is not None:
            return before.origins[chain.verdicts(batch.table, before.ids) >= 0]
        if len(ids) == len(before.ids) and np.array_equal(times_of(batch), times_of(before.batch)):
            return before.origins
        memory = Memory()
        memory.note(before.ids, before.origins)
        return memory.recall(ids)
