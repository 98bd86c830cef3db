"""The evaluator: each node of the tree once, for all steps of the query at a time.

Instant vectors are (series, steps) columns; samples are selected once for the whole time of the query and walked by
kernels.

Source:
    Prometheus 3.14, PromQL.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headrace.pipeline.errors import QueryError
from headrace.store.promql.evaluation import Evaluation, Span
from headrace.store.promql.explain import Explained, explained
from headrace.store.promql.language.durations import resolve
from headrace.store.promql.language.parens import bare_arguments
from headrace.store.promql.language.parser import ParserOptions, parse
from headrace.store.promql.notes import Notes
from headrace.store.promql.values import Grid, Ranges, Scalar, Value, Vector, alone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.store.labels import ColumnarSeries, QuerySymbols
    from headrace.store.matchers import Matcher
    from headrace.store.promql.explain import Plan
    from headrace.store.promql.language.ast import Expr
    from headrace.store.promql.statistics import QueryStatistics
    from headrace.store.symbols import Symbols


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
        max_samples: Samples, and points of each intermediate vector, that one query may hold.
        subquery_step_ms: Step of a subquery that does not say.
        delayed_name_removal: Whether metric names are dropped at the end of a query and not where they lose their
            meaning.
        start_timestamps: Whether counters are taken to begin at zero where their samples say when they started.
        type_and_unit_labels: Whether ``__type__`` and ``__unit__`` belong to the metric name.
        per_step_statistics: Whether who asks is told the samples of each step.
        parser: Which parts of the language are on.
    """

    lookback_ms: int = 300_000
    max_samples: int = 50_000_000
    subquery_step_ms: int = 60_000
    delayed_name_removal: bool = False
    start_timestamps: bool = False
    type_and_unit_labels: bool = False
    per_step_statistics: bool = False
    parser: ParserOptions = field(default_factory=ParserOptions)


class InvalidType(QueryError):  # noqa: N818 -- named for the condition
    """A range query of something that is neither a scalar nor an instant vector."""


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
        statistics: Samples that were looked at, as Prometheus counts them.
        prepared_s: Seconds that went by before the first node was evaluated.
    """

    kind: str
    value: Value
    grid: Grid
    warnings: Sequence[str]
    infos: Sequence[str]
    samples: int
    statistics: QueryStatistics
    prepared_s: float = 0.0


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
        return self._run(query, Span(time_ms, time_ms, 0), lookback_ms, check)

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
        """Evaluate at each step from `start_ms` to `end_ms`, both included; see `instant`.

        Raises:
            InvalidType: The expression yields neither a scalar nor an instant vector.
        """
        return self._run(query, Span(start_ms, end_ms, step_ms), lookback_ms, check)

    def explain(
        self,
        query: str,
        span: Span,
        *,
        analyze: bool,
        lookback_ms: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Plan:
        """Return how a query would be evaluated and, with `analyze`, what it takes.

        Args:
            query: PromQL.
            span: Its time; a step of 0 is for one time.
            analyze: Whether to evaluate it.
            lookback_ms: See `instant`.
            check: See `instant`.

        Raises:
            ParseError: It is no PromQL.
            ExecutionError: It cannot be evaluated on this data.
        """
        expr, grid = self._prepared(query, span)
        times = (span, grid.size, self._options.lookback_ms if lookback_ms is None else lookback_ms)
        run = Explained(self._source, self._options, *times, check, Notes(query))
        return explained(run, expr, grid, analyze=analyze)

    def _prepared(self, query: str, span: Span) -> tuple[Expr, Grid]:
        """Return the expression and the steps."""
        expr = parse(query, self._options.parser)
        is_range = span.step_ms > 0
        if is_range and expr.type.value not in {"scalar", "instant vector"}:
            raise InvalidType(
                f'invalid expression type "{expr.type.value}" for range query, must be Scalar or instant Vector'
            )
        size = max(0, (span.end_ms - span.start_ms) // span.step_ms + 1) if is_range else 1
        grid = Grid(span.start_ms, span.step_ms or 1, size)
        grid = replace(grid, after_ms=span.end_ms - grid.end_ms)
        return bare_arguments(resolve(expr, span, query)), grid

    def _run(self, query: str, span: Span, lookback_ms: int | None, check: Callable[[], None]) -> Result:
        started_s = time.perf_counter()
        expr, grid = self._prepared(query, span)
        is_range = span.step_ms > 0
        lookback = self._options.lookback_ms if lookback_ms is None else lookback_ms
        notes = Notes(query)
        evaluation = Evaluation(self._source, self._options, span, grid.size, lookback, check, notes)
        prepared_s = time.perf_counter() - started_s
        with np.errstate(all="ignore"):
            value = evaluation.result(expr, grid)
        if is_range and isinstance(value, Scalar):
            value = alone(value.values, evaluation.symbols)
        kind = _kind(value, is_range=is_range)
        statistics = evaluation.count.result()
        return Result(kind, value, grid, notes.warnings, notes.infos, evaluation.samples, statistics, prepared_s)


def _kind(value: Value, *, is_range: bool) -> str:
    if is_range or isinstance(value, Ranges):
        return "matrix"
    if isinstance(value, Vector):
        return "vector"
    return "scalar" if isinstance(value, Scalar) else "string"
