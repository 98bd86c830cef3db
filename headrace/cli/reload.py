"""Another configuration in place of the one that runs, without a gap; the old one goes on where anything is wrong."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from headrace.cli import logs
from headrace.cli.warm import warm_up
from headrace.pipeline.component import restart_reason
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.errors import ConfigError, HeadraceError
from headrace.pipeline.telemetry import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from headrace.cli.daemon import Daemon
    from headrace.pipeline.component import Component
    from headrace.pipeline.config.load import LoadedConfig
    from headrace.pipeline.graph import Graph, Planned
    from headrace.pipeline.replacement import Replacement

_log = logging.getLogger("headrace.reload")


class Reloader:
    """Reloads a daemon.

    Args:
        daemon: The daemon.
        load: Reads the configuration again; raises ConfigError.
    """

    def __init__(self, daemon: Daemon, load: Callable[[], LoadedConfig]) -> None:
        self._daemon = daemon
        self._load = load
        self._lock = asyncio.Lock()
        counters = daemon.host.counters
        self._results = {
            result: counters.counter(
                "headrace_config_reloads", "Configurations that were reloaded or refused.", {"result": result}, "1"
            )
            for result in ("success", "failure")
        }
        self._succeeded = 1.0
        self._succeeded_at_s = daemon.host.clock_ns() / 1e9
        counters.observe(
            "headrace_config_last_reload_successful", "Whether the last one was taken.", lambda: self._succeeded
        )
        counters.observe(
            "headrace_config_last_reload_success_timestamp_seconds", "When.", lambda: self._succeeded_at_s, unit="s"
        )

    async def reload(self) -> bool:
        """Read the configuration and put it in place; return whether it runs now. What is wrong is logged."""
        async with self._lock:
            try:
                summary = await self._reload()
            except HeadraceError as error:
                self._note(succeeded=False)
                faults = error.faults if isinstance(error, ConfigFaults) else [error]
                for fault in faults:
                    _log.error("%s", fault)
                _log.error("not reloaded: the old configuration goes on")
                return False
            except Exception:  # noqa: BLE001 -- the edge of a task: the daemon goes on
                self._note(succeeded=False)
                _log.exception("bug: reloading failed; the old configuration goes on")
                return False
            self._note(succeeded=True)
            _log.info("reloaded: %s", summary)
            return True

    async def _reload(self) -> str:
        config = await asyncio.to_thread(self._load)
        for warning in config.warnings:
            _log.warning("%s", warning)
        await asyncio.to_thread(self._warm, config)
        return await Exchange(self._daemon, config).run()

    def _warm(self, config: LoadedConfig) -> None:
        """Compile what new components need, while the old ones go on."""
        known = {id(factory) for _, factory in factories(self._daemon.config)}
        warm_up([one for one in factories(config) if id(one[1]) not in known], lambda text: _log.info("%s", text))

    def _note(self, *, succeeded: bool) -> None:
        self._results["success" if succeeded else "failure"].add()
        self._succeeded = float(succeeded)
        if succeeded:
            self._succeeded_at_s = self._daemon.host.clock_ns() / 1e9


class Exchange:
    """One configuration put in place of another: extensions, telemetry, graph and listeners together.

    Args:
        daemon: Runs the old one.
        config: The new one.
    """

    def __init__(self, daemon: Daemon, config: LoadedConfig) -> None:
        self._daemon = daemon
        self._config = config
        self._started: list[Component] = []
        self._before = dict(daemon.host.extensions)
        old, new = daemon.config.extensions(), config.extensions()
        self._gone = [name for name, planned in old.items() if not _same(planned, new.get(name))]
        self._fresh = {name: planned for name, planned in new.items() if not _same(planned, old.get(name))}
        self._new_telemetry = config.telemetry.metrics != daemon.config.telemetry.metrics or bool(
            _mentioned(config.telemetry.metrics.model_dump(), self._gone)
        )

    async def run(self) -> str:
        """Do it; return what has changed.

        Raises:
            HeadraceError: The new one does not start; the old one runs as before.
        """
        daemon, limit_s = self._daemon, self._config.service.reload.drain_timeout.total_seconds()
        daemon.listeners.begin()
        replacement: Replacement | None = None
        try:
            await self._start_extensions()
            if self._new_telemetry:
                daemon.open_telemetry(self._config)
            replacement = self._graph.replacement(self._config.plan(), self._renewed())
            summary = str(replacement.changes)
            await replacement.prepare()
            await daemon.listeners.start()
            await replacement.swap(limit_s)
        except BaseException:
            if replacement is not None:
                await replacement.abort()
            await self._put_back()
            raise
        await daemon.listeners.commit(self._ended(replacement))
        self._settle()
        await replacement.retire(limit_s)
        await _stop(self._before[name] for name in self._gone)
        return summary + (
            f"; extensions: {', '.join({*self._gone, *self._fresh})}" if self._fresh or self._gone else ""
        )

    @property
    def _graph(self) -> Graph:
        graph = self._daemon.graph
        if graph is None:
            raise ConfigError("", "the daemon is not running")
        return graph

    async def _start_extensions(self) -> None:
        host = self._daemon.host
        for name in self._gone:
            self._check_restart(name, self._before[name])
            del host.extensions[name]
        for name, planned in self._fresh.items():
            extension = self._daemon.extension(name, planned)
            self._check_restart(name, extension)
            host.extensions[name] = extension
            self._started.append(extension)
            await extension.start(host)

    def _check_restart(self, name: str, extension: Component) -> None:
        reason = restart_reason(extension)
        if reason:
            raise ConfigError(f"extensions.{name}", f"cannot change while the daemon runs: {reason}")

    def _renewed(self) -> list[str]:
        """Return the components that name an extension which has changed: they hold on to the old one."""
        return [
            f"{kind}.{name}"
            for kind, found in self._config.components.items()
            for name, planned in found.items()
            if _mentioned(planned.config.model_dump(), self._gone)
        ]

    def _ended(self, replacement: Replacement) -> set[str]:
        ended = {part.key for part in replacement.ended} | {f"extensions.{name}" for name in self._gone}
        return ended | ({OWNER} if self._new_telemetry else set())

    def _settle(self) -> None:
        """Put in force what needs no exchange."""
        old, self._daemon.config = self._daemon.config, self._config
        if old.telemetry.logs != self._config.telemetry.logs:
            logs.configure(self._config.telemetry.logs)
        self._daemon.keep_state()

    async def _put_back(self) -> None:
        await _stop(reversed(self._started))
        extensions = self._daemon.host.extensions
        extensions.clear()
        extensions.update(self._before)
        await self._daemon.listeners.abort()


def factories(config: LoadedConfig) -> Iterator[tuple[str, Any]]:
    """Yield kind and factory of all components of a configuration."""
    for kind, found in config.components.items():
        for planned in found.values():
            yield kind, planned.factory


def _same(one: Planned, other: Planned | None) -> bool:
    return other is not None and one.factory is other.factory and one.config == other.config


def _mentioned(settings: Any, names: Collection[str]) -> bool:
    """Return whether one of some ids is a value somewhere in settings."""
    if not names:
        return False
    if isinstance(settings, dict):
        return any(_mentioned(value, names) for value in settings.values())
    if isinstance(settings, list | tuple):
        return any(_mentioned(value, names) for value in settings)
    return isinstance(settings, str) and settings in names


async def _stop(components: Any) -> None:
    for component in components:
        try:
            await component.shutdown()
        except Exception:  # noqa: BLE001 -- the edge of a component: the others have to be stopped as well
            _log.exception("shutdown of an extension failed")
