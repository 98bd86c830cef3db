"""What a kind of service discovery is.

A discovery finds *target groups*: addresses with labels. It publishes a group whenever it is new or changed, and an
empty one with the same source when it is gone; what it does not publish stays. So a discovery that fails keeps what it
found last.

A package adds a kind by an entry point in the group ``headrace.discoveries`` that leads to a `DiscoveryFactory`; a kind
``consul`` is then configured as ``consul_sd_configs`` of a scrape job.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Mapping

    from headrace.pipeline.config import ComponentConfig
    from headrace.pipeline.counters import Counters

ADDRESS = "__address__"

_MOST_TOLD = 1000
"""Parts of a discovery whose faults are remembered, the newest: there may be any number of files and objects."""


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """Targets that share labels.

    Attributes:
        source: Which group it is, within its discovery; a later group of the same source takes its place.
        targets: Labels of each target, ``__address__`` among them. None: the group is gone.
        labels: Labels of all of them; a target's own come before.
    """

    source: str
    targets: tuple[Mapping[str, str], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: str, addresses: Iterable[str], labels: Mapping[str, str] | None = None) -> TargetGroup:
        """Make a group of targets that have nothing but an address of their own."""
        return cls(source, tuple({ADDRESS: address} for address in addresses), labels or {})


class Discovery(Protocol):
    """Finds targets. Its factory's ``create`` takes (settings, config) and does no I/O."""

    async def run(self, publish: Callable[[Iterable[TargetGroup]], None]) -> None:
        """Find targets until cancelled.

        Called once more, after a pause, where it raises; groups of the call before stay until they are published
        again. Faults that are expected are told to ``settings.report`` instead.
        """


class Report:
    """Tells operators how a discovery fares: counts faults, and logs each once while it lasts.

    Args:
        counters: All counters.
        attributes: Attributes of ours: receiver, job, kind.
        logger: Where faults are told.
    """

    def __init__(self, counters: Counters, attributes: Mapping[str, str], logger: logging.Logger) -> None:
        self._counters = counters
        self._attributes = dict(attributes)
        self._logger = logger
        self._told: dict[str, str] = {}

    def failed(self, reason: str, why: str, about: str = "") -> None:
        """Say that a look for targets failed; what was found before is kept.

        Args:
            reason: For the counter, one of a few words.
            why: In words.
            about: What part of the discovery it was, such as a file.
        """
        attributes = {**self._attributes, "reason": reason}
        self._counters.counter(
            "headrace_discovery_failures", "Looks for targets that failed, by kind and reason.", attributes, "{failure}"
        ).add()
        if self._told.get(about) != why:
            self._told[about] = why
            if len(self._told) > _MOST_TOLD:
                del self._told[next(iter(self._told))]
            job, kind = self._attributes.get("job", ""), self._attributes.get("kind", "")
            where = f"{about}: " if about else ""
            self._logger.warning("job %s: %s discovery keeps what it found before: %s%s", job, kind, where, why)

    def succeeded(self, about: str = "") -> None:
        """Say that it goes well, again or still."""
        if self._told.pop(about, None) is not None:
            job, kind = self._attributes.get("job", ""), self._attributes.get("kind", "")
            self._logger.info("job %s: %s discovery works again%s", job, kind, f": {about}" if about else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverySettings:
    """What the program gives a discovery, beside its configuration.

    Attributes:
        key: The setting that it comes from, for errors.
        report: Where faults are told.
        logger: For everything else.
        user_agent: Value of the User-Agent header of its requests.
        monotonic_s: Seconds that never go back.
    """

    key: str
    report: Report
    logger: logging.Logger
    user_agent: str = "Headrace"
    monotonic_s: Callable[[], float] = time.monotonic


C = TypeVar("C", bound="ComponentConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryFactory(Generic[C]):
    """How a kind of discovery is made.

    Attributes:
        name: The kind; its option of a job is ``<name>_sd_configs``.
        config: Configuration of one entry of that option.
        create: Makes the discovery.
    """

    name: str
    config: type[C]
    create: Callable[[DiscoverySettings, C], Discovery]
