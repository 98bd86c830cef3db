"""Which handler answers which request.

A path is looked up whole in a dictionary; only paths that are not there are compared with the patterns that hold
``{name}`` parts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.form import unescape_path

if TYPE_CHECKING:
    from aiohttp import web

    from headrace.pipeline.http.request import Request

Handler = Callable[["Request"], Awaitable["web.StreamResponse"]]

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Route:
    """One path of a component.

    Attributes:
        path: Such as ``/api/v1/write`` or ``/workspaces/{id}/api/v1/query``; a part in braces stands for any one part.
        methods: Methods the handler takes; others are answered 405. OPTIONS is answered by the listener.
        handler: Answers; errors of `headrace.pipeline.errors` that it raises become 4xx and 5xx with their text.
        open_to_all: Answered without authentication. For liveness and readiness, nothing else.
        action: What the sender has to be allowed to do where a `Gate` decides about that, in its terms:
            ``aps:RemoteWrite``. A gate lets nobody but administrators pass to a route without one.
        params: What `Request.params` holds where the path has no such part: the workspace of ``/api/v1/query``.
    """

    path: str
    methods: tuple[str, ...]
    handler: Handler
    open_to_all: bool = False
    action: str = ""
    params: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMS)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A route with what its owner's settings say.

    Attributes:
        route: The route.
        owner: Component that registered it, such as ``receivers.otlp``.
        max_body_bytes: The owner's limit.
    """

    route: Route
    owner: str
    max_body_bytes: int

    @property
    def allow(self) -> str:
        """Value of the ``Allow`` header."""
        return ", ".join(sorted({*self.route.methods, "OPTIONS"}))


class RouteTable:
    """The routes of one listener."""

    def __init__(self) -> None:
        self._exact: dict[str, Mounted] = {}
        self._patterns: dict[int, list[tuple[tuple[str, ...], Mounted]]] = {}
        self.mounted: list[Mounted] = []
        """All routes, in order of registration."""

    def add(self, routes: Iterable[Route], owner: str, max_body_bytes: int, *, again: bool = False) -> None:
        """Take the routes of a component: all of them or, on an error, none.

        Args:
            routes: All that it has here.
            owner: The component.
            max_body_bytes: Its limit.
            again: Whether they take the place of those that it has had.

        Raises:
            ConfigError: Another component has a route for one of the paths.
        """
        new = [Mounted(route, owner, max_body_bytes) for route in routes]
        others = [mounted for mounted in self.mounted if not (again and mounted.owner == owner)]
        for mounted in new:
            found = next((other for other in others if _clash(other.route.path, mounted.route.path)), None)
            if found is not None:
                raise ConfigError(
                    f"{owner}.endpoint",
                    f"path {mounted.route.path} is taken by {found.owner} on the same endpoint",
                )
        self.mounted = others + new
        self._index()

    def restore(self, mounted: Iterable[Mounted]) -> None:
        """Have these routes and no others."""
        self.mounted = list(mounted)
        self._index()

    def remove(self, owner: str) -> None:
        """Forget the routes of `owner`."""
        self.mounted = [mounted for mounted in self.mounted if mounted.owner != owner]
        self._index()

    def find(self, path: str) -> tuple[Mounted, Mapping[str, str]] | None:
        """Return the route for `path` (percent-encoded) with the values of its ``{name}`` parts; None without one."""
        exact = self._exact.get(path)
        if exact is not None:
            return exact, exact.route.params
        parts = path.split("/")
        for pattern, mounted in self._patterns.get(len(parts), ()):
            params = _match(pattern, parts)
            if params is not None:
                return mounted, {**mounted.route.params, **params}
        return None

    def _index(self) -> None:
        exact: dict[str, Mounted] = {}
        patterns: dict[int, list[tuple[tuple[str, ...], Mounted]]] = {}
        for mounted in self.mounted:
            path = mounted.route.path
            if "{" in path:
                parts = tuple(path.split("/"))
                patterns.setdefault(len(parts), []).append((parts, mounted))
            else:
                exact[path] = mounted
        self._exact, self._patterns = exact, patterns


def _is_open(part: str) -> bool:
    return part.startswith("{") and part.endswith("}")


def _match(pattern: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    params = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if _is_open(wanted):
            if not part:
                return None
            params[wanted[1:-1]] = unescape_path(part)
        elif wanted != part:
            return None
    return params


def _clash(one: str, other: str) -> bool:
    """Return whether some path fits both, so that it would be open which component answers.

    A pattern beside a path without braces is no clash: the dictionary is asked first.
    """
    if ("{" in one) != ("{" in other):
        return False
    pairs = list(zip(one.split("/"), other.split("/"), strict=False))
    same_length = one.count("/") == other.count("/")
    return same_length and all(a == b or _is_open(a) or _is_open(b) for a, b in pairs)
