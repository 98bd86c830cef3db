"""Functions of range vectors: windows over samples, computed by kernels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.labels import LabelTable
from headrace.store.promql import statistics_kernels
from headrace.store.promql import window_kernels as kernels
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.extended_functions import variant
from headrace.store.promql.language.ast import MatrixSelector, Subquery, bare
from headrace.store.promql.natives.windows import over_native_windows
from headrace.store.promql.notes import brief
from headrace.store.promql.statistics import natives_in_windows
from headrace.store.promql.values import SAME_LABELS, TYPE, Vector
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import Call, Expr
    from headrace.store.promql.notes import Notes
    from headrace.store.promql.values import Grid, Ranges

KEEPS_NAME = frozenset({"last_over_time", "first_over_time"})
"""Functions whose results are samples of the series themselves."""


class Windows:
    """The windows of a range vector at all steps.

    Args:
        ranges: Samples.
        grid: Times of the steps, from which the windows may lie apart.
    """

    def __init__(self, ranges: Ranges, grid: Grid) -> None:
        self.ranges = ranges
        self.grid = grid
        self.ends = ranges.ends
        shape = (len(ranges.labels), ranges.ends.size)
        self.lo = np.empty(shape, np.int64)
        self.hi = np.empty(shape, np.int64)
        self.out = np.zeros(shape, np.float64)
        self.there = np.zeros(shape, np.bool_)
        last = self.ends.start_ms + ranges.beyond.after_ms
        length = ranges.range_ms + ranges.beyond.before_ms + ranges.beyond.after_ms
        kernels.bounds(ranges.offsets, ranges.times_ms, last, self.ends.step_ms, length, self.lo, self.hi)

    def samples(self) -> NDArray[np.int64]:
        """Return (steps of the windows,) how many samples lie in all of them."""
        found = np.zeros(self.ends.size, np.int64)
        statistics_kernels.sizes(self.lo, self.hi, found)
        return found + natives_in_windows(self.ranges)

    @property
    def edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First row and the row after the last one, (n, steps) each."""
        return self.lo, self.hi

    @property
    def result(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Where kernels write."""
        return self.out, self.there


def over_windows(run: Evaluation, node: Call, ranges: Ranges, params: list[NDArray[np.float64]], grid: Grid) -> Vector:
    """Apply the function of `node`.

    Args:
        run: The query.
        node: The call.
        ranges: Its range vector.
        params: Its scalar arguments in order, (steps of the windows,) float64 each.
        grid: Times of the steps.

    Raises:
        ExecutionError: Series that are there at some step become equal without their names, be it at different steps.
    """
    windows = Windows(ranges, grid)
    run.count.add(windows.samples())
    compute = variant(ranges, node.function) or _FUNCTIONS[node.function]
    compute(windows, params, node, run.notes)
    natives = over_native_windows(run, node, windows)
    return finished(run, node, Vector(ranges.labels, *windows.result, natives=natives, drop_name=ranges.drop_name))


def finished(run: Evaluation, node: Call, vector: Vector) -> Vector:
    """Return what the function of `node` yields, from its values: remarks are made, and names are dropped.

    Raises:
        ExecutionError: As `over_windows`.
    """
    if node.function in {"rate", "increase"}:
        _remark_on_names(run, node, vector)
    if node.function not in KEEPS_NAME:
        vector = vector.without_name()
    if run.options.delayed_name_removal:
        return vector
    vector = vector.compact()
    bare = vector.settled()
    if len(bare) < len(vector):
        raise ExecutionError(SAME_LABELS)
    return bare


def _remark_on_names(run: Evaluation, node: Call, vector: Vector) -> None:
    names = vector.labels.column(METRIC_NAME)
    types = vector.labels.column(TYPE) if run.options.type_and_unit_labels else np.full(len(names), ABSENT, np.int32)
    some = vector.present.any(axis=1) & (names != ABSENT)
    # What a subquery yields has no place in the text any more.
    start = 0 if isinstance(bare(node.args[0]), Subquery) else bare(node.args[0]).start
    both = LabelTable((METRIC_NAME, TYPE), np.column_stack([names[some], types[some]]), vector.labels.symbols)
    for name, type_ in both.take(both.groups()[1]).values.tolist():
        texts = vector.labels.text(name), vector.labels.text(type_)
        if run.options.type_and_unit_labels:
            run.notes.check_type(*texts, start)
        else:
            run.notes.check_counter(texts[0], start)


def _extrapolated(*, counter: bool, rate: bool) -> _Function:
    def compute(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
        ranges = windows.ranges
        drops = np.empty(len(ranges.values) if counter else 0, np.int64)
        if counter:
            kernels.next_drops(ranges.offsets, ranges.values, drops)
        kernels.extrapolated(
            ranges.times_ms, ranges.values, drops, *windows.edges, windows.ends.start_ms, windows.ends.step_ms,
            ranges.range_ms, counter, rate, *windows.result,
        )  # fmt: skip

    return compute


def _last_two(*, rate: bool) -> _Function:
    def compute(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
        ranges = windows.ranges
        kernels.last_two(ranges.times_ms, ranges.values, *windows.edges, rate, *windows.result)

    return compute


def _of_values(fold: Callable[..., None], *more: bool) -> _Function:
    def compute(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
        fold(windows.ranges.values, *windows.edges, *more, *windows.result)

    return compute


def _extreme(sign: float, *, time: bool = False) -> _Function:
    def compute(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
        ranges = windows.ranges
        kernels.extremes(ranges.times_ms, ranges.values, *windows.edges, sign, time, *windows.result)

    return compute


def _time_of(*, last: bool) -> _Function:
    def compute(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
        times_ms = windows.ranges.times_ms
        # Prometheus takes 0 for the time of the kind, number or histogram, that is not there: the last one of both is
        # never before 1970.
        seconds = (np.maximum(times_ms, 0) if last else times_ms) / 1000.0
        kernels.picked(seconds, *windows.edges, last, *windows.result)

    return compute


def _count(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
    kernels.counts(*windows.edges, *windows.result)


def _present(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
    windows.out[:] = 1.0
    np.greater(windows.hi, windows.lo, out=windows.there)


def _quantile(windows: Windows, params: list[NDArray[np.float64]], node: Call, notes: Notes) -> None:
    kernels.quantiles(params[0], windows.ranges.values, *windows.edges, *windows.result)
    notes.check_quantiles(params[0][windows.there.any(axis=0)], node.args[0])


def _regression(*, predict: bool) -> _Function:
    def compute(windows: Windows, params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
        ranges = windows.ranges
        ahead = params[0] if predict else np.zeros(windows.ends.size)
        kernels.regressions(
            ranges.times_ms, ranges.values, *windows.edges, windows.grid.start_ms, windows.grid.step_ms, ahead,
            predict, *windows.result,
        )  # fmt: skip

    return compute


def _smoothing(windows: Windows, params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
    some = windows.samples() > 0
    for name, short, factors in (("smoothing", "sf", params[0]), ("trend", "tf", params[1])):
        for factor in factors[some].tolist():
            if factor <= 0 or factor >= 1:
                shown = brief(factor) if math.isinf(factor) else f"{factor:f}"
                raise ExecutionError(f"invalid {name} factor. Expected: 0 < {short} < 1, got: {shown}")
    kernels.smoothings(windows.ranges.values, *windows.edges, params[0], params[1], *windows.result)


if TYPE_CHECKING:
    _Function = Callable[[Windows, list[NDArray[np.float64]], Call, Notes], None]

_FUNCTIONS: dict[str, _Function] = {
    "rate": _extrapolated(counter=True, rate=True),
    "increase": _extrapolated(counter=True, rate=False),
    "delta": _extrapolated(counter=False, rate=False),
    "irate": _last_two(rate=True),
    "idelta": _last_two(rate=False),
    "sum_over_time": _of_values(kernels.sums),
    "avg_over_time": _of_values(kernels.means),
    "max_over_time": _extreme(1.0),
    "min_over_time": _extreme(-1.0),
    "count_over_time": _count,
    "present_over_time": _present,
    "stddev_over_time": _of_values(kernels.variances, True),
    "stdvar_over_time": _of_values(kernels.variances, False),
    "quantile_over_time": _quantile,
    "mad_over_time": _of_values(kernels.deviations),
    "last_over_time": _of_values(kernels.picked, True),
    "first_over_time": _of_values(kernels.picked, False),
    "changes": _of_values(kernels.transitions, False),
    "resets": _of_values(kernels.transitions, True),
    "deriv": _regression(predict=False),
    "predict_linear": _regression(predict=True),
    "double_exponential_smoothing": _smoothing,
    "ts_of_max_over_time": _extreme(1.0, time=True),
    "ts_of_min_over_time": _extreme(-1.0, time=True),
    "ts_of_first_over_time": _time_of(last=False),
    "ts_of_last_over_time": _time_of(last=True),
}

RANGE_FUNCTIONS = frozenset(_FUNCTIONS)
"""Functions that this module has."""


def selected_name(expr: Expr) -> str:
    """Return the metric name that a range selector asks for; empty without one."""
    return expr.selector.name if isinstance(expr, MatrixSelector) else ""
