"""Binary operators: scalars, vectors with scalars, vectors matched by labels, sets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.labels import LabelTable
from headrace.store.promql import aggregate_kernels as kernels
from headrace.store.promql.ast import Card, Matching
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.native_binary import with_natives
from headrace.store.promql.values import METADATA, Scalar, Vector, empty, joined, shown, stacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.promql.ast import Binary
    from headrace.store.promql.evaluation import Evaluation

COMPARISONS: dict[str, Callable[..., NDArray[np.bool_]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
"""Operators that filter."""

ARITHMETIC: dict[str, Callable[..., NDArray[np.float64]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
"""Operators that compute."""

_TOO_MANY = "multiple matches for labels: grouping labels must ensure unique matches"
_IMPLICIT = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"


def binary(run: Evaluation, node: Binary, lhs: Vector | Scalar, rhs: Vector | Scalar) -> Vector | Scalar:
    """Apply the operator of `node` to its operands."""
    with np.errstate(all="ignore"):
        if isinstance(lhs, Vector) and isinstance(rhs, Vector):
            matching = node.matching or Matching()
            if node.op in {"and", "or", "unless"}:
                return _set_operator(node.op, matching, lhs, rhs)
            return _Match(run, node, matching, lhs, rhs).result()
        if isinstance(lhs, Scalar) and isinstance(rhs, Scalar):
            return Scalar(_compute(node.op, lhs.values, rhs.values))
        return _with_scalar(run, node, lhs, rhs)


def _compute(op: str, one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    if op in ARITHMETIC:
        return ARITHMETIC[op](one, other)
    return COMPARISONS[op](one, other).astype(np.float64)


def _with_scalar(run: Evaluation, node: Binary, lhs: Vector | Scalar, rhs: Vector | Scalar) -> Vector:
    vector = lhs if isinstance(lhs, Vector) else rhs
    if not isinstance(vector, Vector):
        raise AssertionError("bug: two scalars")
    if node.op in COMPARISONS and not node.return_bool:
        values, present = vector.values.copy(), vector.present & COMPARISONS[node.op](lhs.values, rhs.values)
    else:
        values, present = _compute(node.op, lhs.values, rhs.values), vector.present
    found = with_natives(node, lhs, rhs, values, present, run.notes)
    out = replace(vector.with_values(found.values, found.present), natives=found.natives)
    return out.without_name() if node.op in ARITHMETIC or node.return_bool else out


# -- matching --------------------------------------------------------------------------------------------------


def _signatures(matching: Matching, lhs: LabelTable, rhs: LabelTable) -> tuple[NDArray[np.int64], int]:
    """Number the label sets that count for matching, over the rows of both sides."""
    if matching.on:
        names = list(matching.labels)
    else:
        unwanted = {METRIC_NAME, *matching.labels}
        names = sorted({*lhs.names, *rhs.names} - unwanted)
    table = LabelTable(tuple(sorted(names)), stacked([lhs, rhs], sorted(names)), lhs.symbols)
    numbers, first = table.groups()
    return numbers.astype(np.int64), len(first)


def _set_operator(op: str, matching: Matching, lhs: Vector, rhs: Vector) -> Vector:
    numbers, count = _signatures(matching, lhs.labels, rhs.labels)
    left, right = numbers[: len(lhs)], numbers[len(lhs) :]
    there = np.zeros((count, lhs.steps), np.bool_)
    if op == "or":
        kernels.any_of(lhs.everywhere, left, there)
        rest = rhs.where(~there[right])
        return joined(lhs.compact(), rest.compact())
    kernels.any_of(rhs.everywhere, right, there)
    matched = there[left]
    return lhs.where(matched if op == "and" else ~matched).compact()


@dataclass(frozen=True, slots=True)
class _Side:
    """One operand: its rows and their signatures."""

    vector: Vector
    signature: NDArray[np.int64]


class _Match:
    """One operator between two vectors.

    Every row of the "many" side is paired with every row of the "one" side of equal signature; which pair counts at
    a step, presence tells.
    """

    def __init__(self, run: Evaluation, node: Binary, matching: Matching, lhs: Vector, rhs: Vector) -> None:
        self._run = run
        self._node = node
        self._matching = matching
        self._lhs = lhs.compact()
        self._rhs = rhs.compact()
        numbers, self._count = _signatures(matching, self._lhs.labels, self._rhs.labels)
        left = _Side(self._lhs, numbers[: len(self._lhs)])
        right = _Side(self._rhs, numbers[len(self._lhs) :])
        self._swapped = matching.card is Card.ONE_TO_MANY
        self._many, self._one = (right, left) if self._swapped else (left, right)

    def result(self) -> Vector:
        """Compute.

        Raises:
            ExecutionError: The label sets do not match as they have to.
        """
        if not len(self._lhs) or not len(self._rhs):
            return empty(self._lhs.labels, self._lhs.steps)
        self._check_one_side()
        many, one = self._pairs()
        left, right = (one, many) if self._swapped else (many, one)
        lhs, rhs = self._lhs.take(left), self._rhs.take(right)
        found = with_natives(self._node, lhs, rhs, *self._values(lhs, rhs), self._run.notes)
        if self._matching.card is Card.ONE_TO_ONE:
            self._check(found.applies, self._many.signature[many], _IMPLICIT)
        labels = self._labels(many, one)
        matched = (
            Vector(labels, found.values, found.present, natives=found.natives).with_labels(labels, _TOO_MANY).compact()
        )
        return matched.without_name() if self._node.return_bool else matched

    def _pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows of both sides of all pairs."""
        order = np.argsort(self._one.signature, kind="stable")
        ordered = self._one.signature[order]
        begin = np.searchsorted(ordered, self._many.signature, "left")
        sizes = np.searchsorted(ordered, self._many.signature, "right") - begin
        self._run.limit(int(sizes.sum()) * self._lhs.steps)
        many = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(many)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return many, order[np.repeat(begin, sizes) + within]

    def _values(self, lhs: Vector, rhs: Vector) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        node = self._node
        if node.op in COMPARISONS and not node.return_bool:
            present = lhs.present & rhs.present & COMPARISONS[node.op](lhs.values, rhs.values)
            return lhs.values.copy(), present
        return _compute(node.op, lhs.values, rhs.values), lhs.present & rhs.present

    def _labels(self, many: NDArray[np.intp], one: NDArray[np.intp]) -> LabelTable:
        matching = self._matching
        table = self._many.vector.labels.take(many)
        if self._node.op in ARITHMETIC or (self._node.return_bool and not self._run.options.delayed_name_removal):
            table = table.drop(METADATA)
        if matching.card is Card.ONE_TO_ONE:
            return table.keep(matching.labels) if matching.on else table.drop(matching.labels)
        for name in matching.include:
            table = table.with_column(name, self._one.vector.labels.column(name)[one])
        return table

    def _check_one_side(self) -> None:
        side = self._one
        # At a step where the other side is empty, nothing is matched and nothing can be wrong.
        present = side.vector.everywhere & self._many.vector.everywhere.any(axis=0)
        rows = kernels.collision(present, side.signature, np.empty(self._count, np.int64))
        if rows[0] < 0:
            return
        table = side.vector.labels
        names = self._matching.labels
        group = table.keep(names) if self._matching.on else table.drop([METRIC_NAME, *names])
        where = "left" if self._swapped else "right"
        found = ", ".join(sorted(shown(table, row) for row in rows))
        raise ExecutionError(
            f"found duplicate series for the match group {shown(group, rows[0])} on the {where} hand-side of the "
            f"operation: [{found}];many-to-many matching not allowed: "
            "matching labels must be unique on one side"
        )

    def _check(self, present: NDArray[np.bool_], group: NDArray[np.int64], why: str) -> None:
        if kernels.collision(present, group, np.empty(self._count, np.int64))[0] >= 0:
            raise ExecutionError(why)
