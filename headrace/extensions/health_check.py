"""Answer whether the daemon is ready, for load balancers and Kubernetes; the Collector's ``health_check``.

200 once nothing blocks readiness, 503 otherwise and while the daemon stops; the bodies are the Collector's.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import field_validator

from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.request import json_bytes, text
from headrace.pipeline.http.routes import Route

if TYPE_CHECKING:
    from aiohttp import web

    from headrace.pipeline.host import Host, Readiness
    from headrace.pipeline.http.request import Request

_NEVER = "0001-01-01T00:00:00Z"
_NS = 1_000_000_000


class ResponseBodyConfig(ComponentConfig):
    """Texts to answer instead of JSON."""

    healthy: str = ""
    """Body of the 200."""

    unhealthy: str = ""
    """Body of the 503."""


class HealthCheckConfig(ServerConfig):
    """Settings of the ``health_check`` extension."""

    endpoint: str = "localhost:13133"
    """Where to listen."""

    path: str = "/"
    """Path to answer."""

    response_body: ResponseBodyConfig | None = None
    """Answer these texts instead of the JSON."""

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not path.startswith("/") or "{" in path:
            raise ValueError(f"must start with a slash and hold no braces, got {path!r}")
        return path


class HealthCheck:
    """Serves the readiness of the host."""

    def __init__(self, settings: Settings, config: HealthCheckConfig) -> None:
        self._settings = settings
        self._config = config
        self._readiness: Readiness | None = None
        self._stopped = False
        self._ready_since_ns: int | None = None

    async def start(self, host: Host) -> None:
        """Open the path. Probes carry no credentials, so it is answered without them."""
        self._readiness = host.readiness
        owner = f"{self._settings.kind}.{self._settings.id}"
        route = Route(self._config.path, ("GET", "HEAD"), self._answer, open_to_all=True)
        host.service("listeners", Listeners).add(self._config, [route], owner)

    async def shutdown(self) -> None:
        """Answer 503 from now on."""
        self._stopped = True

    async def _answer(self, request: Request) -> web.StreamResponse:
        del request
        ready = self._readiness is not None and self._readiness.ready and not self._stopped
        now_ns = self._settings.clock_ns()
        if not ready:
            self._ready_since_ns = None
        elif self._ready_since_ns is None:
            self._ready_since_ns = now_ns
        status = 200 if ready else 503
        own = self._config.response_body
        if own is not None:
            return text(own.healthy if ready else own.unhealthy, status)
        return json_bytes(json.dumps(self._body(now_ns), separators=(",", ":")).encode(), status)

    def _body(self, now_ns: int) -> dict[str, str]:
        since = self._ready_since_ns
        if since is None:
            return {"status": "Server not available", "upSince": _NEVER, "uptime": ""}
        moment = datetime.fromtimestamp(since // _NS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        up = f"{moment}.{since % _NS:09d}Z"
        return {"status": "Server available", "upSince": up, "uptime": go_duration(now_ns - since)}


def go_duration(ns: int) -> str:
    """Print a duration as Go does: ``1h2m3.5s``, ``20ms``, ``0s``."""
    if ns < _NS:
        for unit, size in (("ms", 1_000_000), ("\u00b5s", 1000), ("ns", 1)):
            if ns >= size:
                return f"{ns / size:.9f}".rstrip("0").rstrip(".") + unit
        return "0s"
    minutes, rest = divmod(ns, 60 * _NS)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // _NS}.{rest % _NS:09d}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


FACTORY = ExtensionFactory(name="health_check", config=HealthCheckConfig, create=HealthCheck)
