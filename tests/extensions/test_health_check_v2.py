"""The ``health_check`` extension with ``use_v2``: statuses of components, asked over HTTP."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import ValidationError

from headrace.extensions.health_check import HealthCheck, HealthCheckConfig
from headrace.pipeline.component import Settings
from headrace.pipeline.host import Host
from headrace.pipeline.status import Event, Status, Statuses, worst
from http_lab import Lab, body, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_NS = 1_795_332_017_981_000_000
START = "2026-11-22T07:20:17.981Z"
CONFIG = {
    "receivers": {"otlp": {}},
    "connectors": {"forward": {}},
    "exporters": {"otlp/far": {"headers": {"authorization": "[REDACTED]"}}, "store": {}},
    "service": {
        "extensions": ["health_check"],
        "pipelines": {
            "metrics": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["forward", "store"]},
            "metrics/far": {"receivers": ["forward"], "exporters": ["otlp/far"]},
        },
    },
}


class Probe:
    """A health check of one test."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.now_ns = START_NS
        services = {"listeners": self.lab.listeners, "config_yaml": lambda: yaml.safe_dump(CONFIG, sort_keys=False)}
        self.host = Host(
            counters=self.lab.counters, statuses=Statuses(lambda: self.now_ns), services=services,
            clock_ns=lambda: self.now_ns,
        )  # fmt: skip

    async def start(self, http: Any = None, **config: Any) -> None:
        settings = Settings("extensions", "health_check", self.host.counters, logging.getLogger("test"))
        chosen = {"use_v2": True, "http": {"endpoint": "127.0.0.1:0", **(http or {})}, **config}
        await HealthCheck(settings, HealthCheckConfig(**chosen)).start(self.host)
        await self.lab.listeners.start()

    async def get(self, path: str = "/status") -> tuple[int, Any]:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        reply = await self.lab.talk(self.lab.listeners.open[0], request)
        return status(reply), json.loads(body(reply)) if body(reply).startswith(b"{") else body(reply).decode()


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    made = Probe()
    yield made
    await made.lab.listeners.shutdown(0.1)


def part(status_: str, *, healthy: bool = True, time: str = START, **more: Any) -> dict[str, Any]:
    return {"healthy": healthy, "status": status_, "status_time": time, **more}


async def test_all_is_well(probe: Probe) -> None:
    """Every component of every pipeline, connectors in both places; without `verbose` the whole alone."""
    await probe.start()
    ok = part("StatusOK")
    assert await probe.get() == (200, {"start_time": START, **ok})
    assert await probe.get("/status?verbose=false") == (200, {"start_time": START, **ok})
    near = {"connector:forward": ok, "exporter:store": ok, "processor:batch": ok, "receiver:otlp": ok}
    far = {"connector:forward": ok, "exporter:otlp/far": ok}
    assert await probe.get("/status?verbose") == (200, {
        "start_time": START, **ok, "components": {
            "extensions": {**ok, "components": {"extension:health_check": ok}},
            "pipeline:metrics": {**ok, "components": near},
            "pipeline:metrics/far": {**ok, "components": far},
        },
    })  # fmt: skip
    assert await probe.get("/status?pipeline=metrics/far&verbose") == (
        200,
        {"start_time": START, **ok, "components": far},
    )
    assert (await probe.get("/status?pipeline=traces"))[0] == 404
    assert (await probe.get("/config"))[0] == 404


async def test_errors_that_may_pass(probe: Probe) -> None:
    """They are told, and count only where that is wanted and they last."""
    await probe.start(component_health={"include_recoverable_errors": True, "recovery_duration": "1m"})
    probe.now_ns += 1_000_000_000
    probe.host.statuses.report("exporters.otlp/far", Status.RECOVERABLE_ERROR, "connection refused")
    late = "2026-11-22T07:20:18.981Z"
    broken = part("StatusRecoverableError", time=late, error="connection refused")
    assert await probe.get() == (200, {"start_time": START, **broken})
    probe.now_ns += 60_000_000_001
    probe.host.statuses.report("exporters.otlp/far", Status.RECOVERABLE_ERROR, "still refused")
    code, found = await probe.get("/status?verbose")
    assert (code, found["healthy"], found["error"], found["status_time"]) == (500, False, "still refused", late)
    assert found["components"]["pipeline:metrics"]["healthy"]
    assert (await probe.get("/status?pipeline=metrics"))[0] == 200
    probe.host.statuses.report("exporters.otlp/far", Status.OK)
    assert (await probe.get())[0] == 200


