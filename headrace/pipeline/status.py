"""How components are, in the Collector's words: what they report, and what follows for pipelines and the daemon.

A component says by ``host.statuses.report`` that something failed that may pass, or that works again; who says nothing
is well as long as it runs.

Source:
    OpenTelemetry Collector, "Component Status Reporting".
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Status(StrEnum):
    """How a component is."""

    NONE = "StatusNone"
    STARTING = "StatusStarting"
    OK = "StatusOK"
    RECOVERABLE_ERROR = "StatusRecoverableError"
    """Something failed that may pass by itself."""

    PERMANENT_ERROR = "StatusPermanentError"
    """Something is wrong until an operator does something; the rest goes on."""

    FATAL_ERROR = "StatusFatalError"
    """The daemon ends."""

    STOPPING = "StatusStopping"
    STOPPED = "StatusStopped"


_LAST = frozenset({Status.FATAL_ERROR, Status.STOPPED})
_BROKEN = frozenset({Status.PERMANENT_ERROR})
_AFTER_BROKEN = frozenset({Status.STOPPING, Status.STOPPED, Status.FATAL_ERROR})


@dataclass(frozen=True, slots=True)
class Event:
    """A status from some time on.

    Attributes:
        status: The status.
        time_ns: Since when; of an error that repeats, since the first time.
        error: What failed, empty where nothing did.
    """

    status: Status
    time_ns: int
    error: str = ""


class Statuses:
    """What components reported last.

    Args:
        clock_ns: Unix time in nanoseconds.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._events: dict[str, Event] = {}
        self.started_ns = clock_ns()
        """When the daemon began."""

    def report(self, component: str, status: Status, error: str = "") -> None:
        """Note how a component is; what cannot follow its last status is left out.

        Args:
            component: Such as ``exporters.otlp/edge``.
            status: Its status.
            error: What failed.
        """
        before = self._events.get(component)
        if before is not None:
            if before.status in _LAST or (before.status in _BROKEN and status not in _AFTER_BROKEN):
                return
            if before.status is status:
                if before.error != error:
                    self._events[component] = Event(status, before.time_ns, error)
                return
        self._events[component] = Event(status, self._clock_ns(), error)

    def of(self, component: str) -> Event:
        """Return how a component is; one that never reported is well since the daemon began."""
        return self._events.get(component) or Event(Status.OK, self.started_ns)

    def forget(self, component: str) -> None:
        """Drop what a component reported: it is gone, or another one of its id begins."""
        self._events.pop(component, None)


def worst(events: Iterable[Event], first_error: Status = Status.PERMANENT_ERROR) -> Event:
    """Return the status of a whole by those of its parts.

    Args:
        events: Of the parts, at least one.
        first_error: Which of the two errors that do not end the daemon counts more.
    """
    found: dict[Status, Event] = {}
    for event in events:
        known = found.get(event.status)
        if known is None or event.time_ns > known.time_ns:
            found[event.status] = event
    if Status.STOPPED in found and len(found) > 1:
        found.setdefault(Status.STOPPING, found[Status.STOPPED])
    errors = (Status.PERMANENT_ERROR, Status.RECOVERABLE_ERROR)
    order = (
        Status.FATAL_ERROR, Status.STARTING, Status.STOPPING, Status.STOPPED,
        *(errors if first_error is errors[0] else errors[::-1]), Status.OK, Status.NONE,
    )  # fmt: skip
    chosen = next(status for status in order if status in found)
    event = found[chosen]
    return event if event.status is chosen else Event(chosen, event.time_ns)
