"""The bodies of the Collector's second health check: one status for the daemon, each pipeline and each component."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.pipeline.config import ComponentConfig, NonNegativeDuration
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.status import Event, Status, worst
from headrace.pipeline.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.pipeline.host import Host

_NS = 1_000_000_000
_SINGULAR = {
    "receivers": "receiver", "processors": "processor", "exporters": "exporter", "connectors": "connector",
    "extensions": "extension",
}  # fmt: skip
_UNAVAILABLE = frozenset({Status.NONE, Status.STARTING, Status.STOPPING, Status.STOPPED})


class ComponentHealthConfig(ComponentConfig):
    """Which errors of components make the daemon unhealthy."""

    include_permanent_errors: bool = False
    """Answer 500 while a component has an error that will not pass by itself."""

    include_recoverable_errors: bool = False
    """Answer 500 while a component has an error that may pass, once it lasts longer than `recovery_duration`."""

    recovery_duration: NonNegativeDuration = timedelta(minutes=5)
    """How long an error that may pass is let pass."""


class StatusPathConfig(ComponentConfig):
    """The path that answers with statuses."""

    enabled: bool = True
    """Whether there is one."""

    path: str = "/status"
    """The path."""


class ConfigPathConfig(ComponentConfig):
    """The path that answers with the configuration, without secrets."""

    enabled: bool = False
    """Whether there is one."""

    path: str = "/config"
    """The path."""


class HttpHealthConfig(ServerConfig):
    """Statuses over HTTP."""

    endpoint: str = "localhost:13133"
    """Where to listen."""

    status: StatusPathConfig = StatusPathConfig()
    """The path that answers with statuses."""

    config: ConfigPathConfig = ConfigPathConfig()
    """The path that answers with the configuration."""


class Health:
    """Puts statuses together.

    Args:
        config: Which errors count.
        host: Whose components.
    """

    def __init__(self, config: ComponentHealthConfig, host: Host) -> None:
        self._config = config
        self._host = host
        only_recoverable = config.include_recoverable_errors and not config.include_permanent_errors
        self._first_error = Status.RECOVERABLE_ERROR if only_recoverable else Status.PERMANENT_ERROR

    def of(self, pipeline: str = "", *, verbose: bool = False) -> tuple[int, dict[str, Any]] | None:
        """Return the HTTP status and the body for the daemon, or one pipeline; None where there is no such pipeline.

        Args:
            pipeline: Its id.
            verbose: With the parts.
        """
        topology = Topology.of(self._host)
        groups = dict(self._groups(topology))
        begin = {"start_time": moment(self._host.statuses.started_ns)}
        if pipeline:
            members = groups.get(f"pipeline:{pipeline}")
            if members is None:
                return None
            body = self._group(members, verbose=verbose)
            return self.http_status(self._worst(members)), begin | body
        own = self._daemon()
        events = [*([own] if own is not None else []), *(self._worst(members) for members in groups.values())]
        event = worst(events or [Event(Status.OK, self._host.statuses.started_ns)], self._first_error)
        body = begin | self._body(event)
        if verbose:
            body["components"] = {name: self._group(members, verbose=True) for name, members in groups.items()}
        return self.http_status(event), body

    def http_status(self, event: Event) -> int:
        """Return what a load balancer is told."""
        if event.status in _UNAVAILABLE:
            return 503
        return 200 if self._is_healthy(event) else 500

    def _is_healthy(self, event: Event) -> bool:
        if event.status is Status.PERMANENT_ERROR:
            return not self._config.include_permanent_errors
        if event.status is Status.RECOVERABLE_ERROR:
            patience_ns = self._config.recovery_duration // timedelta(microseconds=1) * 1000
            lasts_ns = self._host.clock_ns() - event.time_ns
            return not self._config.include_recoverable_errors or lasts_ns <= patience_ns
        return event.status is Status.OK

    def _daemon(self) -> Event | None:
        """Return what keeps the daemon as a whole from being ready."""
        blockers = self._host.readiness.blockers
        started_ns = self._host.statuses.started_ns
        if "daemon" in blockers:
            return Event(Status.STOPPING, self._host.clock_ns())
        return Event(Status.STARTING, started_ns, next(iter(blockers.values()))) if blockers else None

    def _groups(self, topology: Topology) -> Iterator[tuple[str, Mapping[str, Event]]]:
        """Yield the extensions and the pipelines with the statuses of their components."""
        if topology.extensions:
            yield "extensions", {f"extension:{name}": self._of("extensions", name) for name in topology.extensions}
        for pipeline, parts in topology.pipelines.items():
            members: dict[str, Event] = {}
            for kind, names in parts.items():
                for name in names:
                    real = topology.kind_of(name, kind)
                    members[f"{_SINGULAR[real]}:{name}"] = self._of(real, name)
            yield f"pipeline:{pipeline}", dict(sorted(members.items()))

    def _of(self, kind: str, name: str) -> Event:
        key = f"{kind}.{name}"
        why = self._host.readiness.blockers.get(key)
        if why is not None:
            return Event(Status.STARTING, self._host.statuses.started_ns, why)
        return self._host.statuses.of(key)

    def _worst(self, members: Mapping[str, Event]) -> Event:
        return worst(members.values(), self._first_error)

    def _group(self, members: Mapping[str, Event], *, verbose: bool) -> dict[str, Any]:
        body = self._body(self._worst(members))
        if verbose:
            body["components"] = {name: self._body(event) for name, event in members.items()}
        return body

    def _body(self, event: Event) -> dict[str, Any]:
        body: dict[str, Any] = {"healthy": self._is_healthy(event), "status": event.status.value}
        if event.error:
            body["error"] = event.error
        return body | {"status_time": moment(event.time_ns)}


def moment(ns: int) -> str:
    """Return a time as RFC 3339 with nanoseconds."""
    seconds, rest = divmod(ns, _NS)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"
