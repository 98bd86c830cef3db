"""Samples of the classic series of histograms and summaries as points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.batch import STALE_BITS, Flag, HistogramColumns, HistogramKind
from headrace.pipeline.identity import MetricType
from headrace.pipeline.to_otlp import assembling_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch

_SUMMARY = MetricType.SUMMARY


def assembled(
    batch: MetricBatch, roles: NDArray[np.uint8], bounds: NDArray[np.float64]
) -> tuple[HistogramColumns, int]:
    """Return the points that samples are parts of, and how many samples have no count to go with.

    Args:
        batch: (n,) samples; their series are those of the histograms and summaries.
        roles: (n,) of `headrace.pipeline.to_otlp.roles.Role`.
        bounds: (n,) of buckets and quantiles.
    """
    n = len(batch.series)
    order = np.lexsort((bounds, roles, batch.time_ns, batch.series))
    firsts = np.empty(n, np.int64)
    counts, sums, stale = np.empty(n), np.empty(n), np.empty(n, np.uint8)
    starts = np.empty(n + 1, np.int64)
    out_bounds, out_counts = np.empty(2 * n), np.empty(2 * n)
    points = kernels.assemble(
        order, batch.series, batch.time_ns, roles, bounds, batch.value, batch.flags, firsts, counts, sums, stale,
        starts, out_bounds, out_counts,
    )  # fmt: skip
    firsts, counts, sums, stale = firsts[:points], counts[:points], sums[:points], stale[:points]
    kinds = batch.table.head_column(batch.series[firsts], "kind") & 15
    summary = kinds == _SUMMARY
    starts = starts[: points + 1]
    sums.view(np.uint64)[stale != 0] = STALE_BITS
    made = HistogramColumns(
        series=batch.series[firsts],
        time_ns=batch.time_ns[firsts],
        start_ns=batch.start_ns[firsts],
        flags=np.where(stale != 0, np.uint8(Flag.STALE), np.uint8(0)),
        kind=np.where(summary, np.uint8(HistogramKind.SUMMARY), np.uint8(HistogramKind.EXPLICIT)),
        count=np.maximum(counts, 0.0),
        sum=np.where(summary & np.isnan(sums) & (stale == 0), 0.0, sums),
        starts=starts,
        bounds=out_bounds[: starts[-1]],
        counts=out_counts[: starts[-1]],
        **_nothing(points),
    )
    keep = (counts >= 0) | (stale != 0)
    if keep.all():
        return made, 0
    return made.select(keep), int((~keep).sum())


def _nothing(points: int) -> dict[str, Any]:
    """Return the columns that only other histograms have."""
    columns: dict[str, Any] = {name: np.full(points, np.nan) for name in ("minimum", "maximum")}
    columns |= {name: np.zeros(points) for name in ("zero_count", "zero_threshold")}
    names = ("scale", "positive_offset", "negative_offset", "positive_size")
    return columns | {name: np.zeros(points, np.int32) for name in names}
