"""What is wrong with a text that the lexer cannot split, in Prometheus' words."""

from __future__ import annotations

import re

from headrace.store.api.quoting import go_quote

_SPACES = re.compile(r"[ \t\r\n]*")
_NUMBER_START = re.compile(r"\.?[0-9]")
_ESCAPE_LENGTHS = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}
_SIMPLE_ESCAPES = "abfnrtv\\"
_OCTAL = "01234567"
_MAX_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)
_REPLACEMENT = "\ufffd"


def opens_next(query: str, position: int) -> bool:
    """Return whether a parenthesis follows, after any space."""
    match = _SPACES.match(query, position)
    assert match is not None
    return query.startswith("(", match.end())


def starts_number(query: str, position: int) -> bool:
    """Return whether a digit stands here, or a point and a digit."""
    return _NUMBER_START.match(query, position) is not None


def quoted_character(char: str) -> str:
    r"""Quote a character as Go's ``%q`` does; the end of the text, empty, is U+FFFD."""
    if not char or "\udc80" <= char <= "\udcff":
        char = _REPLACEMENT
    if char == "'":
        return r"'\''"
    if char == '"':
        return "'\"'"
    return f"'{go_quote(char)[1:-1]}'"


def unexpected(query: str, position: int, *, braces: bool) -> str:
    """Say what is wrong with the character at `position`, outside of a range."""
    char = query[position]
    after = query[position + 1 : position + 2]
    if char in "\"'`":
        return _string_fault(query, position)
    if char == "!":
        return f"unexpected character after '!'{' inside braces' if braces else ''}: {quoted_character(after)}"
    if char == "=" and not braces:
        return f"unexpected character after '=': {quoted_character(after)}"
    if braces:
        if char == "{":
            return "unexpected left brace '{'"
        return f"unexpected character inside braces: {quoted_character(char)}"
    return f"unexpected character: {quoted_character(char)}"


def _string_fault(query: str, start: int) -> str:
    """Find the first fault of the string that begins at `start`."""
    quote = query[start]
    raw = quote == "`"
    position = start + 1
    while position < len(query):
        char = query[position]
        if char == _REPLACEMENT:
            return "invalid UTF-8 rune"
        if char == "\n" and not raw:
            break
        position += 1
        if char == "\\" and not raw:
            length, why = _escape_fault(query, position, quote)
            if why:
                return why
            position += length
    return "unterminated raw string" if raw else "unterminated quoted string"


def _escape_fault(query: str, position: int, quote: str) -> tuple[int, str]:
    """Return the length of the escape after a backslash, or what is wrong with it."""
    char = query[position : position + 1]
    if not char:
        return 0, "escape sequence not terminated"
    if char in _SIMPLE_ESCAPES or char == quote:
        return 1, ""
    if char in _OCTAL:
        return _coded_fault(query, position, 3, 8)
    if char in _ESCAPE_LENGTHS:
        length, why = _coded_fault(query, position + 1, *_ESCAPE_LENGTHS[char])
        return length + 1, why
    return 0, f"unknown escape sequence {_code_point(char)}"


def _coded_fault(query: str, position: int, length: int, base: int) -> tuple[int, str]:
    value = 0
    for i in range(position, position + length):
        char = query[i : i + 1]
        if not char:
            return 0, "escape sequence not terminated"
        digit = "0123456789abcdef".find(char.lower()) if char.isascii() else -1
        if not 0 <= digit < base:
            return 0, f"illegal character {_code_point(char)} in escape sequence"
        value = value * base + digit
    largest = 255 if base == len(_OCTAL) else _MAX_CODE_POINT
    if value > largest or value in _SURROGATES:
        return 0, "escape sequence is an invalid Unicode code point"
    return length, ""


def _code_point(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        char = _REPLACEMENT
    text = f"U+{ord(char):04X}"
    return f"{text} '{char}'" if char.isprintable() else text
