"""Binary operators: scalars, vectors with scalars, vectors matched by labels, sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store.promql import aggregate_kernels as kernels
from headrace.store.promql.ast import Matching
from headrace.store.promql.matching import Match, Matched, signatures
from headrace.store.promql.power_kernels import powers
from headrace.store.promql.values import Scalar, Vector, empty, joined

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


def _powers(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    shape = np.broadcast_shapes(one.shape, other.shape)
    base, exponent = (np.array(np.broadcast_to(side, shape)) for side in (one, other))
    out = np.power(base, exponent)
    powers(base.ravel(), exponent.ravel(), out.reshape(-1))
    return out


ARITHMETIC: dict[str, Callable[..., NDArray[np.float64]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": _powers,
    "atan2": np.arctan2,
}
"""Operators that compute."""

TRIMS = frozenset({"</", ">/"})
"""Operators of native histograms that leave observations out."""


def binary(run: Evaluation, node: Binary, lhs: Vector | Scalar, rhs: Vector | Scalar) -> Vector | Scalar:
    """Apply the operator of `node` to its operands."""
    with np.errstate(all="ignore"):
        if isinstance(lhs, Vector) and isinstance(rhs, Vector):
            matching = node.matching or Matching()
            if node.op in {"and", "or", "unless"}:
                return _set_operator(node.op, matching, lhs, rhs)
            return _of_vectors(run, node, matching, lhs, rhs)
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
    if node.op in TRIMS:
        return _trimmed(run, node, vector)
    if node.op in COMPARISONS and not node.return_bool:
        holds = COMPARISONS[node.op](lhs.values, rhs.values)
        return vector.with_values(vector.values, vector.present & holds)
    return vector.with_values(_compute(node.op, lhs.values, rhs.values)).without_name()


def _of_vectors(run: Evaluation, node: Binary, matching: Matching, lhs: Vector, rhs: Vector) -> Vector:
    drops_name = node.op in ARITHMETIC or (node.return_bool and not run.options.delayed_name_removal)
    matched = Match(matching, lhs, rhs, drops_name=drops_name, limit=run.limit).matched()
    if matched is None:
        return empty(lhs.labels, lhs.steps)
    present = matched.left.present & matched.right.present
    result = _result(run, node, matched, present).with_labels(matched.labels).compact()
    return result.without_name() if node.return_bool else result


def _result(run: Evaluation, node: Binary, matched: Matched, present: NDArray[np.bool_]) -> Vector:
    left, right = matched.left.values, matched.right.values
    if node.op in TRIMS:
        return _trimmed(run, node, Vector(matched.labels, left, present))
    if node.op in COMPARISONS and not node.return_bool:
        return Vector(matched.labels, left, present & COMPARISONS[node.op](left, right))
    return Vector(matched.labels, _compute(node.op, left, right), present)


def _trimmed(run: Evaluation, node: Binary, numbers: Vector) -> Vector:
    """Return what is left of plain numbers: nothing, with a remark where there were any."""
    if numbers.present.any():
        why = "incompatible sample types encountered for binary operator"
        run.notes.info(f'{why} "{node.op}": float {node.op} float', node)
    return numbers.where(np.zeros(numbers.present.shape, np.bool_))


def _set_operator(op: str, matching: Matching, lhs: Vector, rhs: Vector) -> Vector:
    numbers, count = signatures(matching, lhs.labels, rhs.labels)
    left, right = numbers[: len(lhs)], numbers[len(lhs) :]
    there = np.zeros((count, lhs.steps), np.bool_)
    if op == "or":
        kernels.any_of(lhs.everywhere, left, there)
        rest = rhs.where(~there[right])
        return joined(lhs.compact(), rest.compact())
    kernels.any_of(rhs.everywhere, right, there)
    matched = there[left]
    return lhs.where(matched if op == "and" else ~matched).compact()
