"""A host for components under test: series tables, listeners on loopback, targets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from headrace.pipeline.host import Host
from headrace.pipeline.http.auth import Authenticator
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.targets import TargetsRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.pipeline.component import Component

_START_S = 30.0
"""What a component may do before `start` returns takes less, on a busy machine too."""


def make_host() -> Host:
    """Make a host that offers what the daemon's offers to a receiver or an extension."""
    host = Host()

    def authenticator(extension: str, asked_by: str) -> Authenticator:
        return host.extension(extension, Authenticator, asked_by)  # type: ignore[type-abstract]

    host.services.update(listeners=Listeners(host.counters, authenticator), targets=TargetsRegistry())
    return host


@asynccontextmanager
async def running(component: Component, host: Host) -> AsyncIterator[None]:
    """Start a component and what it listens on, until it is ready; stop both as the daemon does, listeners first.

    Raises:
        TimeoutError: `start` did not return, or the component did not become ready.
    """
    listeners: Listeners = host.services["listeners"]
    try:
        await asyncio.wait_for(component.start(host), _START_S)
        await listeners.start()
        async with asyncio.timeout(_START_S):
            while not host.readiness.ready:  # noqa: ASYNC110 -- a readiness of many owners has no event
                await asyncio.sleep(0.01)
        yield
    finally:
        await listeners.shutdown(0.1)
        await component.shutdown()


def first_url(host: Host) -> str:
    """Return where the first listener answers, such as ``http://127.0.0.1:4318``."""
    listeners: Listeners = host.services["listeners"]
    return listeners.open[0].url
