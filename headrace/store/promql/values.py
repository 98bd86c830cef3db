"""What expressions evaluate to: columns over all steps of a query.

Absence is never NaN: NaN is data, and `present` says where there is any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.labels import LabelTable, QuerySymbols
from headrace.store.promql import aggregate_kernels as kernels
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.natives.columns import joined_natives
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from headrace.store.promql.natives.columns import NativeRanges, Natives

SAME_LABELS = "vector cannot contain metrics with the same labelset"

TYPE = "__type__"
"""Label that says whether a series is a counter, a gauge or a histogram."""

METADATA = (METRIC_NAME, TYPE, "__unit__")
"""Labels that say what a series measures: where its name loses its meaning, all of them do."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The times of evaluation: ``start_ms + i * step_ms`` for i below `size`; all are the same where the step is 0.

    Attributes:
        after_ms: How far the query goes on after its last step; subqueries have steps there too.
    """

    start_ms: int
    step_ms: int
    size: int
    after_ms: int = 0

    @property
    def end_ms(self) -> int:
        """The last time."""
        return self.start_ms + (self.size - 1) * self.step_ms

    def times_ms(self) -> NDArray[np.int64]:
        """Return all of them, (size,) int64."""
        return self.start_ms + np.arange(self.size, dtype=np.int64) * self.step_ms

    def shifted(self, offset_ms: int) -> Grid:
        """Return the grid that lies `offset_ms` earlier."""
        return replace(self, start_ms=self.start_ms - offset_ms)

    @classmethod
    def at(cls, time_ms: int) -> Grid:
        """Return the grid of one time."""
        return cls(time_ms, 1, 1)


@dataclass(frozen=True, slots=True)
class Vector:
    """Instant vectors at all steps.

    Attributes:
        labels: n label sets, distinct.
        values: (n, steps) float64; anything where nothing is present.
        present: (n, steps) bool.
        ordered: Whether the rows of the only step are in an order that the query asked for.
        natives: Native histograms, where there are no numbers; operators that know nothing of them leave them out.
        drop_name: (n,) bool, rows whose metric name has lost its meaning and goes at the end; None for no row.
    """

    labels: LabelTable
    values: NDArray[np.float64]
    present: NDArray[np.bool_]
    ordered: bool = False
    natives: Natives | None = None
    drop_name: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def steps(self) -> int:
        """Steps of the query."""
        return int(self.values.shape[1])

    @property
    def marks(self) -> NDArray[np.bool_]:
        """(n,) bool: `drop_name`, for no row too."""
        return np.zeros(len(self), np.bool_) if self.drop_name is None else self.drop_name

    @property
    def everywhere(self) -> NDArray[np.bool_]:
        """(n, steps) bool: where there is a number or a histogram."""
        return self.present if self.natives is None else self.present | self.natives.present

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Vector:
        """Return the chosen rows."""
        natives = None if self.natives is None else self.natives.take(rows)
        marks = None if self.drop_name is None else self.drop_name[rows]
        return Vector(self.labels.take(rows), self.values[rows], self.present[rows], self.ordered, natives, marks)

    def where(self, keep: NDArray[np.bool_]) -> Vector:
        """Return what is there where (n, steps) `keep` is true."""
        natives = None if self.natives is None else self.natives.where(keep)
        return replace(self, present=self.present & keep, natives=natives)

    def with_values(self, values: NDArray[np.float64], present: NDArray[np.bool_] | None = None) -> Vector:
        """Return the vector with other values."""
        return replace(self, values=values, present=self.present if present is None else present, natives=None)

    def compact(self) -> Vector:
        """Leave out the rows that are present nowhere."""
        kept: NDArray[np.bool_] = np.any(self.everywhere, axis=1)
        return self if kept.all() else self.take(kept)

    def without_name(self) -> Vector:
        """Mark the metric names of all rows: they have lost their meaning.

        The evaluation drops them, after each node or at the end of the query, see `settled`.
        """
        return replace(self, drop_name=np.ones(len(self), np.bool_))

    def settled(self) -> Vector:
        """Drop the names that are marked; see `with_labels` for errors."""
        if self.drop_name is None:
            return self
        labels = nameless(self.labels, self.drop_name)
        unmarked = replace(self, labels=labels, drop_name=None)
        if self.drop_name.all() and all(_is_constant(self.labels.column(name)) for name in METADATA):
            return unmarked
        return unmarked.with_labels(labels)

    def with_labels(self, labels: LabelTable, why: str = SAME_LABELS) -> Vector:
        """Return the vector with other label sets; rows that become equal are merged.

        Raises:
            ExecutionError: Two of them are present at the same step; the text is `why`.
        """
        groups, first = labels.groups()
        if len(first) == len(labels):
            return replace(self, labels=labels)
        there: NDArray[np.bool_] = np.any(self.everywhere, axis=1)
        if not there.all():  # A row that is never there does not decide where the others stand.
            return self.take(there).with_labels(labels.take(there), why)
        shape = (len(first), self.steps)
        values, present = np.zeros(shape), np.zeros(shape, np.bool_)
        numbers = groups.astype(np.int64)
        merged = kernels.merge(self.values, self.present, numbers, values, present)
        if merged and self.natives is not None:
            merged = kernels.collision(self.everywhere, numbers, np.empty(len(first), np.int64))[0] < 0
        if not merged:
            raise ExecutionError(why)
        natives = None if self.natives is None else self.natives.grouped(groups, len(first))
        return Vector(labels.take(first), values, present, self.ordered, natives, self._merged_marks(groups))

    def _merged_marks(self, groups: NDArray[np.intp]) -> NDArray[np.bool_] | None:
        """Return the mark of each group: that of the row which is present first."""
        if self.drop_name is None:
            return None
        begins = np.where(self.everywhere.any(axis=1), self.everywhere.argmax(axis=1), self.steps)
        order = np.lexsort((begins, groups))
        marks: NDArray[np.bool_] = self.drop_name[order[np.unique(groups[order], return_index=True)[1]]]
        return marks

    def repeat(self, steps: int) -> Vector:
        """Repeat a vector of one step."""
        values, present = np.repeat(self.values, steps, axis=1), np.repeat(self.present, steps, axis=1)
        natives = None if self.natives is None else self.natives.repeat(steps)
        return Vector(self.labels, values, present, natives=natives, drop_name=self.drop_name)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number at each step: (steps,) float64."""

    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    value: str


