"""The daemon: a host, its extensions, a graph and the listeners, from start to signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from headrace.pipeline.component import Settings
from headrace.pipeline.graph import Graph
from headrace.pipeline.host import Host
from headrace.pipeline.http.auth import Authenticator
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.state import StateDirectory
from headrace.pipeline.targets import TargetsRegistry
from headrace.pipeline.telemetry import Telemetry, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.component import Component
    from headrace.pipeline.config.load import LoadedConfig
    from headrace.pipeline.graph import Planned

_log = logging.getLogger("headrace.daemon")

_SWEEP_S = 60.0
_IDLE_S = 3600.0
_POLL_S = 0.05


class Daemon:
    """Runs one configuration.

    Args:
        config: What to run.
        started_s: When the process began, by the monotonic clock; for the message that it is ready.
    """

    def __init__(self, config: LoadedConfig, started_s: float | None = None) -> None:
        self.host = Host()
        self._config = config
        self._started_s = time.monotonic() if started_s is None else started_s
        self._stop = asyncio.Event()
        self.failure = ""
        self.host.on_failure = self._fail
        self.listeners = Listeners(self.host.counters, self._authenticator)
        self.host.services.update(
            listeners=self.listeners,
            targets=TargetsRegistry(),
            config_yaml=lambda: yaml.safe_dump(config.resolved(), sort_keys=False),
        )
        if config.service.state_directory:
            self.host.services["state"] = StateDirectory(Path(config.service.state_directory))
        self.telemetry = Telemetry(self.host.counters, self.host.monotonic_s)
        self._graph: Graph | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def run(self, on_ready: Callable[[str], None] = lambda _text: None) -> int:
        """Run until a signal; return the exit code.

        Raises:
            ConfigError: A component cannot be made or started with its settings.
        """
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, self._signalled)
        try:
            await self.start()
            waiting = asyncio.create_task(self._announce(on_ready))
            await self._stop.wait()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        finally:
            await self.shutdown()
            for one in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(one)
        return 1 if self.failure else 0

    async def start(self) -> None:
        """Start everything; what was started is stopped by `shutdown`, also after a failure."""
        for name, planned in self._config.extensions().items():
            self.host.extensions[name] = self._extension(name, planned)
        self._open_telemetry()
        for extension in self.host.extensions.values():
            await extension.start(self.host)
        self._graph = Graph(self._config.plan(), self.host)
        await self._graph.start()
        await self.listeners.start()
        self._sweeper = asyncio.create_task(self._sweep(), name="sweep of idle series")

    async def shutdown(self) -> None:
        """Stop everything: listeners, then receivers, processors, exporters, then extensions."""
        self.host.readiness.block("daemon", "stopping")
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        await self.listeners.shutdown()
        if self._graph is not None:
            for fault in await self._graph.shutdown():
                _log.error("%s", fault)
            self._graph = None
        for name, extension in reversed(self.host.extensions.items()):
            try:
                await extension.shutdown()
            except Exception:  # noqa: BLE001 -- the edge of a component: the others have to be stopped as well
                _log.exception("shutdown of extensions.%s failed", name)
        self.host.extensions.clear()
        self.telemetry.shutdown()

    def _extension(self, name: str, planned: Planned) -> Component:
        host = self.host
        logger = host.logger.getChild(f"extensions.{name}")
        settings = Settings("extensions", name, host.counters, logger, host.clock_ns, host.monotonic_s)
        component: Component = planned.factory.create(settings, planned.config)
        return component

    def _authenticator(self, extension: str, asked_by: str) -> Authenticator:
        return self.host.extension(extension, Authenticator, asked_by)  # type: ignore[type-abstract]

    def _open_telemetry(self) -> None:
        metrics = self._config.telemetry.metrics
        if metrics.level == "none":
            return
        for reader in metrics.readers:
            serve(self.telemetry, self.host, reader.pull.exporter.prometheus.server)

    async def _announce(self, on_ready: Callable[[str], None]) -> None:
        while not self.host.readiness.ready:  # noqa: ASYNC110 -- a readiness of many owners has no event
            await asyncio.sleep(_POLL_S)
        urls = ", ".join(dict.fromkeys(listener.url for listener in self.listeners.open))
        where = f": {urls}" if urls else ""
        on_ready(f"ready in {time.monotonic() - self._started_s:.1f} s{where}")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            freed = self.host.workspaces.collect(_IDLE_S)
            if freed:
                _log.info("freed %d series that were idle for %d s", freed, _IDLE_S)

    def _fail(self, why: str) -> None:
        self.failure = why
        self._stop.set()

    def _signalled(self) -> None:
        if self._stop.is_set():
            _log.warning("second signal: stopping at once")
            raise KeyboardInterrupt
        _log.info("stopping")
        self._stop.set()


def run(config: LoadedConfig, started_s: float, on_ready: Callable[[str], None]) -> int:
    """Run a daemon in an event loop of its own."""

    async def main() -> int:
        return await Daemon(config, started_s).run(on_ready)

    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(main())
    return 1
