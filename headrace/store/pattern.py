r"""Regular expressions of RE2's syntax as trees, as far as `headrace.store.automaton` takes them.

Only what a whole text has to look like is kept: groups do not capture, and lazy operators are like greedy ones. The
dot matches newlines, as everywhere in Prometheus. What is rare (word boundaries, anchors inside, Unicode classes, flags
other than a leading ``(?i)``) is refused, and left to RE2. RE2 has taken the pattern before.

Source:
    https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

Ranges: TypeAlias = "tuple[tuple[int, int], ...]"
"""Code points as ascending ranges without overlap, both ends included."""

_LAST = 0x10FFFF
_ASCII_LAST = 0x7F

ANY: Ranges = ((0, _LAST),)

_CLASSES: dict[str, Ranges] = {
    "d": ((0x30, 0x39),),
    "s": ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20)),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
}
_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_REPEAT = re.compile(r"\{(\d{1,4})(?:(,)(\d{0,4}))?\}")

# Letters outside of ASCII that are the same as an ASCII letter when case is ignored.
_ALSO = {ord("k"): 0x212A, ord("s"): 0x017F}


class Unsupported(Exception):  # noqa: N818 -- a way out, not a fault of the pattern
    """The pattern has something that is left to RE2."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One code point out of `ranges`."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one of the branches."""

    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` times at least, and `most` at most; None for no limit."""

    part: Node
    least: int
    most: int | None


Node: TypeAlias = "Chars | Sequence | Choice | Repeat"


def parse(pattern: str) -> Node:
    """Return the tree of a pattern that RE2 takes.

    Raises:
        Unsupported: It has something that is left to RE2.
    """
    ignoring_case = pattern.startswith("(?i)")
    parser = _Parser(pattern, 4 if ignoring_case else 0, ignoring_case=ignoring_case)
    tree = parser.choice(0)
    if not parser.at_end:
        raise Unsupported("a parenthesis too many")
    return tree


def normal(ranges: list[tuple[int, int]]) -> Ranges:
    """Sort ranges and join those that touch."""
    out: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return tuple(out)


def _inverted(ranges: Ranges) -> Ranges:
    out = []
    start = 0
    for first, last in ranges:
        if first > start:
            out.append((start, first - 1))
        start = last + 1
    if start <= _LAST:
        out.append((start, _LAST))
    return tuple(out)


def _folded(ranges: Ranges) -> Ranges:
    """Add the same letters in the other case."""
    if ranges and ranges[-1][1] > _ASCII_LAST:
        raise Unsupported("letters outside of ASCII whose case is ignored")
    out = list(ranges)
    for first, last in ranges:
        for point in range(first, last + 1):
            if chr(point).isalpha():
                other = point ^ 0x20
                out.append((other, other))
                more = _ALSO.get(point | 0x20)
                if more is not None:
                    out.append((more, more))
    return normal(out)


class _Parser:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str, at: int, *, ignoring_case: bool) -> None:
        self._pattern = pattern
        self._at = at
        self._ignoring_case = ignoring_case

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._pattern)

    def choice(self, depth: int) -> Node:
        """Read branches up to a closing parenthesis or the end."""
        branches = [self._sequence(depth)]
        while self._next_is("|"):
            branches.append(self._sequence(depth))
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        # Where a branch of the whole pattern begins, an anchor says what holds anyway; so does one at its end.
        if depth == 0 and self._peek() == "^":
            self._at += 1
        while (char := self._peek()) not in {"", "|", ")"}:
            if char == "$" and depth == 0 and self._peek(1) in {"", "|"}:
                self._at += 1
                break
            parts.append(self._repeated(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, part: Node) -> Node:
        bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self._peek())
        if bounds is not None:
            self._at += 1
        elif self._peek() == "{":
            bounds = self._counted()
        else:
            return part
        self._next_is("?")
        if self._peek() in {"*", "+", "?", "{"}:
            raise Unsupported("an operator after an operator")
        return Repeat(part, *bounds)

    def _counted(self) -> tuple[int, int | None]:
        found = _REPEAT.match(self._pattern, self._at)
        if found is None:
            raise Unsupported("a brace that stands for itself")
        self._at = found.end()
        least = int(found[1])
        if found[2] is None:
            return least, least
        return least, int(found[3]) if found[3] else None

    def _atom(self, depth: int) -> Node:
        char = self._take()
        if char == "(":
            return self._group(depth)
        if char == "[":
            return Chars(self._class())
        if char == ".":
            return Chars(ANY)
        if char == "\\":
            return Chars(self._fold(self._escape()))
        if char in {"^", "$", "*", "+", "?", "{"}:
            raise Unsupported("an anchor inside, or an operator without anything before it")
        return Chars(self._fold(((ord(char), ord(char)),)))

    def _group(self, depth: int) -> Node:
        if self._next_is("?") and not self._next_is(":"):
            raise Unsupported("flags and names of groups")
        inner = self.choice(depth + 1)
        if not self._next_is(")"):
            raise Unsupported("a parenthesis too few")
        return inner

    def _escape(self) -> Ranges:
        char = self._take()
        if char in _PUNCTUATION:
            return ((ord(char), ord(char)),)
        if char in _CONTROLS:
            return ((_CONTROLS[char], _CONTROLS[char]),)
        if char in _CLASSES:
            return _CLASSES[char]
        if char.lower() in _CLASSES:
            # With case ignored, the fold comes before the inversion.
            return self._inverted_class(char.lower())
        raise Unsupported(f"the escape \\{char}")

    def _inverted_class(self, name: str) -> Ranges:
        if self._ignoring_case:
            raise Unsupported("an inverted class with case ignored")
        return _inverted(_CLASSES[name])

    def _class(self) -> Ranges:
        inverted = self._next_is("^")
        found: list[tuple[int, int]] = []
        first = True
        while first or self._peek() != "]":
            first = False
            if self._peek() == "[" and self._peek(1) == ":":
                raise Unsupported("a POSIX class")
            found += self._class_item()
        self._at += 1
        ranges = self._fold(normal(found))
        return _inverted(ranges) if inverted else ranges

    def _class_item(self) -> Ranges:
        low = self._class_point()
        if self._peek() != "-" or self._peek(1) in {"]", ""}:
            return low
        self._at += 1
        high = self._class_point()
        if len(low) > 1 or len(high) > 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1]:
            raise Unsupported("a range that begins or ends with a class")
        return ((low[0][0], high[0][0]),)

    def _class_point(self) -> Ranges:
        char = self._take()
        return self._escape() if char == "\\" else ((ord(char), ord(char)),)

    def _fold(self, ranges: Ranges) -> Ranges:
        return _folded(ranges) if self._ignoring_case else ranges

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._pattern[at] if at < len(self._pattern) else ""

    def _take(self) -> str:
        char = self._peek()
        if not char:
            raise Unsupported("the pattern ends early")
        self._at += 1
        return char

    def _next_is(self, char: str) -> bool:
        if self._peek() != char:
            return False
        self._at += 1
        return True
