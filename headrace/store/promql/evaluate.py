"""The evaluator: each node of the tree once, for all steps of the query at a time.

Instant vectors are (series, steps) columns; samples are selected once for the whole time of the query and walked by
kernels. What does not depend on the step (``@``) is computed once and repeated.

Source:
    Prometheus 3.5, PromQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
from headrace.store.promql import functions, window_kernels
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
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.notes import Notes
from headrace.store.promql.parser import ParserOptions, parse
from headrace.store.promql.range_functions import RANGE_FUNCTIONS, over_windows
from headrace.store.promql.values import Grid, Ranges, Scalar, Text, Vector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.store.labels import Symbols
    from headrace.store.matchers import Matcher
    from headrace.store.promql.ast import Expr
    from headrace.store.promql.values import Value

TOO_MANY_SAMPLES = "query processing would load too many samples into memory in query execution"


class Source(Protocol):
    """What the evaluator asks of a workspace's engine."""

    def symbols(self) -> Symbols:
        """Return the dictionary of label values."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols) -> ColumnarSeries:
        """Return samples; see `headrace.store.interfaces.Queryable`."""


@dataclass(frozen=True, slots=True)
class EvaluatorOptions:
    """Limits and defaults.

    Attributes:
        lookback_ms: How far back an instant selector looks.
        max_samples: Samples, and points of intermediate vectors, that one query may hold.
        subquery_step_ms: Step of a subquery that does not say.
        parser: Which parts of the language are on.
    """

    lookback_ms: int = 300_000
    max_samples: int = 50_000_000
    subquery_step_ms: int = 60_000
    parser: ParserOptions = field(default_factory=ParserOptions)


@dataclass(frozen=True, slots=True)
class Result:
    """What a query yields.

    Attributes:
        kind: ``vector``, ``matrix``, ``scalar`` or ``string``.
        value: A `Vector` for vector and matrix, `Ranges` for the samples of a range selector, else scalar or text.
        grid: Times of the steps.
        warnings: Annotations.
        infos: Lesser annotations.
        samples: Samples that were selected.
    """

    kind: str
    value: Value
    grid: Grid
    warnings: Sequence[str]
    infos: Sequence[str]
    samples: int


@dataclass(slots=True)
class _State:
    """One query under way."""

    source: Source
    options: EvaluatorOptions
    query: Grid
    lookback_ms: int
    check: Callable[[], None]
    notes: Notes
    symbols: QuerySymbols
    samples: int = 0
    selected: dict[tuple[Sequence[Matcher], int, int], ColumnarSeries] = field(default_factory=dict)


class Evaluator:
    """Evaluates PromQL over one workspace.

    Args:
        source: Where samples come from.
        options: Limits and defaults.
    """

    def __init__(self, source: Source, options: EvaluatorOptions | None = None) -> None:
        self._source = source
        self._options = options or EvaluatorOptions()

    def instant(
        self, query: str, time_ms: int, *, lookback_ms: int | None = None, check: Callable[[], None] = lambda: None
    ) -> Result:
        """Evaluate at one time.

        Args:
            query: PromQL.
            time_ms: Unix milliseconds.
            lookback_ms: Instead of the default.
            check: Called often; what it raises ends the query.

        Raises:
            ParseError: It is no PromQL.
            ExecutionError: It cannot be evaluated on this data.
        """
        return self._run(query, Grid.at(time_ms), lookback_ms, check, is_range=False)

    def range(
        self,
        query: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Result:
        """Evaluate at each step from `start_ms` to `end_ms`, both included; see `instant`."""
        grid = Grid(start_ms, step_ms, max(0, (end_ms - start_ms) // step_ms + 1))
        return self._run(query, grid, lookback_ms, check, is_range=True)

    def _run(
        self, query: str, grid: Grid, lookback_ms: int | None, check: Callable[[], None], *, is_range: bool
    ) -> Result:
        expr = parse(query, self._options.parser)
        if is_range and expr.type.value not in {"scalar", "instant vector"}:
            raise ExecutionError(
                f'invalid expression type "{expr.type.value}" for range query, must be Scalar or instant Vector'
            )
        source = self._source
        lookback = self._options.lookback_ms if lookback_ms is None else lookback_ms
        symbols = QuerySymbols(source.symbols())
        state = _State(source, self._options, grid, lookback, check, Notes(query), symbols)
        with np.errstate(all="ignore"):
            value = _Evaluation(state).value(expr, grid)
        kind = _kind(value, is_range=is_range)
        if kind == "matrix" and isinstance(value, Scalar):
            value = alone(value.values, symbols)
        if isinstance(value, Vector):
            value = value.compact()
        return Result(kind, value, grid, state.notes.warnings, state.notes.infos, state.samples)


def _kind(value: Value, *, is_range: bool) -> str:
    if is_range or isinstance(value, Ranges):
        return "matrix"
    if isinstance(value, Vector):
        return "vector"
    return "scalar" if isinstance(value, Scalar) else "string"


class _Evaluation:
    """Evaluates the nodes of one query."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def value(self, expr: Expr, grid: Grid) -> Value:  # noqa: C901, PLR0911 -- one line for each kind of node
        """Evaluate any expression at the times of `grid`."""
        self._state.check()
        match expr:
            case NumberLiteral():
                return Scalar(np.full(grid.size, expr.value))
            case StringLiteral():
                return Text(expr.value)
            case Paren():
                return self.value(expr.expr, grid)
            case VectorSelector():
                return self._instant_selector(expr, grid)
            case MatrixSelector():
                return self._range_selector(expr, grid)
            case Subquery():
                return self._subquery(expr, grid)
            case Unary():
                return self._unary(expr, grid)
            case Binary():
                return binary(expr, self._operand(expr.lhs, grid), self._operand(expr.rhs, grid))
            case Aggregate():
                return self._aggregate(expr, grid)
            case Call():
                return self._call(expr, grid)

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

    def _operand(self, expr: Expr, grid: Grid) -> Vector | Scalar:
        value = self.value(expr, grid)
        if not isinstance(value, Vector | Scalar):
            raise AssertionError(f"bug: {type(expr).__name__} as an operand")
        return value

    def _text(self, expr: Expr, grid: Grid) -> str:
        value = self.value(expr, grid)
        if not isinstance(value, Text):
            raise AssertionError(f"bug: {type(expr).__name__} gave no string")
        return value.value

    # -- selection -----------------------------------------------------------------------------------------

    def _select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> ColumnarSeries:
        state = self._state
        key = (matchers, start_ms, end_ms)
        found = state.selected.get(key)
        if found is None:
            found = state.selected[key] = state.source.select(matchers, start_ms, end_ms, state.symbols)
            state.samples += len(found.times_ms)
            self._limit(state.samples)
            state.check()
        return found

    def _limit(self, samples: int) -> None:
        if samples > self._state.options.max_samples:
            raise ExecutionError(TOO_MANY_SAMPLES)

    def _pinned(self, at: int | At | None) -> int | None:
        if isinstance(at, At):
            return self._state.query.start_ms if at is At.START else self._state.query.end_ms
        return at

    def _where(self, at: int | At | None, offset_ms: int, grid: Grid) -> tuple[Grid, bool]:
        """Return the times that a selector looks at, and whether it is one time for all steps."""
        pinned = self._pinned(at)
        if pinned is None:
            return grid.shifted(offset_ms), False
        return Grid.at(pinned - offset_ms), True

    def _instant_selector(self, node: VectorSelector, grid: Grid) -> Vector:
        return self._newest(node, grid)[0]

    def _newest(self, node: VectorSelector, grid: Grid) -> tuple[Vector, NDArray[np.int64]]:
        """Return the newest samples and their times."""
        where, fixed = self._where(node.at, node.offset_ms, grid)
        lookback = self._state.lookback_ms
        found = self._select(node.matchers, where.start_ms - lookback + 1, where.end_ms)
        shape = (len(found), where.size)
        self._limit(shape[0] * shape[1])
        out, there, at = np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(shape, np.int64)
        window_kernels.newest(
            found.offsets, found.times_ms, found.values, where.start_ms, where.step_ms, lookback, out, there, at
        )
        vector = Vector(found.labels, out, there)
        if fixed:
            return vector.broadcast(grid.size), np.broadcast_to(at, (shape[0], grid.size))
        return vector, at

    def _range_selector(self, node: MatrixSelector, grid: Grid) -> Ranges:
        selector = node.selector
        where, fixed = self._where(selector.at, selector.offset_ms, grid)
        found = self._select(selector.matchers, where.start_ms - node.range_ms + 1, where.end_ms)
        return _ranges(found, where, node.range_ms, fixed=fixed)

    def _subquery(self, node: Subquery, grid: Grid) -> Ranges:
        where, fixed = self._where(node.at, node.offset_ms, grid)
        step = node.step_ms or self._state.options.subquery_step_ms
        first = ((where.start_ms - node.range_ms) // step + 1) * step
        inner = Grid(first, step, max(0, (where.end_ms - first) // step + 1))
        if not inner.size:
            inner = Grid(first, step, 1)
        value = self._operand(node.expr, inner)
        if isinstance(value, Scalar):
            value = alone(value.values, self._state.symbols)
        rows, steps = np.nonzero(value.present)
        offsets = np.concatenate([[0], np.cumsum(value.present.sum(axis=1))]).astype(np.int64)
        samples = ColumnarSeries(value.labels, offsets, inner.times_ms()[steps], value.values[rows, steps])
        return Ranges(samples.labels, samples.offsets, samples.times_ms, samples.values, where, node.range_ms, fixed)

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
        return aggregate(node, self.vector(node.expr, grid), param, self._state.notes)

    # -- functions -----------------------------------------------------------------------------------------

    def _call(self, node: Call, grid: Grid) -> Value:
        name = node.function
        if name in RANGE_FUNCTIONS:
            return self._over_time(node, grid)
        if name in functions.ELEMENTWISE:
            vector = self.vector(node.args[0], grid)
            return vector.with_values(functions.ELEMENTWISE[name](vector.values)).without_name()
        if name in functions.DATES:
            return functions.date_part(name, self._times_argument(node, grid)).without_name()
        handler = getattr(self, f"_call_{name}", None)
        if handler is None:
            raise ExecutionError(f"function {name}() is not there yet")
        result: Value = handler(node, grid)
        return result

    def _over_time(self, node: Call, grid: Grid) -> Vector:
        ranges = next(value for value in (self._ranges_argument(arg, grid) for arg in node.args) if value is not None)
        params = [self.scalar(arg, grid) for arg in node.args if arg.type.value == "scalar"]
        self._limit(len(ranges.labels) * ranges.ends.size)
        if not ranges.fixed:
            return over_windows(node, ranges, params, grid, self._state.notes)
        constant = all((param == param[:1]).all() for param in params)
        if constant and node.function != "predict_linear":
            once = over_windows(node, ranges, [param[:1] for param in params], grid, self._state.notes)
            return once.broadcast(grid.size)
        steps = [
            over_windows(node, ranges, [param[t : t + 1] for param in params], Grid.at(time), self._state.notes)
            for t, time in enumerate(grid.times_ms().tolist())
        ]
        values = np.concatenate([step.values for step in steps], axis=1)
        return Vector(steps[0].labels, values, np.concatenate([step.present for step in steps], axis=1))

    def _ranges_argument(self, arg: Expr, grid: Grid) -> Ranges | None:
        if arg.type.value != "range vector":
            return None
        value = self.value(arg, grid)
        return value if isinstance(value, Ranges) else None

    def _times_argument(self, node: Call, grid: Grid) -> Vector:
        if node.args:
            return self.vector(node.args[0], grid)
        return alone(grid.times_ms() / 1000.0, self._state.symbols)

    def _call_absent_over_time(self, node: Call, grid: Grid) -> Vector:
        ranges = self._ranges_argument(node.args[0], grid)
        if ranges is None:
            raise AssertionError("bug: absent_over_time without a range")
        lo = np.zeros((len(ranges.labels), ranges.ends.size), np.int64)
        hi = np.zeros_like(lo)
        window_kernels.bounds(
            ranges.offsets, ranges.times_ms, ranges.ends.start_ms, ranges.ends.step_ms, ranges.range_ms, lo, hi
        )
        vector = functions.absent(hi > lo, _matchers_of(node.args[0]), ranges.labels)
        return vector.broadcast(grid.size) if ranges.fixed else vector

    def _call_absent(self, node: Call, grid: Grid) -> Vector:
        vector = self.vector(node.args[0], grid)
        return functions.absent(vector.present, _matchers_of(node.args[0]), vector.labels)

    def _call_time(self, _node: Call, grid: Grid) -> Scalar:
        return Scalar(grid.times_ms() / 1000.0)

    def _call_pi(self, _node: Call, grid: Grid) -> Scalar:
        return Scalar(np.full(grid.size, np.pi))

    def _call_vector(self, node: Call, grid: Grid) -> Vector:
        return alone(self.scalar(node.args[0], grid), self._state.symbols)

    def _call_scalar(self, node: Call, grid: Grid) -> Scalar:
        vector = self.vector(node.args[0], grid)
        alone = vector.present.sum(axis=0) == 1
        total = np.where(vector.present, vector.values, 0.0).sum(axis=0) if len(vector) else np.zeros(grid.size)
        return Scalar(np.where(alone, total, np.nan))

    def _call_timestamp(self, node: Call, grid: Grid) -> Vector:
        arg = node.args[0]
        while isinstance(arg, Paren):
            arg = arg.expr
        if isinstance(arg, VectorSelector):
            vector, at = self._newest(arg, grid)
            return vector.with_values(at / 1000.0).without_name()
        vector = self.vector(arg, grid)
        times = np.broadcast_to(grid.times_ms() / 1000.0, vector.values.shape)
        return vector.with_values(times).without_name()

    def _call_round(self, node: Call, grid: Grid) -> Vector:
        to = self.scalar(node.args[1], grid) if len(node.args) > 1 else np.ones(grid.size)
        return functions.rounded(self.vector(node.args[0], grid), to).without_name()

    def _call_clamp(self, node: Call, grid: Grid) -> Vector:
        low, high = self.scalar(node.args[1], grid), self.scalar(node.args[2], grid)
        return functions.clamped(self.vector(node.args[0], grid), low, high).without_name()

    def _call_clamp_min(self, node: Call, grid: Grid) -> Vector:
        low = self.scalar(node.args[1], grid)
        return functions.clamped(self.vector(node.args[0], grid), low, None).without_name()

    def _call_clamp_max(self, node: Call, grid: Grid) -> Vector:
        high = self.scalar(node.args[1], grid)
        return functions.clamped(self.vector(node.args[0], grid), None, high).without_name()

    def _call_label_replace(self, node: Call, grid: Grid) -> Vector:
        texts = [self._text(arg, grid) for arg in node.args[1:]]
        return functions.label_replace(self.vector(node.args[0], grid).compact(), *texts)

    def _call_label_join(self, node: Call, grid: Grid) -> Vector:
        texts = [self._text(arg, grid) for arg in node.args[1:]]
        return functions.label_join(self.vector(node.args[0], grid).compact(), texts[0], texts[1], texts[2:])

    def _call_sort(self, node: Call, grid: Grid) -> Vector:
        return functions.ordered(self.vector(node.args[0], grid), descending=False)

    def _call_sort_desc(self, node: Call, grid: Grid) -> Vector:
        return functions.ordered(self.vector(node.args[0], grid), descending=True)

    def _call_sort_by_label(self, node: Call, grid: Grid) -> Vector:
        names = [self._text(arg, grid) for arg in node.args[1:]]
        return functions.ordered_by_label(self.vector(node.args[0], grid), names, descending=False)

    def _call_sort_by_label_desc(self, node: Call, grid: Grid) -> Vector:
        names = [self._text(arg, grid) for arg in node.args[1:]]
        return functions.ordered_by_label(self.vector(node.args[0], grid), names, descending=True)

    def _call_histogram_quantile(self, node: Call, grid: Grid) -> Vector:
        q = self.scalar(node.args[0], grid)
        return functions.histogram_quantile(node, q, self.vector(node.args[1], grid), self._state.notes)

    def _histogram_part(self, node: Call, grid: Grid) -> Vector:
        return functions.no_histograms(self.vector(node.args[0], grid))

    _call_histogram_avg = _histogram_part
    _call_histogram_count = _histogram_part
    _call_histogram_stddev = _histogram_part
    _call_histogram_stdvar = _histogram_part
    _call_histogram_sum = _histogram_part


def _matchers_of(expr: Expr) -> Sequence[Matcher]:
    """Return the matchers of a plain selector; none for other expressions."""
    while isinstance(expr, Paren):
        expr = expr.expr
    if isinstance(expr, MatrixSelector):
        expr = expr.selector
    return expr.matchers if isinstance(expr, VectorSelector) else ()


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


def alone(values: NDArray[np.float64], symbols: QuerySymbols) -> Vector:
    """Return a vector of one series without labels, from (steps,) values."""
    return Vector(LabelTable.of([{}], symbols), values[None, :], np.ones((1, len(values)), np.bool_))
