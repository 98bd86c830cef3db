"""The graph: components by id, wired into pipelines, started and stopped in order, and replaced while it runs.

A receiver, an exporter and a connector exist once, whoever names them; a processor exists once for each pipeline that
names it. Consecutive series processors become one `SeriesChain`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.pipeline import saving
from headrace.pipeline.component import Draining, StatefulProcessor
from headrace.pipeline.delivery import Gate
from headrace.pipeline.errors import HeadraceError, Refused
from headrace.pipeline.replacement import Replacement
from headrace.pipeline.wiring import startable, upstream_first, wire

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Component, Exporter, Receiver
    from headrace.pipeline.delivery import Entry, Pipeline
    from headrace.pipeline.host import Host
    from headrace.pipeline.wiring import Place, Wiring

_log = logging.getLogger("headrace.graph")

_TICK_S = 1.0
"""How often stateful processors are asked for what is due."""

_TICKS_PER_SAVE = 60


@dataclass(frozen=True, slots=True)
class Planned:
    """A component that the graph shall make: its factory and its validated configuration."""

    factory: Any
    config: Any


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """A pipeline by the ids of its components; connectors are among the receivers and the exporters."""

    id: str
    receivers: Sequence[str]
    processors: Sequence[str]
    exporters: Sequence[str]


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """All that a graph is made of; every id that a pipeline names is in the mapping of its kind."""

    receivers: Mapping[str, Planned]
    processors: Mapping[str, Planned]
    exporters: Mapping[str, Planned]
    pipelines: Sequence[PipelinePlan]
    connectors: Mapping[str, Planned] = field(default_factory=dict)


class Graph:
    """Wired components.

    Args:
        plan: What to make.
        host: Services and counters.
    """

    def __init__(self, plan: GraphPlan, host: Host) -> None:
        self.host = host
        self.gate = Gate()
        self.wiring = wire(plan, host, self.gate)
        self.wiring.commit()
        self.ticking = asyncio.Lock()
        """Held while stateful processors are asked for what is due."""
        self._ticker: asyncio.Task[None] | None = None

    @property
    def exporters(self) -> dict[str, Exporter]:
        """Exporters by id."""
        return {name: part.component for name, part in self.wiring.exporters.items()}

    @property
    def receivers(self) -> dict[str, Receiver]:
        """Receivers by id."""
        return {name: part.component for name, part in self.wiring.receivers.items()}

    @property
    def pipelines(self) -> dict[str, Pipeline]:
        """Pipelines by id."""
        return self.wiring.pipelines

    @property
    def entries(self) -> dict[str, Entry]:
        """What receivers send to, by their ids."""
        return self.wiring.entries

    async def start(self) -> None:
        """Start exporters, then processors, then receivers; stop again what was started where one fails."""
        wiring = self.wiring
        for place in wiring.places:
            saving.restore(self.host, place)
        stages = [(part.key, part.component) for part in wiring.parts()]
        after = len(wiring.exporters) + len(wiring.connectors)
        stages[after:after] = [("processor", one) for one in startable(wiring.places)]
        started: list[tuple[str, Component]] = []
        try:
            for name, component in stages:
                started.append((name, component))
                await component.start(self.host)
        except BaseException:
            await stop(reversed(started))
            raise
        self._ticker = asyncio.create_task(self._tick(), name="graph ticker")

    async def shutdown(self) -> list[str]:
        """Stop receivers, then processors, then exporters; return what went wrong, one line each."""
        if self._ticker is None:
            return []
        self._ticker.cancel()
        await asyncio.gather(self._ticker, return_exceptions=True)
        self._ticker = None
        wiring = self.wiring
        faults = await stop((part.key, part.component) for part in reversed(wiring.receivers.values()))
        for place in upstream_first(wiring):
            await self.drain(wiring, place)
        saving.save(self.host, wiring.places)
        faults += await stop(("processor", one) for one in reversed(list(startable(wiring.places))))
        ends = [*wiring.exporters.values(), *wiring.connectors.values()]
        return faults + await stop((part.key, part.component) for part in reversed(ends))

    def replacement(self, plan: GraphPlan, renewed: Collection[str] = ()) -> Replacement:
        """Return what puts another plan in place of this one.

        Args:
            plan: The other one.
            renewed: Keys such as ``exporters.debug`` of what is made anew although its settings are the same.
        """
        return Replacement(self, plan, renewed)

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_S)
            await self.gate.passed()
            await self.tick(self.host.clock_ns())
            ticks += 1
            if ticks % _TICKS_PER_SAVE == 0:
                saving.save(self.host, self.wiring.places)

    async def tick(self, now_ns: int) -> None:
        """Let stateful processors send what is due at `now_ns`."""
        async with self.ticking:
            wiring = self.wiring
            for place in wiring.places:
                if isinstance(place.step.processor, StatefulProcessor):
                    await self._send(wiring, place, place.step.processor.tick(now_ns))

    async def drain(self, wiring: Wiring, place: Place) -> None:
        """Let a processor send what it holds back."""
        if isinstance(place.step.processor, Draining):
            await self._send(wiring, place, place.step.processor.drain(self.host.clock_ns()))

    async def _send(self, wiring: Wiring, place: Place, batches: list[MetricBatch]) -> None:
        """Pass on what the processor in a place has made."""
        pipeline = wiring.pipelines[place.pipeline]
        for batch in batches:
            try:
                await pipeline.process(batch, pipeline.steps.index(place.step) + 1)
            except Refused as refusal:
                _log.warning("pipeline %s could not take what %s made: %s", pipeline.id, place.step.id, refusal)
            except HeadraceError:
                _log.exception("pipeline %s failed", pipeline.id)


async def stop(components: Iterable[tuple[str, Component]]) -> list[str]:
    """Shut components down; return what went wrong, one line each."""
    faults: list[str] = []
    for name, component in components:
        try:
            await component.shutdown()
        except Exception as error:  # noqa: BLE001 -- the edge of a component: the others have to be stopped too
            _log.exception("shutdown of %s failed", name)
            faults.append(f"{name}: {error}")
    return faults
