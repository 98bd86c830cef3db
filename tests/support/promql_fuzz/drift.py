"""What changed on purpose between the peer's version, 3.5, and the one that is followed, 3.14.

Each change is a predicate, as narrow as an answer allows; a difference that none of them explains is a fault.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from promql_fuzz.pair import Answers


def _error(side: Mapping[str, Any]) -> str:
    """Return the error of a side, empty for an answer."""
    return str(side.get("error", ""))


def _alone(seen: Answers, kind: str) -> tuple[set[str], set[str]]:
    """Return the annotations that only they have, and those that only we have."""
    one, other = set(seen.theirs.get(kind, [])), set(seen.ours.get(kind, []))
    return one - other, other - one


def _kind(seen: Answers) -> str:
    return "" if seen.difference is None else seen.difference.kind


_SORT = "PromQL warning: sort is ineffective for range queries"


def _sort_in_ranges(seen: Answers) -> bool:
    theirs, ours = _alone(seen, "warnings")
    return _kind(seen) == "warnings" and not theirs and all(note.startswith(_SORT) for note in ours)


def _duplicate_group_text(seen: Answers) -> bool:
    """The series named depend on the order in which they are met."""
    return _kind(seen) == "error" and _without_series(_error(seen.theirs)) == _without_series(_error(seen.ours))


_GROUP = re.compile(r"(?<=match group ){.*?}(?= on the)|(?<=operation: )\[.*\]", re.DOTALL)


def _without_series(text: str) -> str:
    return _GROUP.sub("", text)


KINDS: dict[str, Callable[[Answers], bool]] = {
    "sort warns in range queries": _sort_in_ranges,
    "series named in errors of duplicates": _duplicate_group_text,
}


def kind(seen: Answers) -> str | None:
    """Return which change explains a difference."""
    return next((name for name, explains in KINDS.items() if explains(seen)), None)
