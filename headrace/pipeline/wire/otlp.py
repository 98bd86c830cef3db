"""OTLP metrics requests as batches.

A point that was seen before costs a hash of its attributes as encoded and a look into a table; what is new is read once
and remembered. See `headrace.pipeline.wire.otlp_kernels`.

Source:
    OpenTelemetry Protocol specification 1.x; opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.key_table import KeyTable
from headrace.pipeline.batch import STALE_BITS, ExemplarColumns, Flag, HistogramColumns, Metadata, MetricBatch
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import Temporality
from headrace.pipeline.otlp_names import metric_name
from headrace.pipeline.series import UNKNOWN, Refusal
from headrace.pipeline.streams.rows import joined_exemplars
from headrace.pipeline.wire import otlp_kernels as kernels
from headrace.pipeline.wire import otlp_point_kernels as points
from headrace.pipeline.wire.otlp_exemplars import shortened
from headrace.pipeline.wire.otlp_identity import kind_of
from headrace.pipeline.wire.otlp_learn import Learner
from headrace.pipeline.wire.otlp_recall import RecalledBlocks, joined
from headrace.pipeline.wire.otlp_walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.otlp_recall import Recalled
    from headrace.pipeline.wire.otlp_walk import Exemplars, Points, Walk

_MAX_TOLD = 100_000
_STEP = 500
"""Streams that are learnt in one step: some milliseconds."""

_EXACT = 2**53

_REASONS = {
    points.NO_TIME: ("no_timestamp", "time_unix_nano is missing"),
    points.OUT_OF_BOUNDS: ("out_of_bounds", "time_unix_nano is after the year 2262"),
    points.NO_VALUE: ("no_value", "a data point has no value"),
    points.BAD_BUCKETS: ("invalid_histogram", "there must be one more of bucket_counts than of explicit_bounds"),
    points.BAD_BOUNDS: ("invalid_histogram", "explicit_bounds must ascend and be less than +Inf"),
    points.NO_TEMPORALITY: ("no_temporality", "aggregation_temporality must be DELTA or CUMULATIVE"),
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A request.

    Attributes:
        batch: What could be read.
        points: Data points of the request.
        rejected: Points that are not in the batch, by reason.
        message: The first reason in words; empty where all are in the batch.
        told: (n, 2) uint64, what metrics say about their families that is new; see `OtlpDecoder.confirm`.
    """

    batch: MetricBatch
    points: int
    rejected: dict[str, int] = field(default_factory=dict)
    message: str = ""
    told: NDArray[np.uint64] = field(default_factory=lambda: np.empty((0, 2), np.uint64))


