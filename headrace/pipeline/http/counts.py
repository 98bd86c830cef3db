"""What listeners count: answers by status, and connections and requests turned away by reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.pipeline.counters import Counter, Counters

_ANSWERS = ("headrace_http_answers", "HTTP answers, by endpoint, component and status.")
_REFUSALS = ("headrace_http_refusals", "HTTP connections and requests turned away, by endpoint and reason.")


class HttpCounts:
    """Counters of one listener.

    Args:
        counters: The daemon's registry.
        endpoint: Address of the listener as configured.
    """

    __slots__ = ("_answers", "_counters", "_endpoint")

    def __init__(self, counters: Counters, endpoint: str) -> None:
        self._counters = counters
        self._endpoint = endpoint
        self._answers: dict[tuple[str, int], Counter] = {}

    def answered(self, owner: str, status: int) -> None:
        """Count an answer of the component `owner` (empty: of the listener itself)."""
        counter = self._answers.get((owner, status))
        if counter is None:
            attributes = {"endpoint": self._endpoint, "component": owner, "status": str(status)}
            counter = self._answers[owner, status] = self._counters.counter(*_ANSWERS, attributes)
        counter.value += 1

    def refused(self, reason: str) -> None:
        """Count a connection or request turned away before a component saw it."""
        self._counters.counter(*_REFUSALS, {"endpoint": self._endpoint, "reason": reason}).add()