@pytest.mark.parametrize(("include", "code"), [(False, 200), (True, 500)])
async def test_errors_that_stay(probe: Probe, include: bool, code: int) -> None:
    """A component does not recover from them."""
    await probe.start(component_health={"include_permanent_errors": include})
    probe.host.statuses.report("receivers.otlp", Status.PERMANENT_ERROR, "no licence")
    probe.host.statuses.report("receivers.otlp", Status.OK)
    found = await probe.get()
    assert (found[0], found[1]["status"], found[1]["error"]) == (code, "StatusPermanentError", "no licence")


async def test_starting_and_stopping(probe: Probe) -> None:
    """Who is not ready is starting; a daemon that ends is stopping, and one that failed is unhealthy."""
    await probe.start()
    probe.host.readiness.block("exporters.store", "replaying")
    code, found = await probe.get("/status?verbose")
    assert (code, found["status"], found["error"]) == (503, "StatusStarting", "replaying")
    assert found["components"]["pipeline:metrics"]["components"]["exporter:store"]["status"] == "StatusStarting"
    probe.host.readiness.clear("exporters.store")
    probe.host.readiness.block("daemon", "stopping")
    assert (await probe.get())[0] == 503
    probe.host.fail("the disk is full", "exporters.store")
    assert (await probe.get())[1]["status"] == "StatusFatalError"
    assert (await probe.get())[0] == 500


async def test_paths(probe: Probe) -> None:
    """They can be moved and turned off; the configuration shows no secrets."""
    await probe.start(http={"status": {"path": "/health"}, "config": {"enabled": True}})
    assert (await probe.get("/health"))[0] == 200
    assert (await probe.get())[0] == 404
    assert await probe.get("/config") == (200, CONFIG)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"use_v2": True}, "needs http"),
        ({"http": {}}, "needs use_v2"),
        ({"use_v2": True, "http": None, "grpc": {"endpoint": "localhost:13132"}}, "grpc"),
        ({"check_collector_pipeline": {"enabled": True}}, "check_collector_pipeline"),
    ],
)
def test_settings_that_are_refused(config: dict[str, Any], why: str) -> None:
    """With the reason; what is off says nothing."""
    with pytest.raises(ValidationError, match=why):
        HealthCheckConfig(**config)
    off = {"check_collector_pipeline": {"enabled": False}}
    assert HealthCheckConfig.model_validate(off).path == "/"
    assert HealthCheckConfig(use_v2=True, http=None).http is not None


def test_the_worst_of_parts() -> None:
    """An end counts more than a start, that more than errors, and these more than nothing."""

    def of(*found: Status, first: Status = Status.PERMANENT_ERROR) -> Status:
        return worst([Event(one, 1) for one in found], first).status

    permanent, recoverable = Status.PERMANENT_ERROR, Status.RECOVERABLE_ERROR
    assert of(Status.OK, permanent, recoverable) is permanent
    assert of(Status.OK, permanent, recoverable, first=recoverable) is recoverable
    assert of(Status.OK, permanent, Status.STARTING) is Status.STARTING
    assert of(Status.FATAL_ERROR, Status.STARTING) is Status.FATAL_ERROR
    assert of(Status.STOPPED, Status.OK) is Status.STOPPING
    assert of(Status.STOPPED, Status.STOPPED) is Status.STOPPED
    assert of(Status.NONE, Status.OK) is Status.OK


def test_reports_that_follow_each_other() -> None:
    """The first of equal errors tells since when; nothing follows the end."""
    now = 5
    statuses = Statuses(lambda: now)
    assert statuses.of("x") == Event(Status.OK, 5)
    for now in (6, 7):
        statuses.report("x", Status.RECOVERABLE_ERROR, str(now))
    assert statuses.of("x") == Event(Status.RECOVERABLE_ERROR, 6, "7")
    for one in (Status.STOPPED, Status.OK):
        statuses.report("x", one)
    assert statuses.of("x").status is Status.STOPPED
    statuses.forget("x")
    assert statuses.of("x") == Event(Status.OK, 5)
