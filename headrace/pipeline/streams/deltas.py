"""Delta sums and delta histograms added up to cumulative ones, for each stream.

See `headrace.processors.deltatocumulative` for what becomes of points that are late, and of histograms whose buckets
change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

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

if TYPE_CHECKING:
    from headrace.pipeline.batch import BatchContext, MetricBatch
    from headrace.pipeline.component import Settings
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable

_FOLLOWED = frozenset({MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM})


class DeltaSums(StreamProcessor[BucketView]):
    """Keeps the sum of each stream.

    Args:
        settings: Of the component.
        max_idle_ns: Streams without a point for so long are forgotten; 0 for never.
        max_streams: Most streams at a time, in a workspace.
    """

    kind: ClassVar[str] = "deltatocumulative"

    def __init__(self, settings: Settings, max_idle_ns: int = 0, max_streams: int = 1 << 62) -> None:
        super().__init__(settings, max_idle_ns)
        self._max_streams = max_streams

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