class Beyond(NamedTuple):
    """How far beyond the windows an anchored or smoothed selector looks."""

    before_ms: int = 0
    after_ms: int = 0


NOT_BEYOND = Beyond()
"""Of other selectors."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Samples to look at through windows; stale markers are gone.

    Attributes:
        labels: n label sets.
        offsets: (n + 1,) int64; samples of series i are ``offsets[i]:offsets[i + 1]``.
        times_ms: (m,) int64.
        values: (m,) float64.
        ends: When the windows end: all at the same time where the step is 0.
        range_ms: How long they are; the beginning is not part of them.
        natives: Native histograms of the same series.
        drop_name: (n,) bool, as in `Vector`.
        looked_at: Samples that a subquery looked at; None for a selector.
        beyond: How far the samples of each window go beyond it.
        starts_ms: (m,) int64, when what each sample counts began, 0 where that is unknown; None where no sample says,
            or nobody is to know.
    """

    labels: LabelTable
    offsets: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    ends: Grid
    range_ms: int
    natives: NativeRanges | None = None
    drop_name: NDArray[np.bool_] | None = None
    looked_at: int | None = None
    beyond: Beyond = NOT_BEYOND
    starts_ms: NDArray[np.int64] | None = None

    def settled(self) -> Ranges:
        """Drop the names that are marked; series that become equal are put together.

        Raises:
            ExecutionError: Two of them have a sample at the same time.
        """
        if self.drop_name is None:
            return self
        labels = nameless(self.labels, self.drop_name)
        groups, first = labels.groups()
        owners = np.repeat(groups, np.diff(self.offsets))
        order = np.lexsort((self.times_ms, owners))
        owners, times = owners[order], self.times_ms[order]
        if ((owners[1:] == owners[:-1]) & (times[1:] == times[:-1])).any():
            raise ExecutionError(SAME_LABELS)
        offsets = np.searchsorted(owners, np.arange(len(first) + 1)).astype(np.int64)
        values = self.values[order]
        natives, distinct = (None, True) if self.natives is None else self.natives.grouped(groups, len(first))
        if not distinct:
            raise ExecutionError(SAME_LABELS)
        return replace(
            self, labels=labels.take(first), offsets=offsets, times_ms=times, values=values, natives=natives,
            drop_name=None,
        )  # fmt: skip


Value = Vector | Scalar | Text | Ranges


def alone(values: NDArray[np.float64], symbols: QuerySymbols) -> Vector:
    """Return a vector of one series without labels, from (steps,) values."""
    return Vector(LabelTable.of([{}], symbols), values[None, :], np.ones((1, len(values)), np.bool_))


def empty(like: LabelTable, steps: int) -> Vector:
    """Return a vector without rows."""
    labels = LabelTable((), np.empty((0, 0), np.int32), like.symbols)
    return Vector(labels, np.empty((0, steps)), np.empty((0, steps), np.bool_))


def stacked(tables: Sequence[LabelTable], names: Iterable[str]) -> NDArray[np.int32]:
    """Return the values of some labels in the rows of all tables, one after the other: (rows, names) int32."""
    columns = [np.concatenate([table.column(name) for table in tables]) for name in names]
    rows = sum(len(table) for table in tables)
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0), np.int32)


def joined(one: Vector, other: Vector, why: str = SAME_LABELS) -> Vector:
    """Put the rows of two vectors together; see `Vector.with_labels` for errors."""
    names = tuple(sorted({*one.labels.names, *other.labels.names}))
    labels = LabelTable(names, stacked([one.labels, other.labels], names), one.labels.symbols)
    values = np.concatenate([one.values, other.values])
    present = np.concatenate([one.present, other.present])
    natives = joined_natives([(one.natives, one.values.shape), (other.natives, other.values.shape)])
    marks = np.concatenate([one.marks, other.marks])
    return Vector(labels, values, present, natives=natives, drop_name=marks if marks.any() else None).with_labels(
        labels, why
    )


def nameless(table: LabelTable, rows: NDArray[np.bool_]) -> LabelTable:
    """Drop METADATA from some rows, (n,) bool."""
    if rows.all():
        return table.drop(METADATA)
    out = table
    for name in METADATA:
        if name in table.names:
            out = out.with_column(name, np.where(rows, np.int32(ABSENT), table.column(name)))
    return out


def _is_constant(column: NDArray[np.int32]) -> bool:
    return not len(column) or bool((column == column[0]).all())


def shown(table: LabelTable, row: int) -> str:
    """Write a label set as Prometheus does in errors."""
    return "{" + ", ".join(f'{name}="{_escape(value)}"' for name, value in table.labels(row).items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
