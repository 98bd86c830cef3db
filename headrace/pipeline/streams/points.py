"""Points of a batch in stream processors: those that are followed are picked, and what became of them is put back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import Flag, HistogramKind
from headrace.pipeline.streams.buckets import Buckets, ordered
from headrace.pipeline.streams.layout import FIELDS, ROOM, Verdict
from headrace.pipeline.streams.processor import View
from headrace.pipeline.streams.rows import by_time, joined_histograms, without_rows
from headrace.pipeline.streams.slots import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext, HistogramColumns, MetricBatch
    from headrace.pipeline.counters import Drops
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.streams.slots import Field
    from headrace.pipeline.streams.snapshots import Part

    Rows = tuple[HistogramColumns, NDArray[np.uint8]]

LIMIT = "limit"
"""Why points of streams are dropped for which there is no room."""

_EXACT = float(1 << 53)
"""Up to here every integer is a float64."""


class BucketView(View):
    """A view whose streams may be histograms."""

    def __init__(
        self,
        table: SeriesTable,
        context: BatchContext,
        max_slots: int = 1 << 62,
        fields: Mapping[str, Field] = FIELDS,
    ) -> None:
        super().__init__(table, context, fields, max_slots)
        self.buckets = Buckets(self.slots)

    @property
    def marks(self) -> NDArray[np.int64]:
        """Integers of the state; see `layout`."""
        return self.slots.columns["marks"]

    @property
    def sums(self) -> NDArray[np.float64]:
        """Floats of the state; see `layout`."""
        return self.slots.columns["sums"]

    def state(self) -> Part:
        """Return all that `restore` needs."""
        part = super().state()
        part.arrays["buckets"] = self.buckets.packed(self.slots.live())
        return part

    def restore(self, part: Part) -> NDArray[np.int64]:
        """Follow the streams of a state again."""
        found = super().restore(part)
        self.buckets.unpack(found, part.arrays["state.marks"][:, ROOM], part.arrays["buckets"])
        return found


def drop_refused(view: View, batch: MetricBatch, drops: Drops) -> MetricBatch:
    """Return the batch without the points of streams for which there is no room."""
    slot_of = view.slots.slot_of
    refused = slot_of[batch.series] == REFUSED
    if refused.any():
        drops.count(LIMIT, batch, refused)
        batch = batch.select(~refused)
    for name in ("histograms", "native", "exemplars"):
        rows = getattr(batch, name)
        beyond = None if rows is None else slot_of[rows.series] == REFUSED
        if beyond is not None and beyond.any():
            if name != "exemplars":
                drops.add(LIMIT, int(beyond.sum()), str(batch.table.series(int(rows.series[beyond.argmax()]))))
            kept = rows.select(~beyond)
            batch = batch.with_columns(**{name: kept if len(kept) else None})
    return batch


def renamed_exemplars(view: View, batch: MetricBatch) -> MetricBatch:
    """Return the batch with exemplars of streams under the series that those are passed on as."""
    exemplars = batch.exemplars
    if exemplars is None:
        return batch
    slots = view.slots.slot_of[exemplars.series]
    if not (slots >= 0).any():
        return batch
    out = np.where(slots >= 0, view.slots.out[np.maximum(slots, 0)], exemplars.series)
    return batch.with_columns(exemplars=replace(exemplars, series=out))


def followed(view: View, series: NDArray[np.int32], time_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of streams, (k,) int64, in ascending order of time."""
    return by_time(time_ns, np.flatnonzero(view.slots.slot_of[series] >= 0))


def put_back(
    view: View,
    batch: MetricBatch,
    rows: NDArray[np.int64],
    kept: NDArray[np.bool_],
    values: NDArray[np.float64],
    starts: NDArray[np.int64],
) -> MetricBatch:
    """Return the batch with what became of some number points, in ascending order of time.

    Args:
        view: Of the batch.
        batch: As it came.
        rows: (k,) its followed rows, in ascending order of time.
        kept: (k,) which are passed on.
        values: (k,) float64.
        starts: (k,) int64.
    """
    places = np.sort(rows)
    columns = {name: getattr(batch, name).copy() for name in ("series", "time_ns", "value", "flags", "start_ns")}
    columns["series"][places] = view.slots.out[view.slots.slot_of[batch.series[rows]]]
    columns["time_ns"][places] = batch.time_ns[rows]
    # A plain copy: arithmetic would change the payload of a stale marker.
    columns["value"][places] = values
    columns["start_ns"][places] = starts
    flags = batch.flags[rows]
    with np.errstate(invalid="ignore"):  # Stale markers are signalling NaNs.
        inexact = (np.abs(values) > _EXACT) | (np.floor(values) != values)
    columns["flags"][places] = np.where(inexact & (flags & Flag.STALE == 0), flags & ~np.uint8(Flag.INTEGER), flags)
    integers = batch.integers
    if integers is not None:
        integers = integers.copy()
        integers[places] = np.where(inexact, 0.0, values).astype(np.int64)
    keep = np.ones(len(batch.series), np.bool_)
    keep[places] = kept
    return without_rows(batch.with_columns(**columns, integers=integers), keep)


def count_drops(drops: Drops, batch: MetricBatch, rows: NDArray[np.int64], verdicts: NDArray[np.uint8]) -> None:
    """Count rows that are not kept, by verdict."""
    for verdict in np.unique(verdicts[verdicts != Verdict.KEEP]).tolist():
        dropped = np.zeros(len(batch.series), np.bool_)
        dropped[rows[verdicts == verdict]] = True
        drops.count(Verdict(verdict).reason, batch, dropped)


def with_histograms(
    view: BucketView,
    batch: MetricBatch,
    work: Callable[[NDArray[np.int32], HistogramColumns], Rows],
    drops: Drops,
    which: NDArray[np.bool_] | None = None,
) -> MetricBatch:
    """Return the batch with what `work` makes of its followed histograms, behind those that are not followed.

    Args:
        view: Of the batch.
        batch: As it came.
        work: Takes (h,) slots and rows in ascending order of time; returns as many rows and their verdicts.
        drops: Where rows with a verdict other than KEEP are counted.
        which: (h,) the rows that are meant; all by default.
    """
    rows = batch.histograms
    if rows is None:
        return batch
    ours = (view.slots.slot_of[rows.series] >= 0) & (rows.kind != HistogramKind.SUMMARY)
    if which is not None:
        ours &= which
    if not ours.any():
        return batch
    index = by_time(rows.time_ns, np.flatnonzero(ours))
    taken = ordered(rows, index)
    slots = view.slots.slot_of[taken.series]
    made, verdicts = work(slots, taken)
    made = replace(made, series=view.slots.out[slots])
    for verdict in np.unique(verdicts[verdicts != Verdict.KEEP]).tolist():
        dropped = verdicts == verdict
        drops.add(
            Verdict(verdict).reason, int(dropped.sum()), str(batch.table.series(int(taken.series[dropped.argmax()])))
        )
    kept = verdicts == Verdict.KEEP
    parts = [rows.select(~ours), made if kept.all() else made.select(kept)]
    return batch.with_columns(histograms=joined_histograms([part for part in parts if len(part)]))
