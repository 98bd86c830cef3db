"""Add up delta sums and delta histograms to cumulative ones.

Points of one stream are taken in the order of their times, also where a batch has them in another one. A point that is
not newer than the one before it, or that starts before the stream does, is dropped and counted as ``out_of_order`` or
``older_start``; a stale marker ends the stream. Explicit histograms whose bounds change begin anew; exponential ones
are merged at the finest scale that fits both into 160 buckets a side. Everything else passes as it is; series of
Prometheus sources are cumulative already.

Totals are float64: those of integers are exact up to 2^53, and rounded, no longer marked as integers, beyond. The
state survives reload and restart where ``service.state_directory`` is set.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, NonNegativeDuration
from headrace.pipeline.streams.deltas import DeltaSums
from headrace.pipeline.streams.warm import warm_up


class DeltaToCumulativeConfig(ComponentConfig):
    """Settings of the ``deltatocumulative`` processor."""

    max_stale: NonNegativeDuration = timedelta(minutes=5)
    """Streams without a point for so long are forgotten; their next point begins a new sum. 0 means never."""

    max_streams: Annotated[int, Field(ge=0)] = (1 << 63) - 1
    """Most streams at a time, in a workspace; points of further ones are dropped and counted as ``limit``. 0 means no
    limit."""


class DeltaToCumulative(DeltaSums):
    """Passes the sums on."""

    def __init__(self, settings: Settings, config: DeltaToCumulativeConfig) -> None:
        super().__init__(
            settings, config.max_stale // timedelta(microseconds=1) * 1000, config.max_streams or (1 << 62)
        )
        settings.counters.observe(
            "headrace_deltatocumulative_streams",
            "Streams that are followed.",
            lambda: sum(len(view.slots) for view in self.views()),
            {"processor": settings.id},
            "{stream}",
        )


FACTORY = ProcessorFactory(
    name="deltatocumulative",
    config=DeltaToCumulativeConfig,
    create=DeltaToCumulative,
    aliases=("delta_to_cumulative",),
    warm_up=warm_up,
)
