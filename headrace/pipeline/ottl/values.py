"""Plain values: comparison, sums and text by OTTL's rules."""

from __future__ import annotations

import json
import math
import operator
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.otlp_names import attribute_text

if TYPE_CHECKING:
    from collections.abc import Callable

ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ONLY_EQUAL = frozenset({"list", "map"})


def type_name(value: object) -> str:
    """Return what messages call the type of a value."""
    if value is None:
        return "nil"
    names = {bool: "bool", int: "int", float: "double", str: "string", bytes: "bytes", list: "list", dict: "map"}
    return names[type(value)]


def compare(op: str, left: Any, right: Any) -> bool:
    """Compare: values of unlike types are not equal, and no order holds between them."""
    if left is None and right is None:
        return op in {"==", "<=", ">="}
    kinds = {type_name(left), type_name(right)}
    if len(kinds) > 1 and kinds != {"int", "double"}:
        return op == "!="
    if kinds & _ONLY_EQUAL and op not in {"==", "!="}:
        return False
    return bool(ORDER[op](left, right))


def calculate(op: str, left: Any, right: Any) -> int | float:
    """Add, subtract, multiply or divide numbers; an int and a double make a double, and ints wrap at 64 bits.

    Raises:
        InvalidInput: One of them is no number, or the divisor is 0.
    """
    for value in (left, right):
        if type_name(value) not in {"int", "double"}:
            raise InvalidInput(f"{op} takes numbers, not {type_name(value)}")
    if op == "/" and right == 0:
        raise InvalidInput("division by 0")
    if isinstance(left, int) and isinstance(right, int):
        return _wrapped(_integer(op, left, right))
    try:
        return float({"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[op](left, right))
    except OverflowError:
        return math.inf


def _integer(op: str, left: int, right: int) -> int:
    if op == "/":
        # Towards 0, as Go divides.
        return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    return {"+": left + right, "-": left - right, "*": left * right}[op]


def _wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def text_of(value: Any) -> str:
    """Return a value as text, as the converter ``String`` does; bytes are hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, separators=(",", ":")) if isinstance(value, list | dict) else attribute_text(value)


def need_text(value: Any, what: str) -> str:
    """Return `value`, which has to be a string.

    Raises:
        InvalidInput: It is none.
    """
    if not isinstance(value, str):
        raise InvalidInput(f"{what} takes a string, not {type_name(value)}")
    return value


def need_int(value: Any, what: str) -> int:
    """Return `value`, which has to be an int.

    Raises:
        InvalidInput: It is none.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{what} takes an int, not {type_name(value)}")
    return value


def need_map(value: Any, what: str) -> dict[str, Any]:
    """Return `value`, which has to be a map.

    Raises:
        InvalidInput: It is none.
    """
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} takes a map, not {type_name(value)}")
    return value


def need_list(value: Any, what: str) -> list[Any]:
    """Return `value`, which has to be a list.

    Raises:
        InvalidInput: It is none.
    """
    if not isinstance(value, list):
        raise InvalidInput(f"{what} takes a list, not {type_name(value)}")
    return value
