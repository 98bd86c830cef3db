"""Vector matching: which rows of two operands belong together, and what their results are called.

Every row of the "many" side is paired with every row of the "one" side of equal signature; which pair counts at a
step, presence tells. Fill modifiers add rows for what is without a partner at some step.

Source:
    Prometheus 3.14, vector matching, group and fill modifiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.labels import LabelTable
from headrace.store.promql import aggregate_kernels as kernels
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.language.ast import Card
from headrace.store.promql.natives.columns import joined_natives
from headrace.store.promql.values import METADATA, Vector, shown, stacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.store.promql.language.ast import Matching

_TOO_MANY = "multiple matches for labels: grouping labels must ensure unique matches"
_IMPLICIT = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"


class Matched(NamedTuple):
    """Operands row by row.

    Attributes:
        left: Rows of the left operand.
        right: As many rows of the right one; a result is where both are present.
        labels: Of the results; rows may be equal at different steps.
    """

    left: Vector
    right: Vector
    labels: LabelTable


def signatures(matching: Matching, lhs: LabelTable, rhs: LabelTable) -> tuple[NDArray[np.int64], int]:
    """Number the label sets that count for matching, over the rows of both sides."""
    if matching.on:
        names = list(matching.labels)
    else:
        unwanted = {METRIC_NAME, *matching.labels}
        names = sorted({*lhs.names, *rhs.names} - unwanted)
    table = LabelTable(tuple(sorted(names)), stacked([lhs, rhs], sorted(names)), lhs.symbols)
    numbers, first = table.groups()
    return numbers.astype(np.int64), len(first)


@dataclass(frozen=True, slots=True)
class _Side:
    """One operand: its rows, their signatures, and what stands in for a row that is missing."""

    vector: Vector
    signature: NDArray[np.int64]
    fill: float | None

    def there(self, count: int) -> NDArray[np.bool_]:
        """Return (signatures, steps): where some row is present."""
        out = np.zeros((count, self.vector.steps), np.bool_)
        kernels.any_of(self.vector.everywhere, self.signature, out)
        return out


class _Rows(NamedTuple):
    """Rows of both sides that are paired, the labels of the results, and signatures."""

    many: Vector
    one: Vector
    labels: LabelTable
    signature: NDArray[np.int64]


class Match:
    """The rows of two operands that belong together.

    Args:
        matching: How.
        lhs: Left operand.
        rhs: Right operand.
        drops_name: Whether results are something else than what their metric name says.
        limit: Refuses too many points.
        applies: Tells for operands row by row, left and right, where there is a result, (rows, steps); where there is
            none, results of one group do not get in each other's way.
    """

    def __init__(
        self,
        matching: Matching,
        lhs: Vector,
        rhs: Vector,
        *,
        drops_name: bool,
        limit: Callable[[int], None],
        applies: Callable[[Vector, Vector], NDArray[np.bool_]],
    ) -> None:
        self._applies = applies
        self._matching = matching
        self._drops_name = drops_name
        self._limit = limit
        lhs, rhs = lhs.compact(), rhs.compact()
        numbers, self._count = signatures(matching, lhs.labels, rhs.labels)
        left, right = numbers[: len(lhs)], numbers[len(lhs) :]
        self._swapped = matching.card is Card.ONE_TO_MANY
        if self._swapped:
            lhs, rhs, left, right = rhs, lhs, right, left
        # With group_right too, the left fill is for the "many" side.
        self._many = _Side(lhs, left, matching.fill_left)
        self._one = _Side(rhs, right, matching.fill_right)

    def matched(self) -> Matched | None:
        """Return the operands row by row; None where nothing can match.

        Raises:
            ExecutionError: The label sets do not match as they have to.
        """
        fills = self._many.fill is not None or self._one.fill is not None
        if not fills and not (len(self._many.vector) and len(self._one.vector)):
            return None
        step = self._first_double(fills=fills)
        parts = [self._pairs()]
        if self._one.fill is not None:
            parts.append(self._without_one(self._one.fill))
        self._check_many_side(parts, step)
        if step < self._many.vector.steps:
            raise ExecutionError(self._doubled(step))
        if self._many.fill is not None:
            parts.append(self._without_many(self._many.fill))
        rows = _together(parts)
        sides = (rows.one, rows.many) if self._swapped else (rows.many, rows.one)
        return Matched(*sides, rows.labels)

    # -- rows ----------------------------------------------------------------------------------------------

    def _pairs(self) -> _Rows:
        """Return all pairs of rows."""
        order = np.argsort(self._one.signature, kind="stable")
        ordered = self._one.signature[order]
        begin = np.searchsorted(ordered, self._many.signature, "left")
        sizes = np.searchsorted(ordered, self._many.signature, "right") - begin
        self._limit(int(sizes.sum()) * self._many.vector.steps)
        many = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(many)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        one = order[np.repeat(begin, sizes) + within]
        left, right = self._many.vector.take(many), self._one.vector.take(one)
        return _Rows(left, right, self._labels(left.labels, right.labels), self._many.signature[many])

    def _without_one(self, fill: float) -> _Rows:
        """Return the "many" side where the other one has nothing."""
        side = self._many
        left = side.vector.where(~self._one.there(self._count)[side.signature])
        return _Rows(left, _constant(left, fill), self._labels(left.labels, self._group(left.labels)), side.signature)

    def _without_many(self, fill: float) -> _Rows:
        """Return the "one" side where the other one has nothing."""
        side = self._one
        right = side.vector.where(~self._many.there(self._count)[side.signature])
        return _Rows(
            _constant(right, fill), right, self._labels(self._group(right.labels), right.labels), side.signature
        )

    def _group(self, table: LabelTable) -> LabelTable:
        """Return the labels that count for matching."""
        names = self._matching.labels
        return table.keep(names) if self._matching.on else table.drop([METRIC_NAME, *names])

    def _labels(self, many: LabelTable, one: LabelTable) -> LabelTable:
        """Return the labels of results from those of both sides, row by row."""
        matching = self._matching
        table = many.drop(METADATA) if self._drops_name else many
        if matching.card is Card.ONE_TO_ONE:
            return table.keep(matching.labels) if matching.on else table.drop(matching.labels)
        for name in matching.include:
            table = table.with_column(name, one.column(name))
        return table

    # -- checks --------------------------------------------------------------------------------------------

    def _first_double(self, *, fills: bool) -> int:
        """Return the first step at which two rows of the "one" side have one signature; past the last if none."""
        present = self._one.vector.everywhere
        if not fills:
            # At a step where the other side is empty, nothing is matched and nothing can be wrong.
            present = present & self._many.vector.everywhere.any(axis=0)
        scratch = np.empty(self._count, np.int64)
        one, other = kernels.collision(present, self._one.signature, scratch)
        # The pair is of the first step at which there is any.
        return present.shape[1] if one < 0 else int(np.argmax(present[one] & present[other]))

    def _doubled(self, step: int) -> str:
        """Say which two rows of the "one" side have the same signature at a step."""
        side = self._one
        present = np.ascontiguousarray(side.vector.everywhere[:, step : step + 1])
        pair = kernels.collision(present, side.signature, np.empty(self._count, np.int64))
        table = side.vector.labels
        where = "left" if self._swapped else "right"
        found = ", ".join(sorted(shown(table, row) for row in pair))
        return (
            f"found duplicate series for the match group {shown(self._group(table), pair[0])} on the {where} hand-side "
            f"of the operation: [{found}];many-to-many matching not allowed: "
            "matching labels must be unique on one side"
        )

    def _check_many_side(self, parts: Sequence[_Rows], before: int) -> None:
        """Refuse two results of one group at a step below `before`, unless the labels tell them apart."""
        pairs = [(part.one, part.many) if self._swapped else (part.many, part.one) for part in parts]
        present = np.concatenate([self._applies(*pair)[:, :before] for pair in pairs])
        groups, why = np.concatenate([part.signature for part in parts]), _IMPLICIT
        if self._matching.card is not Card.ONE_TO_ONE:
            equal = _tables([part.labels for part in parts]).groups()[0]
            groups, why = np.unique(np.column_stack([groups, equal]), axis=0, return_inverse=True)[1].ravel(), _TOO_MANY
        size = int(groups.max(initial=-1)) + 1
        if len(np.unique(groups)) < len(groups):
            numbers = groups.astype(np.int64)
            if kernels.collision(present, numbers, np.empty(size, np.int64))[0] >= 0:
                raise ExecutionError(why)


def _constant(like: Vector, value: float) -> Vector:
    return Vector(like.labels, np.full(like.values.shape, value), like.everywhere)


def _together(parts: Sequence[_Rows]) -> _Rows:
    if len(parts) == 1:
        return parts[0]
    many, one = _rows([part.many for part in parts]), _rows([part.one for part in parts])
    labels = _tables([part.labels for part in parts])
    return _Rows(many, one, labels, np.concatenate([part.signature for part in parts]))


def _rows(vectors: Sequence[Vector]) -> Vector:
    """Put rows one after the other, whether their labels differ or not."""
    natives = joined_natives([(vector.natives, vector.values.shape) for vector in vectors])
    values = np.concatenate([vector.values for vector in vectors])
    present = np.concatenate([vector.present for vector in vectors])
    return Vector(_tables([vector.labels for vector in vectors]), values, present, natives=natives)


def _tables(tables: Sequence[LabelTable]) -> LabelTable:
    names = tuple(sorted({name for table in tables for name in table.names}))
    return LabelTable(names, stacked(tables, names), tables[0].symbols)
