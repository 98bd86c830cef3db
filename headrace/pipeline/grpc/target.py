"""Endpoints of gRPC clients, as the Collector's configurations write them."""

from __future__ import annotations

from urllib.parse import urlsplit

_RESOLVERS = ("dns:", "passthrough:///", "ipv4:", "ipv6:", "unix:")


def target_of(endpoint: str) -> str:
    """Return an endpoint as gRPC's core takes it.

    Raises:
        ValueError: It is none.

    >>> target_of("collector:4317"), target_of("https://collector:4317"), target_of("passthrough:///collector:4317")
    ('collector:4317', 'collector:4317', 'collector:4317')
    """
    scheme, separator, _ = endpoint.partition("://")
    if separator and scheme in {"http", "https"}:
        parts = urlsplit(endpoint)
        if not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"must be host:port, without a path, got {endpoint!r}")
        return parts.netloc if parts.port else f"{parts.netloc}:{443 if scheme == 'https' else 80}"
    if endpoint.startswith("passthrough:///"):
        return endpoint.removeprefix("passthrough:///")
    if endpoint.startswith(_RESOLVERS):
        return endpoint
    host, colon, port = endpoint.rpartition(":")
    if separator or not colon or not host or "/" in endpoint or not (port.isascii() and port.isdecimal()):
        raise ValueError(f"must be host:port, got {endpoint!r}")
    return endpoint


def host_of(endpoint: str) -> str:
    """Return the host of an endpoint; ``localhost`` for a socket of this machine."""
    if endpoint.startswith("unix:"):
        return "localhost"
    target = target_of(endpoint).rpartition("/")[2].removeprefix("dns:").removeprefix("ipv4:").removeprefix("ipv6:")
    return target.rpartition(":")[0].strip("[]")


def is_secure(endpoint: str, *, insecure: bool) -> bool:
    """Return whether TLS is spoken: a scheme says so, else ``tls.insecure``.

    >>> is_secure("http://a:1", insecure=False), is_secure("a:1", insecure=False), is_secure("https://a", insecure=True)
    (False, True, True)
    """
    if endpoint.startswith(("http://", "https://")):
        return endpoint.startswith("https://")
    return not insecure
