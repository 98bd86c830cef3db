"""The lexer of PromQL: text to tokens.

The text means different things in three places: outside brackets, inside the braces of a selector, and between the
square brackets of a range, so each has a pattern of its own. What no pattern takes goes to `lexer_errors`.

Source:
    Prometheus 3.14, PromQL.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from headrace.store.api.quoting import go_quote
from headrace.store.promql.language import lexer_errors
from headrace.store.promql.language.functions_table import AGGREGATIONS
from headrace.store.promql.language.numbers import scan_number, scan_units

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTIFIER = "identifier"
METRIC_IDENTIFIER = "metric identifier"
NUMBER = "number"
DURATION = "duration"
STRING = "string"
END = "end of input"
ERROR = "error"

_WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})
OPERATORS = _WORD_OPERATORS | frozenset("+ - * / % ^ == != <= < >= > </ >/ =~ !~ @".split())  # noqa: SIM905 -- likewise
"""Everything that Prometheus' errors call an operator."""

KEYWORDS = frozenset(
    "offset smoothed anchored by without on ignoring group_left group_right fill fill_left fill_right bool".split()  # noqa: SIM905 -- likewise
)
"""Words with a place in the grammar."""

_FILLS = frozenset({"fill", "fill_left", "fill_right"})
FUNCTION_WORDS = frozenset({"start", "end", "step", "range", "max_of", "min_of"})
"""Words that are functions, where a parenthesis follows, and also have other uses."""

_DURATION_WORDS = frozenset({"step", "range", "max_of", "min_of"})
_WORDS = {word: word for word in AGGREGATIONS | _WORD_OPERATORS | KEYWORDS | FUNCTION_WORDS} | {
    "inf": NUMBER,
    "nan": NUMBER,
}
_CLOSING = frozenset({")", "]", "}", NUMBER, DURATION})


