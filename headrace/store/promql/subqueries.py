"""Subqueries: an expression at steps of its own, whose values are looked at through windows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.labels import LabelTable
from headrace.store.promql.values import Grid, Ranges, Scalar, alone

if TYPE_CHECKING:
    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import Subquery
    from headrace.store.promql.values import Vector


def subquery(run: Evaluation, node: Subquery, grid: Grid, *, rows: bool = False) -> Ranges:
    """Evaluate `node` for windows that end at the times of `grid`.

    Args:
        run: The query.
        node: The subquery.
        grid: Steps of what it is in.
        rows: Whether each of its series becomes one of these steps, and is refused where these are too many.
    """
    where = run.window_ends(node.at, node.offset_ms, grid)
    inner = inner_grid(node.range_ms, node.step_ms or run.options.subquery_step_ms, where)
    if not inner.size:
        nothing = LabelTable.of([], run.symbols)
        return Ranges(nothing, np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0), where, node.range_ms)
    run.limit(inner.size)
    with run.count.apart(inner.size) as inside, run.spanning(time=inner.start_ms != where.end_ms):
        value = run.operand(node.expr, inner)
    if isinstance(value, Scalar):
        value = alone(value.values, run.symbols)
    if rows:
        run.limit(len(value) * grid.size)
    return replace(_ranges(value, inner, where, node.range_ms), looked_at=inside.total)


def inner_grid(range_ms: int, step_ms: int, where: Grid) -> Grid:
    """Return the steps of a subquery: the multiples of `step_ms` from its first window to the end of the query."""
    first = ((where.start_ms - range_ms) // step_ms + 1) * step_ms
    until_ms = where.end_ms + where.after_ms
    size = max(0, (until_ms - first) // step_ms + 1)
    return Grid(first, step_ms, size, until_ms - (first + (size - 1) * step_ms))


def _ranges(value: Vector, inner: Grid, where: Grid, range_ms: int) -> Ranges:
    # Not by the places of what is there: two numbers a point more, which are many points here.
    present = value.present
    offsets = np.zeros(len(value) + 1, np.int64)
    np.cumsum(np.count_nonzero(present, axis=1), out=offsets[1:])
    times = np.broadcast_to(inner.times_ms(), present.shape)
    if offsets[-1] == present.size:
        times, values = times.ravel(), value.values.ravel()
    else:
        times, values = times[present], value.values[present]
    natives = None if value.natives is None else value.natives.ranges(inner.times_ms())
    return Ranges(value.labels, offsets, times, values, where, range_ms, natives, drop_name=value.drop_name)
