"""Parsing of how the sides of a binary expression match."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.store.promql.language.ast import Card, Matching
from headrace.store.promql.language.lexer import DURATION, NUMBER, STRING
from headrace.store.promql.language.parser_durations import literal
from headrace.store.promql.language.parser_selectors import METRIC_NAMES, label_names

if TYPE_CHECKING:
    from headrace.store.promql.language.cursor import Cursor

_SIGNS = frozenset({"+", "-"})
_FILLS = frozenset({"fill", "fill_left", "fill_right"})

EXPRESSION_STARTS = METRIC_NAMES | _SIGNS | {NUMBER, DURATION, STRING, "(", "{"}
"""Tokens that an expression may begin with."""


def parse_matching(cursor: Cursor) -> Matching:
    """Parse what stands between an operator, or ``bool``, and its right side; it may be nothing.

    Raises:
        ParseError: Labels or values are malformed.
    """
    matching = Matching()
    if cursor.peek() in {"on", "ignoring"}:
        on = cursor.take().type == "on"
        matching = Matching(on=on, labels=label_names(cursor))
        if cursor.peek() in {"group_left", "group_right"}:
            card = Card.MANY_TO_ONE if cursor.take().type == "group_left" else Card.ONE_TO_MANY
            matching = replace(matching, card=card, include=_included(cursor))
    return _filled(cursor, matching) if cursor.peek() in _FILLS else matching


def _included(cursor: Cursor) -> tuple[str, ...]:
    kind = cursor.peek()
    return () if kind in EXPRESSION_STARTS and kind != "(" else label_names(cursor)


def _filled(cursor: Cursor, matching: Matching) -> Matching:
    word = cursor.take().type
    value = _fill_value(cursor)
    if word == "fill":
        return replace(matching, fill_left=value, fill_right=value)
    other = "fill_right" if word == "fill_left" else "fill_left"
    values = {word: value}
    if cursor.accept(other):
        values[other] = _fill_value(cursor)
    return replace(matching, fill_left=values.get("fill_left"), fill_right=values.get("fill_right"))


def _fill_value(cursor: Cursor) -> float:
    cursor.expect("(")
    negative = cursor.peek() in _SIGNS and cursor.take().type == "-"
    if cursor.peek() not in {NUMBER, DURATION}:
        raise cursor.unexpected()
    value = literal(cursor).value
    cursor.expect(")")
    return -value if negative else value
