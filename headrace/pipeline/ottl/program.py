"""Statements run over a series: what becomes of the series, and what is left to do to its points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.batch import Flag
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.columns import Column
from headrace.pipeline.ottl.faults import ErrorMode
from headrace.pipeline.ottl.values import type_name
from headrace.pipeline.series_view import SeriesView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.identity import Series
    from headrace.pipeline.ottl.compiler import Compiled
    from headrace.pipeline.ottl.points import NumberPoints
    from headrace.pipeline.ottl.statements import Step

_EXACT = 2**53
"""Doubles hold all integers up to it."""


@dataclass(frozen=True, slots=True)
class Block:
    """Statements that share conditions.

    Attributes:
        conditions: One of them has to hold, where there are any; none is on values.
        steps: In the order in which they run.
        mode: What happens to a statement that has no value.
    """

    conditions: tuple[Compiled, ...]
    steps: tuple[Step, ...]
    mode: ErrorMode


@dataclass(frozen=True, slots=True)
class PointEdit:
    """Sets a column of points.

    Attributes:
        column: Its name; ``value`` for whichever of double and int a point has.
        value: A plain value or a column.
        where: Whether, or for which points.
    """

    column: str
    value: Any
    where: Any

    @property
    def key(self) -> str:
        """Text that is equal for equal edits."""
        parts = (one.key if isinstance(one, Column) else repr(one) for one in (self.value, self.where))
        return f"{self.column} = {' where '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What statements make of a series: None where a fault drops it, and edits of its points."""

    series: Series | None
    edits: tuple[PointEdit, ...] = ()


def run(blocks: Sequence[Block], series: Series, note: Callable[[InvalidInput, Series, ErrorMode], None]) -> Outcome:
    """Run statements over a series; `note` is told of those that have no value."""
    view = SeriesView.of(series)
    edits: list[PointEdit] = []
    for block in blocks:
        try:
            if block.conditions and not any(condition.value(view) for condition in block.conditions):
                continue
        except InvalidInput as error:
            note(error, series, block.mode)
            if block.mode is ErrorMode.PROPAGATE:
                return Outcome(None)
            continue
        for step in block.steps:
            try:
                _step(step, view, edits)
            except InvalidInput as error:
                note(error, series, block.mode)
                if block.mode is ErrorMode.PROPAGATE:
                    return Outcome(None)
    return Outcome(view.series(), tuple(edits))


def _step(step: Step, view: SeriesView, edits: list[PointEdit]) -> None:
    where = True if step.where is None else step.where.value(view)
    if where is False:
        return
    value = None if step.value is None else step.value(view)
    if value is not None and not isinstance(value, Column) and type_name(value) not in _TYPES[step.column]:
        raise InvalidInput(f"datapoint.{step.column} takes {' or '.join(_TYPES[step.column])}, not {type_name(value)}")
    if step.edit is not None:
        step.edit(view)
    if value is not None:
        edits.append(PointEdit(step.column, value, where))


_TYPES = {
    "value": ("int", "double"),
    "value_double": ("int", "double"),
    "value_int": ("int",),
    "time_unix_nano": ("int",),
    "start_time_unix_nano": ("int",),
}


def apply(edit: PointEdit, points: NumberPoints) -> None:
    """Change `points` in place; points without a value keep having none."""
    rows = (points.flags & Flag.STALE) == 0
    where = edit.where.run(points) if isinstance(edit.where, Column) else edit.where
    rows &= np.broadcast_to(np.asarray(where, np.bool_), len(points))
    if edit.column == "value":
        _scale(edit.value, points, rows)
        return
    value = edit.value.run(points) if isinstance(edit.value, Column) else edit.value
    if value is None:
        return
    found = np.broadcast_to(np.asarray(value), len(points))
    if edit.column == "value_double":
        _set_doubles(points, rows, found)
    elif found.dtype.kind != "i":
        raise InvalidInput(f"datapoint.{edit.column} takes an int")
    elif edit.column == "value_int":
        _set_integers(points, rows, found)
    else:
        (points.time_ns if edit.column == "time_unix_nano" else points.start_ns)[rows] = found[rows]


def _set_doubles(points: NumberPoints, rows: NDArray[np.bool_], found: NDArray[Any]) -> None:
    points.value[rows] = found[rows]
    points.flags[rows] &= np.uint8(~Flag.INTEGER & 0xFF)


def _set_integers(points: NumberPoints, rows: NDArray[np.bool_], found: NDArray[Any]) -> None:
    whole = points.column("value_int")
    whole[rows] = found[rows]
    points.value[rows] = found[rows]
    points.flags[rows] |= np.uint8(Flag.INTEGER)
    if points.integers is not None or bool((np.abs(found[rows].astype(np.float64)) > _EXACT).any()):
        points.integers = whole


def _scale(value: Column, points: NumberPoints, rows: NDArray[np.bool_]) -> None:
    """Scale doubles, and ints as ints, cut off towards 0."""
    whole = (points.flags & Flag.INTEGER) != 0
    integers = points.column("value_int")
    doubles = np.where(whole, integers, points.value)
    scaled = value.run(_Doubles(doubles))
    _set_integers(points, rows & whole, np.trunc(np.where(rows & whole, scaled, 0.0)).astype(np.int64))
    kept = rows & ~whole
    points.value[kept] = scaled[kept]


class _Doubles:
    """Points that have nothing but doubles."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def column(self, _name: str) -> Any:
        """Return the doubles."""
        return self._values
