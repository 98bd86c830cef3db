"""Regular expressions as finite automata over the bytes of UTF-8.

A pattern becomes a nondeterministic automaton, and that a deterministic one whose states are sets of the first one's
(the subset construction), so that matching costs a look-up a byte. Patterns whose automaton would be large are left to
RE2, which makes only the states that a text needs.

Source:
    K. Thompson, "Regular Expression Search Algorithm", CACM 11(6), 1968; M. Rabin and D. Scott, "Finite Automata and
    Their Decision Problems", IBM Journal 3(2), 1959.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store import automaton_kernels as kernels
from headrace.store.pattern import Chars, Choice, Repeat, Sequence, Unsupported, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.store.pattern import Node

_MAX_PLACES = 4000
"""States of a nondeterministic automaton."""

_MAX_STATES = 400
_MAX_WORK = 60_000
"""Edges looked at during the subset construction, which bounds its time to some tens of milliseconds."""

_UTF8_LAST = (0x7F, 0x7FF, 0xFFFF, 0x10FFFF)
_CONTINUED = 0x3F


class Automaton(NamedTuple):
    """A deterministic automaton.

    Attributes:
        steps: (states, 256) int16: next state by state and byte; state 0 is dead, 1 is the first.
        accepting: (states,) bool.
    """

    steps: NDArray[np.int16]
    accepting: NDArray[np.bool_]

    def matches(
        self, text: NDArray[np.uint8], bounds: NDArray[np.int64], symbols: NDArray[np.int32]
    ) -> NDArray[np.bool_]:
        """Return which of (k,) int32 `symbols`, ``text[bounds[s]:bounds[s + 1]]``, match as a whole."""
        out = np.empty(len(symbols), np.bool_)
        kernels.accepted(text, bounds, symbols, self.steps, self.accepting, out)
        return out


@lru_cache(maxsize=128)
def automaton(pattern: str) -> Automaton | None:
    """Return the automaton of a pattern that RE2 takes; None for one that is left to RE2."""
    try:
        return _determined(_Places.of(parse(pattern)))
    except (Unsupported, RecursionError):
        return None


@dataclass
class _Places:
    """A nondeterministic automaton that begins at place 0.

    Attributes:
        free: For each place, where one gets without a byte.
        edges: For each place, (lowest byte, highest byte, place).
        end: Where a match ends.
    """

    free: list[list[int]]
    edges: list[list[tuple[int, int, int]]]
    end: int = 0

    @classmethod
    def of(cls, tree: Node) -> _Places:
        places = cls([[]], [[]])
        places.end = places._build(tree, 0)
        return places

    def _new(self) -> int:
        if len(self.free) >= _MAX_PLACES:
            raise Unsupported("too large")
        self.free.append([])
        self.edges.append([])
        return len(self.free) - 1

    def _build(self, node: Node, start: int) -> int:
        """Add what matches `node` from place `start`; return where it ends."""
        match node:
            case Chars(ranges):
                end = self._new()
                for first, last in ranges:
                    for parts in _byte_ranges(first, last):
                        self._chain(start, parts, end)
                return end
            case Sequence(parts):
                for part in parts:
                    start = self._build(part, start)
                return start
            case Choice(branches):
                end = self._new()
                for branch in branches:
                    begin = self._new()
                    self.free[start].append(begin)
                    self.free[self._build(branch, begin)].append(end)
                return end
        return self._repeat(node, start)

    def _repeat(self, node: Repeat, start: int) -> int:
        for _ in range(node.least):
            start = self._build(node.part, start)
        if node.most is None:
            loop = self._new()
            self.free[start].append(loop)
            self.free[self._build(node.part, loop)].append(loop)
            return loop
        end = self._new()
        for _ in range(node.most - node.least):
            self.free[start].append(end)
            begin = self._new()
            self.free[start].append(begin)
            start = self._build(node.part, begin)
        self.free[start].append(end)
        return end

    def _chain(self, start: int, parts: list[tuple[int, int]], end: int) -> None:
        for low, high in parts[:-1]:
            following = self._new()
            self.edges[start].append((low, high, following))
            start = following
        self.edges[start].append((*parts[-1], end))

    def reached(self, places: set[int]) -> frozenset[int]:
        """Return `places` with all that one gets to from them without a byte."""
        found = set(places)
        waiting = list(places)
        while waiting:
            for place in self.free[waiting.pop()]:
                if place not in found:
                    found.add(place)
                    waiting.append(place)
        return frozenset(p for p in found if self.edges[p] or p == self.end)


def _determined(places: _Places) -> Automaton:
    first = places.reached({0})
    numbers = {frozenset[int](): kernels.DEAD, first: kernels.START}
    waiting = [first]
    steps = np.zeros((_MAX_STATES, 256), np.int16)
    work = 0
    while waiting:
        state = waiting.pop()
        number = numbers[state]
        edges = [edge for place in state for edge in places.edges[place]]
        cuts = sorted({low for low, _, _ in edges} | {high + 1 for _, high, _ in edges})
        work += len(edges) * len(cuts) + len(state)
        for low, above in pairwise(cuts):
            following = places.reached({place for first_, last, place in edges if first_ <= low <= last})
            work += len(following)
            if following not in numbers:
                numbers[following] = len(numbers)
                waiting.append(following)
            if len(numbers) > _MAX_STATES or work > _MAX_WORK:
                raise Unsupported("too large")
            steps[number, low:above] = numbers[following]
    accepting = np.array([places.end in state for state in numbers])
    return Automaton(steps[: len(numbers)].copy(), accepting)


def _byte_ranges(first: int, last: int) -> Iterator[list[tuple[int, int]]]:
    """Yield the byte ranges, one after the other, that make up the UTF-8 of the code points from first to last."""
    for limit in _UTF8_LAST:
        if first <= limit < last:
            yield from _byte_ranges(first, limit)
            yield from _byte_ranges(limit + 1, last)
            return
    # All of one size now. Split until the ranges of the single bytes multiply to the range of the code points.
    for shift in (6, 12, 18):
        mask = (1 << shift) - 1
        if last > _UTF8_LAST[0] and first >> shift != last >> shift:
            if first & mask:
                yield from _byte_ranges(first, first | mask)
                yield from _byte_ranges((first | mask) + 1, last)
                return
            if last & mask != mask:
                yield from _byte_ranges(first, (last & ~mask) - 1)
                yield from _byte_ranges(last & ~mask, last)
                return
    yield list(zip(_encoded(first), _encoded(last), strict=True))


def _encoded(point: int) -> bytes:
    # Surrogates too: RE2 takes their bytes for a character.
    return chr(point).encode("utf-8", "surrogatepass")
