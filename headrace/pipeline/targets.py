"""What scrapers tell about their targets: the contract between the ``prometheus`` receiver and the HTTP API.

A receiver that scrapes registers itself in the host's service ``targets`` (a `TargetsRegistry`); the API asks all of
them. Both ends know only this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.pipeline.batch import Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveTarget:
    """A target that is scraped.

    Attributes:
        discovered_labels: Labels before relabelling, with ``__address__`` and the like.
        labels: Labels that its series get.
        scrape_pool: Name of the scrape job.
        scrape_url: URL that is fetched, with its parameters.
        global_url: The same URL as other machines reach it; empty where it is the same.
        last_error: Why the last scrape failed; empty after a good one and before the first.
        last_scrape_ns: When the last scrape began, Unix nanoseconds; 0 before the first.
        last_scrape_s: Seconds it took.
        health: ``up``, ``down`` or ``unknown`` (before the first scrape).
        scrape_interval: As configured, such as ``15s``.
        scrape_timeout: As configured.
        metadata: What the last page said about its metric families.
    """

    discovered_labels: Mapping[str, str]
    labels: Mapping[str, str]
    scrape_pool: str
    scrape_url: str
    global_url: str = ""
    last_error: str = ""
    last_scrape_ns: int = 0
    last_scrape_s: float = 0.0
    health: str = "unknown"
    scrape_interval: str = ""
    scrape_timeout: str = ""
    metadata: Mapping[str, Metadata] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedTarget:
    """A target that relabelling dropped.

    Attributes:
        discovered_labels: Labels before relabelling.
        scrape_pool: Name of the scrape job.
    """

    discovered_labels: Mapping[str, str]
    scrape_pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabelStep:
    """What one relabelling rule made of a label set.

    Attributes:
        rule: Its settings as plain values.
        output: The labels after it; none where it, or one before it, dropped the set.
        keep: Whether none has dropped it.
    """

    rule: Mapping[str, Any]
    output: Mapping[str, str]
    keep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """A scrape job.

    Attributes:
        config: Returns its settings as plain values, without secrets.
        relabel: Returns what each rule that its targets go through makes of a label set.
    """

    config: Callable[[], Mapping[str, Any]]
    relabel: Callable[[Mapping[str, str]], Sequence[RelabelStep]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """All targets of a source at one moment.

    Attributes:
        active: Those scraped.
        dropped: Those dropped that are remembered.
        dropped_counts: Count of all dropped ones by scrape job, remembered or not.
        pools: Scrape jobs by name.
    """

    active: Sequence[ActiveTarget] = ()
    dropped: Sequence[DroppedTarget] = ()
    dropped_counts: Mapping[str, int] = field(default_factory=dict)
    pools: Mapping[str, PoolFacts] = field(default_factory=dict)


class TargetsSource(Protocol):
    """Something that scrapes."""

    def targets(self) -> Targets:
        """Return the targets as they are now; called on the event loop, from memory."""


class TargetsRegistry:
    """All sources of a daemon, itself a source. The host offers it as the service ``targets``."""

    def __init__(self) -> None:
        self._sources: list[TargetsSource] = []

    def add(self, source: TargetsSource) -> None:
        """Ask `source` from now on."""
        self._sources.append(source)

    def remove(self, source: TargetsSource) -> None:
        """Ask `source` no more; harmless where it was not asked."""
        self._sources = [known for known in self._sources if known is not source]

    def targets(self) -> Targets:
        """Return the targets of all sources."""
        found = [source.targets() for source in self._sources]
        counts: dict[str, int] = {}
        for targets in found:
            for pool, count in targets.dropped_counts.items():
                counts[pool] = counts.get(pool, 0) + count
        return Targets(
            active=[target for targets in found for target in targets.active],
            dropped=[target for targets in found for target in targets.dropped],
            dropped_counts=counts,
            pools={name: pool for targets in found for name, pool in targets.pools.items()},
        )
