"""The ``health_check`` extension, asked over HTTP."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from headrace.extensions.health_check import FACTORY, HealthCheck, HealthCheckConfig, go_duration
from headrace.pipeline.component import Settings
from headrace.pipeline.host import Host
from http_lab import Lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_NS = 1_795_332_017_981_000_001


class Probe:
    """A health check of one test."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.now_ns = START_NS
        self.host = Host(counters=self.lab.counters, services={"listeners": self.lab.listeners})

    async def start(self, **config: Any) -> HealthCheck:
        settings = Settings(
            "extensions", "health_check", self.host.counters, logging.getLogger("test"), clock_ns=lambda: self.now_ns
        )
        check = HealthCheck(settings, HealthCheckConfig(**{"endpoint": "127.0.0.1:0", **config}))
        await check.start(self.host)
        await self.lab.listeners.start()
        return check

    async def get(self, path: str = "/", method: str = "GET") -> tuple[int, str]:
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        head, _, body = (await self.lab.talk(self.lab.listeners.open[0], request)).decode().partition("\r\n\r\n")
        return int(head.split()[1]), body


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    made = Probe()
    yield made
    await made.lab.listeners.shutdown(0.1)


async def test_ready_and_not(probe: Probe) -> None:
    """503 while something blocks, 200 after, 503 again while the daemon stops; with the Collector's bodies.

    It is up since nothing blocks any more, not since somebody asked.
    """
    check = await probe.start()
    probe.host.readiness.block("exporters.store", "replaying")
    status, body = await probe.get()
    assert status == 503
    assert json.loads(body) == {"status": "Server not available", "upSince": "0001-01-01T00:00:00Z", "uptime": ""}

    probe.host.readiness.clear("exporters.store")
    probe.now_ns += 3_725_500_000_000
    status, body = await probe.get()
    assert status == 200
    assert json.loads(body) == {
        "status": "Server available",
        "upSince": "2026-11-22T07:20:17.981000001Z",
        "uptime": "1h2m5.5s",
    }

    await check.shutdown()
    assert (await probe.get())[0] == 503
    assert probe.host.readiness.watchers == []


async def test_own_texts_and_path(probe: Probe) -> None:
    """Path and bodies can be chosen; other paths are unknown; HEAD is answered."""
    await probe.start(path="/health", response_body={"healthy": "fine", "unhealthy": "sick"})

    assert await probe.get("/health") == (200, "fine\n")
    assert await probe.get("/health", "HEAD") == (200, "")
    assert (await probe.get())[0] == 404
    probe.host.readiness.block("x", "y")
    assert await probe.get("/health") == (503, "sick\n")


@pytest.mark.parametrize("path", ["", "health", "/{x}"])
def test_bad_paths_are_refused(path: str) -> None:
    """A path starts with a slash and is no pattern."""
    with pytest.raises(ValidationError, match="must start with a slash"):
        HealthCheckConfig(path=path)
    assert FACTORY.config().endpoint == "localhost:13133"


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (999, "999ns"),
        (1500, "1.5\u00b5s"),
        (20_000_000, "20ms"),
        (1_000_000_000, "1s"),
        (61_000_000_000, "1m1s"),
        (3_600_000_000_000, "1h0m0s"),
    ],
)
def test_go_duration(ns: int, text: str) -> None:
    """Durations print as Go's."""
    assert go_duration(ns) == text
