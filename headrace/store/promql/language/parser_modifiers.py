"""Where modifiers belong: ranges, offsets, times and the rest, put on the selectors that they stand behind."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.store.promql.language.ast import (
    At,
    Card,
    Duration,
    DurationExpression,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Subquery,
    ValueType,
    VectorSelector,
)
from headrace.store.promql.language.lexer import DURATION, NUMBER
from headrace.store.promql.language.numbers import milliseconds, rounded
from headrace.store.promql.language.parser_durations import literal

if TYPE_CHECKING:
    from headrace.store.promql.language.cursor import Cursor
    from headrace.store.promql.language.lexer import Token

_MAX_TIMESTAMP = float(1 << 63)
_LATEST_MS = (1 << 63) // 1000 * 1000
_SETS = frozenset({"and", "or", "unless"})


def split(duration: Duration) -> tuple[int, DurationExpression | None]:
    """Return milliseconds, or 0 and the expression that will yield them."""
    if isinstance(duration, NumberLiteral):
        return milliseconds(duration.value), None
    return 0, duration


def range_target(cursor: Cursor, expr: Expr, bracket: Token) -> VectorSelector:
    """Return `expr`, which a range follows.

    Raises:
        ParseError: It can have none.
    """
    if not isinstance(expr, VectorSelector):
        raise cursor.error(bracket.start, "ranges only allowed for vector selectors")
    if expr.offset_ms or expr.offset_expr is not None:
        raise cursor.error(bracket.start, "no offset modifiers allowed before range")
    if expr.at is not None:
        raise cursor.error(bracket.start, "no @ modifiers allowed before range")
    return expr


def shifted(cursor: Cursor, expr: Expr, duration: Duration) -> Expr:
    """Put an offset, just read, on the selector or subquery before it.

    Raises:
        ParseError: There is none, or it has one.
    """
    target = _target(cursor, expr, "offset")
    if target.offset_ms or target.offset_expr is not None:
        raise cursor.error(expr.start, "offset may not be set multiple times")
    ms, computed = split(duration)
    return _put(expr, replace(target, offset_ms=ms, offset_expr=computed), cursor.closing)


def pinned(cursor: Cursor, expr: Expr) -> Expr:
    """Parse ``@`` and its time, and put that on the selector or subquery before it.

    Raises:
        ParseError: It is no time, there is no selector, or it has a time.
    """
    cursor.take()
    at = _time(cursor, expr)
    target = _target(cursor, expr, "@")
    if target.at is not None:
        raise cursor.error(expr.start, "@ <timestamp> may not be set multiple times")
    return _put(expr, replace(target, at=at), cursor.closing)


def _time(cursor: Cursor, expr: Expr) -> int | At:
    with cursor.inside("@", "timestamp"):
        kind = cursor.peek()
        if kind in {"start", "end"}:
            cursor.take()
            cursor.expect("(")
            cursor.expect(")")
            return At(kind)
        sign = -1 if kind == "-" else 1
        if kind in {"+", "-"}:
            cursor.take()
        if cursor.peek() not in {NUMBER, DURATION}:
            raise cursor.unexpected()
        seconds = sign * literal(cursor).value
    if not math.isfinite(seconds) or abs(seconds) >= _MAX_TIMESTAMP:
        text = f"{seconds:f}" if math.isfinite(seconds) else {"inf": "+Inf", "-inf": "-Inf"}.get(str(seconds), "NaN")
        raise cursor.error(expr.start, f"timestamp out of bounds for @ modifier: {text}")
    # Beyond int64 milliseconds there are no samples either.
    return max(-_LATEST_MS, min(rounded(seconds * 1000), _LATEST_MS))


def extended(cursor: Cursor, expr: Expr, word: str, *, enabled: bool) -> Expr:
    """Put ``anchored`` or ``smoothed``, just read, on the selector before it.

    Raises:
        ParseError: It is not enabled, there is no selector, or it has the other.
    """
    if not enabled:
        raise cursor.error(expr.start, f"{word} modifier is experimental and not enabled")
    if isinstance(expr, Subquery):
        raise cursor.error(expr.start, f"{word} modifier is not supported for subqueries")
    target = expr.selector if isinstance(expr, MatrixSelector) else expr
    if not isinstance(target, VectorSelector):
        raise cursor.error(expr.start, f"{word} modifier not implemented")
    anchored = target.anchored or word == "anchored"
    smoothed = target.smoothed or word == "smoothed"
    if anchored and smoothed:
        raise cursor.error(expr.start, "anchored and smoothed modifiers cannot be used together")
    # In Prometheus the expression ends before this modifier.
    return _put(expr, replace(target, anchored=anchored, smoothed=smoothed), expr.end)


def settled(op: str, left: Expr, right: Expr, matching: Matching) -> Matching | None:
    """Return how the sides of a binary expression match; None where one of them is no vector.

    What is written but impossible stays as it is, for the check of types to find.
    """
    if op in _SETS and matching.card is Card.ONE_TO_ONE:
        matching = replace(matching, card=Card.MANY_TO_MANY)
    vectors = left.type is ValueType.VECTOR and right.type is ValueType.VECTOR
    written = matching.labels or matching.fill_left is not None or matching.fill_right is not None
    return matching if vectors or written else None


def _target(cursor: Cursor, expr: Expr, what: str) -> VectorSelector | Subquery:
    target = expr.selector if isinstance(expr, MatrixSelector) else expr
    if isinstance(target, VectorSelector | Subquery):
        return target
    raise cursor.error(
        expr.start,
        f"{what} modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    )


def _put(expr: Expr, changed: VectorSelector | Subquery, end: int) -> Expr:
    if isinstance(expr, MatrixSelector):
        assert isinstance(changed, VectorSelector)
        return replace(expr, selector=changed, end=end)
    return replace(changed, end=end)
