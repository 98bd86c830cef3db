"""Which samples the steps of a query depend on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.matchers import MatchType
from headrace.store.promql.binary import ARITHMETIC
from headrace.store.promql.invariance import is_invariant
from headrace.store.promql.language.ast import (
    Aggregate,
    At,
    Binary,
    Call,
    DurationExpression,
    MatrixSelector,
    Node,
    NumberLiteral,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
    bare,
    walk,
)
from headrace.store.promql.language.durations import resolve
from headrace.store.promql.range_functions import KEEPS_NAME
from headrace.store.promql.values import METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.store.promql.evaluation import Span
    from headrace.store.promql.language.ast import Expr

NEVER = -(1 << 62)

_OF_THE_BOUNDS = frozenset({"start", "end", "range", "step"})
"""Functions, and duration expressions, whose value follows from when the query begins and ends."""

_LOOKS_AROUND = "info"
"""The function that selects more than its arguments say."""


_OF_SERIES = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})
"""Aggregations that yield some of the series that they are given."""

_KEEP_NAMES = frozenset({"sort", "sort_desc", "sort_by_label", "sort_by_label_desc"})
"""Functions that leave names as they are."""

_MAKE_NAMES = frozenset({"label_replace", "label_join", "info"})
"""Functions that may give names."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What the value at a step depends on.

    Attributes:
        ahead_ms: A step at t depends on no samples later than ``t + ahead_ms``; NEVER where on none that move with it.
        pinned_ms: All steps depend on samples up to this time; NEVER where on none.
        bounded: Whether a step's value depends on when the query begins and ends.
    """

    ahead_ms: int = NEVER
    pinned_ms: int = NEVER
    bounded: bool = False

    def joined(self, other: Reach) -> Reach:
        """Return the reach of both together."""
        return Reach(
            max(self.ahead_ms, other.ahead_ms),
            max(self.pinned_ms, other.pinned_ms),
            self.bounded or other.bounded,
        )

    def later(self, by_ms: int) -> Reach:
        """Return the reach of an expression looked at `by_ms` later."""
        return Reach(_plus(self.ahead_ms, by_ms), self.pinned_ms, self.bounded)

    def pinned(self, at_ms: int, *, bounded: bool) -> Reach:
        """Return the reach of an expression looked at one time."""
        return Reach(NEVER, max(self.pinned_ms, _plus(self.ahead_ms, at_ms)), self.bounded or bounded)

    def newest_ms(self, step_ms: int) -> int:
        """Return the newest time that a step at `step_ms` depends on."""
        return max(self.pinned_ms, _plus(self.ahead_ms, step_ms))


def reach_of(expr: Expr, span: Span, lookback_ms: int) -> Reach:
    """Return what the steps of a query depend on.

    Args:
        expr: The query as it was parsed.
        span: Its time.
        lookback_ms: How far back an instant selector looks.
    """
    reach = _reach(resolve(expr, span), span, lookback_ms)
    return reach.joined(Reach(bounded=True)) if follows_bounds(expr) else reach


def _reach(expr: Expr, span: Span, lookback_ms: int) -> Reach:
    match expr:
        case VectorSelector():
            ahead = lookback_ms if expr.smoothed else 0
            found = _placed(Reach(ahead), expr, span)
        case Subquery():
            found = _placed(_reach(expr.expr, span, lookback_ms), expr, span)
        case MatrixSelector():
            found = _reach(expr.selector, span, lookback_ms)
        case Call() if expr.function == _LOOKS_AROUND:
            found = reduce(
                Reach.joined, _children(expr, span, lookback_ms), Reach(lookback_ms, span.end_ms, bounded=True)
            )
        case Aggregate():
            found = _of_aggregation(expr, span, lookback_ms)
        case _:
            found = reduce(Reach.joined, _children(expr, span, lookback_ms), Reach())
            if isinstance(expr, Call) and (expr.function in _OF_THE_BOUNDS or _may_clash(expr)):
                found = found.joined(Reach(bounded=True))
    return found


def _may_clash(expr: Call) -> bool:
    """Return whether a function of ranges may be refused for series that are equal but for their names.

    That they never are there at the same time does not help them: it is about all steps of a query.
    """
    ranges = [arg for arg in map(bare, expr.args) if isinstance(arg, MatrixSelector | Subquery)]
    return expr.function not in KEEPS_NAME and any(map(_has_names, ranges))


def _has_names(expr: Expr) -> bool:  # noqa: PLR0911 -- one line for each kind of node
    """Return whether the series of an expression may have names, or types and units, that differ."""
    match expr:
        case VectorSelector():
            return not any(one.name == METRIC_NAME and one.type is MatchType.EQUAL for one in expr.matchers)
        case Unary():
            return False
        case Aggregate() if expr.op in _OF_SERIES:
            return _has_names(expr.expr)
        case Aggregate():
            return expr.op == "count_values" or (not expr.without and not set(METADATA).isdisjoint(expr.grouping))
        case Binary() if expr.op in ARITHMETIC or expr.return_bool:
            return expr.matching is not None and not set(METADATA).isdisjoint(expr.matching.include)
        case Binary() if expr.op == "or":
            return True
        case Call() if expr.function not in KEEPS_NAME | _KEEP_NAMES:
            return expr.function in _MAKE_NAMES
    return any(map(_has_names, expr.children()))


def _of_aggregation(expr: Aggregate, span: Span, lookback_ms: int) -> Reach:
    """Return the reach of an aggregation, whose parameter is as of the first step or counts from there.

    See `Evaluation` for what ``@`` means in a parameter, and `is_invariant` for when it is taken once.
    """
    found = reduce(Reach.joined, _children(expr, span, lookback_ms), Reach())
    if expr.param is None or isinstance(bare(expr.param), NumberLiteral | StringLiteral):
        return found
    times = [at for at in (getattr(node, "at", None) for node in walk(expr.param)) if at is not None]
    if not times and not is_invariant(expr.expr):
        return found
    return found.joined(Reach(0, bounded=True))


def follows_bounds(expr: Node) -> bool:
    """Return whether a parsed query has duration expressions that follow from when it begins and ends."""
    durations = [getattr(expr, name, None) for name in ("offset_expr", "range_expr", "step_expr")]
    return any(isinstance(one, DurationExpression) and _is_bounded(one) for one in durations) or any(
        follows_bounds(child) for child in expr.children()
    )


def _is_bounded(duration: DurationExpression) -> bool:
    own = duration.op in _OF_THE_BOUNDS
    return own or any(isinstance(one, DurationExpression) and _is_bounded(one) for one in (duration.lhs, duration.rhs))


def _children(expr: Expr, span: Span, lookback_ms: int) -> Iterator[Reach]:
    return (_reach(child, span, lookback_ms) for child in expr.children())


def _placed(reach: Reach, expr: VectorSelector | Subquery, span: Span) -> Reach:
    """Return the reach at the times that the modifiers of a selector or subquery name."""
    earlier = reach.later(-expr.offset_ms)
    if expr.at is None:
        return earlier
    if isinstance(expr.at, At):
        return earlier.pinned(span.start_ms if expr.at is At.START else span.end_ms, bounded=True)
    return earlier.pinned(expr.at, bounded=False)


def _plus(time_ms: int, by_ms: int) -> int:
    return NEVER if time_ms == NEVER else time_ms + by_ms
