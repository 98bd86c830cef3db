"""Pointing at a place of a query, under an error."""

from __future__ import annotations

_INDENT = "  "


def pointed(query: str, place: str) -> str:
    """Return the line of `query` that ``line:column`` names, with a caret under the place.

    Args:
        query: The whole text.
        place: Line and column from 1; columns count bytes.
    """
    number, column = map(int, place.split(":"))
    lines = query.split("\n")
    line = lines[number - 1] if number <= len(lines) else ""
    before = line.encode("utf-8", "surrogateescape")[: column - 1].decode("utf-8", "replace")
    # Tabs stay tabs, so that the caret stands where the terminal puts the character.
    blank = "".join("\t" if char == "\t" else " " for char in before)
    return f"{_INDENT}{line}\n{_INDENT}{blank}^"
