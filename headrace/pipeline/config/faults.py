"""What is wrong with a configuration, and where: all of it at once."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Path = tuple[str | int, ...]
"""Keys and list indexes from the root to a value."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a source.

    Attributes:
        source: File name, or what else the text came from.
        line: From 1; 0 where there are no lines.
        column: From 1.
    """

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake.

    Attributes:
        place: Where it was written, None where nothing was.
        key: Path of the setting, such as ``receivers::otlp::protocols``.
        why: What is wrong.
    """

    place: Place | None
    key: str
    why: str

    def __str__(self) -> str:
        parts = [str(self.place) if self.place else "", self.key, self.why]
        return ": ".join(part for part in parts if part)


class ConfigFaults(ConfigError):  # noqa: N818 -- named for what it holds
    """The configuration has mistakes.

    Args:
        faults: All of them.
        warnings: What is probably not meant, and may be why.
    """

    def __init__(self, faults: Iterable[Fault], warnings: Iterable[str] = ()) -> None:
        self.faults = sorted(set(faults), key=order)
        self.warnings = tuple(dict.fromkeys(warnings))
        lines = [*map(str, self.faults), *(f"warning: {one}" for one in self.warnings)]
        super().__init__("", "\n".join(lines))


def order(fault: Fault) -> tuple[bool, str, int, int, str]:
    """Return what faults are sorted by: where they were written, those without a place last."""
    place = fault.place or Place("")
    return fault.place is None, place.source, place.line, place.column, str(fault)


def joined(path: Sequence[str | int]) -> str:
    """Write a path as the Collector does, with ``::`` between keys."""
    return "::".join(map(str, path))


def hint(word: str, known: Iterable[str]) -> str:
    """Return what was probably meant, as an addition to a message; empty where nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f", did you mean {near[0]!r}?" if near else ""
