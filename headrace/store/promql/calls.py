"""Calls of functions: which arguments they take and who computes them.

Each function gets the evaluation of a query, the node and the times; what it does with numbers and labels is in the
modules beside this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store.promql import functions, histogram_calls, info, window_kernels
from headrace.store.promql.budget import limits_rows
from headrace.store.promql.extended_functions import check_selector
from headrace.store.promql.language.ast import MatrixSelector, Subquery, VectorSelector, bare
from headrace.store.promql.pushdown import fused
from headrace.store.promql.range_functions import RANGE_FUNCTIONS, over_windows
from headrace.store.promql.selection import newest, start_times, timed
from headrace.store.promql.statistics import in_vector, in_windows
from headrace.store.promql.subqueries import subquery
from headrace.store.promql.values import Grid, Ranges, Scalar, Vector, alone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.store.matchers import Matcher
    from headrace.store.promql.evaluation import Evaluation, Span
    from headrace.store.promql.language.ast import Call, Expr
    from headrace.store.promql.values import Value

    _Handler = Callable[[Evaluation, Call, Grid], Value]


def call(run: Evaluation, node: Call, grid: Grid) -> Value:
    """Evaluate a function call.

    Raises:
        ExecutionError: The arguments cannot be used.
    """
    name = node.function
    if name in RANGE_FUNCTIONS:
        return _over_time(run, node, grid)
    if name in functions.ELEMENTWISE:
        vector = run.vector(node.args[0], grid)
        return vector.with_values(functions.ELEMENTWISE[name](vector.values)).without_name()
    if name in functions.DATES:
        return functions.date_part(name, _times_argument(run, node, grid)).without_name()
    return _CALLS[name](run, node, grid)


# -- ranges ----------------------------------------------------------------------------------------------------


def _ranges(run: Evaluation, node: Call, grid: Grid) -> Ranges:
    for arg in node.args:
        if arg.type.value == "range vector":
            selector = bare(arg)
            if isinstance(selector, MatrixSelector):
                check_selector(selector.selector, node.function)
            if isinstance(selector, Subquery):
                return subquery(run, selector, grid, rows=limits_rows(node.function))
            value = run.value(arg, grid)
            if isinstance(value, Ranges):
                return value
    raise AssertionError(f"bug: {node.function} without a range")


def _over_time(run: Evaluation, node: Call, grid: Grid) -> Vector:
    at_once = fused.over_time(run, node, grid)
    if at_once is not None:
        return at_once
    ranges = _ranges(run, node, grid)
    params = [run.scalar(arg, grid) for arg in node.args if arg.type.value == "scalar"]
    run.limit(len(ranges.labels) * grid.size)
    return over_windows(run, node, ranges, params, grid)


def _absent_over_time(run: Evaluation, node: Call, grid: Grid) -> Vector:
    ranges = _ranges(run, node, grid)
    run.count.add(in_windows(ranges))
    lo = np.zeros((len(ranges.labels), ranges.ends.size), np.int64)
    hi = np.zeros_like(lo)
    window_kernels.bounds(
        ranges.offsets, ranges.times_ms, ranges.ends.start_ms, ranges.ends.step_ms, ranges.range_ms, lo, hi
    )
    there = hi > lo
    if ranges.natives is not None:
        native = (ranges.natives.offsets, ranges.natives.times_ms)
        window_kernels.bounds(*native, ranges.ends.start_ms, ranges.ends.step_ms, ranges.range_ms, lo, hi)
        there |= hi > lo
    return functions.absent(there, _matchers_of(node.args[0]), ranges.labels)


# -- vectors and scalars ---------------------------------------------------------------------------------------


def _absent(run: Evaluation, node: Call, grid: Grid) -> Vector:
    vector = run.vector(node.args[0], grid)
    return functions.absent(vector.everywhere, _matchers_of(node.args[0]), vector.labels)


def _matchers_of(expr: Expr) -> Sequence[Matcher]:
    """Return the matchers of a plain selector; none for other expressions."""
    expr = bare(expr)
    if isinstance(expr, MatrixSelector):
        expr = expr.selector
    return expr.matchers if isinstance(expr, VectorSelector) else ()


def _vector(run: Evaluation, node: Call, grid: Grid) -> Vector:
    return alone(run.scalar(node.args[0], grid), run.symbols)


def _scalar(run: Evaluation, node: Call, grid: Grid) -> Scalar:
    vector = run.vector(node.args[0], grid)
    if not len(vector):
        return Scalar(np.full(grid.size, np.nan))
    only = vector.values[vector.present.argmax(axis=0), np.arange(grid.size)]
    return Scalar(np.where(vector.present.sum(axis=0) == 1, only, np.nan))


def _round(run: Evaluation, node: Call, grid: Grid) -> Vector:
    vector = run.vector(node.args[0], grid)
    to = run.scalar(node.args[1], grid) if len(node.args) > 1 else np.ones(grid.size)
    return functions.rounded(vector, to).without_name()


def _clamp(run: Evaluation, node: Call, grid: Grid) -> Vector:
    vector = run.vector(node.args[0], grid)
    low, high = run.scalar(node.args[1], grid), run.scalar(node.args[2], grid)
    return functions.clamped(vector, low, high).without_name()


def _clamp_min(run: Evaluation, node: Call, grid: Grid) -> Vector:
    vector = run.vector(node.args[0], grid)
    return functions.clamped(vector, run.scalar(node.args[1], grid), None).without_name()


def _clamp_max(run: Evaluation, node: Call, grid: Grid) -> Vector:
    vector = run.vector(node.args[0], grid)
    return functions.clamped(vector, None, run.scalar(node.args[1], grid)).without_name()


def _constant(value: Callable[[Span], float]) -> _Handler:
    """Return a function without arguments, of the times of the whole query."""
    return lambda run, _node, grid: Scalar(np.full(grid.size, value(run.query)))


def _of_two(choose: Callable[..., NDArray[np.float64]]) -> _Handler:
    def compute(run: Evaluation, node: Call, grid: Grid) -> Scalar:
        return Scalar(choose(run.scalar(node.args[0], grid), run.scalar(node.args[1], grid)))

    return compute


# -- time ------------------------------------------------------------------------------------------------------


def _time(_run: Evaluation, _node: Call, grid: Grid) -> Scalar:
    return Scalar(grid.times_ms() / 1000.0)


def _times_argument(run: Evaluation, node: Call, grid: Grid) -> Vector:
    if node.args:
        return run.vector(node.args[0], grid)
    return alone(grid.times_ms() / 1000.0, run.symbols)


def _timestamp(run: Evaluation, node: Call, grid: Grid) -> Vector:
    arg = bare(node.args[0])
    if isinstance(arg, VectorSelector):
        vector, at = timed(run, arg, grid)
        times = vector.with_values(at / 1000.0, vector.everywhere)
        # Of a histogram only the time is read, so it counts as a number does.
        run.count.add(in_vector(times))
        return times.without_name()
    vector = run.vector(arg, grid)
    seconds = np.broadcast_to(grid.times_ms() / 1000.0, vector.values.shape)
    return vector.with_values(seconds, vector.everywhere).without_name()


def _nothing(vector: Vector) -> Vector:
    return vector.with_values(vector.values, np.zeros(vector.present.shape, np.bool_)).compact()


def _start_timestamp(run: Evaluation, node: Call, grid: Grid) -> Vector:
    """Return when the counting of samples began; nothing unless that is turned on and asked of a selector."""
    arg = bare(node.args[0])
    if not isinstance(arg, VectorSelector):
        return _nothing(run.vector(arg, grid))
    vector = start_times(run, arg, grid)
    run.count.add(in_vector(vector))
    return vector.without_name() if run.options.start_timestamps else _nothing(vector)


# -- labels and order ------------------------------------------------------------------------------------------


def _label_replace(run: Evaluation, node: Call, grid: Grid) -> Vector:
    destination, replacement, source, pattern = (run.text(arg, grid) for arg in node.args[1:])
    compiled = functions.label_pattern(pattern, destination)
    return functions.label_replace(run.vector(node.args[0], grid).compact(), destination, replacement, source, compiled)


def _label_join(run: Evaluation, node: Call, grid: Grid) -> Vector:
    texts = [run.text(arg, grid) for arg in node.args[1:]]
    return functions.label_join(run.vector(node.args[0], grid).compact(), texts[0], texts[1], texts[2:])


def _sort(*, descending: bool) -> _Handler:
    def compute(run: Evaluation, node: Call, grid: Grid) -> Vector:
        _warn_of_ranges(run, node)
        return functions.ordered(run.vector(node.args[0], grid), descending=descending)

    return compute


def _sort_by_label(*, descending: bool) -> _Handler:
    def compute(run: Evaluation, node: Call, grid: Grid) -> Vector:
        _warn_of_ranges(run, node)
        names = [run.text(arg, grid) for arg in node.args[1:]]
        return functions.ordered_by_label(run.vector(node.args[0], grid), names, descending=descending)

    return compute


def _warn_of_ranges(run: Evaluation, node: Call) -> None:
    if run.spans_time:
        run.notes.warn("sort is ineffective for range queries since results are always ordered by labels", node)


def _info(run: Evaluation, node: Call, grid: Grid) -> Vector:
    given = _matchers_of(node.args[1]) if len(node.args) > 1 else ()
    base = run.vector(node.args[0], grid)
    found, times_ms = newest(run, info.selector(node.args[0], given), grid)
    return info.enriched(run, base, found, times_ms, given)


_CALLS: dict[str, _Handler] = {
    **histogram_calls.HANDLERS,
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "end": _constant(lambda query: query.end_ms / 1000.0),
    "info": _info,
    "label_join": _label_join,
    "label_replace": _label_replace,
    "max_of": _of_two(functions.greatest),
    "min_of": _of_two(functions.least),
    "pi": _constant(lambda _query: np.pi),
    "range": _constant(lambda query: (query.end_ms - query.start_ms) / 1000.0),
    "round": _round,
    "scalar": _scalar,
    "sort": _sort(descending=False),
    "sort_by_label": _sort_by_label(descending=False),
    "sort_by_label_desc": _sort_by_label(descending=True),
    "sort_desc": _sort(descending=True),
    "start": _constant(lambda query: query.start_ms / 1000.0),
    "start_timestamp": _start_timestamp,
    "step": _constant(lambda query: query.step_ms / 1000.0 if query.start_ms != query.end_ms else 0.0),
    "time": _time,
    "timestamp": _timestamp,
    "vector": _vector,
}
