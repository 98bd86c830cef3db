"""Other queries that must give the same answer as an instant query of a test script.

With ``@`` on its selectors a query gives the same at any time, and a range query around a time gives the same there.

Source:
    Prometheus, PromQL test language.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from headrace.store.promql.language.ast import Call, MatrixSelector, Subquery, VectorSelector, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.store.promql.language.ast import Expr

_OF_THE_TIME = {
    "days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year",
    "predict_linear", "time", "timestamp", "start", "end", "step", "range",
}  # fmt: skip
"""Functions that depend on the time of evaluation even where their arguments do not."""

_OF_THE_QUERY = re.compile(r"(start|end|range|step)\(\)")


class Rerun(NamedTuple):
    """An instant query."""

    query: str
    time_ms: int


def pinned(query: str, expr: Expr, time_ms: int) -> list[Rerun]:
    """Return the query with ``@`` on every selector, at several times; none where it depends on the time anyway."""
    if any(isinstance(node, Call) and node.function in _OF_THE_TIME for node in walk(expr)):
        return []
    text, at = query, f" @ {time_ms / 1000:.3f}"
    for end in sorted(_unpinned_ends(query, expr), reverse=True):
        text = text[:end] + at + text[end:]
    times = (-10 * time_ms, 0, time_ms // 5, time_ms, 10 * time_ms) if time_ms else (-1000, 0, 1000)
    return [Rerun(text, other_ms) for other_ms in times]


def _unpinned_ends(query: str, expr: Expr) -> Iterator[int]:
    """Yield where selectors and subqueries without ``@`` end; those inside subqueries are left alone."""
    if isinstance(expr, MatrixSelector):
        if expr.selector.at is None:
            yield _end(query, expr, computed=expr.selector.offset_expr is not None)
    elif isinstance(expr, VectorSelector | Subquery):
        if expr.at is None:
            yield _end(query, expr, computed=expr.offset_expr is not None)
    else:
        for child in expr.children():
            yield from _unpinned_ends(query, child)


def _end(query: str, expr: Expr, *, computed: bool) -> int:
    """Return where an expression ends; with a computed offset its place takes in the parenthesis of what is around."""
    text = query[expr.start : expr.end]
    beyond = computed and text.count(")") > text.count("(")
    return expr.end - len(text) + text.rindex(")") if beyond else expr.end


def has_range(query: str) -> bool:
    """Return whether a range query may give the same at a time as the instant query."""
    return _OF_THE_QUERY.search(query) is None
