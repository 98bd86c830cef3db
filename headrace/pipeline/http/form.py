"""Query strings and posted forms, split as Go's ``net/url`` splits them, since Prometheus' clients are used to it.

``;`` does not separate parameters and spoils the one it is in; so does a ``%`` that no two hex digits follow. The
other parameters count, and the first error is kept for the handlers that report it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Form:
    """Parameters of a request.

    Attributes:
        pairs: Names and values in order. Bytes that are not UTF-8 are surrogates, as by ``surrogateescape``.
        error: What was wrong with the first pair left out; empty where nothing was.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    error: str = ""

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of `name`."""
        return next((value for key, value in self.pairs if key == name), default)

    def all(self, name: str) -> list[str]:
        """Return all values of `name`."""
        return [value for key, value in self.pairs if key == name]


def parse_form(encoded: str) -> Form:
    """Split ``a=1&b=%20`` into its parameters."""
    if not encoded:
        return Form()
    pairs = []
    error = ""
    for part in encoded.split("&"):
        if not part:
            continue
        problem = _problem(part)
        if problem:
            error = error or problem
            continue
        name, _, value = part.partition("=")
        pairs.append((_unescape(name), _unescape(value)))
    return Form(tuple(pairs), error)


def unescape_path(part: str) -> str:
    """Decode one part of a path; a ``+`` stays what it is."""
    if "%" not in part:
        return part
    return unquote_to_bytes(part.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _problem(part: str) -> str:
    if ";" in part:
        return "invalid semicolon separator in query"
    found = _BAD_ESCAPE.search(part) if "%" in part else None
    return f'invalid URL escape "{found.group()}"' if found else ""


def _unescape(text: str) -> str:
    return unescape_path(text.replace("+", " "))
