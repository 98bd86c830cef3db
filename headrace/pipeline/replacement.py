"""One plan in place of another while batches go on: build beside, swap between two batches, then stop what is gone.

The caller goes through three phases. `prepare` makes what is new and starts it beside the old; `swap` lets batches wait
for a moment, hands states and queues over and leads everything to the new pipelines; `retire` stops what is no longer
in use. Until `swap` has returned, any error (and `abort`) leaves the graph as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline import saving
from headrace.pipeline.component import Inheriting, Succeeding, is_exclusive, restart_reason
from headrace.pipeline.errors import ConfigError, HeadraceError, Refused
from headrace.pipeline.wiring import startable, upstream_first, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from headrace.pipeline.delivery import Pipeline
    from headrace.pipeline.graph import Graph, GraphPlan
    from headrace.pipeline.wiring import Part, Place, Wiring

_log = logging.getLogger("headrace.graph")

_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replacement changes, by keys such as ``exporters.debug``.

    Attributes:
        added: New ones.
        changed: Made anew, because their settings or something they rely on has changed.
        removed: Gone.
        kept: How many go on as they are.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    kept: int

    def __str__(self) -> str:
        named = (("added", self.added), ("changed", self.changed), ("removed", self.removed))
        parts = [f"{word} {', '.join(keys)}" for word, keys in named if keys]
        return "; ".join([*parts, f"kept {self.kept}"])


class Replacement:
    """Puts a plan in place of the one that a graph runs.

    Args:
        graph: The graph.
        plan: Its next plan.
        renewed: Keys of what is made anew although its settings are the same.
    """

    def __init__(self, graph: Graph, plan: GraphPlan, renewed: Collection[str]) -> None:
        self._graph = graph
        self._host = graph.host
        self._observed = self._host.counters.observed()
        self._undo = contextlib.AsyncExitStack()
        self._old = graph.wiring
        self._given_over: set[int] = set()
        self._successors: list[Part] = []
        try:
            self._new = wire(plan, self._host, graph.gate, self._old, renewed)
        except BaseException:
            self._host.counters.restore(self._observed)
            raise

    @property
    def changes(self) -> Changes:
        """What will change."""
        old, new = dict(_components(self._old)), dict(_components(self._new))
        return Changes(
            tuple(key for key in new if key not in old),
            tuple(key for key in new if key in old and new[key] is not old[key]),
            tuple(key for key in old if key not in new),
            sum(1 for key in new if new[key] is old.get(key)),
        )

    @property
    def ended(self) -> list[Part]:
        """Receivers, connectors and exporters of the old plan that the new one does not have."""
        used = {id(part) for part in self._new.parts()}
        return [part for part in self._old.parts() if id(part) not in used]

    async def prepare(self) -> None:
        """Start what is new, beside the old.

        Raises:
            HeadraceError: Something does not start, or cannot change while the daemon runs; nothing has changed.
        """
        try:
            self._check_restarts()
            for place in self._fresh_places():
                if self._old_place(place) is None:
                    saving.restore(self._host, place)
            for part in self._fresh_parts("exporters", "connectors"):
                if not self._waits_for_swap(part):
                    await self._start(part)
            for processor in startable(self._fresh_places()):
                self._undo.push_async_callback(processor.shutdown)
                await processor.start(self._host)
            for part in self._fresh_parts("receivers"):
                await self._start_receiver(part)
        except BaseException:
            await self.abort()
            raise

    async def swap(self, limit_s: float) -> None:
        """Lead everything to the new pipelines.

        Args:
            limit_s: How long batches under way may take before the replacement is given up.

        Raises:
            HeadraceError: What could not start beside the old did not start in its place, or batches under way took
                too long; all is as it was before.
        """
        graph = self._graph
        graph.gate.close()
        try:
            async with asyncio.timeout(limit_s), graph.ticking:
                await self._settle(lambda one: one.processing)
                await self._swap_ends()
                # From here on nothing waits, so that no batch comes between.
                for place in self._fresh_places():
                    self._hand_over(place)
                self._new.commit(self._old)
                graph.wiring = self._new
                self._succeed()
        except TimeoutError:
            await self.abort()
            raise Refused(f"batches under way did not end within {limit_s:g} s") from None
        except BaseException:
            await self.abort()
            raise
        finally:
            graph.gate.open()
        self._undo.pop_all()

    async def abort(self) -> None:
        """Stop what was started, and start again what was stopped for it."""
        self._new.abandon()
        await self._undo.aclose()
        self._host.counters.restore(self._observed)

    async def retire(self, limit_s: float) -> None:
        """Stop what is gone, after it has passed on what it holds.

        Args:
            limit_s: How long batches under way may take.
        """
        kinds = {kind: [part for part in self.ended if part.key.startswith(kind)] for kind in _KINDS}
        await self._take_leave(kinds["receivers"], limit_s)
        await _stop(kinds["receivers"])
        kept = set(self._new.places)
        gone = [place for place in self._old.places if place not in kept]
        for place in [place for place in upstream_first(self._old) if place in gone]:
            if id(place) not in self._given_over:
                await self._graph.drain(self._old, place)
        saving.save(self._host, [place for place in gone if id(place) not in self._given_over])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._settle(lambda one: one.under_way)
        for processor in startable(gone):
            await processor.shutdown()
        await _stop([*kinds["connectors"], *kinds["exporters"]])
        self._forget()

    # -- phases in detail ------------------------------------------------------------------------------------

    def _check_restarts(self) -> None:
        for part in self.ended:
            reason = restart_reason(part.component)
            if reason:
                raise ConfigError(part.key, f"cannot change while the daemon runs: {reason}")

    def _waits_for_swap(self, part: Part) -> bool:
        """Return whether a part starts only when its predecessor has stopped or given over what it holds."""
        return self._predecessor(part) is not None and (
            is_exclusive(part.component) or isinstance(part.component, Inheriting)
        )

    async def _start(self, part: Part) -> None:
        self._undo.push_async_callback(part.component.shutdown)
        await part.component.start(self._host)

    async def _start_receiver(self, part: Part) -> None:
        """Start a receiver beside its predecessor, or where that fails in its place."""
        old = self._predecessor(part)
        if old is not None and _succeeds(part, old):
            self._undo.push_async_callback(part.component.shutdown)
            await part.component.start_after(self._host, old.component)
            self._successors.append(part)
            return
        if old is not None and self._waits_for_swap(part):
            await self._replace(old, part)
            return
        try:
            await part.component.start(self._host)
        except ConfigError:
            await part.component.shutdown()
            if old is None:
                raise
        else:
            self._undo.push_async_callback(part.component.shutdown)
            return
        part.component = self._new.make_part("receivers", part.id, part.planned).component
        await self._replace(old, part)

    async def _swap_ends(self) -> None:
        """Put exporters in place of their predecessors that cannot run beside them."""
        waiting = [part for part in self._fresh_parts("exporters") if self._waits_for_swap(part)]
        if waiting:
            await self._settle(lambda one: one.under_way)
        for part in waiting:
            old = self._predecessor(part)
            if old is not None:
                await self._replace(old, part)

    def _succeed(self) -> None:
        for part in self._successors:
            part.component.succeed()

    async def _take_leave(self, receivers: list[Part], limit_s: float) -> None:
        for part in receivers:
            if part.id not in self._new.receivers and isinstance(part.component, Succeeding):
                try:
                    async with asyncio.timeout(limit_s):
                        await part.component.leave()
                except Exception:  # noqa: BLE001 -- the edge of a component: it is stopped all the same
                    _log.exception("the end of %s failed", part.key)

    async def _replace(self, old: Part, new: Part) -> None:
        """Stop a part of the old plan and start its successor, which gets what the old one holds."""
        if isinstance(new.component, Inheriting):
            await new.component.take_over(old.component)
        self._undo.push_async_callback(self._put_back, old, new)
        await old.component.shutdown()
        await new.component.start(self._host)

    async def _put_back(self, old: Part, new: Part) -> None:
        """Undo `_replace`, with another instance of what was stopped."""
        before = old.component
        old.component = self._old.make_part(old.key.partition(".")[0], old.id, old.planned).component
        for pipeline in self._old.pipelines.values():
            pipeline.exporters = tuple(old.component if one is before else one for one in pipeline.exporters)
        if isinstance(old.component, Inheriting):
            await old.component.take_over(new.component)
        await new.component.shutdown()
        try:
            await old.component.start(self._host)
        except HeadraceError as error:
            self._host.fail(f"{old.key} could not be started again: {error}")

    def _hand_over(self, place: Place) -> None:
        old = self._old_place(place)
        if old is not None and saving.hand_over(old, place):
            self._given_over.add(id(old))

    async def _settle(self, count: Callable[[Pipeline], int]) -> None:
        while any(map(count, self._old.pipelines.values())):  # noqa: ASYNC110 -- a count of many owners has no event
            await asyncio.sleep(_POLL_S)

    # -- what is new and what it follows ---------------------------------------------------------------------

    def _fresh_parts(self, *kinds: str) -> Iterator[Part]:
        known = {id(part) for part in self._old.parts()}
        for kind in kinds:
            yield from (part for part in getattr(self._new, kind).values() if id(part) not in known)

    def _fresh_places(self) -> list[Place]:
        known = set(self._old.places)
        return [place for place in self._new.places if place not in known]

    def _predecessor(self, part: Part) -> Part | None:
        found = next((one for one in self._old.parts() if one.key == part.key), None)
        return found if found is not None and found.planned.factory is part.planned.factory else None

    def _old_place(self, place: Place) -> Place | None:
        """Return the place whose state a new one takes over."""
        for old in self._old.places:
            if old.name == place.name and len(old.members) == 1 == len(place.members):
                return old if old.members[0].planned.factory is place.members[0].planned.factory else None
        return None

    def _forget(self) -> None:
        """Let nothing be observed any more of what is gone."""
        used = {part.key for part in self._new.parts()}
        for part in self.ended:
            if part.key not in used:
                kind = part.key.partition(".")[0].removesuffix("s")
                self._host.counters.forget({kind: part.id})


_KINDS = ("receivers", "connectors", "exporters")


def _succeeds(part: Part, old: Part) -> bool:
    return isinstance(part.component, Succeeding) and part.component.can_succeed(old.component)


def _components(wiring: Wiring) -> Iterator[tuple[str, object]]:
    for part in wiring.parts():
        yield part.key, part
    for place in wiring.places:
        for member in place.members:
            yield f"{place.pipeline}.{member.name}", member


async def _stop(parts: list[Part]) -> None:
    for part in reversed(parts):
        try:
            await part.component.shutdown()
        except Exception:  # noqa: BLE001 -- the edge of a component: the others have to be stopped too
            _log.exception("shutdown of %s failed", part.key)
