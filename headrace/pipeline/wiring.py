"""Makes the components of a plan and wires them; in a reload, what has not changed is taken from the wiring before.

A component has not changed where its id, its factory and its settings are the same; a processor, where its pipeline is
as well. A step of several fused processors has not changed where none of them has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.component import Settings
from headrace.pipeline.delivery import Entry, Gate, Pipeline, Step
from headrace.pipeline.outlets import Outlets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from headrace.pipeline.component import Component
    from headrace.pipeline.graph import GraphPlan, PipelinePlan, Planned
    from headrace.pipeline.host import Host


@dataclass(slots=True, eq=False)
class Part:
    """A component in its place.

    Attributes:
        key: Such as ``exporters.debug``.
        id: Of the component.
        planned: What it was made of.
        component: The component.
    """

    key: str
    id: str
    planned: Planned
    component: Any


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A processor of one pipeline.

    Attributes:
        name: Its id.
        planned: What it was made of.
        processor: The processor.
        settings: What it was made with.
    """

    name: str
    planned: Planned
    processor: Any
    settings: Settings

    @property
    def decides(self) -> bool:
        """Whether it is one of those that are fused."""
        return hasattr(self.processor, "admit")


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A step in its place.

    Attributes:
        pipeline: Id of the pipeline.
        members: Its processors, several where they are fused.
        step: The step.
    """

    pipeline: str
    members: tuple[Member, ...]
    step: Step

    @property
    def name(self) -> str:
        """Name for messages and saved states."""
        return f"{self.pipeline}.{self.step.id}"


@dataclass(slots=True)
class Wiring:
    """Components by id and pipelines of them.

    Attributes:
        host: Services and counters.
        gate: Where batches wait in a reload.
        exporters: By id.
        connectors: By id.
        receivers: By id.
        outlets: What each connector sends to.
        entries: What each receiver sends to.
        pipelines: By id; those behind connectors first.
        places: The steps of all pipelines.
        leads: What each entry will lead to.
        ways: What the outlets of each connector will lead to.
        waiting: Where batches of new receivers wait for `commit`.
    """

    host: Host
    gate: Gate
    exporters: dict[str, Part] = field(default_factory=dict)
    connectors: dict[str, Part] = field(default_factory=dict)
    receivers: dict[str, Part] = field(default_factory=dict)
    outlets: dict[str, Outlets] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    leads: dict[str, tuple[Pipeline, ...]] = field(default_factory=dict)
    ways: dict[str, dict[str, Pipeline]] = field(default_factory=dict)
    waiting: Gate = field(default_factory=Gate)

    def parts(self) -> Iterator[Part]:
        """Yield all components but processors, in the order in which they start."""
        for parts in (self.exporters, self.connectors, self.receivers):
            yield from parts.values()

    def edges(self) -> list[str]:
        """Return the names of all edges, in the order in which a batch passes them."""
        found = [part.key for part in self.receivers.values()]
        for pipeline in reversed(self.pipelines.values()):
            found += [pipeline.id, *(edge for step in pipeline.steps for edge in step.edges)]
        return [*found, *(part.key for part in (*self.connectors.values(), *self.exporters.values()))]

    def commit(self, before: Wiring | None = None) -> None:
        """Have receivers and connectors send to these pipelines from now on, and what is on its way to old ones too."""
        for name, outlets in self.outlets.items():
            outlets.lead_to(self.ways[name])
        for name, entry in self.entries.items():
            entry.pipelines = self.leads[name]
            entry.gate = self.gate
        if before is not None:
            for name, pipeline in before.pipelines.items():
                pipeline.successor = self.pipelines.get(name)
        self.waiting.open()

    def abandon(self) -> None:
        """Have receivers that have started already refuse what waits with them."""
        self.waiting.open()

    def make_part(self, kind: str, name: str, planned: Planned) -> Part:
        """Make a component anew."""
        more: list[Entry | Outlets] = [self.entries[name]] if kind == "receivers" else []
        more += [self.outlets[name]] if kind == "connectors" else []
        component = planned.factory.create(_settings(kind, name, self.host), planned.config, *more)
        return Part(f"{kind}.{name}", name, planned, component)


def wire(
    plan: GraphPlan, host: Host, gate: Gate, before: Wiring | None = None, renewed: Collection[str] = ()
) -> Wiring:
    """Make what a plan says.

    Args:
        plan: What to make.
        host: Services and counters.
        gate: Where batches wait in a reload.
        before: What is taken over where it has not changed.
        renewed: Keys such as ``exporters.debug`` of what is made anew although its settings are the same.
    """
    wiring = Wiring(host, gate)
    wiring.waiting.close()
    builder = _Builder(plan, wiring, before, frozenset(renewed))
    builder.run()
    return wiring


@dataclass(slots=True)
class _Builder:
    plan: GraphPlan
    wiring: Wiring
    before: Wiring | None
    renewed: frozenset[str]

    def run(self) -> None:
        plan, wiring = self.plan, self.wiring
        for name in _named(plan.pipelines, "exporters"):
            if name in plan.connectors:
                wiring.outlets[name] = self._outlets(name)
                wiring.connectors[name] = self._part("connectors", name, plan.connectors[name])
            else:
                wiring.exporters[name] = self._part("exporters", name, plan.exporters[name])
        for spec in downstream_first(plan):
            wiring.pipelines[spec.id] = self._pipeline(spec)
        for name in _named(plan.pipelines, "receivers"):
            fed = {spec.id: wiring.pipelines[spec.id] for spec in plan.pipelines if name in spec.receivers}
            if name in plan.connectors:
                wiring.ways[name] = fed
            else:
                wiring.leads[name] = tuple(fed.values())
                wiring.entries[name] = self._entry(name)
                wiring.receivers[name] = self._part("receivers", name, plan.receivers[name])

    def _part(self, kind: str, name: str, planned: Planned) -> Part:
        found: Part | None = getattr(self.before, kind).get(name) if self.before is not None else None
        if found is not None and self._same(kind, name, found.planned, planned):
            return found
        return self.wiring.make_part(kind, name, planned)

    def _entry(self, name: str) -> Entry:
        found = self.before.entries.get(name) if self.before is not None else None
        return found or Entry(name, self.wiring.host.counters, gate=self.wiring.waiting, taps=self.wiring.host.taps)

    def _outlets(self, name: str) -> Outlets:
        found = self.before.outlets.get(name) if self.before is not None else None
        return found or Outlets(name, self.wiring.host.counters)

    def _same(self, kind: str, name: str, old: Planned, new: Planned) -> bool:
        same = old.factory is new.factory and old.config == new.config
        return same and f"{kind}.{name}" not in self.renewed

    def _pipeline(self, spec: PipelinePlan) -> Pipeline:
        wiring = self.wiring
        old = [] if self.before is None else [one for one in self.before.places if one.pipeline == spec.id]
        members = {member.name: member for place in old for member in place.members}
        groups: list[list[Member]] = []
        for name in spec.processors:
            member = self._member(name, members.get(name))
            if groups and member.decides and groups[-1][-1].decides:
                groups[-1].append(member)
            else:
                groups.append([member])
        places = [self._place(spec.id, tuple(group), old) for group in groups]
        wiring.places += places
        found = {**wiring.exporters, **wiring.connectors}
        parts = [found[name] for name in spec.exporters]
        return Pipeline(
            spec.id,
            [place.step for place in places],
            [part.component for part in parts],
            wiring.host.taps,
            [part.key for part in parts],
        )

    def _member(self, name: str, old: Member | None) -> Member:
        planned = self.plan.processors[name]
        if old is not None and self._same("processors", name, old.planned, planned):
            return old
        settings = _settings("processors", name, self.wiring.host)
        return Member(name, planned, planned.factory.create(settings, planned.config), settings)

    def _place(self, pipeline: str, members: tuple[Member, ...], old: Sequence[Place]) -> Place:
        found = next((place for place in old if place.members == members), None)
        if found is not None:
            return found
        processor = members[0].processor
        if members[0].decides:
            processor = SeriesChain([Stage(one.processor, one.settings.drops) for one in members])
        names = [one.name for one in members]
        step = Step("+".join(names), processor, self.wiring.host.counters, pipeline, names)
        return Place(pipeline, members, step)


def downstream_first(plan: GraphPlan) -> list[PipelinePlan]:
    """Return the pipelines, those behind a connector before those in front of it; there are no cycles."""
    done: dict[str, PipelinePlan] = {}

    def visit(spec: PipelinePlan) -> None:
        for behind in pipelines_behind(spec, plan.pipelines, plan.connectors):
            visit(behind)
        done.setdefault(spec.id, spec)

    for spec in plan.pipelines:
        visit(spec)
    return list(done.values())


def pipelines_behind(
    spec: PipelinePlan, pipelines: Sequence[PipelinePlan], connectors: Collection[str] | Mapping[str, object]
) -> list[PipelinePlan]:
    """Return the pipelines that a pipeline reaches by one connector."""
    ends = [name for name in spec.exporters if name in connectors]
    return [one for one in pipelines if any(name in one.receivers for name in ends)]


def upstream_first(wiring: Wiring) -> list[Place]:
    """Return all steps in the order in which a batch runs through them."""
    order = list(reversed(wiring.pipelines))
    return sorted(wiring.places, key=lambda place: order.index(place.pipeline))


def startable(places: Sequence[Place]) -> Iterator[Component]:
    """Yield the processors that have a start of their own."""
    for place in places:
        processor: Any = place.step.processor
        if hasattr(processor, "start"):
            yield processor


def _named(pipelines: Sequence[PipelinePlan], kind: str) -> list[str]:
    """Return the ids that pipelines name, each once, in order."""
    return list(dict.fromkeys(name for spec in pipelines for name in getattr(spec, kind)))


def _settings(kind: str, name: str, host: Host) -> Settings:
    logger = host.logger.getChild(f"{kind}.{name}")
    return Settings(kind, name, host.counters, logger, host.clock_ns, host.monotonic_s)
