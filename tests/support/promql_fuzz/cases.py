"""One case: an expression and when to evaluate it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prometheus_oracle import seconds
from promql_fuzz.data import SPAN_MS
from promql_fuzz.expressions import Expressions, Node, leaf, smaller

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEPS_MS = (1000, 15_000, 17_000, 30_000, 60_000, 120_000, 300_000)
_DEPTHS = (0, 1, 1, 2, 2, 2, 3, 3, 4)


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and its times.

    Attributes:
        step_ms: 0 for an instant query, whose time is `start_ms`.
    """

    node: Node
    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def text(self) -> str:
        """The expression."""
        return str(self.node)

    @property
    def times_ms(self) -> tuple[int, ...]:
        """The time, or start, end and step."""
        return (self.start_ms, self.end_ms, self.step_ms) if self.step_ms else (self.start_ms,)

    def request(self) -> tuple[str, dict[str, str]]:
        """Return path and form of the API."""
        form = {"query": self.text, "stats": "all"}
        if not self.step_ms:
            return "query", {**form, "time": seconds(self.start_ms)}
        times = {"start": seconds(self.start_ms), "end": seconds(self.end_ms), "step": seconds(self.step_ms)}
        return "query_range", {**form, **times}

    def smaller(self) -> Iterator[Query]:
        """Yield queries that are a step smaller."""
        if self.step_ms:
            for i in range((self.end_ms - self.start_ms) // self.step_ms + 1):
                yield replace(self, start_ms=self.start_ms + i * self.step_ms, step_ms=0)
            if self.end_ms > self.start_ms:
                yield replace(self, end_ms=self.end_ms - self.step_ms)
                yield replace(self, start_ms=self.start_ms + self.step_ms)
        for node in smaller(self.node):
            yield replace(self, node=node)


def make(seed: str) -> Query:
    """Make the case of a seed."""
    rng = random.Random(seed)
    instant = rng.random() < 0.5
    node = Expressions(rng).any(rng.choice(_DEPTHS), instant=instant)
    start_ms = rng.choice([rng.randrange(0, SPAN_MS + 400_000), rng.randrange(0, SPAN_MS // 15_000) * 15_000])
    if rng.random() < 0.03:
        start_ms = -rng.randrange(100_000)
    if instant:
        return Query(node, start_ms, start_ms, 0)
    step_ms = rng.choice(_STEPS_MS)
    steps = rng.choice([0, 1, 3, 7, 12])
    return Query(node, start_ms, start_ms + steps * step_ms + rng.choice([0, 0, step_ms // 2]), step_ms)


def given(text: str, *times_ms: int) -> Query:
    """Return the case of an expression that was written by hand."""
    if len(times_ms) == 1:
        return Query(leaf("vector", text), times_ms[0], times_ms[0], 0)
    start_ms, end_ms, step_ms = times_ms
    return Query(leaf("vector", text), start_ms, end_ms, step_ms)
