"""Make a case that differs smaller, as long as it differs in the same way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_oracle import Series
    from promql_fuzz.cases import Query

_T = TypeVar("_T")

_STEPS = 80
"""A query is made smaller at most so often."""


def smallest(query: Query, still: Callable[[Query], bool]) -> Query:
    """Return the smallest query that is found for which `still` holds."""
    for _ in range(_STEPS):
        found = next((one for one in query.smaller() if still(one)), None)
        if found is None:
            return query
        query = found
    return query


def smallest_data(series: Sequence[Series], still: Callable[[Sequence[Series]], bool]) -> list[Series]:
    """Return fewer series with fewer points for which `still` holds."""
    found = reduced(series, still)
    for i, one in enumerate(found):
        before, after = found[:i], found[i + 1 :]
        points = reduced(one.points, lambda some: still([*before, replace(one, points=list(some)), *after]))  # noqa: B023
        found[i] = replace(one, points=points)
    return found


def reduced(items: Sequence[_T], still: Callable[[Sequence[_T]], bool]) -> list[_T]:
    """Leave out runs of items, of half of them at first, while `still` holds; one stays."""
    found, size = list(items), len(items) // 2
    while size:
        at = 0
        while at < len(found):
            rest = [*found[:at], *found[at + size :]]
            if rest and still(rest):
                found = rest
            else:
                at += size
        size //= 2
    return found
