"""One query under way: each node of its tree once for all steps.

What does not depend on the step (``@`` on every selector) is computed for one step and repeated.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.labels import QuerySymbols
from headrace.store.promql.aggregation import aggregate
from headrace.store.promql.binary import binary
from headrace.store.promql.budget import refuse
from headrace.store.promql.calls import call
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.extended_functions import extended
from headrace.store.promql.invariance import is_invariant
from headrace.store.promql.language.ast import (
    Aggregate,
    At,
    Binary,
    Call,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from headrace.store.promql.pushdown import fused, streaming
from headrace.store.promql.repeats import Repeats
from headrace.store.promql.selection import Selection, newest, smoothed, windows
from headrace.store.promql.statistics import SampleCount, in_vector, in_windows
from headrace.store.promql.subqueries import subquery
from headrace.store.promql.values import Grid, Ranges, Scalar, Text, Vector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.store.promql.evaluate import EvaluatorOptions, Source
    from headrace.store.promql.language.ast import Expr
    from headrace.store.promql.notes import Notes
    from headrace.store.promql.values import Value

TOO_MANY_SAMPLES = "query processing would load too many samples into memory in query execution"

_FAR_MS = 1 << 61
"""Times of ``@`` beyond are taken for this one: it has no samples either, and leaves room for offsets and ranges."""


class Span(NamedTuple):
    """The time of a query as it was asked; `end_ms` need not be a step, `step_ms` is 0 for one time."""

    start_ms: int
    end_ms: int
    step_ms: int


class Evaluation:
    """Evaluates the nodes of one query.

    Args:
        source: Where samples come from.
        options: Limits and defaults.
        query: Its time.
        steps: How many steps it has.
        lookback_ms: How far back an instant selector looks.
        check: Called at each node; what it raises ends the query.
        notes: Takes annotations.
    """

    def __init__(
        self,
        source: Source,
        options: EvaluatorOptions,
        query: Span,
        steps: int,
        lookback_ms: int,
        check: Callable[[], None],
        notes: Notes,
    ) -> None:
        self.query = query
        self.options = options
        self.lookback_ms = lookback_ms
        self.check = check
        self.notes = notes
        self.symbols = QuerySymbols(source.symbols())
        self.selection = Selection(source, self)
        self.count = SampleCount(steps)
        self.spans_time = query.start_ms != query.end_ms
        """Whether what is evaluated just now, the query or a part of it, is asked for more than one time."""
        self._in_parameter = False
        self._held = 0
        """Points of left operands that wait for their right ones."""
        self.repeats: Repeats | None = None
        """Remembers parts of the query that occur more than once; None where none does."""

    @property
    def samples(self) -> int:
        """Samples that were read."""
        return self.selection.samples

    # -- values --------------------------------------------------------------------------------------------

    def result(self, expr: Expr, grid: Grid) -> Value:
        """Evaluate the whole query at its steps."""
        repeats = Repeats(self.notes.query, expr, self.options.max_samples)
        self.repeats = repeats if repeats.any else None
        value = self.value(expr, grid)
        if isinstance(value, Vector):
            return value.settled().compact()
        if isinstance(value, Ranges):
            if value.beyond.before_ms:
                value = extended(value)
            self.count.add(in_windows(value) if value.looked_at is None else value.looked_at)
            return value.settled()
        return value

    def value(self, expr: Expr, grid: Grid) -> Value:
        """Evaluate any expression at the times of `grid`."""
        if self.repeats is None:
            return self._evaluated(expr, grid)
        state = (self._in_parameter, self.spans_time)
        return self.repeats.value(self, expr, grid, state, lambda: self._evaluated(expr, grid))

    def _evaluated(self, expr: Expr, grid: Grid) -> Value:
        self.check()
        if (
            grid.size > 1
            and not self._in_parameter
            and expr.type.value in {"scalar", "instant vector"}
            and is_invariant(expr)
        ):
            return self._once(expr, grid)
        refuse(self, expr, grid)
        return self._settled(self._value(expr, grid))

    def _once(self, expr: Expr, grid: Grid) -> Value:
        with self.count.apart(1) as inside, self.spanning(time=False):
            value = self._settled(self._value(expr, Grid.at(grid.start_ms)))
        self.count.add(inside.total)
        return self._repeated(value, grid.size)

    def _settled(self, value: Value) -> Value:
        """Drop the names that have lost their meaning, unless that waits for the end of the query."""
        wanted = isinstance(value, Vector) and not self.options.delayed_name_removal
        return value.settled() if wanted and isinstance(value, Vector) else value

    def _repeated(self, value: Value, steps: int) -> Value:
        if isinstance(value, Vector):
            self.limit(len(value) * steps)
            return value.repeat(steps)
        return Scalar(np.repeat(value.values, steps)) if isinstance(value, Scalar) else value

    def _value(self, expr: Expr, grid: Grid) -> Value:  # noqa: C901, PLR0911 -- one line for each kind of node
        match expr:
            case NumberLiteral():
                return Scalar(np.full(grid.size, expr.value))
            case StringLiteral():
                return Text(expr.value)
            case Paren():
                return self.value(expr.expr, grid)
            case VectorSelector():
                return self._newest(expr, grid)
            case MatrixSelector():
                return windows(self, expr, grid)
            case Subquery():
                return subquery(self, expr, grid)
            case Unary():
                return self._unary(expr, grid)
            case Binary():
                return self._binary(expr, grid)
            case Aggregate():
                return self._aggregate(expr, grid)
            case Call():
                return call(self, expr, grid)
        raise AssertionError(f"bug: {type(expr).__name__} is no expression with a value")

    def vector(self, expr: Expr, grid: Grid) -> Vector:
        """Evaluate an expression that yields an instant vector."""
        value = self.value(expr, grid)
        if not isinstance(value, Vector):
            raise AssertionError(f"bug: {type(expr).__name__} gave no vector")
        return value

    def scalar(self, expr: Expr, grid: Grid) -> NDArray[np.float64]:
        """Evaluate an expression that yields a scalar, (steps,) float64."""
        value = self.value(expr, grid)
        if not isinstance(value, Scalar):
            raise AssertionError(f"bug: {type(expr).__name__} gave no scalar")
        return value.values

    def text(self, expr: Expr, grid: Grid) -> str:
        """Evaluate an expression that yields a string."""
        value = self.value(expr, grid)
        if not isinstance(value, Text):
            raise AssertionError(f"bug: {type(expr).__name__} gave no string")
        return value.value

    def operand(self, expr: Expr, grid: Grid) -> Vector | Scalar:
        """Evaluate an expression that yields an instant vector or a scalar."""
        value = self.value(expr, grid)
        if not isinstance(value, Vector | Scalar):
            raise AssertionError(f"bug: {type(expr).__name__} as an operand")
        return value

    def _newest(self, node: VectorSelector, grid: Grid) -> Vector:
        if node.smoothed:
            return smoothed(self, node, grid)
        found = fused.newest(self, node, grid)
        if found is None:
            found = newest(self, node, grid)[0]
            self.count.add(in_vector(found))
        return found

    @contextmanager
    def spanning(self, *, time: bool) -> Iterator[None]:
        """Let what is evaluated inside be asked for more than one time, or for one alone."""
        outer, self.spans_time = self.spans_time, time
        try:
            yield
        finally:
            self.spans_time = outer

    # -- for the nodes -------------------------------------------------------------------------------------

    def limit(self, points: int) -> None:
        """Refuse what would take too much memory.

        Raises:
            ExecutionError: `points` are more than a query may hold.
        """
        if points + self._held > self.options.max_samples:
            raise ExecutionError(TOO_MANY_SAMPLES)

    def where(self, at: int | At | None, offset_ms: int, grid: Grid) -> tuple[Grid, bool]:
        """Return the times that a selector looks at, and whether it is one time for all steps."""
        at = self.pinned(at)
        if at is None:
            return grid.shifted(offset_ms), False
        if self._in_parameter:
            return Grid(at - offset_ms, grid.step_ms, grid.size), False
        return Grid.at(at - offset_ms), True

    def window_ends(self, at: int | At | None, offset_ms: int, grid: Grid) -> Grid:
        """Return when the windows of a range selector or subquery end."""
        at = self.pinned(at)
        if at is None:
            return grid.shifted(offset_ms)
        return Grid(at - offset_ms, 0, grid.size, grid.end_ms + grid.after_ms - grid.start_ms)

    def moves_on(self, at: int | At | None) -> bool:
        """Return whether an instant selector that ``@`` pins looks at other times at later steps all the same."""
        return self._in_parameter and self.pinned(at) is not None

    def pinned(self, at: int | At | None) -> int | None:
        """Return the time in milliseconds that ``@`` names, None where there is none."""
        if not isinstance(at, At):
            return None if at is None else max(-_FAR_MS, min(at, _FAR_MS))
        if self._in_parameter:
            return None
        return self.query.start_ms if at is At.START else self.query.end_ms

    # -- operators -----------------------------------------------------------------------------------------

    def _binary(self, node: Binary, grid: Grid) -> Vector | Scalar:
        left = self.operand(node.lhs, grid)
        waiting = int(np.count_nonzero(left.present)) if isinstance(left, Vector) else 0
        self._held += waiting
        try:
            right = self.operand(node.rhs, grid)
        finally:
            self._held -= waiting
        return binary(self, node, left, right)

    def _unary(self, node: Unary, grid: Grid) -> Value:
        value = self.operand(node.expr, grid)
        if node.op == "+":
            return value
        if isinstance(value, Scalar):
            return Scalar(-value.values)
        natives = None if value.natives is None else value.natives.scaled(-1.0)
        return replace(value.with_values(-value.values), natives=natives).without_name()

    def _aggregate(self, node: Aggregate, grid: Grid) -> Vector:
        param = None if node.param is None else self._parameter(node.param, grid)
        streamed = streaming.aggregate(self, node, param, grid)
        if streamed is not None:
            return streamed
        return aggregate(node, self.vector(node.expr, grid), param, self.notes, self.limit)

    def _parameter(self, expr: Expr, grid: Grid) -> NDArray[np.float64] | str | None:
        """Evaluate the parameter of an aggregation.

        Prometheus leaves it out when it prepares a query: ``@ start()`` means nothing in it, and other times of ``@``
        are those of the first step, from which the following steps count on.
        """
        outer, self._in_parameter = self._in_parameter, True
        try:
            given = self.value(expr, grid)
        finally:
            self._in_parameter = outer
        return given.value if isinstance(given, Text) else given.values if isinstance(given, Scalar) else None
