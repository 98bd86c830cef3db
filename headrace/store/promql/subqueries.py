"""Subqueries: an expression at steps of its own, whose values are looked at through windows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.labels import LabelTable
from headrace.store.promql.values import Grid, Ranges, Scalar, alone

if TYPE_CHECKING:
    from headrace.store.promql.ast import Subquery
    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.values import Vector


def subquery(run: Evaluation, node: Subquery, grid: Grid) -> Ranges:
    """Evaluate `node` for windows that end at the times of `grid`."""
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
    return replace(_ranges(value, inner, where, node.range_ms), looked_at=inside.total)


def inner_grid(range_ms: int, step_ms: int, where: Grid) -> Grid:
    """Return the steps of a subquery: the multiples of `step_ms` from its first window to the end of the query."""
    first = ((where.start_ms - range_ms) // step_ms + 1) * step_ms
    until_ms = where.end_ms + where.after_ms
    size = max(0, (until_ms - first) // step_ms + 1)
    return Grid(first, step_ms, size, until_ms - (first + (size - 1) * step_ms))


def _ranges(value: Vector, inner: Grid, where: Grid, range_ms: int) -> Ranges:
    rows, steps = np.nonzero(value.present)
    offsets = np.concatenate([[0], np.cumsum(value.present.sum(axis=1))]).astype(np.int64)
    times, values = inner.times_ms()[steps], value.values[rows, steps]
    natives = None if value.natives is None else value.natives.ranges(inner.times_ms())
    return Ranges(value.labels, offsets, times, values, where, range_ms, natives, drop_name=value.drop_name)
