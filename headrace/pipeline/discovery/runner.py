"""The discoveries of one job: run side by side, and what they have found."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from headrace.pipeline.discovery.contract import DiscoverySettings, Report
from headrace.pipeline.discovery.polling import Backoff
from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from headrace.pipeline.component import Settings
    from headrace.pipeline.config import ComponentConfig
    from headrace.pipeline.discovery.contract import Discovery, DiscoveryFactory, TargetGroup

_LONGEST_PAUSE_S = 60.0

_SHARE = 20
"""After targets have been worked out anew, as many times the time it took passes before it is done again, so that
discoveries that change all the time cost a twentieth of a core."""

_LEAST_PAUSE_S, _MOST_PAUSE_S = 0.1, 5.0
"""Bounds of that pause: nobody waits longer for a change than with Prometheus, even after thousands of new targets."""


class _Found:
    """One discovery, and the groups it has now."""

    def __init__(self, kind: str, discovery: Discovery, report: Report) -> None:
        self.kind = kind
        self.discovery = discovery
        self.report = report
        self.groups: dict[str, TargetGroup] = {}

    def take(self, groups: Iterable[TargetGroup]) -> bool:
        """Take over what is published; return whether anything is different."""
        different = False
        for group in groups:
            if not group.targets:
                different |= self.groups.pop(group.source, None) is not None
            elif self.groups.get(group.source) != group:
                self.groups[group.source] = group
                different = True
        return different


class Discoverer:
    """Runs discoveries, and gathers their groups.

    Args:
        fixed: Groups that are there from the start and never change.
        changed: Called on the event loop, some time after groups have changed; a few changes make one call.
        settings: Of the component that asks for targets.
        job: Name of the job that they are for.
        user_agent: Value of the User-Agent header of requests.

    Attributes:
        changed: The same; may be set to somebody else, who goes on with what was found.
    """

    def __init__(
        self,
        fixed: Sequence[TargetGroup],
        changed: Callable[[], None],
        settings: Settings,
        job: str,
        user_agent: str = "Headrace",
    ) -> None:
        self._fixed = list(fixed)
        self.changed = changed
        self._settings = settings
        self._job = job
        self._user_agent = user_agent
        self._found: list[_Found] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._not_before_s = 0.0

    def add(self, factory: DiscoveryFactory[Any], config: ComponentConfig) -> None:
        """Have one more discovery, of a kind and with its settings, run from `start` on."""
        settings, kind = self._settings, factory.name
        attributes = {"receiver": settings.id, "job": self._job, "kind": kind}
        report = Report(settings.counters, attributes, settings.logger)
        one = DiscoverySettings(
            key=f"{settings.kind}.{settings.id}.config.scrape_configs.{self._job}.{kind}_sd_configs",
            report=report, logger=settings.logger, user_agent=self._user_agent, monotonic_s=settings.monotonic_s,
        )  # fmt: skip
        self._found.append(_Found(kind, factory.create(one, config), report))
        settings.counters.observe(
            "headrace_discovered_targets", "Targets found, before relabelling.", lambda: self._count(kind), attributes,
            "{target}",
        )  # fmt: skip

    def start(self) -> None:
        """Begin to look for targets; safe twice."""
        self._tasks = self._tasks or [asyncio.create_task(self._run(found)) for found in self._found]

    async def shutdown(self) -> None:
        """Stop, and forget what was found; safe before `start` and twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        self._tasks, self._found, self._timer = [], [], None

    def groups(self) -> list[TargetGroup]:
        """Return all groups as they are now."""
        return [*self._fixed, *(group for found in self._found for group in found.groups.values())]

    def _count(self, kind: str) -> int:
        groups = (group for found in self._found if found.kind == kind for group in found.groups.values())
        return sum(len(group.targets) for group in groups)

    async def _run(self, found: _Found) -> None:
        backoff = Backoff(_LONGEST_PAUSE_S)

        def publish(groups: Iterable[TargetGroup]) -> None:
            backoff.reset()
            if found.take(groups):
                self._tell_soon()

        while True:
            try:
                await found.discovery.run(publish)
            except Exception as error:  # the edge of a task: the discovery is run again
                self._settings.logger.debug("%s discovery broke", found.kind, exc_info=True)
                reason = "config" if isinstance(error, ConfigError) else "internal"
                found.report.failed(reason, f"{type(error).__name__}: {error}")
            else:
                return
            await asyncio.sleep(backoff.next_s())

    def _tell_soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._not_before_s), self._tell)

    def _tell(self) -> None:
        self._timer = None
        began_s = time.perf_counter()
        try:
            self.changed()
        except Exception:  # the edge of a callback: the next change tries again
            self._settings.logger.exception("taking over targets broke")
        took_s = time.perf_counter() - began_s
        pause_s = min(max(_LEAST_PAUSE_S, took_s * _SHARE), _MOST_PAUSE_S)
        self._not_before_s = asyncio.get_running_loop().time() + pause_s
