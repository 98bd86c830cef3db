"""Parts of a query that are written more than once, such as the sums of a ratio of one to all, are evaluated once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from headrace.store.promql.language.ast import Aggregate, Call, VectorSelector, walk
from headrace.store.promql.notes import Notes
from headrace.store.promql.values import Vector

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import numpy as np
    from numpy.typing import NDArray

    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import Expr
    from headrace.store.promql.values import Grid, Value


class _Known(NamedTuple):
    """A part as it was first evaluated."""

    value: Value
    looked_at: NDArray[np.int64]
    notes: Notes
    start: int


class Repeats:
    """What is known of the parts of a query that occur more than once.

    Args:
        query: Its text: parts are the same where their text is.
        expr: The whole of it.
        max_points: Points that are remembered, of all parts together.
    """

    def __init__(self, query: str, expr: Expr, max_points: int) -> None:
        self._query = query
        self._texts = _repeated(query, expr)
        self._known: dict[Hashable, _Known] = {}
        self._room = max_points

    @property
    def any(self) -> bool:
        """Whether there are such parts."""
        return bool(self._texts)

    def value(self, run: Evaluation, expr: Expr, grid: Grid, state: Hashable, evaluate: Callable[[], Value]) -> Value:
        """Return the value of a part, evaluated only where it is not known.

        Args:
            run: The query.
            expr: The part.
            grid: The steps.
            state: All else that its value depends on.
            evaluate: Evaluates it.
        """
        text = self._query[expr.start : expr.end]
        if text not in self._texts or not isinstance(expr, Aggregate | Call):
            return evaluate()
        key = (text, grid, state)
        known = self._known.get(key)
        if known is None:
            return self._first(run, expr, key, evaluate)
        run.count.add(known.looked_at)
        run.notes.take(known.notes.moved(expr.start - known.start))
        return _copied(known.value)

    def _first(self, run: Evaluation, expr: Expr, key: Hashable, evaluate: Callable[[], Value]) -> Value:
        outer, run.notes = run.notes, Notes(self._query)
        before = run.count.per_step
        try:
            value = evaluate()
        finally:
            inner, run.notes = run.notes, outer
            outer.take(inner)
        self._room -= _points(value)
        if self._room >= 0:
            self._known[key] = _Known(_copied(value), run.count.per_step - before, inner, expr.start)
        return value


def _repeated(query: str, expr: Expr) -> frozenset[str]:
    """Return the texts of calls and aggregations that occur more than once."""
    selectors = Counter(node.matchers for node in walk(expr) if isinstance(node, VectorSelector))
    if max(selectors.values(), default=0) < 2:
        return frozenset()
    parts = Counter(
        query[node.start : node.end] for node in walk(expr) if isinstance(node, Aggregate | Call) and node.end
    )
    return frozenset(text for text, amount in parts.items() if amount > 1)


def _copied(value: Value) -> Value:
    """Return a value that may be written to."""
    if not isinstance(value, Vector):
        return value
    return replace(value, values=value.values.copy(), present=value.present.copy())


def _points(value: Value) -> int:
    return value.present.size if isinstance(value, Vector) else 0
