"""Names beyond the classic alphabet, written with it: the schemes that scrapers ask for.

Source:
    Prometheus, "Content negotiation", section "Escaping schemes".
"""

from __future__ import annotations

import re

ALLOW_UTF8 = "allow-utf-8"
UNDERSCORES = "underscores"
DOTS = "dots"
VALUES = "values"
SCHEMES = frozenset({ALLOW_UTF8, UNDERSCORES, DOTS, VALUES})

_CLASSIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def escape(name: str, scheme: str) -> str:
    """Return `name` as `scheme` writes it.

    >>> [escape("http.status_x", scheme) for scheme in (ALLOW_UTF8, UNDERSCORES, DOTS, VALUES)]
    ['http.status_x', 'http_status_x', 'http_dot_status__x', 'U__http_2e_status__x']
    """
    if scheme == ALLOW_UTF8 or _CLASSIC.fullmatch(name):
        return name
    written = [_SCHEMES[scheme](char, place) for place, char in enumerate(name)]
    return ("U__" if scheme == VALUES else "") + "".join(written)


def _is_classic(char: str, place: int) -> bool:
    return char.isascii() and (char.isalpha() or char in "_:" or (char.isdigit() and place > 0))


def _underscored(char: str, place: int) -> str:
    return char if _is_classic(char, place) else "_"


def _dotted(char: str, place: int) -> str:
    if char in "._":
        return "__" if char == "_" else "_dot_"
    return char if _is_classic(char, place) else "__"


def _valued(char: str, place: int) -> str:
    if char == "_":
        return "__"
    return char if _is_classic(char, place) else f"_{ord(char):x}_"


_SCHEMES = {UNDERSCORES: _underscored, DOTS: _dotted, VALUES: _valued}
