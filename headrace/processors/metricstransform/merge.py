"""Points of one series and time become one point."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import Flag, HistogramKind
from headrace.pipeline.streams.buckets import Buckets
from headrace.pipeline.streams.layout import FIELDS
from headrace.pipeline.streams.rows import joined_histograms, taken
from headrace.pipeline.streams.slots import Slots
from headrace.processors.metricstransform.config import Aggregation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import HistogramColumns, MetricBatch

_EXACT = float(1 << 53)
_ODD = np.uint64(0xBF58476D1CE4E5B9)
"""A multiplier of splitmix64."""

_UFUNCS = {Aggregation.SUM: np.add, Aggregation.MIN: np.minimum, Aggregation.MAX: np.maximum}


def _groups(*keys: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows sorted by `keys`, the first one counting most, and where each group of equal ones begins."""
    n = len(keys[0])
    order = np.lexsort((np.arange(n), *reversed(keys))).astype(np.int64)
    begins = np.ones(n, np.bool_)
    begins[1:] = False
    for key in keys:
        begins[1:] |= key[order[1:]] != key[order[:-1]]
    return order, np.flatnonzero(begins)


def numbers(batch: MetricBatch, aggregation: Aggregation) -> MetricBatch:
    """Return the number points with one for each series and time, in the order of the first of each.

    Stale markers count where there is nothing else; starts are the earliest.
    """
    if not len(batch.series):
        return batch
    stale = batch.flags & np.uint8(Flag.STALE) != 0
    order, begins = _groups(batch.series, batch.time_ns, stale.astype(np.uint8))
    if len(begins) < len(order):
        batch = _merged(batch, aggregation, order, begins)
        stale = batch.flags & np.uint8(Flag.STALE) != 0
        order, begins = _groups(batch.series, batch.time_ns, stale.astype(np.uint8))
    elif aggregation is Aggregation.COUNT:
        ones = np.where(stale, batch.value, 1.0)
        batch = batch.with_columns(value=ones, flags=batch.flags | np.uint8(Flag.INTEGER), integers=None)
    twice = np.zeros(len(order), np.bool_)
    twice[order[1:]] = (
        (batch.series[order[1:]] == batch.series[order[:-1]])
        & (batch.time_ns[order[1:]] == batch.time_ns[order[:-1]])
        & stale[order[1:]]
    )
    return batch.select(~twice) if twice.any() else batch


def _merged(
    batch: MetricBatch, aggregation: Aggregation, order: NDArray[np.int64], begins: NDArray[np.int64]
) -> MetricBatch:
    sizes = np.diff(np.append(begins, len(order)))
    firsts = order[begins]
    stale = batch.flags[firsts] & np.uint8(Flag.STALE) != 0
    with np.errstate(invalid="ignore"):  # Stale markers are signalling NaNs.
        made = _values(batch.value[order], aggregation, begins, sizes)
    values = np.where(stale, batch.value[firsts], made)
    integral = np.bitwise_and.reduceat(batch.flags[order], begins) & np.uint8(Flag.INTEGER) != 0
    integral |= aggregation is Aggregation.COUNT
    with np.errstate(invalid="ignore"):  # Stale markers are signalling NaNs.
        integral &= (np.floor(values) == values) & (np.abs(values) <= _EXACT)
    flags = batch.flags[firsts] & ~np.uint8(Flag.INTEGER) | np.where(integral, np.uint8(Flag.INTEGER), np.uint8(0))
    place = np.argsort(firsts, kind="stable")
    integers = None
    if batch.integers is not None:
        integers = np.where(integral, values, 0.0).astype(np.int64)[place]
    return batch.with_columns(
        series=batch.series[firsts][place],
        time_ns=batch.time_ns[firsts][place],
        value=values[place],
        flags=flags[place],
        start_ns=np.minimum.reduceat(batch.start_ns[order], begins)[place],
        integers=integers,
    )


def _values(
    values: NDArray[np.float64], aggregation: Aggregation, begins: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return one value for each group of `values`, which are in the order of the groups."""
    if aggregation is Aggregation.COUNT:
        return sizes.astype(np.float64)
    if aggregation is Aggregation.MEAN:
        mean: NDArray[np.float64] = np.add.reduceat(values, begins) / sizes
        return mean
    if aggregation is Aggregation.MEDIAN:
        of = np.repeat(np.arange(len(begins)), sizes)
        ranked = values[np.lexsort((values, of))]
        middle: NDArray[np.float64] = (ranked[begins + (sizes - 1) // 2] + ranked[begins + sizes // 2]) / 2
        return middle
    found: NDArray[np.float64] = _UFUNCS[aggregation].reduceat(values, begins)
    return found


def histograms(rows: HistogramColumns, batch: MetricBatch) -> HistogramColumns:
    """Return the histograms with one for each series, time and, of explicit ones, set of bounds: their sums.

    Summaries cannot be summed and stay as they are.
    """
    merges = rows.kind != HistogramKind.SUMMARY
    index = np.flatnonzero(merges)
    order, begins = _groups(rows.series[index], rows.time_ns[index], _shape(rows)[index])
    if len(begins) == len(order):
        return rows
    index = index[order]
    sizes = np.diff(np.append(begins, len(index)))
    slots = Slots(batch.table, FIELDS)
    groups = np.repeat(np.arange(len(begins), dtype=np.int32), sizes)
    slots.open_numbers(len(begins))
    # One after the other, whatever their times: what counts is the sum behind the last one.
    ordered = replace(taken(rows, index), time_ns=np.arange(1, len(index) + 1), start_ns=np.zeros(len(index), np.int64))
    made, _ = Buckets(slots).accumulate(groups, ordered)
    last = begins + sizes - 1
    made = replace(
        taken(made, last),
        time_ns=rows.time_ns[index[begins]],
        start_ns=np.minimum.reduceat(rows.start_ns[index], begins),
    )
    left = rows.select(~merges)
    return joined_histograms([part for part in (made, left) if len(part)]) or rows


def _shape(rows: HistogramColumns) -> NDArray[np.uint64]:
    """Return (h,) hashes that tell bounds of explicit histograms apart; 0 for others."""
    sizes = np.diff(rows.starts)
    place = np.arange(len(rows.bounds)) - np.repeat(rows.starts[:-1], sizes)
    bits = rows.bounds.view(np.uint64)
    marks = (bits ^ bits >> np.uint64(29)) * _ODD * (2 * place + 1).astype(np.uint64)
    found = sizes.astype(np.uint64)
    np.add.at(found, np.repeat(np.arange(len(rows)), sizes), marks ^ marks >> np.uint64(32))
    return np.where(rows.kind == HistogramKind.EXPLICIT, found, np.uint64(0))
