"""Points as plain values, and batches of them: what tests of stream processors write and compare."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.batch import STALE_BITS, Flag, HistogramColumns, HistogramKind, MetricBatch
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Series, Temporality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import BatchContext
    from headrace.pipeline.series import SeriesTable

STALE_NAN = float(np.array([STALE_BITS]).view(np.float64)[0])


@dataclass(frozen=True)
class Number:
    """A number point; `stale` makes it a stale marker."""

    series: Series
    time: int
    value: float
    start: int = 0
    stale: bool = False
    integer: bool = False


@dataclass(frozen=True)
class Side:
    """Exponential buckets from index `offset` on."""

    offset: int = 0
    counts: tuple[float, ...] = ()

    def by_index(self) -> dict[int, float]:
        return {self.offset + i: count for i, count in enumerate(self.counts) if count}


@dataclass(frozen=True)
class Histogram:
    """A histogram point: explicit with `bounds`, or exponential without."""

    series: Series
    time: int
    count: float
    sum: float = math.nan
    start: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    scale: int = 0
    zero_count: float = 0.0
    zero_threshold: float = 0.0
    positive: Side = field(default_factory=Side)
    negative: Side = field(default_factory=Side)
    stale: bool = False
    summary: bool = False

    @property
    def explicit(self) -> bool:
        return bool(self.bounds) and not self.summary

    def buckets(self) -> tuple[dict[int, float], dict[int, float]]:
        return self.positive.by_index(), self.negative.by_index()


def otlp(
    name: str,
    type_: MetricType = MetricType.COUNTER,
    temporality: Temporality = Temporality.CUMULATIVE,
    *,
    exponential: bool = False,
    is_sum: bool = False,
    resource: dict[str, Any] | None = None,
    **labels: str,
) -> Series:
    """Return a series of an OpenTelemetry source."""
    kind = Kind(type_, temporality, is_sum=is_sum, is_exponential=exponential)
    of = Resource(tuple(sorted(resource.items()))) if resource is not None else None
    return replace(Series.of({"__name__": name}, **labels), form=Form.OTLP, kind=kind, resource=of)


def batch_of(
    table: SeriesTable, points: Sequence[Number | Histogram], context: BatchContext | None = None
) -> MetricBatch:
    """Return a batch of points, numbers and histograms each in order."""
    numbers = [one for one in points if isinstance(one, Number)]
    histograms = [one for one in points if isinstance(one, Histogram)]
    flags = [Flag.STALE * one.stale | Flag.INTEGER * one.integer for one in numbers]
    return MetricBatch.of(
        table,
        table.intern([one.series for one in numbers]),
        np.array([one.time for one in numbers], np.int64),
        np.array([STALE_NAN if one.stale else one.value for one in numbers], np.float64),
        flags=np.array(flags, np.uint8),
        start_ns=np.array([one.start for one in numbers], np.int64),
        histograms=_columns(table, histograms) if histograms else None,
        context=context,
    )


def _columns(table: SeriesTable, rows: Sequence[Histogram]) -> HistogramColumns:
    counts = [row.counts if row.bounds else row.positive.counts + row.negative.counts for row in rows]
    bounds = [row.bounds or (0.0,) * len(one) for row, one in zip(rows, counts, strict=True)]

    def column(dtype: type[np.generic], values: list[Any]) -> Any:
        return np.array(values, dtype)

    return HistogramColumns(
        series=table.intern([row.series for row in rows]),
        time_ns=column(np.int64, [row.time for row in rows]),
        start_ns=column(np.int64, [row.start for row in rows]),
        flags=column(np.uint8, [Flag.STALE * row.stale for row in rows]),
        kind=column(np.uint8, [_kind(row) for row in rows]),
        count=column(np.float64, [row.count for row in rows]),
        sum=column(np.float64, [STALE_NAN if row.stale else row.sum for row in rows]),
        minimum=column(np.float64, [row.minimum for row in rows]),
        maximum=column(np.float64, [row.maximum for row in rows]),
        scale=column(np.int32, [row.scale for row in rows]),
        zero_count=column(np.float64, [row.zero_count for row in rows]),
        zero_threshold=column(np.float64, [row.zero_threshold for row in rows]),
        positive_offset=column(np.int32, [row.positive.offset for row in rows]),
        negative_offset=column(np.int32, [row.negative.offset for row in rows]),
        positive_size=column(np.int32, [len(row.positive.counts) for row in rows]),
        starts=np.cumsum([0, *map(len, counts)]).astype(np.int64),
        bounds=column(np.float64, [one for row in bounds for one in row]),
        counts=column(np.float64, [one for row in counts for one in row]),
    )


def _kind(row: Histogram) -> HistogramKind:
    if row.summary:
        return HistogramKind.SUMMARY
    return HistogramKind.EXPLICIT if row.bounds else HistogramKind.EXPONENTIAL


def numbers_of(batch: MetricBatch) -> list[Number]:
    """Return the number points of a batch."""
    found = []
    for i in range(len(batch.series)):
        series, flags = batch.table.series(int(batch.series[i])), int(batch.flags[i])
        stale = bool(flags & Flag.STALE)
        if stale:
            assert batch.value.view(np.uint64)[i] == STALE_BITS
        value = 0.0 if stale else float(batch.value[i])
        times = int(batch.time_ns[i]), int(batch.start_ns[i])
        found.append(Number(series, times[0], value, times[1], stale, bool(flags & Flag.INTEGER)))
    return found


def histograms_of(batch: MetricBatch) -> list[Histogram]:
    """Return the histograms of a batch."""
    rows = batch.histograms
    return [] if rows is None else [_row(batch.table.series(int(rows.series[i])), rows, i) for i in range(len(rows))]


def _row(series: Series, rows: HistogramColumns, i: int) -> Histogram:
    first, end = rows.starts[i : i + 2].tolist()
    split = first + int(rows.positive_size[i])
    counts, bounds = rows.counts.tolist(), rows.bounds.tolist()
    explicit = rows.kind[i] != HistogramKind.EXPONENTIAL
    sides = (
        (Side(), Side())
        if explicit
        else (
            Side(int(rows.positive_offset[i]), tuple(counts[first:split])),
            Side(int(rows.negative_offset[i]), tuple(counts[split:end])),
        )
    )
    return Histogram(
        series,
        int(rows.time_ns[i]),
        float(rows.count[i]),
        float(rows.sum[i]),
        int(rows.start_ns[i]),
        float(rows.minimum[i]),
        float(rows.maximum[i]),
        tuple(bounds[first:end]) if explicit else (),
        tuple(counts[first:end]) if explicit else (),
        int(rows.scale[i]),
        float(rows.zero_count[i]),
        float(rows.zero_threshold[i]),
        *sides,
        stale=bool(rows.flags[i] & Flag.STALE),
        summary=bool(rows.kind[i] == HistogramKind.SUMMARY),
    )
