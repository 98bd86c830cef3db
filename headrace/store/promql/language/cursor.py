"""Where a parser stands in the tokens of a query, and what it says of a token that does not belong there."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.store.api.quoting import go_quote
from headrace.store.promql.errors import ParseError
from headrace.store.promql.language.functions_table import AGGREGATIONS
from headrace.store.promql.language.lexer import (
    DURATION,
    END,
    ERROR,
    IDENTIFIER,
    KEYWORDS,
    METRIC_IDENTIFIER,
    NUMBER,
    OPERATORS,
    STRING,
    Lexer,
    Token,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLASSES = frozenset({IDENTIFIER, METRIC_IDENTIFIER, NUMBER, DURATION, STRING})
_SHOWN = 10
"""Longer texts are cut in errors."""


class Cursor:
    """A place among the tokens of a query.

    An error of the lexer is raised when its token is looked at and not before, so that of several faults the one is
    reported that Prometheus reports.

    Args:
        query: The text.

    Attributes:
        closing: End of the last closing bracket, number or duration that was looked at.
    """

    def __init__(self, query: str) -> None:
        self.query = query
        self.closing = 0
        self._lexer = Lexer(query)
        self._tokens = self._lexer.tokens
        self._at = 0
        self._unclaimed: deque[int] = deque()
        self._looked_at = -1
        self._context = ("", "")

    def peek(self) -> str:
        """Return the type of the next token.

        Raises:
            ParseError: The lexer could not read on.
        """
        if self._at == len(self._tokens):
            self._lexer.advance()
        token = self._tokens[self._at]
        if token.type is ERROR:
            raise self.error(token.start, token.text)
        if token.closes and self._at > self._looked_at:
            self._close(token)
        return token.type

    def _close(self, token: Token) -> None:
        self._looked_at = self._at
        self.closing = token.start + len(token.text)
        if token.type == ")":
            self._unclaimed.append(self.closing)

    def claim(self, parentheses: int = 1) -> int:
        """Take the oldest closing parentheses that nothing has taken; return where the last of them ends.

        What is in parentheses takes as many as it has. Those of ``on (...)``, ``group_left (...)`` and ``@ end()`` are
        taken by nobody: what comes after them then ends, as far as Prometheus' errors tell, earlier than it is written.
        """
        for _ in range(parentheses - 1):
            self._unclaimed.popleft()
        return self._unclaimed.popleft()

    def take(self) -> Token:
        """Return the next token and go on, except past the end."""
        at = self._at
        if self.peek() != END:
            self._at += 1
        return self._tokens[at]

    def accept(self, kind: str) -> bool:
        """Go past the next token if it is of this type; return whether it was."""
        if self.peek() != kind:
            return False
        self._at += 1
        return True

    def expect(self, kind: str) -> Token:
        """Return the next token, which must be of this type, and go on.

        Raises:
            ParseError: It is of another.
        """
        if self.peek() != kind:
            raise self.unexpected()
        return self.take()

    @contextmanager
    def inside(self, context: str, expected: str = "") -> Iterator[None]:
        """Say in errors, until this is left, that a token is unexpected here."""
        outer, self._context = self._context, (context, expected)
        yield
        self._context = outer

    def error(self, position: int, why: str) -> ParseError:
        """Make an error about a place of the query."""
        return ParseError(self.query, position, why)

    def unexpected(self, context: str = "", expected: str = "") -> ParseError:
        """Make an error about the next token; without a context, in the one that `inside` has set."""
        if not context:
            context, expected = self._context
        token = self._tokens[self._at]
        why = f"unexpected {_described(token)}"
        why += f" in {context}" if context else ""
        why += f", expected {expected}" if expected else ""
        return self.error(token.start, why)


def _described(token: Token) -> str:
    kind, text = token.type, token.text
    if kind == END:
        return kind
    if kind in KEYWORDS:
        return f"<{text}>"
    if kind in OPERATORS:
        return f"<op:{text}>"
    if kind in AGGREGATIONS:
        return f"<aggr:{text}>"
    shown = go_quote(text)
    if kind not in {IDENTIFIER, METRIC_IDENTIFIER} and len(text.encode("utf-8", "surrogateescape")) > _SHOWN:
        shown = f"{go_quote(text[:_SHOWN])}..."
    return f"{kind} {shown}" if kind in _CLASSES else shown
