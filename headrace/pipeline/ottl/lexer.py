"""Tokens of OTTL, and errors that name the place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TEXT = 64 * 1024
"""Characters of a statement."""

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<bytes>0x[0-9a-fA-F]+)
    | (?P<float>\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
    | (?P<int>\d+)
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<op>==|!=|<=|>=|[<>+\-*/()\[\]{},.:=])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: ``bytes``, ``float``, ``int``, ``string``, ``name``, ``op`` or ``end``.
        text: As written; of a string, what it stands for.
        position: Of its first character.
    """

    kind: str
    text: str
    position: int


def fault(text: str, position: int, why: str) -> InvalidInput:
    """Return an error that quotes `text` and names the place, counted from 1."""
    return InvalidInput(f"{why} at character {position + 1} of `{text}`")


def tokens(text: str) -> list[Token]:
    """Split `text`; the last token is the end.

    Raises:
        InvalidInput: Something in it is no token, or it is longer than MAX_TEXT.
    """
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"an expression of {len(text)} characters passes the limit of {MAX_TEXT}")
    return [*_tokens(text), Token("end", "", len(text))]


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            why = "a string is not closed" if text[position] == '"' else f"unexpected {text[position]!r}"
            raise fault(text, position, why)
        kind = match.lastgroup or ""
        if kind == "string":
            yield Token(kind, _unquoted(text, match.group()[1:-1], position), position)
        elif kind != "space":
            yield Token(kind, match.group(), position)
        position = match.end()


def _unquoted(text: str, body: str, position: int) -> str:
    def plain(match: re.Match[str]) -> str:
        code = match.group(1)
        place = position + 1 + match.start()
        if len(code) > 1:
            if 0xD800 <= int(code[1:], 16) < 0xE000:
                raise fault(text, place, "half a surrogate pair is no character")
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            raise fault(text, place, f"unknown escape `\\{code}` (a backslash is written `\\\\`)")
        return _ESCAPES[code]

    return _ESCAPE.sub(plain, body)
