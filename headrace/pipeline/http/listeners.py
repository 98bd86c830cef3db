"""The service that components open HTTP routes with.

A component registers in its ``start`` and thinks of nothing else::

    listeners = host.service("listeners", Listeners)
    listeners.add(config, [Route("/v1/metrics", ("POST",), self._export)], owner="receivers.otlp")

Components that name the same endpoint share one listener. Where their settings differ, one of them must have left the
setting at its default; the body limit is each component's own. The host calls `start` when all have registered, and
`shutdown` before the components' own.

A reload is bracketed by `begin` and `commit` or `abort`. What a component adds in between takes the place of the routes
that it had at the endpoint, in one step, so that no request finds neither. `start` opens new endpoints; settings of an
open one change with `commit`.

A handler gets a `Request` and returns an aiohttp response (`text`, `json_bytes`, ``web.Response``). Authentication,
Host and Origin checks, size and time limits have been applied before. Deliberate errors that it raises become
answers: `TooLarge` 413, `Unsupported` 415, `InvalidInput` and `Rejected` 400, `Refused` 503 with Retry-After.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.listener import Listener
from headrace.pipeline.http.request import BodyBudget

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from headrace.pipeline.counters import Counters
    from headrace.pipeline.http.auth import Authenticator
    from headrace.pipeline.http.routes import Mounted, Route

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
        self._by_address: dict[str, Shared] = {}
        self._reload: Reload | None = None
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
        shared = self._by_address.get(key)
        if shared is None:
            authenticator = self._authenticator_of(config, owner)
            shared = Shared(Listener(_server_part(config), owner, authenticator, self.budget, self._counters))
        else:
            self._join(key, shared, config, owner)
        shared.listener.table.add(routes, owner, config.max_request_body_size, again=self._reload is not None)
        shared.owners[owner] = config
        self._by_address[key] = shared
        if self._reload is not None:
            self._reload.placed.add((key, owner))
        return shared.listener

    def remove(self, owner: str) -> None:
        """Forget the routes of `owner`; a listener without routes answers 404 until `shutdown`."""
        for shared in self._by_address.values():
            shared.remove(owner)

    async def start(self) -> None:
        """Open what is not open yet, and check settings that will change.

        Raises:
            ConfigError: See `Listener.start`; those that were open stay open.
        """
        for shared in self._by_address.values():
            await shared.listener.start()
        if self._reload is not None:
            for listener in self._reload.reopening.values():
                listener.check()

    async def shutdown(self, grace_s: float = _GRACE_S) -> None:
        """Close all listeners; see `Listener.shutdown`. Safe before `start` and twice."""
        for shared in self._by_address.values():
            await shared.listener.shutdown(grace_s)

    @property
    def open(self) -> list[Listener]:
        """All listeners, in order of registration."""
        return [shared.listener for shared in self._by_address.values()]

    # -- reload ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a reload."""
        before = {
            key: (shared, dict(shared.owners), list(shared.listener.table.mounted))
            for key, shared in self._by_address.items()
        }
        self._reload = Reload(before)

    async def commit(self, ended: Collection[str], grace_s: float = _GRACE_S) -> None:
        """End a reload.

        Args:
            ended: Owners that are gone or were made anew: what they have not added since `begin` is removed.
            grace_s: How long requests may take to finish where a listener closes.

        Raises:
            ConfigError: An endpoint could not be opened again with other settings.
        """
        reload = self._ended_reload()
        for listener, config, authenticator in reload.settings.values():
            listener.reconfigure(config, authenticator)
        for key, shared in list(self._by_address.items()):
            for owner in [owner for owner in shared.owners if owner in ended and (key, owner) not in reload.placed]:
                shared.remove(owner)
            if not shared.owners:
                del self._by_address[key]
                await shared.listener.shutdown(grace_s)
            elif key in reload.reopening:
                before, shared.listener = shared.listener, reload.reopening[key]
                # On the same sockets, so that nobody who connects meanwhile is refused.
                await shared.listener.start(before.sockets())
                await before.shutdown(grace_s)

    async def abort(self) -> None:
        """End a reload that came to nothing: all is as it was at `begin`."""
        reload = self._ended_reload()
        for key, shared in list(self._by_address.items()):
            if key not in reload.before:
                del self._by_address[key]
                await shared.listener.shutdown(0)
        for shared, owners, mounted in reload.before.values():
            shared.owners = owners
            shared.listener.table.restore(mounted)

    def _ended_reload(self) -> Reload:
        if self._reload is None:
            raise AssertionError("bug: there is no reload")
        reload, self._reload = self._reload, None
        return reload

    def _authenticator_of(self, config: ServerConfig, owner: str) -> Authenticator | None:
        if config.auth is None:
            return None
        return self._authenticator(config.auth.authenticator, f"{owner}.auth.authenticator")

    def _join(self, key: str, shared: Shared, config: ServerConfig, owner: str) -> None:
        """Give a listener the settings of all its components, one of which is new or has other settings."""
        owners: dict[str, ServerConfig] = {**shared.owners, owner: config}
        merged = _merged(owners)
        asking = next((name for name, one in owners.items() if one.auth is not None), owner)
        authenticator = self._authenticator_of(merged, asking)
        listener = shared.listener
        if self._reload is not None and listener.running:
            self._reload.reopening.pop(key, None)
            if merged.tls != listener.config.tls:
                again = Listener(merged, owner, authenticator, self.budget, self._counters, listener.table)
                self._reload.reopening[key] = again
            else:
                self._reload.settings[key] = (listener, merged, authenticator)
        elif merged != listener.config:
            if listener.running:
                raise AssertionError(f"bug: {owner} changes an open listener outside of a reload")
            listener.configure(merged, authenticator)


@dataclass(slots=True, eq=False)
class Shared:
    """A listener and who is on it.

    Attributes:
        listener: The listener.
        owners: Settings of each component on it, in order.
    """

    listener: Listener
    owners: dict[str, ServerConfig] = field(default_factory=dict)

    def remove(self, owner: str) -> None:
        """Forget a component."""
        self.listener.table.remove(owner)
        self.owners.pop(owner, None)


@dataclass(slots=True)
class Reload:
    """What has happened since a reload began.

    Attributes:
        before: Listeners, owners and routes at its beginning, by address.
        placed: Addresses and owners that were added.
        reopening: Listeners that take the place of open ones, by address.
        settings: What open listeners are told at the end: settings, and who checks credentials.
    """

    before: dict[str, tuple[Shared, dict[str, ServerConfig], list[Mounted]]]
    placed: set[tuple[str, str]] = field(default_factory=set)
    reopening: dict[str, Listener] = field(default_factory=dict)
    settings: dict[str, tuple[Listener, ServerConfig, Authenticator | None]] = field(default_factory=dict)


def _merged(owners: Mapping[str, ServerConfig]) -> ServerConfig:
    (first, config), *others = owners.items()
    merged = _server_part(config)
    for owner, other in others:
        merged = _merge(merged, first, other, owner)
    return merged


def _server_part(config: ServerConfig) -> ServerConfig:
    """Return the settings of the listener alone, without the component's own."""
    names = [name for name in ServerConfig.model_fields if name != "max_request_body_size"]
    return ServerConfig(**{name: getattr(config, name) for name in names})


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
