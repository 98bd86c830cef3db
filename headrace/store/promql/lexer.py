"""The lexer of PromQL: text to tokens."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from headrace.store.promql.errors import ParseError


class Kind(StrEnum):
    """What a token is."""

    IDENTIFIER = "identifier"
    NUMBER = "number"
    DURATION = "duration"
    STRING = "string"
    OPERATOR = "operator"
    END = "end of input"


class Token(NamedTuple):
    """One token.

    Attributes:
        kind: What it is.
        text: As written.
        start: Offset of its first character.
    """

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Offset one past its last character."""
        return self.start + len(self.text)


_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+|\#[^\n]*)
  | (?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![A-Za-z0-9_.]))
  | (?P<number>0[xX][0-9a-fA-F_]+(?![A-Za-z0-9_])
      | (?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?(?![A-Za-z0-9_]))
  | (?P<identifier>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<operator>==|!=|<=|>=|=~|!~|[-+*/%^<>=(){}\[\],:@])
    """,
    re.VERBOSE,
)

_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
_CODED = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})")


def tokens(query: str) -> list[Token]:
    """Split a query.

    Raises:
        ParseError: A character or a literal is none of PromQL's.
    """
    found: list[Token] = []
    brackets: list[tuple[str, int]] = []
    position = 0
    while position < len(query):
        if query[position] in "\"'`":
            end = _string_end(query, position)
            found.append(Token(Kind.STRING, query[position:end], position))
            position = end
            continue
        # Elsewhere a colon begins a metric name; here it separates range and step.
        if query[position] == ":" and brackets and brackets[-1][0] == "[":
            found.append(Token(Kind.OPERATOR, ":", position))
            position += 1
            continue
        match = _TOKEN.match(query, position)
        if match is None:
            raise _unexpected(query, position, brackets)
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(Token(Kind(kind), match.group(), position))
            if kind == "operator":
                _track(query, match.group(), position, brackets)
        position = match.end()
    if brackets:
        raise _unclosed(query, brackets)
    found.append(Token(Kind.END, "", len(query)))
    return found


def unquote(query: str, token: Token) -> str:
    """Return the value of a string token.

    Raises:
        ParseError: An escape is unknown.
    """
    body = token.text[1:-1]
    if token.text[0] == "`" or "\\" not in body:
        return body
    data = bytearray()
    i = 0
    while i < len(body):
        if body[i] != "\\":
            data += body[i].encode()
            i += 1
            continue
        coded = _CODED.match(body, i + 1)
        if coded:
            data += _coded(coded)
            i = coded.end()
            continue
        escape = body[i + 1]
        if escape not in _ESCAPES or (escape in "\"'" and escape != token.text[0]):
            raise ParseError(query, token.start, f"unknown escape sequence U+{ord(escape):04X} {escape!r}")
        data += _ESCAPES[escape].encode()
        i += 2
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ParseError(query, token.start, "string is not valid UTF-8") from None


def number(text: str) -> float:
    """Return the value of a number token.

    Raises:
        ValueError: It is none.
    """
    plain = text.lower().replace("_", "")
    return float(int(plain, 16)) if plain.startswith("0x") else float(plain)


_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")
_UNITS_MS = {
    "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000,
}  # fmt: skip
_ORDER = ["y", "w", "d", "h", "m", "s", "ms"]
MAX_DURATION_MS = (1 << 63) // 1_000_000


def duration_ms(text: str) -> int:
    """Return the milliseconds of a duration such as ``1h30m``.

    Raises:
        ValueError: Its units are not in descending order, or it is too long.
    """
    parts = _DURATION.findall(text)
    ranks = [_ORDER.index(unit) for _, unit in parts]
    if not parts or ranks != sorted(set(ranks)) or "".join(n + u for n, u in parts) != text:
        raise ValueError(f"not a valid duration string: {_quoted(text)}")
    total = sum(int(count) * _UNITS_MS[unit] for count, unit in parts)
    if total > MAX_DURATION_MS:
        raise ValueError("duration out of range")
    return total


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _coded(match: re.Match[str]) -> bytes:
    byte, short, long, octal = match.groups()
    if byte:
        return bytes([int(byte, 16)])
    if octal:
        return bytes([int(octal, 8) & 255])
    code = int(short or long, 16)
    return chr(code).encode("utf-8", "replace") if code < 0x110000 else b"\xef\xbf\xbd"


def _string_end(query: str, start: int) -> int:
    quote = query[start]
    i = start + 1
    while i < len(query):
        char = query[i]
        if char == quote:
            return i + 1
        if char == "\n" and quote != "`":
            break
        if char == "\\" and quote != "`":
            if i + 1 >= len(query):
                break
            i += 1
        i += 1
    if quote == "`":
        raise ParseError(query, start, "unterminated raw string")
    raise ParseError(query, start, "unterminated quoted string")


def _track(query: str, text: str, position: int, brackets: list[tuple[str, int]]) -> None:
    if text in "({[":
        if text == "{" and brackets and brackets[-1][0] == "{":
            raise ParseError(query, position, "unexpected left brace '{'")
        brackets.append((text, position))
        return
    opening = {")": "(", "}": "{", "]": "["}.get(text)
    if opening is None:
        return
    if not brackets or brackets[-1][0] != opening:
        name = {")": "right parenthesis", "}": "right brace", "]": "right bracket"}[text]
        raise ParseError(query, position, f"unexpected {name} '{text}'")
    brackets.pop()


def _unclosed(query: str, brackets: list[tuple[str, int]]) -> ParseError:
    kind = brackets[-1][0]
    if kind == "{":
        return ParseError(query, len(query), "unexpected end of input inside braces")
    name = "left parenthesis" if kind == "(" else "left bracket"
    return ParseError(query, len(query), f"unclosed {name}")


def _unexpected(query: str, position: int, brackets: list[tuple[str, int]]) -> ParseError:
    char = query[position]
    if char == "!":
        return ParseError(query, position, "unexpected character after '!'")
    if brackets and brackets[-1][0] == "{":
        return ParseError(query, position, f"unexpected character inside braces: '{char}'")
    if char.isdigit() or char == ".":
        match = re.compile(r"[\w.]+").match(query, position)
        return ParseError(
            query, position, f"bad number or duration syntax: {_quoted(match.group() if match else char)}"
        )
    return ParseError(query, position, f"unexpected character: '{char}'")
