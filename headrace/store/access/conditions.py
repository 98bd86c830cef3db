"""Condition operators of policies.

Source:
    AWS IAM User Guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

from headrace.pipeline.errors import InvalidInput
from headrace.store.access.patterns import Context, Pattern, parse_pattern

Test = Callable[[str, Context], bool]
"""Whether one value of a request is what one value of a policy asks for."""

Read = Callable[[str, str, bool], Test]
"""Makes a `Test` of a value of a policy; further arguments are its path and whether it may hold variables."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One key under one operator.

    Attributes:
        operator: As it stands in the policy.
        key: As it stands in the policy.
        wanted: The policy's values.
        tests: One for each of them.
        negated: Whether none of them may hold, instead of one.
        if_exists: Whether a request without the key fulfils it.
        quantifier: ``forallvalues``, ``foranyvalue`` or nothing.
    """

    operator: str
    key: str
    wanted: tuple[str, ...]
    tests: tuple[Test, ...]
    negated: bool
    if_exists: bool
    quantifier: str

    def holds(self, context: Context) -> bool:
        """Return whether a request fulfils it."""
        found = context.get(self.key.lower())
        if self.operator.lower() == "null":
            absent = found is None or found == ()
            return any(test("true" if absent else "false", context) for test in self.tests)
        if found is None or found == ():
            if self.quantifier:
                return self.quantifier == "forallvalues"
            return self.if_exists or self.negated
        values = (found,) if isinstance(found, str) else found
        verdicts = (self._one(value, context) for value in values)
        if self.quantifier == "forallvalues":
            return all(verdicts)
        if self.quantifier == "foranyvalue" or not self.negated:
            return any(verdicts)
        return all(verdicts)

    def _one(self, value: str, context: Context) -> bool:
        return any(test(value, context) for test in self.tests) != self.negated

    def why_not(self, context: Context) -> str:
        """Say what keeps a request from fulfilling it."""
        found = context.get(self.key.lower())
        wanted = ", ".join(map(repr, self.wanted))
        has = "is not in the request" if found is None else f"is {found!r}"
        return f"condition {self.operator}: {self.key} {has}, and the policy names {wanted}"


def _strings(*, wild: bool, ignore_case: bool) -> Read:
    def read(text: str, path: str, variables: bool) -> Test:  # noqa: FBT001 -- called by position, see `Read`
        return parse_pattern(text, path, wild=wild, variables=variables, ignore_case=ignore_case).matches

    return read


def _numbers(compare: Callable[[float, float], bool]) -> Read:
    def read(text: str, path: str, _variables: bool) -> Test:  # noqa: FBT001
        wanted = _number(text)
        if wanted is None:
            raise InvalidInput(f"{path}: must be a number, got {text!r}")

        def test(value: str, _context: Context) -> bool:
            number = _number(value)
            return number is not None and compare(number, wanted)

        return test

    return read


def _dates(compare: Callable[[float, float], bool]) -> Read:
    def read(text: str, path: str, _variables: bool) -> Test:  # noqa: FBT001
        wanted = _date(text)
        if wanted is None:
            raise InvalidInput(f"{path}: must be a date such as 2026-11-24T12:00:00Z, or epoch seconds, got {text!r}")

        def test(value: str, _context: Context) -> bool:
            date = _date(value)
            return date is not None and compare(date, wanted)

        return test

    return read


def _bool(text: str, path: str, _variables: bool) -> Test:  # noqa: FBT001
    wanted = text.lower()
    if wanted not in {"true", "false"}:
        raise InvalidInput(f"{path}: must be true or false, got {text!r}")
    return lambda value, _context: value.lower() == wanted


def _binary(text: str, path: str, _variables: bool) -> Test:  # noqa: FBT001
    try:
        wanted = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{path}: must be base64, got {text!r}") from None

    def test(value: str, _context: Context) -> bool:
        try:
            return base64.b64decode(value, validate=True) == wanted
        except (binascii.Error, ValueError):
            return False

    return test


def _ip(text: str, path: str, _variables: bool) -> Test:  # noqa: FBT001
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidInput(f"{path}: must be an address or a range such as 10.0.0.0/8, got {text!r}") from None

    def test(value: str, _context: Context) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return test


def _arn(text: str, path: str, variables: bool) -> Test:  # noqa: FBT001
    if text == "*":
        text = "arn:*:*:*:*:*"
    parts = text.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn":
        raise InvalidInput(f"{path}: must be an ARN of six parts, got {text!r}")
    patterns: list[Pattern] = [parse_pattern(part, path, wild=True, variables=variables) for part in parts]

    def test(value: str, context: Context) -> bool:
        found = value.split(":", 5)
        return len(found) == 6 and all(p.matches(v, context) for p, v in zip(patterns, found, strict=True))

    return test


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(text: str) -> float | None:
    number = _number(text)
    if number is not None:
        return number
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


_COMPARE: dict[str, tuple[Callable[[float, float], bool], bool]] = {
    "equals": (lambda a, b: a == b, False),
    "notequals": (lambda a, b: a == b, True),
    "lessthan": (lambda a, b: a < b, False),
    "lessthanequals": (lambda a, b: a <= b, False),
    "greaterthan": (lambda a, b: a > b, False),
    "greaterthanequals": (lambda a, b: a >= b, False),
}

_EXACT, _LIKE = _strings(wild=False, ignore_case=False), _strings(wild=True, ignore_case=False)
_IGNORING_CASE = _strings(wild=False, ignore_case=True)

_OPERATORS: dict[str, tuple[Read, bool]] = {
    "stringequals": (_EXACT, False),
    "stringnotequals": (_EXACT, True),
    "stringequalsignorecase": (_IGNORING_CASE, False),
    "stringnotequalsignorecase": (_IGNORING_CASE, True),
    "stringlike": (_LIKE, False),
    "stringnotlike": (_LIKE, True),
    **{f"numeric{name}": (_numbers(compare), negated) for name, (compare, negated) in _COMPARE.items()},
    **{f"date{name}": (_dates(compare), negated) for name, (compare, negated) in _COMPARE.items()},
    "bool": (_bool, False),
    "binaryequals": (_binary, False),
    "ipaddress": (_ip, False),
    "notipaddress": (_ip, True),
    "arnequals": (_arn, False),
    "arnlike": (_arn, False),
    "arnnotequals": (_arn, True),
    "arnnotlike": (_arn, True),
    "null": (_bool, False),
}


def parse_condition(operator: str, key: str, values: tuple[str, ...], path: str, *, variables: bool) -> Condition:
    """Read one key under one operator.

    Args:
        operator: With its prefix and suffix, such as ``ForAnyValue:StringLikeIfExists``.
        key: Condition key, in any case.
        values: The policy's values.
        path: Where it stands, for errors.
        variables: Whether values may hold variables.

    Raises:
        InvalidInput: The operator is unknown, or a value is none that it takes.
    """
    quantifier, colon, name = operator.lower().rpartition(":")
    if colon and quantifier not in {"forallvalues", "foranyvalue"}:
        raise InvalidInput(f"{path}: operator {operator[:80]!r} must begin with ForAllValues: or ForAnyValue:")
    if_exists = name.endswith("ifexists") and name != "nullifexists"
    found = _OPERATORS.get(name.removesuffix("ifexists") if if_exists else name)
    if found is None or (name == "null" and quantifier):
        close = get_close_matches(name, _OPERATORS, 1)
        hint = f", did you mean {close[0]!r} (in any case)?" if close else ""
        raise InvalidInput(f"{path}: unknown operator {operator[:80]!r}{hint}")
    read, negated = found
    tests = tuple(read(value, f"{path}.{key}", variables) for value in values)
    return Condition(operator, key, values, tests, negated, if_exists, quantifier)
