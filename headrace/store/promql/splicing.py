"""Results of one query over neighbouring times, put together as if it had been evaluated at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.labels import LabelTable
from headrace.store.promql.statistics import QueryStatistics
from headrace.store.promql.values import Grid, Vector, stacked
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.labels import QuerySymbols
    from headrace.store.promql.evaluate import Result


def is_splittable(result: Result) -> bool:
    """Return whether a result is a matrix of numbers alone, which may be cut by its steps."""
    return result.kind == "matrix" and isinstance(result.value, Vector) and result.value.natives is None


def cut(result: Result, first: int, last: int) -> Result:
    """Return the steps from `first` to `last`, both included, of a splittable result; annotations stay."""
    vector, grid, statistics = _vector(result), result.grid, result.statistics
    steps = slice(first, last + 1)
    per_step = statistics.per_step[steps]
    return replace(
        result,
        value=Vector(vector.labels, vector.values[:, steps], vector.present[:, steps]),
        grid=Grid(grid.start_ms + first * grid.step_ms, grid.step_ms, last + 1 - first),
        statistics=QueryStatistics(int(per_step.sum()), per_step, statistics.peak),
    )


def spliced(parts: Sequence[Result], like: Result) -> Result:
    """Return the result over the times of splittable results, each of which goes on where the one before stops.

    Args:
        parts: In order of time.
        like: The one whose annotations and symbols the result has.
    """
    symbols = _vector(like).labels.symbols
    tables = [_moved(_vector(part).labels, symbols) for part in parts]
    names = tuple(sorted({name for table in tables for name in table.names}))
    labels = LabelTable(names, stacked(tables, names), symbols)
    groups, first = labels.groups()
    steps = sum(part.grid.size for part in parts)
    values, present = np.zeros((len(first), steps)), np.zeros((len(first), steps), np.bool_)
    row = step = 0
    for part in parts:
        vector = _vector(part)
        own, when = groups[row : row + len(vector)], slice(step, step + part.grid.size)
        values[own, when], present[own, when] = vector.values, vector.present
        row, step = row + len(vector), step + part.grid.size
    grid = Grid(parts[0].grid.start_ms, parts[0].grid.step_ms, steps)
    value = Vector(labels.take(first), values, present).compact()
    return replace(like, value=value, grid=grid, samples=sum(p.samples for p in parts), statistics=_counted(parts))


def _counted(parts: Sequence[Result]) -> QueryStatistics:
    per_step = np.concatenate([part.statistics.per_step for part in parts])
    total = sum(part.statistics.total for part in parts)
    return QueryStatistics(total, per_step, max(part.statistics.peak for part in parts))


def size_bytes(result: Result) -> int:
    """Return the memory that a splittable result takes."""
    vector = _vector(result)
    return vector.values.nbytes + vector.present.nbytes + vector.labels.values.nbytes + 8 * result.grid.size


def _vector(result: Result) -> Vector:
    if not isinstance(result.value, Vector):
        raise AssertionError("bug: a result that cannot be cut")
    return result.value


def _moved(table: LabelTable, symbols: QuerySymbols) -> LabelTable:
    """Return a table in the terms of another query's symbols."""
    if table.symbols is symbols:
        return table
    values = np.full_like(table.values, ABSENT)
    if table.symbols.base is symbols.base:
        # Ids of the engine's dictionary mean the same for good; what a query made up is its own.
        shared = min(table.symbols.size, symbols.size)
        values = np.where(table.values < shared, table.values, ABSENT)
        foreign = table.values >= shared
    else:
        foreign = table.values != ABSENT
    if foreign.any():
        values[foreign] = _interned(table, table.values[foreign], symbols)
    return LabelTable(table.names, values, symbols)


def _interned(table: LabelTable, ids: NDArray[np.int32], symbols: QuerySymbols) -> NDArray[np.int32]:
    known, which = np.unique(ids, return_inverse=True)
    moved = [symbols.intern(table.symbols.text(symbol)) for symbol in known.tolist()]
    return np.array(moved, np.int32)[which.ravel()]
