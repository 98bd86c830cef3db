"""The daemon: a host, its extensions, a graph and the listeners, from start to signal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from headrace.cli.limits import raise_open_files
from headrace.cli.memory import give_back
from headrace.cli.reload import Reloader
from headrace.pipeline.component import Settings
from headrace.pipeline.graph import Graph
from headrace.pipeline.host import Host
from headrace.pipeline.http.auth import Authenticator
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.state import StateDirectory
from headrace.pipeline.taps.routes import TapRoutes
from headrace.pipeline.targets import TargetsRegistry
from headrace.pipeline.telemetry import Telemetry, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.cli.watch import Watched
    from headrace.pipeline.component import Component
    from headrace.pipeline.config.load import LoadedConfig
    from headrace.pipeline.graph import Planned

_log = logging.getLogger("headrace.daemon")

_SWEEP_S = 60.0
_IDLE_S = 3600.0

_TRIM_S = 10.0
"""Free memory is given back as often, but rarer where that takes long."""
_TRIM_SHARE = 0.001
"""Of the time that giving memory back may take."""

_POLL_S = 0.05


class Daemon:
    """Runs one configuration.

    Args:
        config: What to run.
        started_s: When the process began, by the monotonic clock; for the message that it is ready.
        load: Reads the configuration again for a reload; without it there are none.
        watched: The files it is made of.
        watches: Whether their changes lead to reloads although the configuration does not say so.
    """

    def __init__(
        self,
        config: LoadedConfig,
        started_s: float | None = None,
        load: Callable[[], LoadedConfig] | None = None,
        watched: Watched | None = None,
        *,
        watches: bool = False,
    ) -> None:
        self.host = Host()
        self.config = config
        self._started_s = time.monotonic() if started_s is None else started_s
        self._stop = asyncio.Event()
        self.failure = ""
        self.host.on_failure = self._fail
        self.listeners = Listeners(self.host.counters, self._authenticator)
        self.host.services.update(
            listeners=self.listeners,
            targets=TargetsRegistry(),
            config_yaml=lambda: yaml.safe_dump(self.config.resolved(), sort_keys=False),
        )
        self.keep_state()
        self._reload_asked = asyncio.Event()
        self._watched = watched
        self.watches = watches
        self.reloader = Reloader(self, load) if load is not None else None
        self.telemetry = Telemetry(self.host.counters, self.host.monotonic_s)
        self.graph: Graph | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, on_ready: Callable[[str], None] = lambda _text: None) -> int:
        """Run until a signal; return the exit code.

        Raises:
            ConfigError: A component cannot be made or started with its settings.
        """
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, self._signalled)
        if self.reloader is not None:
            loop.add_signal_handler(signal.SIGHUP, self._reload_asked.set)
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
            loop.remove_signal_handler(signal.SIGHUP)
        return 1 if self.failure else 0

    async def start(self) -> None:
        """Start everything; what was started is stopped by `shutdown`, also after a failure."""
        for name, planned in self.config.extensions().items():
            self.host.extensions[name] = self.extension(name, planned)
        self.open_telemetry(self.config)
        for extension in self.host.extensions.values():
            await extension.start(self.host)
        self.graph = Graph(self.config.plan(), self.host)
        await self.graph.start()
        await self.listeners.start()
        self._tasks.append(asyncio.create_task(self._sweep(), name="sweep of idle series"))
        self._tasks.append(asyncio.create_task(self._trim(), name="free memory"))
        if self.reloader is not None:
            self._tasks.append(asyncio.create_task(self._reload(self.reloader), name="reloads"))
        if self._watched is not None:
            self._watched.note()
            self._tasks.append(asyncio.create_task(self._watched.watch(self._files_changed), name="watch"))

    async def shutdown(self) -> None:
        """Stop everything: listeners, then receivers, processors, exporters, then extensions."""
        self.host.readiness.block("daemon", "stopping")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.host.taps.end()
        await self.listeners.shutdown()
        if self.graph is not None:
            for fault in await self.graph.shutdown():
                _log.error("%s", fault)
            self.graph = None
        for name, extension in reversed(self.host.extensions.items()):
            try:
                await extension.shutdown()
            except Exception:  # noqa: BLE001 -- the edge of a component: the others have to be stopped as well
                _log.exception("shutdown of extensions.%s failed", name)
        self.host.extensions.clear()
        self.telemetry.shutdown()

    def keep_state(self) -> None:
        """Keep states of processors where the configuration says, or nowhere."""
        directory = self.config.service.state_directory
        self.host.services.pop("state", None)
        if directory:
            self.host.services["state"] = StateDirectory(Path(directory))

    def extension(self, name: str, planned: Planned) -> Component:
        """Make an extension."""
        host = self.host
        logger = host.logger.getChild(f"extensions.{name}")
        settings = Settings("extensions", name, host.counters, logger, host.clock_ns, host.monotonic_s)
        component: Component = planned.factory.create(settings, planned.config)
        return component

    def _authenticator(self, extension: str, asked_by: str) -> Authenticator:
        return self.host.extension(extension, Authenticator, asked_by)  # type: ignore[type-abstract]

    def open_telemetry(self, config: LoadedConfig) -> None:
        """Serve the daemon's own metrics as a configuration says."""
        metrics = config.telemetry.metrics
        if metrics.level == "none":
            return
        for reader in metrics.readers:
            taps = TapRoutes(self.host.taps, self._edges, self.host.monotonic_s)
            serve(self.telemetry, self.host, reader.pull.exporter.prometheus.server, taps.routes())

    def _edges(self) -> list[str]:
        return self.graph.wiring.edges() if self.graph is not None else []

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

    async def _trim(self) -> None:
        took_s = 0.0
        while True:
            await asyncio.sleep(max(_TRIM_S, took_s / _TRIM_SHARE))
            began_s = self.host.monotonic_s()
            give_back()
            took_s = self.host.monotonic_s() - began_s

    async def _reload(self, reloader: Reloader) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            await reloader.reload()

    def _files_changed(self) -> None:
        if self.config.service.reload.watch or self.watches:
            self._reload_asked.set()

    def _fail(self, why: str) -> None:
        self.failure = why
        self._stop.set()

    def _signalled(self) -> None:
        if self._stop.is_set():
            _log.warning("second signal: stopping at once")
            raise KeyboardInterrupt
        _log.info("stopping")
        self._stop.set()


def run(make: Callable[[], Daemon], on_ready: Callable[[str], None]) -> int:
    """Run a daemon in an event loop of its own."""

    def ready(text: str) -> None:
        # What the start has made, most of it Numba's, stays until the end: there is nothing to find in it.
        gc.freeze()
        on_ready(text)

    async def main() -> int:
        return await make().run(ready)

    raise_open_files()
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(main())
    return 1