class Token(NamedTuple):
    """One token.

    Attributes:
        type: One of the constants above, or the operator, bracket or keyword itself in lower case.
        text: As written; of an `ERROR` what is wrong.
        start: Offset of its first character.
    """

    type: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Offset one past its last character."""
        return self.start + len(self.text)

    @property
    def closes(self) -> bool:
        """Whether an expression may end with it."""
        return self.type in _CLOSING


_HEX = "[0-9a-fA-F]"
_ESCAPE = (
    rf"[0-3][0-7]{{2}}|x{_HEX}{{2}}|u(?![dD][89a-fA-F]){_HEX}{{4}}"
    rf"|U(?:0000(?![dD][89a-fA-F])|000[1-9a-fA-F]|0010){_HEX}{{4}}"
)
_STRING = rf"""
    (?P<string>"(?:[^"\\\n\ufffd]++|\\(?:[abfnrtv\\"]|{_ESCAPE}))*+"
      |'(?:[^'\\\n\ufffd]++|\\(?:[abfnrtv\\']|{_ESCAPE}))*+'
      |`[^`\ufffd]*+`)"""
_SKIPPED = r"(?P<skipped>[ \t\r\n]+|\#[^\r\n]*)"
_NUMBERS = r"""
    (?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
  | (?P<duration>\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdw]))*(?![\w.]))"""

_OUTSIDE = re.compile(
    rf"""{_SKIPPED}
  | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<operator>==|!=|<=|>=|</|>/|=(?!~)|[-+*/%^<>(),@{{\[\]])
  | {_NUMBERS}
  | {_STRING}""",
    re.VERBOSE | re.ASCII,
)
_BRACES = re.compile(
    rf"""{_SKIPPED}
  | (?P<identifier>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<operator>!=|=~|!~|[=,}}])
  | {_STRING}""",
    re.VERBOSE | re.ASCII,
)
_DURATIONS = re.compile(
    rf"""(?P<skipped>[ \t\r\n]+)
  | (?P<operator>[-+*/%^(),\]:])
  | (?P<duration_word>[A-Za-z_]+)
  | {_NUMBERS}""",
    re.VERBOSE | re.ASCII,
)
_LETTERS = re.compile(r"[A-Za-z_]+")


def scan(query: str) -> list[Token]:
    """Split a query; the last token is `END`, or `ERROR` where the text cannot be split further."""
    lexer = Lexer(query)
    while lexer.advance():
        pass
    return lexer.tokens


class Lexer:
    """Splits a query as far as it is asked to.

    Args:
        query: The text.

    Attributes:
        tokens: What was found so far.
    """

    def __init__(self, query: str) -> None:
        self._query = query
        self.tokens: list[Token] = []
        self._position = 0  # negative at the end
        self._pattern = _OUTSIDE
        self._parentheses = 0
        self._in_brackets = False
        self._colon = False
        self._any_duration = False  # never reset, as in Prometheus, so that only the first range may lack one
        self._take: dict[str, Callable[[str, int], int]] = {
            "word": self._word,
            "operator": self._operator,
            "duration_word": self._duration_word,
        }
        self._brackets: dict[str, Callable[[int], int]] = {
            "(": self._open_parenthesis,
            ")": self._close_parenthesis,
            "{": self._open_brace,
            "}": self._close_brace,
            "[": self._open_bracket,
            "]": self._close_bracket,
            ":": self._separator,
        }

    def advance(self) -> bool:
        """Find one more token; return whether another may follow."""
        count = len(self.tokens)
        while len(self.tokens) == count and self._position >= 0:
            self._position = self._step(self._position)
        return self._position >= 0

    def _step(self, position: int) -> int:
        """Take one token, or what stands between two; return where the next begins, or a negative number."""
        match = self._pattern.match(self._query, position)
        if match is None:
            return self._rest(position)
        group = match.lastgroup
        if group == "skipped":
            return match.end()
        text = match.group()
        if group in self._take:
            return self._take[group](text, position)
        return self._emit(group or "", text, position)

    def _emit(self, kind: str, text: str, position: int) -> int:
        self.tokens.append(Token(kind, text, position))
        if kind in {NUMBER, DURATION} and self._pattern is _DURATIONS:
            # After its first number a range is read like the text outside.
            self._any_duration = True
            self._pattern = _OUTSIDE
        return position + len(text)

    def _fail(self, why: str, position: int) -> int:
        self.tokens.append(Token(ERROR, why, position))
        return -1

    # -- words ---------------------------------------------------------------------------------------------

    def _word(self, text: str, position: int) -> int:
        if self._in_brackets:
            return self._word_in_brackets(text, position)
        kind = _WORDS.get(text.lower())
        if kind in _FILLS and not lexer_errors.opens_next(self._query, position + len(text)):
            kind = IDENTIFIER
        if kind is None:
            kind = METRIC_IDENTIFIER if ":" in text else IDENTIFIER
        return self._emit(kind, text, position)

    def _word_in_brackets(self, text: str, position: int) -> int:
        if text[0] == ":":
            if self._colon:
                return self._fail("unexpected colon ':'", position)
            self._colon = True
            return self._emit(":", ":", position)
        match = _LETTERS.match(text)
        assert match is not None
        word = match.group()
        if word.lower() in _DURATION_WORDS:
            return self._emit(word.lower(), word, position)
        return self._fail(f"unexpected character: {lexer_errors.quoted_character(text[0])}, expected ':'", position)

    def _duration_word(self, text: str, position: int) -> int:
        if text.lower() in _DURATION_WORDS:
            return self._emit(text.lower(), text, position)
        character = lexer_errors.quoted_character(text[0])
        return self._fail(f"unexpected character in duration expression: {character}", position)

    # -- operators and brackets ----------------------------------------------------------------------------

    def _operator(self, text: str, position: int) -> int:
        handler = self._brackets.get(text)
        return self._emit(text, text, position) if handler is None else handler(position)

    def _open_parenthesis(self, position: int) -> int:
        self._parentheses += 1
        return self._emit("(", "(", position)

    def _close_parenthesis(self, position: int) -> int:
        self._parentheses -= 1
        if self._parentheses < 0:
            # Prometheus notices after it has taken the parenthesis, and says where it is then.
            return self._fail("unexpected right parenthesis ')'", position + 1)
        return self._emit(")", ")", position)

    def _open_brace(self, position: int) -> int:
        self._pattern = _BRACES
        return self._emit("{", "{", position)

    def _close_brace(self, position: int) -> int:
        self._pattern = _OUTSIDE
        return self._emit("}", "}", position)

    def _open_bracket(self, position: int) -> int:
        if self._in_brackets:
            return self._fail("unexpected left bracket '['", position)
        self._in_brackets, self._colon = True, False
        self._pattern = _DURATIONS
        return self._emit("[", "[", position)

    def _close_bracket(self, position: int) -> int:
        if not self._in_brackets:
            return self._fail("unexpected right bracket ']'", position)
        self._in_brackets = False
        self._pattern = _OUTSIDE
        return self._emit("]", "]", position)

    def _separator(self, position: int) -> int:
        if not self._any_duration:
            return self._fail("unexpected colon before duration in duration expression", position + 1)
        if self._colon:
            return self._fail("unexpected repeated colon in duration expression", position + 1)
        self._colon = True
        return self._emit(":", ":", position)

    # -- what the patterns do not take ---------------------------------------------------------------------

    def _rest(self, position: int) -> int:
        query = self._query
        if self._pattern is not _BRACES and lexer_errors.starts_number(query, position):
            return self._number(position)
        if position < len(query):
            if self._pattern is _DURATIONS:
                character = lexer_errors.quoted_character(query[position])
                return self._fail(f"unexpected character in duration expression: {character}", position)
            return self._fail(lexer_errors.unexpected(query, position, braces=self._pattern is _BRACES), position)
        return self._end(position)

    def _number(self, position: int) -> int:
        end, valid = scan_number(self._query, position)
        if valid:
            return self._emit(NUMBER, self._query[position:end], position)
        end, valid = scan_units(self._query, end)
        if valid:
            return self._emit(DURATION, self._query[position:end], position)
        text = go_quote(self._query[position:end])
        return self._fail(f"bad number or duration syntax: {text}", position)

    def _end(self, position: int) -> int:
        if self._pattern is _BRACES:
            return self._fail("unexpected end of input inside braces", position)
        if self._pattern is _DURATIONS:
            return self._fail("unexpected end of input in duration expression", position)
        if self._parentheses:
            return self._fail("unclosed left parenthesis", position)
        if self._in_brackets:
            return self._fail("unclosed left bracket", position)
        self.tokens.append(Token(END, "", position))
        return -1
