"""Rows of batches: reordered, joined, put in order of time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline import gather_kernels as kernels
from headrace.pipeline.batch import ExemplarColumns, HistogramColumns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch

_RAGGED = ("starts", "bounds", "counts")
_ROWS = tuple(name for name in HistogramColumns.__slots__ if name not in _RAGGED)


def by_time(time_ns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `rows`, (k,) int64, in ascending order of their times; the same array where they are in order already.

    Rows of the same time stay in the sender's order.
    """
    times = time_ns[rows]
    if (times[1:] >= times[:-1]).all():
        return rows
    return rows[np.argsort(times, kind="stable")]


def taken(rows: HistogramColumns, index: NDArray[np.int64]) -> HistogramColumns:
    """Return the given rows, (k,) int64 row numbers, in the given order."""
    sizes = np.diff(rows.starts)[index]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    columns: dict[str, Any] = {name: getattr(rows, name)[index] for name in _ROWS}
    for name in ("bounds", "counts"):
        found = np.empty(int(starts[-1]), np.float64)
        words = np.ascontiguousarray(getattr(rows, name)).view(np.uint64)
        kernels.gather(index.astype(np.int64), rows.starts, words, found.view(np.uint64))
        columns[name] = found
    return HistogramColumns(**columns, starts=starts)


def joined_histograms(parts: Sequence[HistogramColumns]) -> HistogramColumns | None:
    """Return the rows of all parts, one part after the other; None for no parts."""
    if len(parts) < 2:
        return parts[0] if parts else None
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in (*_ROWS, "bounds", "counts")
    }
    sizes = np.concatenate([np.diff(part.starts) for part in parts])
    return HistogramColumns(**columns, starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


def joined_exemplars(parts: Sequence[ExemplarColumns]) -> ExemplarColumns | None:
    """Return the exemplars of all parts, one part after the other, with one arena; None for no parts."""
    if len(parts) < 2:
        return parts[0] if parts else None
    spans, offset = [], 0
    for part in parts:
        moved = part.spans.copy()
        moved[:, 0::2] += offset
        spans.append(moved)
        offset += len(part.arena)
    sizes = np.concatenate([np.diff(part.starts) for part in parts])
    return ExemplarColumns(
        series=np.concatenate([part.series for part in parts]),
        time_ns=np.concatenate([part.time_ns for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        spans=np.concatenate(spans),
        arena=np.concatenate([part.arena for part in parts]),
    )


def narrowed(exemplars: ExemplarColumns) -> ExemplarColumns:
    """Return the exemplars with an arena that holds no more than their own labels."""
    flat = exemplars.spans.reshape(-1, 2)
    sizes = flat[:, 1].astype(np.int64)
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    places = np.repeat(flat[:, 0] - (ends - sizes), sizes) + np.arange(total)
    spans = np.stack([ends - sizes, sizes], axis=1).astype(np.int32).reshape(-1, 4)
    return replace(exemplars, spans=spans, arena=exemplars.arena[places])


def without_rows(batch: MetricBatch, keep: NDArray[np.bool_]) -> MetricBatch:
    """Return the batch with the number points where (n,) bool `keep` is true; the same where that is all."""
    return batch if keep.all() else batch.select(keep)
