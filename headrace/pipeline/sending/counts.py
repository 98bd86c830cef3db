"""What a sending queue counts, under the Collector's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.component import Settings
    from headrace.pipeline.sending.results import Loss
    from headrace.pipeline.sending.room import QueueRoom

_UNIT = "{datapoint}"


class SendingCounts:
    """Counts points.

    Args:
        settings: Of the exporter.
        room: Of its queue.
        capacity: Of its queue, in the same unit.
    """

    def __init__(self, settings: Settings, room: QueueRoom, capacity: int) -> None:
        self._settings = settings
        attributes = {"exporter": settings.id}
        counters = settings.counters
        self._sent = counters.counter("otelcol_exporter_sent_metric_points", "Points delivered.", attributes, _UNIT)
        self._failed = counters.counter(
            "otelcol_exporter_send_failed_metric_points", "Points given up.", attributes, _UNIT
        )
        self._not_queued = counters.counter(
            "otelcol_exporter_enqueue_failed_metric_points", "Points that found no room.", attributes, _UNIT
        )
        counters.observe(
            "otelcol_exporter_queue_size", "What waits, in units of the sizer.", lambda: room.used, attributes
        )
        counters.observe("otelcol_exporter_queue_capacity", "What may wait.", lambda: capacity, attributes)
        counters.observe("headrace_exporter_queue_points", "Points that wait.", lambda: room.points, attributes, _UNIT)

    def finish(self, points: int, losses: Sequence[Loss]) -> None:
        """Count a request that has ended."""
        lost = 0
        for loss in losses:
            lost += loss.points
            self._settings.drops.add(loss.reason, loss.points)
        self._failed.add(lost)
        self._sent.add(points - lost)

    def refuse(self, points: int) -> None:
        """Count points that found no room."""
        self._not_queued.add(points)

    def lost_at_end(self, points: int) -> None:
        """Count points that could not be sent before the end."""
        if points:
            self._settings.drops.add("shutdown", points)
            self._failed.add(points)
            self._settings.logger.warning("%d points could not be sent before the end", points)
