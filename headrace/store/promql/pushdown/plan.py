"""Which aggregations can be added up series by series, without all of them being there at once.

An expression is row-wise where each of its series comes from one series of the one selector in it: the selector
itself, a function of it, an operator with a scalar. What is aggregated over such an expression is a `PlanFragment`:
data, from which whoever has some of the series computes a `PartialAggregate` of them. ADR 0006.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.promql import functions
from headrace.store.promql.language.ast import (
    Aggregate,
    Binary,
    Call,
    MatrixSelector,
    Paren,
    Subquery,
    Unary,
    VectorSelector,
)
from headrace.store.promql.pushdown.partial import CHOICES, FOLDS
from headrace.store.promql.range_functions import RANGE_FUNCTIONS
from headrace.store.promql.values import METADATA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.matchers import Matcher
    from headrace.store.promql.language.ast import Expr
    from headrace.store.promql.values import Grid

_OF_ONE_VECTOR = frozenset({"clamp", "clamp_max", "clamp_min", "round", "timestamp"})

_SETS = frozenset({"and", "or", "unless"})


@dataclass(frozen=True, slots=True)
class PlanFragment:
    """An aggregation over a row-wise expression.

    Attributes:
        op: The operator of the aggregation, one of `FOLDS` and `CHOICES`.
        rows: The row-wise expression.
        matchers: Which series it is about.
        start_ms: First time of samples that it looks at.
        end_ms: Last time.
        grid: The steps.
        grouping: Labels of ``by`` or ``without``.
        without: Which of the two.
        wanted: (steps,) int64: how many rows are chosen; None where none are.
    """

    op: str
    rows: Expr
    matchers: tuple[Matcher, ...]
    start_ms: int
    end_ms: int
    grid: Grid
    grouping: tuple[str, ...]
    without: bool
    wanted: NDArray[np.int64] | None = None

    @property
    def is_bare(self) -> bool:
        """Whether the rows are those of the selector, with their names."""
        return isinstance(_inner(self.rows), VectorSelector)

    def column_names(self) -> tuple[str, ...]:
        """Return the labels that make the groups, of ``by``; names count only where they are still there."""
        kept = set(self.grouping) if self.is_bare else set(self.grouping).difference(METADATA)
        return tuple(sorted(kept))


def selector_of(expr: Expr) -> VectorSelector | MatrixSelector | None:  # noqa: PLR0911 -- one line for each kind of node
    """Return the one selector of a row-wise expression; None for other expressions."""
    match expr:
        case VectorSelector():
            return None if expr.anchored or expr.smoothed else expr
        case MatrixSelector():
            return expr if selector_of(expr.selector) is not None else None
        case Paren() | Unary():
            return selector_of(expr.expr)
        case Call():
            return _argument(expr)
        case Binary() if expr.op not in _SETS:
            if is_free(expr.rhs):
                return None if is_free(expr.lhs) else selector_of(expr.lhs)
            return selector_of(expr.rhs) if is_free(expr.lhs) else None
    return None


def is_free(expr: Expr) -> bool:
    """Return whether an expression is a scalar or string in which nothing is selected."""
    if isinstance(expr, VectorSelector | MatrixSelector | Subquery | Aggregate):
        return False
    return expr.type.value in {"scalar", "string"} and all(_selects_nothing(child) for child in expr.children())


def _selects_nothing(expr: Expr) -> bool:
    if isinstance(expr, VectorSelector | MatrixSelector | Subquery | Aggregate):
        return False
    return all(_selects_nothing(child) for child in expr.children())


def _argument(node: Call) -> VectorSelector | MatrixSelector | None:
    name = node.function
    known = name in RANGE_FUNCTIONS or name in functions.ELEMENTWISE or name in functions.DATES
    if not known and name not in _OF_ONE_VECTOR:
        return None
    others = [arg for arg in node.args if not is_free(arg)]
    return selector_of(others[0]) if len(others) == 1 else None


def fragment_of(
    node: Aggregate, wanted: NDArray[np.float64] | None, grid: Grid, query: tuple[Grid, int]
) -> PlanFragment | None:
    """Return the fragment of an aggregation; None where it has to have all rows at once.

    Args:
        node: The aggregation.
        wanted: (steps,) its parameter, None without one.
        grid: The steps.
        query: When its selector looks, and how far back from there.
    """
    found = selector_of(node.expr)
    if found is None or node.op not in FOLDS | CHOICES:
        return None
    counts = None
    if node.op in CHOICES:
        if wanted is None or not bool(((wanted >= 1) & (wanted < _MANY)).all()):
            return None
        counts = wanted.astype(np.int64)
    selector = found.selector if isinstance(found, MatrixSelector) else found
    where, back_ms = query
    return PlanFragment(
        node.op, node.expr, selector.matchers, where.start_ms - back_ms + 1, where.end_ms, grid, node.grouping,
        node.without, counts,
    )  # fmt: skip


_MANY = 1 << 16
"""Rows that nobody chooses so many of; a state has room for each."""


def _inner(expr: Expr) -> Expr:
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr
