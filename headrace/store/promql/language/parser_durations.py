"""Parsing of durations: numbers, and arithmetic on them.

Source:
    Prometheus 3.14, "Duration expressions".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.store.promql.language.ast import Duration, DurationExpression, NumberLiteral
from headrace.store.promql.language.lexer import DURATION, NUMBER
from headrace.store.promql.language.numbers import MAX_DURATION_SECONDS, duration_ms, number

if TYPE_CHECKING:
    from headrace.store.promql.errors import ParseError
    from headrace.store.promql.language.cursor import Cursor
    from headrace.store.promql.language.lexer import Token

MAX_DEPTH = 100
"""Levels of nesting, so that no query overflows the interpreter's stack."""

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_LOWEST = 1
_POWER = _PRECEDENCE["^"]
_SIGNS = frozenset({"+", "-"})
_TIMES = frozenset({"step", "range"})
_CHOICES = frozenset({"min_of", "max_of"})
_ZERO_FAULTS = {"/": "division by zero", "%": "modulo by zero"}


def literal(cursor: Cursor) -> NumberLiteral:
    """Parse a number or a duration.

    Raises:
        ParseError: Its text is neither.
    """
    token = cursor.take()
    try:
        if token.type == NUMBER:
            return NumberLiteral(value=number(token.text), start=token.start, end=token.end)
        seconds = _seconds(duration_ms(token.text))
    except ValueError as error:
        raise cursor.error(token.start, str(error)) from None
    return NumberLiteral(value=seconds, is_duration=True, start=token.start, end=token.end)


def _seconds(ms: int) -> float:
    """Add whole seconds and their fraction, as Go does, which in the last bit is not a division."""
    whole, rest = divmod(ms, 1000)
    return whole + rest * 1_000_000 / 1e9


class DurationParser:
    """Parses what stands in brackets or after ``offset``.

    Args:
        cursor: Where the query is read.
        enabled: Whether arithmetic is allowed.
    """

    def __init__(self, cursor: Cursor, *, enabled: bool) -> None:
        self._cursor = cursor
        self._enabled = enabled
        self._depth = 0

    def positive(self) -> Duration:
        """Parse a duration in brackets.

        Raises:
            ParseError: It is none, or a number that is not positive.
        """
        value = self._sum(_LOWEST)
        if isinstance(value, NumberLiteral) and value.value <= 0:
            raise self._cursor.error(value.start, "duration must be greater than 0")
        return value

    def offset(self) -> Duration:
        """Parse what follows ``offset``: outside parentheses the shortest duration there is.

        Raises:
            ParseError: It is none.
        """
        kind = self._cursor.peek()
        if kind in _SIGNS:
            return self._signed_offset(self._cursor.take())
        if kind in {NUMBER, DURATION}:
            return self._number()
        if kind in _TIMES or kind in _CHOICES:
            return self._function()
        return self._sum(_LOWEST)

    def _signed_offset(self, sign: Token) -> Duration:
        cursor = self._cursor
        kind = cursor.peek()
        if kind in {NUMBER, DURATION}:
            return self._with_sign(sign, literal(cursor))
        if kind in _TIMES or kind in _CHOICES:
            inner = self._bare_function()
            value = DurationExpression(op=sign.type, rhs=inner, start=sign.start, end=inner.end)
            self._check_enabled(value)
            return value
        if kind == "(":
            cursor.take()
            wrapped = self._sum(_LOWEST)
            cursor.expect(")")
            return self._with_sign(sign, _wrapped(wrapped, wrapped.start))
        return self._operations(self._with_sign(sign, self._sum(_POWER)), _LOWEST)

    # -- arithmetic ----------------------------------------------------------------------------------------

    def _sum(self, least: int) -> Duration:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._too_deep()
        value = self._operations(self._atom(), least)
        self._depth -= 1
        return value

    def _operations(self, left: Duration, least: int) -> Duration:
        count = 0
        while (precedence := _PRECEDENCE.get(self._cursor.peek(), 0)) >= least:
            count += 1
            if count > MAX_DEPTH:
                raise self._too_deep()
            op = self._cursor.take()
            # The power operator binds to the right, the others to the left.
            right = self._sum(precedence + (op.type != "^"))
            self._check_enabled(left)
            if op.type in _ZERO_FAULTS and isinstance(right, NumberLiteral) and right.value == 0:
                raise self._cursor.error(op.start, _ZERO_FAULTS[op.type])
            left = DurationExpression(op=op.type, lhs=left, rhs=right, start=left.start, end=right.end)
        return left

    def _too_deep(self) -> ParseError:
        return self._cursor.error(self._cursor.closing, f"duration is nested deeper than {MAX_DEPTH} levels")

    def _atom(self) -> Duration:
        kind = self._cursor.peek()
        if kind in {NUMBER, DURATION}:
            return self._number()
        if kind in _SIGNS:
            sign = self._cursor.take()
            return self._with_sign(sign, self._sum(_POWER))
        if kind in _TIMES or kind in _CHOICES:
            return self._function()
        if kind == "(":
            return self._parentheses()
        raise self._cursor.unexpected()

    def _parentheses(self) -> Duration:
        opening = self._cursor.take()
        value = self._sum(_LOWEST)
        self._cursor.expect(")")
        self._check_enabled(value)
        return _wrapped(value, opening.start)

    def _number(self) -> NumberLiteral:
        value = literal(self._cursor)
        return self._in_range(value, value.start)

    def _in_range(self, value: NumberLiteral, position: int) -> NumberLiteral:
        # Not a number is refused as well; Prometheus takes it for the longest of all negative durations.
        if not abs(value.value) <= MAX_DURATION_SECONDS:
            raise self._cursor.error(position, "duration out of range")
        return value

    def _with_sign(self, sign: Token, value: Duration) -> Duration:
        if isinstance(value, NumberLiteral):
            changed = -value.value if sign.type == "-" else value.value
            return self._in_range(replace(value, value=changed, start=sign.start), sign.start)
        if sign.type == "-":
            return DurationExpression(op="-", rhs=value, start=sign.start, end=value.end)
        return value

    # -- functions -----------------------------------------------------------------------------------------

    def _function(self) -> DurationExpression:
        value = self._bare_function()
        self._check_enabled(value)
        return value

    def _bare_function(self) -> DurationExpression:
        cursor = self._cursor
        word = cursor.take()
        cursor.expect("(")
        if word.type in _TIMES:
            closing = cursor.expect(")")
            return DurationExpression(op=word.type, start=word.start, end=closing.end)
        left = self._sum(_LOWEST)
        cursor.expect(",")
        right = self._sum(_LOWEST)
        cursor.expect(")")
        # Prometheus says that such an expression begins with its first argument.
        return DurationExpression(op=word.type, lhs=left, rhs=right, start=left.start, end=right.end)

    def _check_enabled(self, part: Duration) -> None:
        """Refuse expressions, of which `part` is one operand, where they are not enabled."""
        if not self._enabled:
            raise self._cursor.error(part.start, "experimental duration expression is not enabled")


def _wrapped(value: Duration, start: int) -> DurationExpression:
    """Note that a duration stands in parentheses; a number needs an expression around it for that."""
    if isinstance(value, DurationExpression):
        return replace(value, wrapped=True)
    return DurationExpression(op="+", rhs=value, wrapped=True, start=start, end=value.end)
