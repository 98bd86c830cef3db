"""The canonical form of a request, over which its signature is made.

Clients agree on the form of a path and of headers, and not on that of a query string: `queries` lists the forms that
occur. The signature covers the whole query in each of them.

Source:
    AWS Identity and Access Management User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import quote, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of no bytes."""

_MEMO_CHARS = 512
"""Shorter paths are encoded once and remembered."""

_SAFE = "~"  # `quote` leaves letters, digits, '_', '.' and '-' alone in any case


class Headers(Protocol):
    """Headers whose names are found in any case, as aiohttp's are."""

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]:
        """Return the values of a header, in order."""


class Head(NamedTuple):
    """A request without its body.

    Attributes:
        method: Upper case.
        path: As on the wire, percent-encoded.
        query: As on the wire, without the question mark.
        headers: All headers.
    """

    method: str
    path: str
    query: str
    headers: Headers


def path_of(path: str) -> str:
    """Return the canonical path: cleaned of dots and repeated slashes, then percent-encoded once more."""
    return _path_of(path) if len(path) < _MEMO_CHARS else _path_of.__wrapped__(path)


@lru_cache(1024)
def _path_of(path: str) -> str:
    return quote(clean_path(path), safe="/~", errors="surrogateescape")


def clean_path(path: str) -> str:
    """Return `path` without ``.``, ``..`` and empty segments, as RFC 3986 section 5.2.4 has it."""
    if "//" not in path and "/." not in path:
        return path or "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    slash = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return f"/{'/'.join(kept)}{slash}"


def queries(query: str, *, lenient: bool) -> Iterable[str]:
    """Yield the canonical forms that a client may have signed `query` by, without repeats.

    Args:
        query: As on the wire, without the question mark and without a signature in it.
        lenient: Whether forms count that AWS itself refuses: the string as sent (curl before 8), and encoded twice
            (awscurl with an encoded query).
    """
    strict = _encode(query, plus=b"+")
    yield strict
    if "+" in query:
        yield _encode(query, plus=b" ")
    if lenient:
        if query != strict:
            yield query
        twice = "&".join(sorted(quote(part, safe="=~", errors="surrogateescape") for part in query.split("&")))
        if twice not in {strict, query}:
            yield twice


def _encode(query: str, plus: bytes) -> str:
    """Decode each name and value, encode them by RFC 3986, and sort."""
    if not query:
        return ""
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((_recode(name, plus), _recode(value, plus)))
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def _recode(text: str, plus: bytes) -> str:
    if text.isalnum() and text.isascii():
        return text
    data = text.encode("utf-8", "surrogateescape").replace(b"+", b"%%%02X" % ord(plus))
    return quote(unquote_to_bytes(data), safe=_SAFE)


def headers_of(headers: Headers, names: Iterable[str], instead: Mapping[str, str] | None = None) -> str:
    """Return the canonical headers: a line each, values trimmed, runs of blanks made one.

    Args:
        headers: The request's.
        names: Those that are signed, lower case, in the order of ``SignedHeaders``.
        instead: Values that take the place of the request's, by name.
    """
    lines = []
    for name in names:
        values = headers.getall(name, ()) if instead is None or name not in instead else (instead[name],)
        lines.append(f"{name}:{','.join([' '.join(value.split()) for value in values])}\n")
    return "".join(lines)


def request_of(method: str, path: str, query: str, headers: str, names: str, body_sha256: str) -> str:
    """Join the parts, each canonical already, into the canonical request."""
    return f"{method}\n{path}\n{query}\n{headers}\n{names}\n{body_sha256}"
