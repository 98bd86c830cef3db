"""A discovery that runs, and what it has published."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from headrace.pipeline.counters import Counters
from headrace.pipeline.discovery.contract import ADDRESS, DiscoverySettings, Report
from headrace.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from headrace.pipeline.discovery import Discovery, TargetGroup


class DiscoveryLab:
    """Runs one discovery.

    Attributes:
        groups: What there is by source, as a job would see it.
        published: How often something was published.
    """

    def __init__(self) -> None:
        self.counters = Counters()
        self.clock = ManualClock()
        logger = logging.getLogger("test.discovery")
        report = Report(self.counters, {"receiver": "prometheus", "job": "j", "kind": "test"}, logger)
        self.settings = DiscoverySettings(
            key="test", report=report, logger=logger, user_agent="Headrace/0", monotonic_s=self.clock.monotonic_s
        )
        self.groups: dict[str, TargetGroup] = {}
        self.published = 0
        self._news = asyncio.Event()

    @asynccontextmanager
    async def running(self, discovery: Discovery) -> AsyncIterator[None]:
        task = asyncio.create_task(discovery.run(self.publish))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def publish(self, groups: Iterable[TargetGroup]) -> None:
        for group in groups:
            self.groups.pop(group.source, None)
            if group.targets:
                self.groups[group.source] = group
        self.published += 1
        self._news.set()

    async def until(self, check: Callable[[], bool], what: str) -> None:
        """Wait until `check` holds; it is looked at after every publication, and now and then."""
        async with asyncio.timeout(20):
            while not check():
                self._news.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self._news.wait()
                except TimeoutError:
                    continue
        assert check(), what

    def targets(self) -> list[dict[str, str]]:
        """Return the labels of all targets, with those of their groups, by address."""
        found: list[Mapping[str, str]] = []
        for group in self.groups.values():
            found += [{**group.labels, **target} for target in group.targets]
        return sorted((dict(one) for one in found), key=lambda labels: sorted(labels.items()))

    def addresses(self) -> list[str]:
        return sorted(labels[ADDRESS] for labels in self.targets())

    def failures(self, reason: str = "") -> float:
        return self.counters.value("headrace_discovery_failures", {"reason": reason} if reason else None)
