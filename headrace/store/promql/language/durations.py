"""Durations that are computed, such as ``[step() * 2]``: arithmetic on them once the times of a query are known.

Source:
    Prometheus 3.14, "Duration expressions".
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.store.promql.errors import InvalidDuration
from headrace.store.promql.language.ast import (
    Aggregate,
    Binary,
    Call,
    Duration,
    DurationExpression,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Paren,
    Subquery,
    Unary,
    VectorSelector,
)
from headrace.store.promql.language.numbers import MAX_DURATION_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.store.promql.evaluation import Span

_CHILDREN: dict[type, tuple[str, ...]] = {
    MatrixSelector: ("selector",),
    Subquery: ("expr",),
    Paren: ("expr",),
    Unary: ("expr",),
    Binary: ("lhs", "rhs"),
    Aggregate: ("expr", "param"),
}


def resolve(expr: Expr, span: Span, query: str = "") -> Expr:
    """Return `expr` with milliseconds in place of all duration expressions.

    Args:
        expr: Any tree; returned as it is where nothing in it is computed.
        span: Time of the query, for ``step()`` and ``range()``.
        query: Text of the query, for places in errors.

    Raises:
        InvalidDuration: A duration is not finite, too long, divided by zero, or zero or less where it may not be.
    """
    found: Expr = _Resolver(span, query).resolved(expr)
    return found


class _Resolver:
    def __init__(self, span: Span, query: str) -> None:
        self._times = {"step": span.step_ms / 1000, "range": (span.end_ms - span.start_ms) / 1000}
        self._query = query

    def resolved(self, expr: Any) -> Any:
        """Return a tree without computed durations; errors come from the outside in."""
        changed: dict[str, Any] = {}
        if isinstance(expr, VectorSelector | MatrixSelector | Subquery):
            changed = self._computed(expr)
        if isinstance(expr, Call):
            args = tuple(map(self.resolved, expr.args))
            if any(new is not old for new, old in zip(args, expr.args, strict=True)):
                changed["args"] = args
        for name in _CHILDREN.get(type(expr), ()):
            old = getattr(expr, name)
            new = old if old is None else self.resolved(old)
            if new is not old:
                changed[name] = new
        return replace(expr, **changed) if changed else expr

    def _computed(self, expr: VectorSelector | MatrixSelector | Subquery) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for name in ("offset", "step", "range"):
            computed = getattr(expr, f"{name}_expr", None)
            if computed is not None:
                changed[f"{name}_ms"] = self._milliseconds(computed, negative=name == "offset")
                changed[f"{name}_expr"] = None
        return changed

    def _milliseconds(self, expr: DurationExpression, *, negative: bool) -> int:
        seconds = self._seconds(expr)
        if not math.isfinite(seconds):
            raise self._error(expr, "duration is NaN or infinite")
        if seconds <= 0 and not negative:
            raise self._error(expr, "duration must be greater than 0")
        if abs(seconds) > MAX_DURATION_SECONDS:
            raise self._error(expr, "duration is out of range")
        return int(seconds * 1000)

    def _seconds(self, expr: Duration | None) -> float:
        if expr is None:
            return 0.0
        if isinstance(expr, NumberLiteral):
            return expr.value
        if expr.op in self._times:
            return self._times[expr.op]
        left, right = self._seconds(expr.lhs), self._seconds(expr.rhs)
        if expr.lhs is None:
            return -right if expr.op == "-" else right
        if right == 0 and expr.op in _ZERO_FAULTS:
            raise self._error(expr, _ZERO_FAULTS[expr.op])
        with np.errstate(all="ignore"):
            return float(_OPERATIONS[expr.op](np.float64(left), np.float64(right)))

    def _error(self, expr: DurationExpression, why: str) -> InvalidDuration:
        return InvalidDuration(self._query, expr.start, expr.end, why)


_ZERO_FAULTS = {"/": "division by zero", "%": "modulo by zero"}
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "min_of": np.minimum,
    "max_of": np.maximum,
}
