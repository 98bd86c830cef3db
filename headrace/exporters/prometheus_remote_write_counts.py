"""What the remote write exporter counts, under the Collector's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.exporters.prometheus_remote_write_replies import written

if TYPE_CHECKING:
    from headrace.exporters.prometheus_remote_write_encoding import Outgoing
    from headrace.pipeline.component import Settings
    from headrace.pipeline.http.client import Reply

_PREFIX = "otelcol_exporter_prometheusremotewrite_"


class RemoteWriteCounts:
    """Counts.

    Args:
        settings: Of the exporter.
        parallel: Requests at a time at most.
    """

    def __init__(self, settings: Settings, parallel: int) -> None:
        counters, attributes = settings.counters, {"exporter": settings.id}
        self._requests = counters.counter(f"{_PREFIX}sent_batches", "Requests that were answered.", attributes)
        self._series = counters.counter(
            f"{_PREFIX}translated_time_series", "Series in requests that were answered.", attributes
        )
        self._failed = counters.counter(
            f"{_PREFIX}failed_translations", "Points that have no place in remote write.", attributes
        )
        self._written = [
            counters.counter(f"{_PREFIX}written_{what}", f"What servers of 2.0 say they wrote: {what}.", attributes)
            for what in ("samples", "histograms", "exemplars")
        ]
        counters.observe(f"{_PREFIX}consumers", "Requests at a time at most.", lambda: parallel, attributes)

    def answered(self, outgoing: Outgoing, reply: Reply) -> None:
        """Count a request and its answer."""
        self._requests.add()
        self._series.add(len(outgoing.encoded.series))
        for counter, number in zip(self._written, written(reply.headers) or (), strict=False):
            counter.add(number)

    def not_translated(self, points: int) -> None:
        """Count points that remote write cannot carry."""
        if points:
            self._failed.add(points)
