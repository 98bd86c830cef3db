"""What changed on purpose between the peer's version, 3.5, and the one that is followed, 3.14.

Each change is a predicate, as narrow as an answer allows; a difference that none of them explains is a fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from promql_fuzz.cases import Query
    from promql_fuzz.compare import Difference


@dataclass(frozen=True, slots=True)
class Seen:
    """A difference with all that is known about it."""

    query: Query
    theirs: Mapping[str, Any]
    ours: Mapping[str, Any]
    difference: Difference
    delayed: bool

    @property
    def text(self) -> str:
        """The expression."""
        return self.query.text

    def error(self, side: str) -> str:
        """Return the error of a side, empty for an answer."""
        return str((self.theirs if side == "theirs" else self.ours).get("error", ""))

    def alone(self, kind: str) -> tuple[set[str], set[str]]:
        """Return the annotations that only they have, and those that only we have."""
        one, other = set(self.theirs.get(kind, [])), set(self.ours.get(kind, []))
        return one - other, other - one


_SORT = "PromQL warning: sort is ineffective for range queries"


def _sort_in_ranges(seen: Seen) -> bool:
    theirs, ours = seen.alone("warnings")
    return seen.difference.kind == "warnings" and not theirs and all(note.startswith(_SORT) for note in ours)


def _duplicate_group_text(seen: Seen) -> bool:
    """The series named depend on the order in which they are met."""
    if seen.difference.kind != "error":
        return False
    return _without_series(seen.error("theirs")) == _without_series(seen.error("ours"))


_GROUP = re.compile(r"(?<=match group ){.*?}(?= on the)|(?<=operation: )\[.*\]", re.DOTALL)


def _without_series(text: str) -> str:
    return _GROUP.sub("", text)


KINDS: dict[str, Callable[[Seen], bool]] = {
    "sort warns in range queries": _sort_in_ranges,
    "series named in errors of duplicates": _duplicate_group_text,
}


def kind(seen: Seen) -> str | None:
    """Return which change explains a difference."""
    return next((name for name, explains in KINDS.items() if explains(seen)), None)
