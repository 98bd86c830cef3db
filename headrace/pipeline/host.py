"""What components share while they run: workspaces, extensions, listeners, readiness.

The host belongs to the daemon and outlives graphs: tables, engines and listeners are not wiring.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.series import SeriesLimits, SeriesTable
from headrace.pipeline.status import Status, Statuses
from headrace.pipeline.taps.hub import Taps

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.component import Component

T = TypeVar("T")


class Workspaces:
    """The series tables, one for each workspace.

    Args:
        limits: What each table takes.
        clock_s: Seconds that never go back.
    """

    def __init__(self, limits: SeriesLimits | None = None, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock_s = clock_s
        self._tables: dict[str, SeriesTable] = {}

    def table(self, workspace: str) -> SeriesTable:
        """Return the table of `workspace`, made at first use; who calls has checked that the workspace exists."""
        table = self._tables.get(workspace)
        if table is None:
            table = self._tables[workspace] = SeriesTable(self._limits, self._clock_s)
        return table

    def drop(self, workspace: str) -> None:
        """Forget the table of a workspace that is gone."""
        self._tables.pop(workspace, None)

    def collect(self, idle_s: float) -> int:
        """Free the series that no table has seen for `idle_s` seconds; return how many."""
        return sum(table.collect(idle_s) for table in self._tables.values())

    @property
    def tables(self) -> dict[str, SeriesTable]:
        """All tables so far, by workspace."""
        return dict(self._tables)


@dataclass
class Readiness:
    """Whether the daemon is ready, and if not, why.

    Attributes:
        blockers: Who is not ready, and why.
        watchers: Are called after each change of the blockers.
    """

    blockers: dict[str, str] = field(default_factory=dict)
    watchers: list[Callable[[], None]] = field(default_factory=list)

    def block(self, who: str, why: str) -> None:
        """Say that `who` is not ready."""
        self.blockers[who] = why
        self._tell()

    def clear(self, who: str) -> None:
        """Say that `who` is ready."""
        if self.blockers.pop(who, None) is not None:
            self._tell()

    @property
    def ready(self) -> bool:
        """Whether nobody blocks."""
        return not self.blockers

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher()


@dataclass
class Host:
    """Services that the daemon offers to components.

    Attributes:
        counters: All counters.
        workspaces: Series tables.
        readiness: Who is not ready.
        statuses: How components are.
        extensions: Started extensions by id.
        services: What components offer to each other, by name: protocols defined in `headrace.pipeline`, such as
            ``listeners``, ``targets``. Nothing imports a sibling; they meet here.
        taps: Who looks at batches on their way.
        clock_ns: Unix time in nanoseconds.
        monotonic_s: Seconds that never go back.
    """

    counters: Counters = field(default_factory=Counters)
    workspaces: Workspaces = field(default_factory=Workspaces)
    readiness: Readiness = field(default_factory=Readiness)
    statuses: Statuses = field(default_factory=Statuses)
    extensions: dict[str, Component] = field(default_factory=dict)
    services: dict[str, Any] = field(default_factory=dict)
    taps: Taps = field(default_factory=Taps)
    clock_ns: Callable[[], int] = time.time_ns
    monotonic_s: Callable[[], float] = time.monotonic
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("headrace"))
    on_failure: Callable[[str], None] = lambda _why: None
    """Called by `fail`; the daemon stops."""

    def fail(self, why: str, component: str = "") -> None:
        """Report a failure after `start`, of `component`, that the daemon cannot run with."""
        if component:
            self.statuses.report(component, Status.FATAL_ERROR, why)
        self.logger.error("%s", why)
        self.on_failure(why)

    def extension(self, extension_id: str, protocol: type[T], asked_by: str) -> T:
        """Return the extension with this id.

        Args:
            extension_id: ``type`` or ``type/name``.
            protocol: A runtime-checkable protocol that it has to fulfil.
            asked_by: Setting that names it, for the error.

        Raises:
            ConfigError: It is not in ``service.extensions``, or of another kind.
        """
        found = self.extensions.get(extension_id)
        if found is None:
            known = ", ".join(sorted(self.extensions)) or "none"
            raise ConfigError(asked_by, f"extension {extension_id!r} is not in service.extensions (there: {known})")
        if not isinstance(found, protocol):
            raise ConfigError(asked_by, f"extension {extension_id!r} cannot be used as {protocol.__name__}")
        return found

    def service(self, name: str, protocol: type[T]) -> T:
        """Return a service by name; it is a mistake of ours if it is missing."""
        found = self.services.get(name)
        if not isinstance(found, protocol):
            raise AssertionError(f"bug: service {name!r} is {type(found).__name__}, not {protocol.__name__}")
        return found
