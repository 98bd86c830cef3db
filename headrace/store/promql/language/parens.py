"""Arguments without the parentheses around them: annotations about an argument stand where it begins itself.

What is aggregated keeps its own, and so does an argument that is the same at all steps of a call that is not.

Source:
    Asked of Prometheus 3.5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.store.promql.invariance import is_invariant
from headrace.store.promql.language.ast import Aggregate, Binary, Call, Paren, Subquery, Unary, walk

if TYPE_CHECKING:
    from headrace.store.promql.language.ast import Expr


def bare_arguments(expr: Expr) -> Expr:
    """Return `expr` with no parentheses around arguments; itself where there are none anyway."""
    return _bare(expr) if any(isinstance(node, Paren) for node in walk(expr)) else expr


def _bare(expr: Expr) -> Expr:
    match expr:
        case Call():
            fixed = is_invariant(expr)
            return replace(
                expr, args=tuple(_bare(arg if is_invariant(arg) and not fixed else _inner(arg)) for arg in expr.args)
            )
        case Aggregate():
            param = None if expr.param is None else _bare(_inner(expr.param))
            return replace(expr, expr=_bare(expr.expr), param=param)
        case Binary():
            return replace(expr, lhs=_bare(expr.lhs), rhs=_bare(expr.rhs))
        case Paren() | Unary() | Subquery():
            return replace(expr, expr=_bare(expr.expr))
    return expr


def _inner(expr: Expr) -> Expr:
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr
