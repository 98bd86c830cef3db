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

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, NonNegativeDuration
from headrace.pipeline.identity import MetricType, Temporality
from headrace.pipeline.streams import numbers_kernels as kernels
from headrace.pipeline.streams.layout import Verdict
from headrace.pipeline.streams.points import (
    BucketView,
    count_drops,
    drop_refused,
    followed,
    put_back,
    renamed_exemplars,
    with_histograms,
)
from headrace.pipeline.streams.processor import StreamProcessor
from headrace.pipeline.streams.warm import warm_up

if TYPE_CHECKING:
    from headrace.pipeline.batch import BatchContext, MetricBatch
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable

_FOLLOWED = frozenset({MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM})


class DeltaToCumulativeConfig(ComponentConfig):
    """Settings of the ``deltatocumulative`` processor."""

    max_stale: NonNegativeDuration = timedelta(minutes=5)
    """Streams without a point for so long are forgotten; their next point begins a new sum. 0 means never."""

    max_streams: Annotated[int, Field(ge=0)] = (1 << 63) - 1
    """Most streams at a time, in a workspace; points of further ones are dropped and counted as ``limit``. 0 means no
    limit."""


class DeltaToCumulative(StreamProcessor[BucketView]):
    """Keeps the sum of each stream."""

    kind: ClassVar[str] = "deltatocumulative"

    def __init__(self, settings: Settings, config: DeltaToCumulativeConfig) -> None:
        super().__init__(settings, config.max_stale // timedelta(microseconds=1) * 1000)
        self._max_streams = config.max_streams or (1 << 62)
        settings.counters.observe(
            "headrace_deltatocumulative_streams",
            "Streams that are followed.",
            lambda: sum(len(view.slots) for view in self.views()),
            {"processor": settings.id},
            "{stream}",
        )

    def target(self, series: Series) -> Series | None:
        """Follow delta sums and histograms; pass them on as cumulative."""
        kind = series.kind
        if kind.temporality is not Temporality.DELTA or kind.type not in _FOLLOWED:
            return None
        return replace(series, kind=replace(kind, temporality=Temporality.CUMULATIVE))

    def view(self, table: SeriesTable, context: BatchContext) -> BucketView:
        """Return a new view."""
        return BucketView(table, context, self._max_streams)

    def apply(self, view: BucketView, batch: MetricBatch) -> MetricBatch:
        """Return the batch with sums in place of deltas."""
        batch = drop_refused(view, batch, self.drops)
        out = self._numbers(view, batch)
        if batch.histograms is not None:
            view.mark_seen(batch.histograms.series, self.settings.clock_ns())
        out = with_histograms(view, out, view.buckets.accumulate, self.drops)
        return renamed_exemplars(view, out)

    def _numbers(self, view: BucketView, batch: MetricBatch) -> MetricBatch:
        rows = followed(view, batch.series, batch.time_ns)
        n = len(rows)
        if not n:
            return batch
        view.mark_seen(batch.series, self.settings.clock_ns())
        verdicts, starts, values = np.empty(n, np.uint8), np.zeros(n, np.int64), np.zeros(n)
        kernels.accumulate(
            rows, view.slots.slot_of, batch.series, batch.time_ns, batch.start_ns, batch.flags, batch.value,
            view.marks, view.sums, verdicts, starts, values,
        )  # fmt: skip
        count_drops(self.drops, batch, rows, verdicts)
        return put_back(view, batch, rows, verdicts == Verdict.KEEP, values, starts)


FACTORY = ProcessorFactory(
    name="deltatocumulative",
    config=DeltaToCumulativeConfig,
    create=DeltaToCumulative,
    aliases=("delta_to_cumulative",),
    warm_up=warm_up,
)
