"""Binary operators: scalars, vectors with scalars, vectors matched by labels, sets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.promql import aggregate_kernels as kernels
from headrace.store.promql.language.ast import Matching
from headrace.store.promql.matching import Match, signatures
from headrace.store.promql.natives.binary import TRIMS, applies, with_natives
from headrace.store.promql.power_kernels import powers
from headrace.store.promql.values import Scalar, Vector, empty, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import Binary

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
    out = _result(run, node, vector, lhs, rhs)
    return out.without_name() if node.op in ARITHMETIC or node.return_bool else out


def _of_vectors(run: Evaluation, node: Binary, matching: Matching, lhs: Vector, rhs: Vector) -> Vector:
    drops_name = node.op in ARITHMETIC or (node.return_bool and not run.options.delayed_name_removal)
    match = Match(matching, lhs, rhs, drops_name=drops_name, limit=run.limit, applies=partial(applies, node.op))
    matched = match.matched()
    if matched is None:
        return empty(lhs.labels, lhs.steps)
    like = Vector(matched.labels, matched.left.values, matched.left.present & matched.right.present)
    result = _result(run, node, like, matched.left, matched.right).with_labels(matched.labels).compact()
    return result.without_name() if node.return_bool else result


def _result(run: Evaluation, node: Binary, like: Vector, lhs: Vector | Scalar, rhs: Vector | Scalar) -> Vector:
    """Apply the operator to operands row by row; what comparisons let pass are the values of `like`."""
    if node.op in TRIMS:
        numbers = _trimmed(run, node, like)
    elif node.op in COMPARISONS and not node.return_bool:
        numbers = like.with_values(like.values, like.present & COMPARISONS[node.op](lhs.values, rhs.values))
    else:
        numbers = like.with_values(_compute(node.op, lhs.values, rhs.values))
    return with_natives(node, lhs, rhs, numbers, run.notes)


def _trimmed(run: Evaluation, node: Binary, numbers: Vector) -> Vector:
    """Return what is left of plain numbers: nothing, with a remark where there were any."""
    if numbers.present.any() and numbers.natives is None:
        why = "incompatible sample types encountered for binary operator"
        run.notes.info(f'{why} "{node.op}": float {node.op} float', node)
    return numbers.with_values(numbers.values, np.zeros(numbers.present.shape, np.bool_))


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
