"""Parsing of series selectors and of lists of label names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.regex import regex
from headrace.store.api.quoting import go_quote
from headrace.store.matchers import Matcher, MatchType
from headrace.store.promql.language.ast import VectorSelector
from headrace.store.promql.language.functions_table import AGGREGATIONS
from headrace.store.promql.language.lexer import (
    FUNCTION_WORDS,
    IDENTIFIER,
    KEYWORDS,
    METRIC_IDENTIFIER,
    STRING,
)
from headrace.store.promql.language.numbers import unquote, valid_label

if TYPE_CHECKING:
    from headrace.store.promql.language.cursor import Cursor
    from headrace.store.promql.language.lexer import Token

METRIC_NAMES = (
    AGGREGATIONS
    | FUNCTION_WORDS
    | {IDENTIFIER, METRIC_IDENTIFIER, "and", "or", "unless"}
    | (KEYWORDS - {"bool", "on", "ignoring", "group_left", "group_right"})
)
"""Tokens that may stand for a metric's name."""

_LABEL_NAMES = (METRIC_NAMES | KEYWORDS | {"atan2"}) - {"without"}
_MATCH_TYPES = {"=": MatchType.EQUAL, "!=": MatchType.NOT_EQUAL, "=~": MatchType.REGEX, "!~": MatchType.NOT_REGEX}
_PATTERNS = frozenset({MatchType.REGEX, MatchType.NOT_REGEX})
_MATCHING = "label matching"
_GROUPING = "grouping opts"


def selector(cursor: Cursor, name: Token | None) -> VectorSelector:
    """Parse the rest of a selector.

    Args:
        cursor: Before the braces, which may be left out after a name.
        name: The metric's name, where it stands before the braces.

    Raises:
        ParseError: The braces hold no matchers.
    """
    matchers: tuple[Matcher, ...] = ()
    start, end = (name.start, name.end) if name else (-1, -1)
    if cursor.peek() == "{":
        opening = cursor.take()
        matchers = _matchers(cursor)
        start = start if name else opening.start
        end = cursor.closing
    if name is None:
        return VectorSelector(matchers=matchers, start=start, end=end)
    matchers = (*matchers, Matcher("__name__", MatchType.EQUAL, name.text))
    return VectorSelector(matchers=matchers, name=name.text, start=start, end=end)


def _matchers(cursor: Cursor) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    while not cursor.accept("}"):
        found.append(_matcher(cursor))
        if cursor.peek() not in {",", "}"}:
            raise cursor.unexpected(_MATCHING, '"," or "}"')
        cursor.accept(",")
    return tuple(found)


def _matcher(cursor: Cursor) -> Matcher:
    kind = cursor.peek()
    if kind not in {IDENTIFIER, STRING}:
        raise cursor.unexpected(_MATCHING, 'identifier or "}"')
    label = cursor.take()
    name = unquote(label.text) if kind == STRING else label.text
    match_type = _MATCH_TYPES.get(cursor.peek())
    if match_type is None:
        if kind == STRING:
            return Matcher("__name__", MatchType.EQUAL, name)
        raise cursor.unexpected(_MATCHING, "label matching operator")
    cursor.take()
    if cursor.peek() != STRING:
        raise cursor.unexpected(_MATCHING, "string")
    value = unquote(cursor.take().text)
    if match_type in _PATTERNS:
        try:
            regex(value)
        except InvalidInput as error:
            raise cursor.error(label.start, str(error)) from None
    return Matcher(name, match_type, value)


def label_names(cursor: Cursor) -> tuple[str, ...]:
    """Parse label names in parentheses, as after ``by`` and ``on``.

    Raises:
        ParseError: It is no such list.
    """
    if cursor.peek() != "(":
        raise cursor.unexpected(_GROUPING, '"("')
    cursor.take()
    names: list[str] = []
    while not cursor.accept(")"):
        names.append(_label_name(cursor))
        if cursor.peek() not in {",", ")"}:
            raise cursor.unexpected(_GROUPING, '"," or ")"')
        cursor.accept(",")
    return tuple(names)


def _label_name(cursor: Cursor) -> str:
    kind = cursor.peek()
    if kind in _LABEL_NAMES:
        return cursor.take().text
    if kind != STRING:
        raise cursor.unexpected(_GROUPING, "label")
    token = cursor.take()
    name = unquote(token.text)
    if not valid_label(name):
        raise cursor.error(token.start, f"invalid label name for grouping: {go_quote(name)}")
    return name
