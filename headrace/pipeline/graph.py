"""The graph: components by id, wired into pipelines, started and stopped in order.

A receiver and an exporter exist once, whoever names them; a processor exists once for each pipeline that names it.
Consecutive series processors become one `SeriesChain`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.component import Draining, Settings, StatefulProcessor
from headrace.pipeline.delivery import Entry, Pipeline, Step
from headrace.pipeline.errors import HeadraceError, Refused, StoreFailed
from headrace.pipeline.state import StateDirectory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Component, Exporter, Receiver
    from headrace.pipeline.host import Host

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
    """A pipeline by the ids of its components."""

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


class Graph:
    """Wired components.

    Args:
        plan: What to make.
        host: Services and counters.
    """

    def __init__(self, plan: GraphPlan, host: Host) -> None:
        self._host = host
        self.exporters: dict[str, Exporter] = {
            name: _make("exporters", name, plan.exporters[name], host) for name in _named(plan.pipelines, "exporters")
        }
        self.pipelines = {spec.id: self._pipeline(spec, plan) for spec in plan.pipelines}
        self.entries: dict[str, Entry] = {}
        self.receivers: dict[str, Receiver] = {}
        for name in _named(plan.pipelines, "receivers"):
            entry = self.entries[name] = Entry(name, host.counters)
            entry.pipelines = tuple(self.pipelines[spec.id] for spec in plan.pipelines if name in spec.receivers)
            self.receivers[name] = _make("receivers", name, plan.receivers[name], host, entry)
        self._started: list[tuple[str, Component]] = []
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start exporters, then processors, then receivers; stop again what was started where one fails."""
        stages: list[tuple[str, Any]] = [
            *((f"exporters.{name}", exporter) for name, exporter in self.exporters.items()),
            *((f"processors.{step.id}", step.processor) for step in self._steps() if hasattr(step.processor, "start")),
            *((f"receivers.{name}", receiver) for name, receiver in self.receivers.items()),
        ]
        self._restore()
        try:
            for name, component in stages:
                self._started.append((name, component))
                await component.start(self._host)
        except BaseException:
            await self.shutdown()
            raise
        self._ticker = asyncio.create_task(self._tick(), name="graph ticker")

    async def shutdown(self) -> list[str]:
        """Stop receivers, then processors, then exporters; return what went wrong, one line each."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
            self._ticker = None
        faults: list[str] = []
        saved = False
        while self._started:
            name, component = self._started.pop()
            if not saved and not name.startswith("receivers."):
                saved = True
                await self._drain()
                self._save()
            try:
                await component.shutdown()
            except Exception as error:  # noqa: BLE001 -- the edge of a component: the others have to be stopped too
                _log.exception("shutdown of %s failed", name)
                faults.append(f"{name}: {error}")
        return faults

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_S)
            await self.tick(self._host.clock_ns())
            ticks += 1
            if ticks % _TICKS_PER_SAVE == 0:
                self._save()

    def _stateful(self) -> list[tuple[str, StatefulProcessor]]:
        return [
            (f"{pipeline.id}.{step.id}", step.processor)
            for pipeline in self.pipelines.values()
            for step in pipeline.steps
            if isinstance(step.processor, StatefulProcessor)
        ]

    def _restore(self) -> None:
        """Give stateful processors what was saved of them."""
        state = self._host.services.get("state")
        for name, processor in self._stateful():
            if not isinstance(state, StateDirectory):
                _log.warning("%s starts anew at each start: service.state_directory is not set", name)
                continue
            found = state.load(name)
            if found is not None:
                try:
                    processor.restore(found)
                except (ValueError, KeyError, TypeError) as error:
                    raise StoreFailed(f"the saved state of {name} does not fit: {error}") from None

    def _save(self) -> None:
        state = self._host.services.get("state")
        if isinstance(state, StateDirectory):
            for name, processor in self._stateful():
                try:
                    state.save(name, processor.snapshot())
                except StoreFailed as error:
                    _log.error("%s", error)

    async def tick(self, now_ns: int) -> None:
        """Let stateful processors send what is due at `now_ns`."""
        for pipeline in self.pipelines.values():
            for number, step in enumerate(pipeline.steps):
                if isinstance(step.processor, StatefulProcessor):
                    await self._send(pipeline, number, step.processor.tick(now_ns))

    async def _drain(self) -> None:
        """Let processors send what they hold back, from the first to the last of each pipeline."""
        for pipeline in self.pipelines.values():
            for number, step in enumerate(pipeline.steps):
                if isinstance(step.processor, Draining):
                    await self._send(pipeline, number, step.processor.drain(self._host.clock_ns()))

    async def _send(self, pipeline: Pipeline, number: int, batches: list[MetricBatch]) -> None:
        """Pass on what the processor in a place of a pipeline has made."""
        for batch in batches:
            try:
                await pipeline.process(batch, number + 1)
            except Refused as refusal:
                _log.warning(
                    "pipeline %s could not take what %s made: %s", pipeline.id, pipeline.steps[number].id, refusal
                )
            except HeadraceError:
                _log.exception("pipeline %s failed", pipeline.id)

    def _steps(self) -> list[Step]:
        return [step for pipeline in self.pipelines.values() for step in pipeline.steps]

    def _pipeline(self, spec: PipelinePlan, plan: GraphPlan) -> Pipeline:
        steps: list[Step] = []
        fused: list[tuple[str, Stage]] = []

        def close() -> None:
            if fused:
                chain = SeriesChain([stage for _, stage in fused])
                steps.append(Step("+".join(name for name, _ in fused), chain, self._host.counters, spec.id))
                fused.clear()

        for name in spec.processors:
            settings = _settings("processors", name, self._host)
            planned = plan.processors[name]
            processor = planned.factory.create(settings, planned.config)
            if hasattr(processor, "admit"):
                fused.append((name, Stage(processor, settings.drops)))
            else:
                close()
                steps.append(Step(name, processor, self._host.counters, spec.id))
        close()
        return Pipeline(spec.id, steps, [self.exporters[name] for name in spec.exporters])


def _named(pipelines: Sequence[PipelinePlan], kind: str) -> list[str]:
    """Return the ids that pipelines name, each once, in order."""
    return list(dict.fromkeys(name for spec in pipelines for name in getattr(spec, kind)))


def _settings(kind: str, name: str, host: Host) -> Settings:
    logger = host.logger.getChild(f"{kind}.{name}")
    return Settings(kind, name, host.counters, logger, host.clock_ns, host.monotonic_s)


def _make(kind: str, name: str, planned: Planned, host: Host, *more: Any) -> Any:
    return planned.factory.create(_settings(kind, name, host), planned.config, *more)
