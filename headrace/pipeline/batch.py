"""Metric batches: columns of points that belong to one workspace.

A batch is immutable. A processor that changes something returns a new batch that shares every untouched column, so
that fan-out never copies.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.epochs import Pin
    from headrace.pipeline.identity import MetricType
    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.pipeline.series import SeriesTable

STALE_BITS = np.uint64(0x7FF0000000000002)
"""The NaN that marks the end of a series. Values move by plain copies: arithmetic would change its payload."""

NS_PER_MS = 1_000_000

DEFAULT_WORKSPACE = "default"

_NO_METADATA: Mapping[str, tuple[str, ...]] = MappingProxyType({})


class Flag(IntFlag):
    """Bits of the flags column."""

    INTEGER = 1
    """The value was an integer on the wire."""

    STALE = 2
    """There is no value: OTLP's "no recorded value", a stale marker in Prometheus' words."""

    FLOAT_COUNTS = 4
    """Of a histogram: its counts are fractions (a float native histogram), not integers."""


class HistogramKind(IntEnum):
    """What the buckets of a row of `HistogramColumns` are."""

    EXPLICIT = 0
    """Upper bounds and counts per bucket, not cumulative; the last bucket has the bound +Inf."""

    EXPONENTIAL = 1
    """Counts by index at a scale."""

    SUMMARY = 2
    """Quantiles (as bounds) and their values (as counts)."""


@dataclass(frozen=True, slots=True)
class HistogramColumns:
    """Histograms, native or explicit, and summaries: one row a point.

    Attributes:
        series: (h,) int32 ids.
        time_ns: (h,) int64.
        start_ns: (h,) int64, 0 for unknown.
        flags: (h,) uint8 of `Flag`.
        kind: (h,) uint8 of `HistogramKind`.
        count: (h,) float64.
        sum: (h,) float64; NaN where it was not sent (a stale row has the stale marker).
        minimum: (h,) float64, NaN where not sent.
        maximum: (h,) float64, NaN where not sent.
        scale: (h,) int32, exponential only.
        zero_count: (h,) float64, exponential only.
        zero_threshold: (h,) float64, exponential only.
        positive_offset: (h,) int32, exponential only: index of the first positive bucket.
        negative_offset: (h,) int32, exponential only.
        positive_size: (h,) int32, exponential only: how many of the row's buckets are positive; they come first.
        starts: (h + 1,) int64; buckets of row i are ``starts[i]:starts[i + 1]``.
        bounds: (starts[-1],) float64: upper bounds or quantiles; 0 for exponential rows.
        counts: (starts[-1],) float64: counts, or values of quantiles.
    """

    series: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    flags: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    count: NDArray[np.float64]
    sum: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    scale: NDArray[np.int32]
    zero_count: NDArray[np.float64]
    zero_threshold: NDArray[np.float64]
    positive_offset: NDArray[np.int32]
    negative_offset: NDArray[np.int32]
    positive_size: NDArray[np.int32]
    starts: NDArray[np.int64]
    bounds: NDArray[np.float64]
    counts: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.series)

    def select(self, keep: NDArray[np.bool_]) -> HistogramColumns:
        """Return the rows where (h,) bool `keep` is true."""
        sizes = np.diff(self.starts)
        buckets = np.repeat(keep, sizes)
        starts = np.concatenate([[0], np.cumsum(sizes[keep])]).astype(np.int64)
        rows = {name: getattr(self, name)[keep] for name in _HISTOGRAM_ROWS}
        return HistogramColumns(**rows, starts=starts, bounds=self.bounds[buckets], counts=self.counts[buckets])


_HISTOGRAM_ROWS = tuple(n for n in HistogramColumns.__slots__ if n not in {"starts", "bounds", "counts"})


@dataclass(frozen=True, slots=True)
class ExemplarColumns:
    """Exemplars of a batch, in an arena of their own so that they never fill the symbol table.

    Attributes:
        series: (e,) int32 ids of the series (the histogram's own, for histogram points).
        time_ns: (e,) int64, 0 where none was sent.
        value: (e,) float64.
        starts: (e + 1,) int32; labels of exemplar i are ``spans[starts[i]:starts[i + 1]]``.
        spans: (l, 4) int32: name offset, name size, value offset, value size in `arena`.
        arena: uint8 bytes, UTF-8.
    """

    series: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    starts: NDArray[np.int32]
    spans: NDArray[np.int32]
    arena: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.series)

    def select(self, keep: NDArray[np.bool_]) -> ExemplarColumns:
        """Return the rows where (e,) bool `keep` is true; the arena is shared."""
        sizes = np.diff(self.starts)
        starts = np.concatenate([[0], np.cumsum(sizes[keep])]).astype(np.int32)
        return ExemplarColumns(
            self.series[keep],
            self.time_ns[keep],
            self.value[keep],
            starts,
            self.spans[np.repeat(keep, sizes)],
            self.arena,
        )


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a source says about a metric family.

    Attributes:
        family: Metric family name, such as ``http_requests_total`` (text format) or ``http_requests`` (OpenMetrics).
        type: Metric type.
        help: Description.
        unit: Unit.
    """

    family: str
    type: MetricType
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class BatchContext:
    """Where a batch comes from.

    Attributes:
        workspace: Id of the workspace it belongs to.
        source: Id of the receiver.
        principal: Who sent it, empty where nobody was asked.
        received_ns: When, Unix nanoseconds.
        metadata: Headers of the request, by lower-case name, where the receiver keeps them.
    """

    workspace: str = DEFAULT_WORKSPACE
    source: str = ""
    principal: str = ""
    received_ns: int = 0
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NO_METADATA)


