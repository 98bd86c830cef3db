"""Values that differ from point to point: what is left of an expression once the identity of a series is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.values import ORDER, calculate, compare, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = {
    "value_double": "double", "value_int": "int", "time_unix_nano": "int", "start_time_unix_nano": "int",
    "flags": "int", "count": "int", "sum": "double", "min": "double", "max": "double", "scale": "int",
    "zero_count": "int", "zero_threshold": "double",
}  # fmt: skip
"""Fields of a point that are columns, with their types."""


class Points(Protocol):
    """Rows of points of one sort."""

    def __len__(self) -> int:
        """Count the rows."""

    def column(self, name: str) -> Any:
        """Return (n,) int64 or float64 of a field in NAMES; None where points of this sort have none."""


@dataclass(frozen=True, slots=True)
class Column:
    """A value or a condition of points, not yet computed.

    Attributes:
        key: Text that is equal for equal computations.
        run: Computes it: (n,) int64, float64 or bool, a plain value that holds for all rows, or None for nil.
    """

    key: str
    run: Callable[[Points], Any]


def field(name: str) -> Column:
    """Return the column of a field in NAMES."""
    return Column(name, lambda points: points.column(name))


def lifted(op: str, left: Any, right: Any) -> Any:
    """Apply a comparison, ``and``, ``or`` or a sum to plain values and columns; a column where one of them is."""
    if op in {"and", "or"}:
        return _joined(op, left, right)
    apply = _compare if op in ORDER else _calculate
    if not isinstance(left, Column) and not isinstance(right, Column):
        return (compare if op in ORDER else calculate)(op, left, right)
    if op == "/" and not isinstance(right, Column) and right == 0:
        raise InvalidInput("division by 0")
    return Column(f"({_key(left)} {op} {_key(right)})", lambda points: apply(op, _on(left, points), _on(right, points)))


def negated(condition: Any) -> Any:
    """Return ``not`` of a plain truth value or a column of them."""
    if isinstance(condition, Column):
        run = condition.run
        return Column(f"(not {condition.key})", lambda points: np.logical_not(run(points)))
    return not truth(condition)


def converted(value: Column, dtype: type[np.int64 | np.float64]) -> Column:
    """Return a column with its numbers as int64 or float64."""

    def run(points: Points) -> Any:
        found = value.run(points)
        return None if found is None else np.asarray(found).astype(dtype)

    return Column(f"{dtype.__name__}({value.key})", run)


def truth(value: Any) -> bool:
    """Return a plain truth value.

    Raises:
        InvalidInput: It is none.
    """
    if not isinstance(value, bool):
        raise InvalidInput(f"a condition answers yes or no, not {type_name(value)}")
    return value


def _joined(op: str, left: Any, right: Any) -> Any:
    deciding = op == "or"
    for one, other in ((left, right), (right, left)):
        if not isinstance(one, Column):
            return one if truth(one) == deciding else other
    combine = np.logical_or if deciding else np.logical_and
    return Column(f"({left.key} {op} {right.key})", lambda points: combine(left.run(points), right.run(points)))


def _on(value: Any, points: Points) -> Any:
    return value.run(points) if isinstance(value, Column) else value


def _key(value: Any) -> str:
    return value.key if isinstance(value, Column) else repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, np.ndarray) or type_name(value) in {"int", "double"}


def _compare(op: str, left: Any, right: Any) -> Any:
    if not isinstance(left, np.ndarray) and not isinstance(right, np.ndarray):
        return compare(op, left, right)
    return ORDER[op](left, right) if _is_number(left) and _is_number(right) else op == "!="


def _calculate(op: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if not (_is_number(left) and _is_number(right)):
        raise InvalidInput(f"{op} takes numbers")
    with np.errstate(all="ignore"):
        if op != "/":
            return {"+": np.add, "-": np.subtract, "*": np.multiply}[op](left, right)
        whole = np.asarray(left).dtype.kind == "i" and isinstance(right, int)
        # Towards 0, as Go divides.
        return np.sign(left) * np.sign(right) * (np.abs(left) // abs(right)) if whole else np.true_divide(left, right)
