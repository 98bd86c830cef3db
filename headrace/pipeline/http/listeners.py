"""The service that components open HTTP routes with.

A component registers in its ``start`` and thinks of nothing else::

    listeners = host.service("listeners", Listeners)
    listeners.add(config, [Route("/v1/metrics", ("POST",), self._export)], owner="receivers.otlp")

Components that name the same endpoint share one listener. Where their settings differ, one of them must have left the
setting at its default; the body limit is each component's own. The host calls `start` when all have registered, and
`shutdown` before the components' own. After a reload, `add` for a listener that runs takes effect at once and `start`
opens the new ones.

A handler gets a `Request` and returns an aiohttp response (`text`, `json_bytes`, ``web.Response``). Authentication,
Host and Origin checks, size and time limits have been applied before. Deliberate errors that it raises become
answers: `TooLarge` 413, `Unsupported` 415, `InvalidInput` and `Rejected` 400, `Refused` 503 with Retry-After.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.listener import Listener
from headrace.pipeline.http.request import BodyBudget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.pipeline.counters import Counters
    from headrace.pipeline.http.auth import Authenticator
    from headrace.pipeline.http.routes import Route

_BODIES_BYTES = 512 << 20
"""Request bodies held in memory at the same time."""

_GRACE_S = 10.0
"""How long requests under way may take to finish at shutdown."""

_OWN = {"endpoint", "max_request_body_size"}
"""Settings that components on one listener may each have differently."""


class Listeners:
    """All HTTP listeners of the daemon.

    Args:
        counters: The daemon's registry.
        authenticator: Returns the authenticator with an extension id, asked for by a setting (second argument);
            raises ConfigError where there is none. See `Host.extension`.
        body_bytes: Request bodies held in memory at the same time, over all listeners; more are refused with 503.
    """

    def __init__(
        self,
        counters: Counters,
        authenticator: Callable[[str, str], Authenticator],
        body_bytes: int = _BODIES_BYTES,
    ) -> None:
        self._counters = counters
        self._authenticator = authenticator
        self._by_address: dict[str, tuple[Listener, str]] = {}
        self.budget = BodyBudget(body_bytes)

    def add(self, config: ServerConfig, routes: Iterable[Route], owner: str) -> Listener:
        """Have `routes` answered at ``config.endpoint``.

        Args:
            config: A `ServerConfig` or a configuration derived from it.
            routes: All routes of the component on this endpoint.
            owner: Key of the component in the configuration, such as ``receivers.otlp``.

        Returns:
            The listener; its `port` is known after `start`.

        Raises:
            ConfigError: Settings contradict those of another component on the endpoint, a path is taken, or the
                authenticator does not exist.
        """
        key = str(config.address)
        listener, first = self._by_address.get(key, (None, owner))
        if listener is None:
            authenticator = self._authenticator_of(config, owner)
            listener = Listener(_server_part(config), owner, authenticator, self.budget, self._counters)
        else:
            self._join(listener, first, config, owner)
        listener.table.add(routes, owner, config.max_request_body_size)
        self._by_address[key] = (listener, first)
        return listener

    def remove(self, owner: str) -> None:
        """Forget the routes of `owner`; a listener without routes answers 404 until `shutdown`."""
        for listener, _ in self._by_address.values():
            listener.table.remove(owner)

    async def start(self) -> None:
        """Open what is not open yet.

        Raises:
            ConfigError: See `Listener.start`; those that were open stay open.
        """
        for listener, _ in self._by_address.values():
            await listener.start()

    async def shutdown(self, grace_s: float = _GRACE_S) -> None:
        """Close all listeners; see `Listener.shutdown`. Safe before `start` and twice."""
        for listener, _ in self._by_address.values():
            await listener.shutdown(grace_s)

    @property
    def open(self) -> list[Listener]:
        """All listeners, in order of registration."""
        return [listener for listener, _ in self._by_address.values()]

    def _authenticator_of(self, config: ServerConfig, owner: str) -> Authenticator | None:
        if config.auth is None:
            return None
        return self._authenticator(config.auth.authenticator, f"{owner}.auth.authenticator")

    def _join(self, listener: Listener, first: str, config: ServerConfig, owner: str) -> None:
        """Give `listener` the settings of both components."""
        merged = _merge(listener.config, first, config, owner)
        if merged == listener.config:
            return
        if listener.running:
            why = f"{config.endpoint} is open with other settings; changing them needs a restart"
            raise ConfigError(f"{owner}.endpoint", why)
        listener.configure(merged, self._authenticator_of(merged, owner if config.auth else first))


def _server_part(config: ServerConfig) -> ServerConfig:
    """Return the settings of the listener alone, without the component's own."""
    return ServerConfig(**{name: getattr(config, name) for name in ServerConfig.model_fields})


def _merge(first: ServerConfig, first_owner: str, second: ServerConfig, second_owner: str) -> ServerConfig:
    values = {name: getattr(first, name) for name in ServerConfig.model_fields}
    for name, ours in ServerConfig.model_fields.items():
        one, other = values[name], getattr(second, name)
        if name in _OWN or other in (one, ours.default):
            continue
        if one != ours.default:
            raise ConfigError(
                f"{second_owner}.{name}",
                f"differs from {first_owner}.{name}, and both listen on {second.endpoint}: make them equal, or "
                "leave one of them out",
            )
        values[name] = other
    return ServerConfig(**values)
