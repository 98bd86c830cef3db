"""Pages that show what the daemon is doing; the Collector's ``zpages``.

``/debug/servicez``, ``/debug/pipelinez``, ``/debug/extensionz`` and ``/debug/featurez``; ``/debug/expvarz`` where it is
enabled. ``/debug/tracez`` tells that there are no traces: the daemon records none of itself.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from typing import TYPE_CHECKING

from aiohttp import web

from headrace.extensions.zpages_tables import COMPONENT, page, rows_of_pipelines, table
from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.model import REDACTED
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.request import json_bytes
from headrace.pipeline.http.routes import Route
from headrace.pipeline.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from headrace.pipeline.host import Host
    from headrace.pipeline.http.request import Request

_PAGES = {
    "servicez": "the daemon",
    "pipelinez": "pipelines and their components",
    "extensionz": "extensions",
    "featurez": "feature gates",
    "tracez": "traces",
}


class ExpvarConfig(ComponentConfig):
    """Counters as JSON."""

    enabled: bool = False
    """Whether ``/debug/expvarz`` is there."""


class ZpagesConfig(ServerConfig):
    """Settings of the ``zpages`` extension."""

    endpoint: str = "localhost:55679"
    """Where to listen."""

    expvar: ExpvarConfig = ExpvarConfig()
    """Counters as JSON."""


class Zpages:
    """Serves the pages."""

    def __init__(self, settings: Settings, config: ZpagesConfig) -> None:
        self._settings = settings
        self._config = config
        self._host: Host | None = None

    async def start(self, host: Host) -> None:
        """Open the paths."""
        self._host = host
        pages: dict[str, Callable[[Host], str]] = {
            "servicez": _service, "pipelinez": _pipelines, "extensionz": _extensions, "featurez": _features,
            "tracez": _traces,
        }  # fmt: skip
        routes = [Route(f"/debug/{name}", ("GET", "HEAD"), self._handler(make)) for name, make in pages.items()]
        routes.append(Route("/debug", ("GET", "HEAD"), self._handler(_index)))
        if self._config.expvar.enabled:
            routes.append(Route("/debug/expvarz", ("GET", "HEAD"), self._expvar))
        host.service("listeners", Listeners).add(self._config, routes, f"{self._settings.kind}.{self._settings.id}")

    async def shutdown(self) -> None:
        """Do nothing: the listener is closed already."""

    def _handler(self, make: Callable[[Host], str]) -> Callable[[Request], Awaitable[web.StreamResponse]]:
        async def answer(request: Request) -> web.StreamResponse:
            del request
            return web.Response(text=make(self._running), content_type="text/html", charset="utf-8")

        return answer

    @property
    def _running(self) -> Host:
        if self._host is None:
            raise AssertionError("bug: a request before start")
        return self._host

    async def _expvar(self, request: Request) -> web.StreamResponse:
        del request
        found: dict[str, object] = {"cmdline": command_line(sys.argv)}
        for instrument in list(self._running.counters.instruments.values()):
            points = {",".join(f"{k}={v}" for k, v in labels.items()): value for labels, value in instrument.read()}
            found[instrument.name] = points[""] if list(points) == [""] else points
        return json_bytes(json.dumps(found).encode())


def command_line(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a process without the settings among them, which may be secrets."""
    shown = []
    for one in arguments:
        name, mark, _ = next((one.partition(mark) for mark in ("yaml:", "=") if mark in one), (one, "", ""))
        shown.append(f"{name}{mark}{REDACTED}" if mark else one)
    return shown


def _index(host: Host) -> str:
    del host
    links = [(f'<a href="/debug/{name}">{name}</a>', what) for name, what in _PAGES.items()]
    return page("Headrace", table(("page", "shows"), links, is_html=True))


def _service(host: Host) -> str:
    started = datetime.fromtimestamp(host.statuses.started_ns / 1e9, UTC)
    uptime = datetime.fromtimestamp(host.clock_ns() / 1e9, UTC) - started
    rows = [
        ("version", metadata.version("headrace")), ("Python", platform.python_version()),
        ("platform", platform.platform()), ("process", str(os.getpid())),
        ("started", f"{started:%Y-%m-%d %H:%M:%S} UTC"), ("uptime", str(uptime)),
        ("ready", "yes" if host.readiness.ready else "no"),
        *((f"waits for {who}", why) for who, why in host.readiness.blockers.items()),
        ("series", str(sum(map(len, host.workspaces.tables.values())))),
    ]  # fmt: skip
    return page("Service", table(("", ""), rows) + _links())


def _pipelines(host: Host) -> str:
    topology = Topology.of(host)
    return page("Pipelines", table(("pipeline", *COMPONENT), rows_of_pipelines(host, topology)) + _links())


def _extensions(host: Host) -> str:
    rows = []
    for name in Topology.of(host).extensions:
        event = host.statuses.of(f"extensions.{name}")
        rows.append((name, event.status.value.removeprefix("Status"), event.error))
    return page("Extensions", table(("extension", "status", "error"), rows) + _links())


def _features(host: Host) -> str:
    del host
    return page("Feature gates", "<p>There are none: what is there is on, or has a setting.</p>" + _links())


def _traces(host: Host) -> str:
    del host
    text = "The daemon records no traces of itself; see the counts at pipelinez, and the profiler for where time goes."
    return page("Traces", f"<p>{escape(text)}</p>{_links()}")


def _links() -> str:
    return "<p>" + " ".join(f'<a href="/debug/{name}">{name}</a>' for name in _PAGES) + "</p>"


FACTORY = ExtensionFactory(name="zpages", config=ZpagesConfig, create=Zpages)
