"""Where batches pass by and taps listen.

With no tap on, a batch costs one look at a truth value where it comes in, and one in each pipeline.

An edge is named after what it comes from or goes to:

* ``receivers.otlp``: what a receiver sends
* ``metrics/edge``: what comes into a pipeline
* ``metrics/edge.filter``: what a processor of a pipeline passes on
* ``exporters.debug``, ``connectors.forward``: what comes to it
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from headrace.pipeline.errors import Refused
from headrace.pipeline.taps.inside import inner_edges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.taps.inside import Inner

MAX_TAPS = 16
"""Taps at the same time: each costs the pipelines time."""


class Tap(Protocol):
    """Somebody who listens."""

    def wants(self, edge: str) -> bool:
        """Return whether this edge is of interest; asked where it costs something to tell what passes it."""

    def see(self, edge: str, batch: MetricBatch) -> None:
        """Take note of a batch; must return at once and may not keep the caller from going on."""

    def end(self) -> None:
        """Expect no more."""


class Taps:
    """All taps of a daemon.

    Attributes:
        active: Whether there is any; asked before `see` is called.
    """

    __slots__ = ("_inside", "_taps", "active")

    def __init__(self) -> None:
        self.active = False
        self._taps: list[Tap] = []
        self._inside: dict[object, list[Inner]] = {}

    def open(self, tap: Tap) -> None:
        """Have a tap see every batch from now on.

        Raises:
            Refused: There are too many.
        """
        if len(self._taps) >= MAX_TAPS:
            raise Refused(f"{MAX_TAPS} taps are open already", 5)
        self._taps.append(tap)
        self.active = True

    def close(self, tap: Tap) -> None:
        """Let a tap see nothing any more; safe twice."""
        self._taps = [one for one in self._taps if one is not tap]
        self.active = bool(self._taps)
        if not self.active:
            self._inside.clear()

    def want(self, edge: str) -> bool:
        """Return whether an edge is of interest to any tap."""
        return any(tap.wants(edge) for tap in self._taps)

    def see(self, edge: str, batch: MetricBatch) -> None:
        """Show a batch to all taps."""
        for tap in self._taps:
            tap.see(edge, batch)

    def inside(self, edges: Sequence[str], processor: object) -> list[Inner]:
        """Return the edges inside a step, see `inner_edges`; remembered until the last tap is closed."""
        found = self._inside.get(processor)
        if found is None:
            found = self._inside[processor] = inner_edges(edges, processor)
        return found

    def end(self) -> None:
        """Tell all taps that no more will come."""
        for tap in self._taps:
            tap.end()


def matches(edge: str, patterns: Sequence[str]) -> bool:
    """Return whether an edge fits one of some patterns, with ``*`` for any text; none stand for all."""
    return not patterns or any(fnmatchcase(edge, pattern) for pattern in patterns)