class OtlpDecoder:
    """Reads the requests of one workspace.

    Args:
        table: The workspace's series table.
    """

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._key = table.domain_key(b"otlp metrics")
        self._told = KeyTable()
        self._blocks = RecalledBlocks(table)

    def recall(self, data: bytes) -> Recalled | None:
        """Take what is known of a request without reading it, on the thread that owns the table.

        Returns:
            Rows, and what has to be read; None where all has to be.
        """
        recalled = self._blocks.recall(data)
        if recalled is not None:
            self._table.touch(recalled.ids)
        return recalled

    def take_recalled(self, recalled: Recalled, context: BatchContext) -> Decoded:
        """Return the batch of a request that is known as a whole."""
        batch = MetricBatch.of(
            self._table,
            recalled.ids,
            recalled.times,
            recalled.values,
            flags=recalled.flags,
            start_ns=recalled.starts,
            context=context,
        )
        return Decoded(batch, len(recalled.ids))

    def walk(self, data: bytes | memoryview) -> Walk:
        """Read an ExportMetricsServiceRequest, on any thread; `take` makes a batch of it.

        Raises:
            InvalidInput: It does not decode.
            TooLarge: It has more parts than a request may have.
        """
        return walk(data, *self._key)

    def identify(self, found: Walk) -> Iterator[None]:
        """Find the ids of the points, on the thread that owns the table.

        What is new takes time, so it is done in steps between which the caller may let others go on.

        Raises:
            InvalidInput: A resource, a scope or an attribute does not decode.
        """
        _check_temporality(found)
        for of in (found.numbers, found.histograms):
            of.ids[:] = self._table.lookup(of.keys)
            of.ids[of.faults != 0] = UNKNOWN
            new = np.flatnonzero((of.ids == UNKNOWN) & (of.faults == 0))
            if len(new):
                yield from self._learn(found, of, new)

    def take(self, found: Walk, context: BatchContext, recalled: Recalled | None = None) -> Decoded:
        """Return the batch of a request whose points were identified; once for each walk.

        Args:
            found: The request, or what of it had to be read.
            context: Where it comes from.
            recalled: What did not have to be. It is in the batch unless points are rejected: those are told by the
                whole request, which then has to be read.

        Raises:
            InvalidInput: An exemplar does not decode.
            TooLarge: The request has too many exemplars.
        """
        both = (found.numbers, found.histograms)
        exemplars = [(one, of.ids) for of in both if (one := found.exemplars(of)) is not None]
        rejected: Tally[str] = Tally()
        message = ""
        for of in both:
            message = _rejections(found, of, rejected, message)
        told = self._new_families(found)
        batch = _numbers(self._table, found, context).with_columns(
            histograms=_histograms(found),
            exemplars=_exemplars(exemplars),
            metadata=tuple(_metadata(found, told)),
        )
        total = sum(map(len, both))
        if recalled is not None and not rejected:
            if not len(told):
                self._blocks.keep(recalled.missed, found)
            if len(recalled.ids):
                batch = joined(batch, recalled, found)
                total += len(recalled.ids)
        return Decoded(batch, total, dict(rejected), message, np.ascontiguousarray(found.told[told]))

    def decode(self, data: bytes, context: BatchContext) -> Decoded:
        """Read a request at one go: `recall`, or else `walk`, `identify` and `take`."""
        recalled = self.recall(data)
        if recalled is not None and recalled.is_whole:
            return self.take_recalled(recalled, context)
        found = self.walk(data)
        for _ in self.identify(found):
            pass
        return self.take(found, context, None if recalled is None or recalled.is_part else recalled)

    def confirm(self, decoded: Decoded) -> None:
        """Note that what a request said about metric families has arrived, so that it need not be said again."""
        if len(decoded.told):
            if self._told.size > _MAX_TOLD:
                self._told = KeyTable()
            self._told.insert(decoded.told, np.zeros(len(decoded.told), np.int32))

    def _learn(self, found: Walk, of: Points, new: NDArray[np.intp]) -> Iterator[None]:
        learner = Learner(self._table, found, of)
        for begin in range(0, len(new), _STEP):
            part = new[begin : begin + _STEP]
            # A request may name a stream twice: in another step it is known by now, in this one it is learnt once.
            of.ids[part] = self._table.lookup(of.keys[part])
            part = part[of.ids[part] == UNKNOWN]
            if len(part):
                pairs = of.keys[part].view("u8,u8").ravel()
                _, which, inverse = np.unique(pairs, return_index=True, return_inverse=True)
                learnt = learner.learn(part[which])
                self._table.remember(of.keys[part[which]], learnt)
                of.ids[part] = learnt[inverse.ravel()]
            yield

    def _new_families(self, found: Walk) -> NDArray[np.intp]:
        """Return the rows of metrics that say something new about their family."""
        new = np.flatnonzero(self._told.lookup(found.told) < 0)
        if not len(new):
            return new
        _, which = np.unique(found.told[new].view("u8,u8").ravel(), return_index=True)
        rows: NDArray[np.intp] = np.sort(new[which])
        return rows


def _check_temporality(found: Walk) -> None:
    """Mark the points of sums and histograms that do not say what they cover."""
    field, temporality = found.metrics[:, kernels.FIELD], found.metrics[:, kernels.TEMPORALITY]
    bad = (temporality != Temporality.CUMULATIVE) & (temporality != Temporality.DELTA)
    bad &= (field != kernels.GAUGE) & (field != kernels.SUMMARY)
    if bad.any():
        for of in (found.numbers, found.histograms):
            of.faults[bad[of.metric] & (of.faults == 0)] = points.NO_TEMPORALITY


