"""Keep web pages away from a local daemon.

A page that a user visits can make their browser send requests to 127.0.0.1. It cannot read answers of another
origin, unless its own name is made to resolve to 127.0.0.1 (DNS rebinding): then the Host header gives it away. And
it can post without reading: then the Origin header does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headrace.pipeline.http.endpoint import is_loopback_host

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy


def foreign_host(headers: CIMultiDictProxy[str]) -> str:
    """Return why the Host header is not that of a loopback listener, or nothing.

    Several Host headers are refused by the HTTP parser; a client of HTTP/1.0 may send none, and no browser does.
    """
    host = headers.get("Host")
    if host is None or is_loopback_host(_name(host)):
        return ""
    return (
        f"Host {host[:200]!r} is not this machine: a listener without authentication answers only to localhost and "
        "loopback addresses; configure authentication to be reached by other names"
    )


def foreign_origin(headers: CIMultiDictProxy[str]) -> str:
    """Return why a web page of another origin seems to send this, or nothing."""
    origin = headers.get("Origin")
    if origin is None or urlsplit_netloc(origin) == headers.get("Host", "").lower():
        return ""
    return f"a web page of {origin[:200]!r} may not send requests to this server: CORS is off, or not for it"


def urlsplit_netloc(origin: str) -> str:
    """Return host and port of an Origin header; the empty string for ``null`` and for what is no origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Return the host of ``name``, ``name:port``, ``[::1]`` or ``[::1]:port``."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
