"""Calls of the functions of histograms, classic and native ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store.promql.histograms import Buckets
from headrace.store.promql.natives import quantiles as native_quantiles
from headrace.store.promql.values import joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import Call, Expr
    from headrace.store.promql.natives.columns import Natives
    from headrace.store.promql.values import Grid, Vector


def _both(run: Evaluation, arg: Expr, grid: Grid) -> tuple[Buckets, Vector | None]:
    """Evaluate an argument; return its classic histograms and its native ones, None for none."""
    named = run.options.delayed_name_removal
    classic, natives = native_quantiles.separated(run.vector(arg, grid), arg, run.notes, named=named)
    return Buckets(classic, arg, run.notes, named=named), natives


def _quantile(run: Evaluation, node: Call, grid: Grid) -> Vector:
    q = run.scalar(node.args[0], grid)
    run.notes.check_quantiles(q, node.args[0])
    buckets, natives = _both(run, node.args[1], grid)
    found = buckets.quantile(q, grid.times_ms())
    if natives is None:
        return found
    return joined(native_quantiles.quantile(natives, q, node.args[1], run.notes), found)


def _quantiles(run: Evaluation, node: Call, grid: Grid) -> Vector:
    label = run.text(node.args[1], grid)
    buckets, natives = _both(run, node.args[0], grid)
    wanted = [run.scalar(arg, grid) for arg in node.args[2:]]
    for arg, q in zip(node.args[2:], wanted, strict=True):
        run.notes.check_quantiles(q, arg)
    found = buckets.quantiles(label, wanted, grid.times_ms())
    if natives is None:
        return found
    named = run.options.delayed_name_removal
    return joined(native_quantiles.quantiles(natives, label, wanted, node.args[0], run.notes, named=named), found)


def _fraction(run: Evaluation, node: Call, grid: Grid) -> Vector:
    lower, upper = run.scalar(node.args[0], grid), run.scalar(node.args[1], grid)
    buckets, natives = _both(run, node.args[2], grid)
    found = buckets.fraction(lower, upper)
    if natives is None:
        return found
    return joined(native_quantiles.fraction(natives, lower, upper, node.args[2], run.notes), found)


def _of_natives(compute: Callable[[Natives], NDArray[np.float64]]) -> _Handler:
    """Return a function of native histograms; plain numbers yield nothing."""

    def handler(run: Evaluation, node: Call, grid: Grid) -> Vector:
        vector = run.vector(node.args[0], grid)
        natives = vector.natives
        if natives is None:
            return vector.with_values(vector.values, np.zeros(vector.present.shape, np.bool_)).compact()
        return vector.with_values(compute(natives), natives.present).compact().without_name()

    return handler


if TYPE_CHECKING:
    _Handler = Callable[[Evaluation, Call, Grid], Vector]

HANDLERS: dict[str, _Handler] = {
    "histogram_avg": _of_natives(lambda natives: natives.sums() / natives.counts()),
    "histogram_count": _of_natives(lambda natives: natives.counts()),
    "histogram_fraction": _fraction,
    "histogram_quantile": _quantile,
    "histogram_quantiles": _quantiles,
    "histogram_stddev": _of_natives(lambda natives: np.sqrt(native_quantiles.variances(natives))),
    "histogram_stdvar": _of_natives(native_quantiles.variances),
    "histogram_sum": _of_natives(lambda natives: natives.sums()),
}