def _rejections(found: Walk, of: Points, rejected: Tally[str], message: str) -> str:
    """Count the points that cannot be taken; return `message`, or else the first of them in words."""
    ids = of.ids
    bad = np.flatnonzero(ids < 0)
    if not len(bad):
        return message
    faults = of.faults[bad]
    for fault, amount in zip(*np.unique(faults[faults > 0], return_counts=True), strict=True):
        rejected[_REASONS[int(fault)][0]] += int(amount)
    refused = ids[bad][faults == 0]
    for code, amount in zip(*np.unique(refused, return_counts=True), strict=True):
        rejected[Refusal.of(int(code)).reason] += int(amount)
    if message:
        return message
    row = int(bad[0])
    why = _REASONS[int(of.faults[row])][1] if of.faults[row] else Refusal.of(int(ids[row])).text
    name = found.cut(found.metrics[of.metric[row]], kernels.NAME)[:200].decode("utf-8", "replace")
    return f"{why}: metric {name!r}, data point {row} of the request"


def _numbers(table: SeriesTable, found: Walk, context: BatchContext) -> MetricBatch:
    of, ids = found.numbers, found.numbers.ids
    values, flags = found.values, of.flags
    bits = values.view(np.uint64)
    bits[flags & np.uint8(Flag.STALE) != 0] = STALE_BITS
    flags[bits == STALE_BITS] |= np.uint8(Flag.STALE)
    kept = ids >= 0
    columns = (ids, of.times, values, flags, of.starts, found.integers)
    if not kept.all():
        columns = tuple(column[kept] for column in columns)  # type: ignore[assignment]  # the same columns, shorter
    series, times, values, flags, starts, integers = columns
    # 2^63 has no positive counterpart, so no abs().
    exact = bool(((integers > _EXACT) | (integers < -_EXACT)).any())
    return MetricBatch.of(
        table,
        series,
        times,
        values,
        flags=flags,
        start_ns=starts,
        integers=integers if exact else None,
        context=context,
    )


def _histograms(found: Walk) -> HistogramColumns | None:
    of, ids, stats = found.histograms, found.histograms.ids, found.stats
    if not len(of):
        return None

    def stat(column: int) -> NDArray[np.float64]:
        return np.ascontiguousarray(stats[:, column])

    def row(column: int) -> NDArray[np.int32]:
        return np.ascontiguousarray(of.rows[:, column])

    total = stat(points.SUM)
    total.view(np.uint64)[of.flags & np.uint8(Flag.STALE) != 0] = STALE_BITS
    columns = HistogramColumns(
        series=ids,
        time_ns=of.times,
        start_ns=of.starts,
        flags=of.flags,
        kind=row(points.KIND).astype(np.uint8),
        count=stat(points.COUNT),
        sum=total,
        minimum=stat(points.MINIMUM),
        maximum=stat(points.MAXIMUM),
        scale=row(points.SCALE),
        zero_count=stat(points.ZERO_COUNT),
        zero_threshold=stat(points.ZERO_THRESHOLD),
        positive_offset=row(points.POSITIVE_OFFSET),
        negative_offset=row(points.NEGATIVE_OFFSET),
        positive_size=row(points.POSITIVE_SIZE),
        starts=found.buckets.starts,
        bounds=found.buckets.bounds,
        counts=found.buckets.counts,
    )
    kept = ids >= 0
    columns = columns if kept.all() else columns.select(kept)
    return columns if len(columns) else None


def _exemplars(parts: list[tuple[Exemplars, NDArray[np.int32]]]) -> ExemplarColumns | None:
    """Return the exemplars of number points and of histogram points in one."""
    columns = []
    for one, ids in parts:
        series = ids[one.owners]
        every = ExemplarColumns(series, one.times, one.values, one.starts, one.spans, one.arena)
        columns.append(shortened(every).select(series >= 0))
    columns = [one for one in columns if len(one)]
    return joined_exemplars(columns)


def _metadata(found: Walk, rows: NDArray[np.intp]) -> Iterator[Metadata]:
    """Yield what some metrics say about their families, by the names that those have in Prometheus."""
    for row in found.metrics[rows]:
        name, unit, help_ = (
            found.cut(row, column).decode("utf-8", "replace")
            for column in (kernels.NAME, kernels.UNIT, kernels.DESCRIPTION)
        )
        temporality = min(int(row[kernels.TEMPORALITY]), int(Temporality.CUMULATIVE))
        kind = kind_of(int(row[kernels.FIELD]), temporality, monotonic=bool(row[kernels.MONOTONIC]))
        try:
            family = metric_name(name, unit, kind)
        except InvalidInput:
            continue
        if row[kernels.FIELD]:
            yield Metadata(family, kind.type, help_, unit)
