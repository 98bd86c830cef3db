"""One query under way: selectors, operators and subqueries, each node once for all steps.

What does not depend on the step (``@`` on every selector) is computed for one step and repeated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
from headrace.store.promql import window_kernels
from headrace.store.promql.aggregation import aggregate
from headrace.store.promql.ast import (
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
from headrace.store.promql.binary import binary
from headrace.store.promql.calls import call
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.functions import DATES
from headrace.store.promql.natives import SAMPLE_BYTES, Mixed, NativeSource
from headrace.store.promql.statistics import SampleCount
from headrace.store.promql.values import Grid, Ranges, Scalar, Text, Vector, alone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.matchers import Matcher
    from headrace.store.promql.ast import Expr
    from headrace.store.promql.evaluate import EvaluatorOptions, Source
    from headrace.store.promql.notes import Notes
    from headrace.store.promql.values import Value

TOO_MANY_SAMPLES = "query processing would load too many samples into memory in query execution"

OF_THE_STEP = frozenset({*DATES, "predict_linear", "time", "timestamp"})
"""Functions whose value may change from step to step even where their arguments do not."""


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
        lookback_ms: How far back an instant selector looks.
        check: Called at each node; what it raises ends the query.
        notes: Takes annotations.
    """

    def __init__(
        self,
        source: Source,
        options: EvaluatorOptions,
        query: Span,
        lookback_ms: int,
        check: Callable[[], None],
        notes: Notes,
    ) -> None:
        self.query = query
        self.notes = notes
        self.symbols = QuerySymbols(source.symbols())
        self.samples = 0
        """Samples that were selected."""
        self.count = SampleCount()
        self._source = source
        self._options = options
        self._lookback_ms = lookback_ms
        self._check = check
        self._selected: dict[tuple[Sequence[Matcher], int, int], ColumnarSeries] = {}
        self._natives: dict[tuple[Sequence[Matcher], int, int], HistogramSeries] = {}

    # -- values --------------------------------------------------------------------------------------------

    def value(self, expr: Expr, grid: Grid) -> Value:
        """Evaluate any expression at the times of `grid`."""
        self._check()
        if grid.size > 1 and expr.type.value in {"scalar", "instant vector"} and _is_invariant(expr):
            return self._repeated(self._value(expr, Grid.at(grid.start_ms)), grid.size)
        return self._value(expr, grid)

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
                return self.newest(expr, grid)[0]
            case MatrixSelector():
                return self._range_selector(expr, grid)
            case Subquery():
                return self._subquery(expr, grid)
            case Unary():
                return self._unary(expr, grid)
            case Binary():
                return binary(expr, self._operand(expr.lhs, grid), self._operand(expr.rhs, grid), self.limit)
            case Aggregate():
                return self._aggregate(expr, grid)
            case Call():
                return call(self, expr, grid)

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

    def _operand(self, expr: Expr, grid: Grid) -> Vector | Scalar:
        value = self.value(expr, grid)
        if not isinstance(value, Vector | Scalar):
            raise AssertionError(f"bug: {type(expr).__name__} as an operand")
        return value

    def limit(self, points: int) -> None:
        """Refuse what would take too much memory.

        Raises:
            ExecutionError: `points` are more than a query may hold.
        """
        if points > self._options.max_samples:
            raise ExecutionError(TOO_MANY_SAMPLES)

    # -- selection -----------------------------------------------------------------------------------------

    def _select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> ColumnarSeries:
        key = (matchers, start_ms, end_ms)
        found = self._selected.get(key)
        if found is None:
            found = self._selected[key] = self._source.select(matchers, start_ms, end_ms, self.symbols)
            self.samples += len(found.times_ms)
            self.limit(self.samples)
            self._check()
        return found

    def _select_natives(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> HistogramSeries | None:
        """Return native histograms, None where there are none."""
        if not isinstance(self._source, NativeSource):
            return None
        key = (matchers, start_ms, end_ms)
        found = self._natives.get(key)
        if found is None:
            found = self._source.select_histograms(matchers, start_ms, end_ms, self.symbols)
            self._natives[key] = found
            self.samples += found.histograms.size_bytes // SAMPLE_BYTES if len(found) else 0
            self.limit(self.samples)
            self._check()
        return found if len(found) else None

    def _where(self, at: int | At | None, offset_ms: int, grid: Grid) -> tuple[Grid, bool]:
        """Return the times that a selector looks at, and whether it is one time for all steps."""
        if at is None:
            return grid.shifted(offset_ms), False
        if isinstance(at, At):
            at = self.query.start_ms if at is At.START else self.query.end_ms
        return Grid.at(at - offset_ms), True

    def newest(self, node: VectorSelector, grid: Grid) -> tuple[Vector, NDArray[np.int64]]:
        """Return the newest samples and, (n, steps) int64, their times."""
        where, fixed = self._where(node.at, node.offset_ms, grid)
        bounds = (where.start_ms - self._lookback_ms + 1, where.end_ms)
        found = self._select(node.matchers, *bounds)
        natives = self._select_natives(node.matchers, *bounds)
        if natives is None:
            labels, line = found.labels, (found.offsets, found.times_ms, found.values)
        else:
            mixed = Mixed(found, natives)
            labels, line = mixed.labels, mixed.line()
        shape = (len(labels), where.size)
        self.limit(len(labels) * grid.size)
        out, there, at = np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(shape, np.int64)
        window_kernels.newest(*line, where.start_ms, where.step_ms, self._lookback_ms, out, there, at)
        if natives is None:
            vector = Vector(labels, out, there)
        else:
            values, numbers, histograms = mixed.picked(out, there)
            vector = Vector(labels, values, numbers, natives=histograms)
        if fixed and grid.size > 1:
            return vector.repeat(grid.size), np.repeat(at, grid.size, axis=1)
        return vector, at

    def _range_selector(self, node: MatrixSelector, grid: Grid) -> Ranges:
        selector = node.selector
        where, fixed = self._where(selector.at, selector.offset_ms, grid)
        bounds = (where.start_ms - node.range_ms + 1, where.end_ms)
        found = self._select(selector.matchers, *bounds)
        natives = self._select_natives(selector.matchers, *bounds)
        fixed = fixed and grid.size > 1
        if natives is None:
            return _ranges(found, where, node.range_ms, fixed=fixed)
        mixed = Mixed(found, natives)
        numbers = ColumnarSeries(mixed.labels, mixed.offsets(), found.times_ms, found.values)
        return replace(_ranges(numbers, where, node.range_ms, fixed=fixed), natives=mixed.ranges())

    def _subquery(self, node: Subquery, grid: Grid) -> Ranges:
        where, fixed = self._where(node.at, node.offset_ms, grid)
        step = node.step_ms or self._options.subquery_step_ms
        first = ((where.start_ms - node.range_ms) // step + 1) * step
        inner = Grid(first, step, max(0, (where.end_ms - first) // step + 1))
        if not inner.size:
            nothing = LabelTable.of([], self.symbols)
            no_times = np.zeros(0, np.int64)
            return Ranges(
                nothing, np.zeros(1, np.int64), no_times, np.zeros(0), where, node.range_ms, fixed and grid.size > 1
            )
        self.limit(inner.size)
        value = self._operand(node.expr, inner)
        if isinstance(value, Scalar):
            value = alone(value.values, self.symbols)
        rows, steps = np.nonzero(value.present)
        offsets = np.concatenate([[0], np.cumsum(value.present.sum(axis=1))]).astype(np.int64)
        times, values = inner.times_ms()[steps], value.values[rows, steps]
        return Ranges(value.labels, offsets, times, values, where, node.range_ms, fixed)

    # -- operators -----------------------------------------------------------------------------------------

    def _unary(self, node: Unary, grid: Grid) -> Value:
        value = self._operand(node.expr, grid)
        if node.op == "+":
            return value
        if isinstance(value, Scalar):
            return Scalar(-value.values)
        return value.with_values(-value.values).without_name()

    def _aggregate(self, node: Aggregate, grid: Grid) -> Vector:
        param: NDArray[np.float64] | str | None = None
        if node.param is not None:
            given = self.value(node.param, grid)
            param = given.value if isinstance(given, Text) else given.values if isinstance(given, Scalar) else None
        return aggregate(node, self.vector(node.expr, grid), param, self.notes, self.limit)


def _is_invariant(expr: Expr) -> bool:
    """Return whether an expression has the same value at all steps."""
    match expr:
        case VectorSelector() | Subquery():
            return expr.at is not None
        case MatrixSelector():
            return expr.selector.at is not None
        case Call() if expr.function in OF_THE_STEP:
            return False
    return all(_is_invariant(child) for child in expr.children())


def _ranges(found: ColumnarSeries, where: Grid, range_ms: int, *, fixed: bool) -> Ranges:
    """Leave the stale markers out."""
    stale = int(window_kernels.count_stale(found.values))
    if not stale:
        return Ranges(found.labels, found.offsets, found.times_ms, found.values, where, range_ms, fixed)
    offsets = np.empty_like(found.offsets)
    times = np.empty(len(found.times_ms) - stale, np.int64)
    values = np.empty(len(times), np.float64)
    window_kernels.drop_stale(found.offsets, found.times_ms, found.values, offsets, times, values)
    return Ranges(found.labels, offsets, times, values, where, range_ms, fixed)
