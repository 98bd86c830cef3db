"""A configuration without receivers, exporters and extensions, which traffic is sent through."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from headrace.cli.plan.following import Follower
from headrace.pipeline.component import NoReservation, Outcome
from headrace.pipeline.graph import Graph, Planned
from headrace.pipeline.host import Host
from headrace.pipeline.wiring import upstream_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.cli.plan.numbers import Numbers
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.config.load import LoadedConfig
    from headrace.pipeline.host import Workspaces

_TICK_NS = 1_000_000_000
_MAX_TICKS = 600
"""Ticks for one pause in the traffic; a longer one is passed over."""


class Silent:
    """Stands in for a receiver."""

    async def start(self, host: Host) -> None:
        """Do nothing."""

    async def shutdown(self) -> None:
        """Do nothing."""


class Hole(Silent):
    """Stands in for an exporter: takes everything."""

    optional = False

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant everything."""
        del points, size_bytes
        return NoReservation()

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Let it go."""
        return Outcome(len(batch))


class Trial:
    """Runs a configuration on traffic, in memory.

    Processors are made anew, without the states that a daemon has saved, and nothing is started.

    Args:
        config: The configuration.
        workspaces: Tables of the traffic.
        numbers: Numbers of its streams.

    Attributes:
        unheard: Samples by receiver that no pipeline names.
    """

    def __init__(self, config: LoadedConfig, workspaces: Workspaces, numbers: Numbers) -> None:
        self._now_ns = 0
        self.host = Host(
            workspaces=workspaces, clock_ns=lambda: self._now_ns, monotonic_s=lambda: self._now_ns / _TICK_NS
        )
        plan = config.plan()
        plan = replace(plan, receivers=_stubs(plan.receivers, Silent), exporters=_stubs(plan.exporters, Hole))
        self._graph = Graph(plan, self.host)
        self._follower = Follower(self._graph.wiring, numbers)
        self.host.taps.open(self._follower)
        self.unheard: dict[str, int] = {}

    @property
    def exporters(self) -> Mapping[str, Any]:
        """What came to each exporter, by keys such as ``exporters.debug``."""
        return self._follower.tallies

    def receivers_of(self, exporter: str) -> set[str]:
        """Return the ids of the receivers whose points may come to an exporter."""
        wiring = self._graph.wiring
        reached: set[str] = set()
        ends = [exporter.partition(".")[2]]
        specs = [(name, [part.partition(".")[2] for part in one.edges]) for name, one in wiring.pipelines.items()]
        while ends:
            end = ends.pop()
            for name, out in specs:
                if end in out:
                    reached |= {one for one, fed in wiring.leads.items() if any(pipe.id == name for pipe in fed)}
                    ends += [one for one, ways in wiring.ways.items() if name in ways]
        return reached

    async def feed(self, receiver: str, batch: MetricBatch) -> None:
        """Send a batch of a receiver through the pipelines that name it."""
        await self._advance(batch.context.received_ns)
        entry = self._graph.entries.get(receiver)
        if entry is None:
            self.unheard[receiver] = self.unheard.get(receiver, 0) + len(batch)
            return
        batch.table.families.note(batch.metadata)
        for pipeline in entry.pipelines:
            await pipeline.process(batch)

    async def finish(self) -> None:
        """Let processors send what they hold back."""
        for place in upstream_first(self._graph.wiring):
            await self._graph.drain(self._graph.wiring, place)

    def drops(self) -> dict[tuple[str, str], int]:
        """Return the samples that processors dropped, by component and reason."""
        instrument = self.host.counters.instruments.get("headrace_dropped_points")
        points: Iterable[tuple[dict[str, str], float]] = instrument.read() if instrument else ()
        return {(of["component"], of["reason"]): int(value) for of, value in points if value}

    async def _advance(self, until_ns: int) -> None:
        """Let time pass, as the traffic had it."""
        if not self._now_ns or until_ns - self._now_ns > _MAX_TICKS * _TICK_NS:
            self._now_ns = max(self._now_ns, until_ns)
        for now_ns in itertools.count(self._now_ns + _TICK_NS, _TICK_NS):
            if now_ns > until_ns:
                break
            self._now_ns = now_ns
            await self._graph.tick(now_ns)
        self._now_ns = max(self._now_ns, until_ns)


def _stubs(planned: Mapping[str, Planned], stub: type[Silent]) -> dict[str, Planned]:
    factory = SimpleNamespace(create=lambda *_: stub())
    return {name: Planned(factory, one.config) for name, one in planned.items()}
