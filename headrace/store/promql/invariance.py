"""Which expressions have the same value at all steps of a query, because ``@`` pins every selector in them.

Source:
    Prometheus 3.14, evaluation of step-invariant expressions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.store.promql.functions import DATES
from headrace.store.promql.language.ast import Aggregate, Call, MatrixSelector, Subquery, VectorSelector, bare

if TYPE_CHECKING:
    from headrace.store.promql.language.ast import Expr

OF_THE_STEP = frozenset({*DATES, "predict_linear", "time", "timestamp"})
"""Functions whose value may change from step to step even where their arguments do not."""


def is_invariant(expr: Expr) -> bool:
    """Return whether an expression has the same value at all steps."""
    match expr:
        case VectorSelector() | Subquery():
            return expr.at is not None
        case MatrixSelector():
            return expr.selector.at is not None
        case Aggregate():
            # The parameter does not count: where the rest is the same at all steps, it is taken as of the first one.
            return is_invariant(expr.expr)
        case Call() if expr.function == "timestamp" and isinstance(bare(expr.args[0]), VectorSelector):
            return is_invariant(expr.args[0])
        case Call() if expr.function in OF_THE_STEP:
            return False
    return all(is_invariant(child) for child in expr.children())