@dataclass(frozen=True, slots=True, eq=False)
class MetricBatch:
    """Points of one workspace.

    (series, time) may repeat; rows are in the sender's order and stay in it. Absence is never NaN: NaN is data, and
    the stale marker is one bit pattern of it.

    Attributes:
        table: The workspace's series table.
        pin: Keeps the ids valid as long as the batch lives.
        series: (n,) int32 ids in `table`, all at or above 0.
        time_ns: (n,) int64, Unix nanoseconds.
        value: (n,) float64.
        flags: (n,) uint8 of `Flag`.
        start_ns: (n,) int64, Unix nanoseconds, 0 for unknown.
        integers: (n,) int64 exact values of rows flagged INTEGER; None unless some magnitude exceeds 2^53.
        histograms: Histogram and summary points as OTLP has them, or None.
        native: Native histograms as Prometheus has them, or None.
        exemplars: Exemplars, or None.
        metadata: Updates of metric families.
        context: Where it comes from.
    """

    table: SeriesTable
    pin: Pin
    series: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    flags: NDArray[np.uint8]
    start_ns: NDArray[np.int64]
    integers: NDArray[np.int64] | None = None
    histograms: HistogramColumns | None = None
    native: NativeHistograms | None = None
    exemplars: ExemplarColumns | None = None
    metadata: tuple[Metadata, ...] = ()
    context: BatchContext = field(default_factory=BatchContext)

    @classmethod
    def of(
        cls,
        table: SeriesTable,
        series: NDArray[np.int32],
        time_ns: NDArray[np.int64],
        value: NDArray[np.float64],
        *,
        flags: NDArray[np.uint8] | None = None,
        start_ns: NDArray[np.int64] | None = None,
        integers: NDArray[np.int64] | None = None,
        histograms: HistogramColumns | None = None,
        native: NativeHistograms | None = None,
        exemplars: ExemplarColumns | None = None,
        metadata: tuple[Metadata, ...] = (),
        context: BatchContext | None = None,
    ) -> MetricBatch:
        """Make a batch that pins the table's epoch; columns that are left out are zero."""
        n = len(series)
        return cls(
            table,
            table.pin(),
            series,
            time_ns,
            value,
            np.zeros(n, np.uint8) if flags is None else flags,
            np.zeros(n, np.int64) if start_ns is None else start_ns,
            integers,
            histograms,
            native,
            exemplars,
            metadata,
            context or BatchContext(),
        )

    def __len__(self) -> int:
        """Count the points: number points and histograms."""
        histograms = 0 if self.histograms is None else len(self.histograms)
        return len(self.series) + histograms + (0 if self.native is None else len(self.native))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to deliver: no points, no exemplars, no metadata."""
        return not (len(self) or self.metadata or (self.exemplars is not None and len(self.exemplars)))

    @property
    def size_bytes(self) -> int:
        """Bytes that the columns take, for limits of queues."""
        size = 29 * len(self.series)
        if self.histograms is not None:
            size += 88 * len(self.histograms) + 16 * len(self.histograms.counts)
        if self.native is not None:
            size += self.native.size_bytes
        if self.exemplars is not None:
            size += 24 * len(self.exemplars) + self.exemplars.spans.nbytes + self.exemplars.arena.nbytes
        return size

    @property
    def time_ms(self) -> NDArray[np.int64]:
        """(n,) int64, Unix milliseconds; fractions are cut off towards the past, as at Prometheus' edges."""
        return self.time_ns // NS_PER_MS

    def select(self, keep: NDArray[np.bool_]) -> MetricBatch:
        """Return the batch with the number points where (n,) bool `keep` is true; histograms, native ones too, stay."""
        return replace(
            self,
            series=self.series[keep],
            time_ns=self.time_ns[keep],
            value=self.value[keep],
            flags=self.flags[keep],
            start_ns=self.start_ns[keep],
            integers=None if self.integers is None else self.integers[keep],
        )

    def with_columns(self, **columns: object) -> MetricBatch:
        """Return the batch with some columns replaced, by name of the attribute."""
        return replace(self, **columns)  # type: ignore[arg-type]  # checked by the names above
