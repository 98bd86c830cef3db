"""Addresses that a server listens on, written ``host:port`` as in the Collector, or a path of this machine."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass

MAX_PORT = 65535

_MAX_PATH_BYTES = 107
"""Longest path of a socket; Linux, ``unix(7)``, and its end."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed address.

    Attributes:
        host: Address or name without brackets; empty for all interfaces. ``localhost`` is 127.0.0.1.
        port: 0 asks the system for a free one.
        path: Of a Unix socket; then there is neither host nor port.
    """

    host: str
    port: int
    path: str = ""

    @classmethod
    def at(cls, text: str, transport: str) -> Endpoint:
        """Read an address: a path for the transport ``unix``, else what `parse` takes.

        Raises:
            ValueError: The text is none.
        """
        if transport != "unix":
            return cls.parse(text)
        if not 0 < len(text.encode()) <= _MAX_PATH_BYTES or "\0" in text:
            raise ValueError(f"must be a path of up to {_MAX_PATH_BYTES} bytes with transport unix, got {text!r}")
        return cls("", 0, text)

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read ``127.0.0.1:9009``, ``localhost:9009``, ``[::1]:9009`` or ``:9009``.

        Raises:
            ValueError: The text is none of these.
        """
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or (":" in host and not bracketed) or "/" in host:
            raise ValueError(f"must be host:port, got {text!r}")
        if not (port.isascii() and port.isdecimal()) or int(port) > MAX_PORT:
            raise ValueError(f"must end in a port from 0 to {MAX_PORT}, got {text!r}")
        host = host[1:-1] if bracketed else host
        if bracketed and not is_address(host):
            raise ValueError(f"must hold an IPv6 address within the brackets, got {text!r}")
        return cls("127.0.0.1" if host.lower() == "localhost" else host.lower(), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect. A name other than localhost counts as reachable from outside."""
        return bool(self.path) or is_loopback_host(self.host)

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_address(host: str) -> bool:
    """Return whether `host` is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=256)  # asked for every request, mostly about the same host
def is_loopback_host(host: str) -> bool:
    """Return whether `host` (a name or an address without brackets or port) means this machine and nothing else."""
    host = host.lower().removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback
