"""Queries that are so quick that the way to a thread and back costs more than they do.

Whether one is, is known of those that were asked before, over as long a time and with the same step, as dashboards do
it. Such a query runs where it is received: nobody waits longer for it than for the reading of a request. If it takes
longer than it did, it begins again on a thread.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

QUICK_S = 0.002
"""Seconds that a quick query takes at most."""

MOST_S = 0.01
"""Seconds after which one that was quick the last time is so no more."""

_REMEMBERED = 4096


class Shape(NamedTuple):
    """What a query's time depends on, as far as it says.

    Attributes:
        workspace: Where its series are.
        query: PromQL.
        span_ms: From its first to its last step.
        step_ms: Between steps; 0 where there is one.
    """

    workspace: str
    query: str
    span_ms: int
    step_ms: int


class QuickQueries:
    """Those of the last shapes of queries that were quick the last time."""

    def __init__(self) -> None:
        self._shapes: OrderedDict[Shape, None] = OrderedDict()

    def __contains__(self, shape: Shape) -> bool:
        return shape in self._shapes

    def learn(self, shape: Shape, seconds: float) -> None:
        """Take note that a query took so many seconds."""
        if seconds > QUICK_S:
            self._shapes.pop(shape, None)
            return
        self._shapes[shape] = None
        self._shapes.move_to_end(shape)
        if len(self._shapes) > _REMEMBERED:
            self._shapes.popitem(last=False)
