"""Refusing what would take too much memory before it is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.store.promql.language.ast import Call, MatrixSelector, VectorSelector, bare

if TYPE_CHECKING:
    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import Expr
    from headrace.store.promql.values import Grid

_OF_ALL_SERIES = frozenset({"absent", "absent_over_time"})
"""Functions that yield one series, however many they are given."""


def refuse(run: Evaluation, expr: Expr, grid: Grid) -> None:
    """Refuse a selector, or a function of a range, that yields more points than a query may hold.

    Raises:
        ExecutionError: It does.
    """
    if grid.size == 1:
        return
    if isinstance(expr, VectorSelector):
        where, _ = run.where(expr.at, expr.offset_ms, grid)
        run.selection.refuse(expr.matchers, where.start_ms - run.lookback_ms + 1, where.end_ms, grid.size)
    elif isinstance(expr, Call) and expr.function not in _OF_ALL_SERIES:
        for arg in map(bare, expr.args):
            if isinstance(arg, MatrixSelector):
                selector = arg.selector
                where = run.window_ends(selector.at, selector.offset_ms, grid)
                run.selection.refuse(selector.matchers, where.start_ms - arg.range_ms + 1, where.end_ms, grid.size)


def limits_rows(function: str) -> bool:
    """Return whether a function of a range yields a series for each that it is given."""
    return function not in _OF_ALL_SERIES
