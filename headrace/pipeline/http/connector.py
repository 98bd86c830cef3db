"""The connections of an HTTP client: how many are kept, and for how long."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from headrace.pipeline.http.client import ClientConfig

_FOREVER_S = 365 * 24 * 3600.0


class Connector(aiohttp.TCPConnector):
    """Keeps connections, up to a number of unused ones.

    Args:
        max_idle: Unused connections to all servers; 0 for no limit.
        max_idle_per_host: The same for one server.
        more: Settings of aiohttp's connector.
    """

    def __init__(self, max_idle: int, max_idle_per_host: int, **more: Any) -> None:
        super().__init__(**more)
        self._max_idle = max_idle
        self._max_idle_per_host = max_idle_per_host

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        """Take back a connection; aiohttp calls it, and has no such limits of its own."""
        here = len(self._conns.get(key, ()))
        everywhere = sum(map(len, self._conns.values()))
        full = 0 < self._max_idle <= everywhere or 0 < self._max_idle_per_host <= here
        super()._release(key, protocol, should_close=should_close or full)

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        for waiting in self._conns.values():
            while waiting:
                transport = waiting.pop()[0].transport
                if transport is not None:
                    transport.close()


def connector(config: ClientConfig) -> Connector:
    """Return the connections that settings ask for."""
    more: dict[str, Any] = {}
    if config.write_buffer_size:
        more["socket_factory"] = lambda address: _socket(address, config.write_buffer_size)
    if config.disable_keep_alives:
        more["force_close"] = True
    else:
        more["keepalive_timeout"] = config.idle_conn_timeout.total_seconds() or _FOREVER_S
    return Connector(
        config.max_idle_conns, config.max_idle_conns_per_host, limit=0, limit_per_host=config.max_conns_per_host, **more
    )


def _socket(address: Any, write_buffer_size: int) -> socket.socket:
    family, type_, protocol, _, _ = address
    made = socket.socket(family=family, type=type_, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, write_buffer_size)
    return made
