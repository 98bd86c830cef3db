"""Answer whether the daemon is ready, for load balancers and Kubernetes; the Collector's ``health_check``.

200 once nothing blocks readiness, 503 otherwise and while the daemon stops; the bodies are the Collector's. With
``use_v2`` the answer is put together from the statuses of components, see `headrace.extensions.health_check_v2`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic import field_validator, model_validator

from headrace.extensions.health_check_v2 import ComponentHealthConfig, Health, HttpHealthConfig
from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.form import parse_form
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.request import json_bytes, text
from headrace.pipeline.http.routes import Route
from headrace.pipeline.topology import Topology

if TYPE_CHECKING:
    from aiohttp import web

    from headrace.pipeline.host import Host, Readiness
    from headrace.pipeline.http.request import Request

_REFUSED = {
    "check_collector_pipeline": "it never worked in the Collector: use component_health with use_v2",
    "grpc": "statuses are not served over gRPC: use http",
}
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

    use_v2: bool = False
    """Answer with the statuses of components, as `http` says; the settings above are then of no use."""

    component_health: ComponentHealthConfig = ComponentHealthConfig()
    """With `use_v2`: which errors of components make the daemon unhealthy."""

    http: HttpHealthConfig | None = None
    """With `use_v2`: where to answer, and under which paths."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        if isinstance(given, dict):
            check = given.get("check_collector_pipeline")
            off = isinstance(check, dict) and not check.get("enabled")
            given = {name: value for name, value in given.items() if not (off and value is check)}
            if "http" in given and given["http"] is None:
                given["http"] = {}
        return refuse(given, _REFUSED)

    @model_validator(mode="after")
    def _check_v2(self) -> Self:
        if self.use_v2 and self.http is None:
            raise ValueError("use_v2 needs http")
        if not self.use_v2 and self.http is not None:
            raise ValueError("http needs use_v2: true")
        return self

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
        self._health: Health | None = None
        self._host: Host | None = None

    async def start(self, host: Host) -> None:
        """Open the paths. Probes carry no credentials, so they are answered without them; not so the configuration."""
        self._readiness = host.readiness
        self._host = host
        host.readiness.watchers.append(self._note)
        self._note()
        self._health = Health(self._config.component_health, host)
        owner = f"{self._settings.kind}.{self._settings.id}"
        http = self._config.http if self._config.use_v2 else None
        if http is None:
            routes = [Route(self._config.path, ("GET", "HEAD"), self._answer, open_to_all=True)]
        else:
            routes = [Route(http.status.path, ("GET", "HEAD"), self._answer_status, open_to_all=True)]
            routes = routes if http.status.enabled else []
            routes += [Route(http.config.path, ("GET", "HEAD"), self._answer_config)] if http.config.enabled else []
        host.service("listeners", Listeners).add(http or self._config, routes, owner)

    async def shutdown(self) -> None:
        """Answer 503 from now on."""
        self._stopped = True
        if self._readiness is not None and self._note in self._readiness.watchers:
            self._readiness.watchers.remove(self._note)

    @property
    def _is_ready(self) -> bool:
        return self._readiness is not None and self._readiness.ready and not self._stopped

    def _note(self) -> None:
        """Keep since when the daemon is ready."""
        if not self._is_ready:
            self._ready_since_ns = None
        elif self._ready_since_ns is None:
            self._ready_since_ns = self._settings.clock_ns()

    async def _answer(self, request: Request) -> web.StreamResponse:
        del request
        ready = self._is_ready
        status = 200 if ready else 503
        own = self._config.response_body
        if own is not None:
            return text(own.healthy if ready else own.unhealthy, status)
        return json_bytes(json.dumps(self._body(ready=ready), separators=(",", ":")).encode(), status)

    async def _answer_status(self, request: Request) -> web.StreamResponse:
        fields = parse_form(request.query_string)
        verbose = any(name == "verbose" and value != "false" for name, value in fields.pairs)
        if self._health is None:
            raise AssertionError("bug: a request before start")
        found = self._health.of(fields.get("pipeline"), verbose=verbose)
        if found is None:
            return text("there is no such pipeline", 404)
        status, body = found
        return json_bytes(json.dumps(body, separators=(",", ":")).encode(), status)

    async def _answer_config(self, request: Request) -> web.StreamResponse:
        del request
        if self._host is None:
            raise AssertionError("bug: a request before start")
        config = Topology.of(self._host).config
        return json_bytes(json.dumps(config, separators=(",", ":"), default=str).encode())

    def _body(self, *, ready: bool) -> dict[str, str]:
        since = self._ready_since_ns
        if not ready or since is None:
            return {"status": "Server not available", "upSince": _NEVER, "uptime": ""}
        moment = datetime.fromtimestamp(since // _NS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        up = f"{moment}.{since % _NS:09d}Z"
        return {"status": "Server available", "upSince": up, "uptime": go_duration(self._settings.clock_ns() - since)}


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


FACTORY = ExtensionFactory(
    name="health_check", config=HealthCheckConfig, create=HealthCheck, aliases=("healthcheck", "healthcheckv2")
)
