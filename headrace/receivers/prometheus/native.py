"""The native histograms of a page: limits on their resolution, and those that are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import NS_PER_MS
from headrace.pipeline.native_histogram_making import reduced
from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, MIN_SCHEMA, NativeHistograms
from headrace.pipeline.wire.remote_write_histograms import reason
from headrace.receivers.prometheus.errors import ScrapeFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.counters import Drops
    from headrace.pipeline.wire.exposition import PageHistograms
    from headrace.receivers.prometheus.job import Job


def kept_histograms(
    native: PageHistograms,
    keep: NDArray[np.bool_],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    drops: Drops,
    source: str,
) -> NativeHistograms | None:
    """Return the histograms that are in order, under their series and times; count the others.

    Args:
        native: Of the page.
        keep: (n,) bool by sample of the page.
        series: (n,) int32 ids.
        times: (n,) int64 Unix nanoseconds.
        drops: Where faults are counted.
        source: Whose page it is.
    """
    wanted = keep[native.rows]
    for fault in np.unique(native.faults[wanted & (native.faults != 0)]).tolist():
        drops.add(reason(fault), int((wanted & (native.faults == fault)).sum()), source)
    wanted &= native.faults == 0
    if not wanted.any():
        return None
    rows = native.rows[wanted]
    columns = native.columns.select(wanted)
    return replace(columns, series=series[rows], time_ms=times[rows] // NS_PER_MS)


def limited(native: PageHistograms, job: Job) -> PageHistograms:
    """Return the histograms in resolutions that the job allows; those with faults stay as they are.

    Raises:
        ScrapeFailed: One of them has too many buckets in the coarsest.
    """
    good = native.faults == 0
    order = np.argsort(np.concatenate([np.flatnonzero(~good), np.flatnonzero(good)]))
    parts = [native.columns.select(~good), _limited(native.columns.select(good), job)]
    return replace(native, columns=parts[1] if good.all() else NativeHistograms.joined(parts).take(order))


def _limited(rows: NativeHistograms, job: Job) -> NativeHistograms:
    rows = reduced(rows, job.finest_schema)
    limit = job.config.native_histogram_bucket_limit
    if not limit:
        return rows
    for schema in range(job.finest_schema - 1, MIN_SCHEMA - 1, -1):
        large = np.diff(rows.bucket_starts) > limit
        if not (large & (rows.schema > schema)).any():
            continue
        order = np.argsort(np.concatenate([np.flatnonzero(~large), np.flatnonzero(large)]))
        rows = NativeHistograms.joined([rows.select(~large), reduced(rows.select(large), schema)]).take(order)
    most = int(np.diff(rows.bucket_starts).max(initial=0))
    if most > limit:
        kind = "custom buckets" if (rows.schema == CUSTOM_BUCKETS).any() else "the coarsest resolution"
        raise ScrapeFailed(
            "native_histogram_bucket_limit",
            f"native_histogram_bucket_limit exceeded: {most} buckets in {kind}, limit {limit}",
        )
    return rows
