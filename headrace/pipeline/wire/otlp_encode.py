"""Batches as OTLP metrics requests.

The attributes of a series, and all that stands around its points, are encoded once; a request is then laid out and
copied together by `headrace.pipeline.wire.otlp_encode_kernels`.

What a batch does not hold is not sent: counts of dropped attributes, and attributes of points that are empty text.

Source:
    OpenTelemetry Protocol specification 1.x; opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.bits import PAD
from headrace.pipeline.batch import HistogramKind
from headrace.pipeline.streams.rows import joined_exemplars
from headrace.pipeline.wire import otlp_encode_attribute_kernels as attribute_kernels
from headrace.pipeline.wire import otlp_encode_histogram_kernels as histogram_kernels
from headrace.pipeline.wire import otlp_encode_kernels as kernels
from headrace.pipeline.wire.otlp_encode_series import EncodedSeries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.batch import HistogramColumns, MetricBatch
    from headrace.pipeline.series import SeriesTable

_EXEMPLAR_TAG = 42
_EXEMPLAR_TAGS = np.zeros(3, np.uint8)
_EXEMPLAR_TAGS[[HistogramKind.EXPLICIT, HistogramKind.EXPONENTIAL]] = 66, 90

_NO_BYTES = np.empty(0, np.uint8)


class OtlpEncoder:
    """Encodes batches of any table; what it knows about series it keeps for each."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[SeriesTable, EncodedSeries] = weakref.WeakKeyDictionary()

    def encode(self, batches: Sequence[MetricBatch]) -> memoryview:
        """Return an ExportMetricsServiceRequest with the points of some batches of one table, at least one.

        Native histograms are not among them: see `headrace.pipeline.to_otlp`.
        """
        known = self._known_of(batches[0].table)
        rows = _Rows(batches)
        known.learn(rows.series)
        exemplar_at, exemplars = _exemplars(batches, rows)
        sizes = np.empty(len(rows.series), np.int64)
        n = rows.numbers
        kernels.number_sizes(rows.series[:n], rows.starts, rows.flags, known.sizes, exemplar_at[: n + 1], sizes)
        histogram_kernels.histogram_sizes(
            rows.series[n:], rows.h_times, rows.stats, rows.shapes, rows.bucket_starts, rows.buckets, known.sizes,
            exemplar_at[n:], sizes[n:],
        )  # fmt: skip
        m_slots, s_slots, r_slots = known.slots
        m_nodes, s_nodes, r_nodes = (_nodes(rows, slots) for slots in known.slots)
        next_row = np.empty(len(sizes), np.int32)
        counts = np.zeros(3, np.int64)
        size = kernels.arrange(
            rows.series, sizes, known.metric_of, known.metrics, known.scopes, known.resources,
            m_slots, s_slots, r_slots, m_nodes, s_nodes, r_nodes, next_row, counts,
        )  # fmt: skip
        out = np.empty(size + PAD, np.uint8)
        written = kernels.write(
            m_nodes, s_nodes, r_nodes, int(counts[2]), known.metrics, known.scopes, known.resources, known.heads,
            next_row, sizes, rows.series, rows.times, rows.starts, rows.values, rows.integers, rows.flags,
            known.places, known.sizes, known.labels,
            rows.h_times, rows.stats, rows.shapes, rows.bucket_starts, rows.bounds, rows.buckets,
            exemplar_at, exemplars, out,
        )  # fmt: skip
        if written != size:
            raise AssertionError(f"bug: {written} bytes of a request of {size} were written")
        return out[:size].data

    def _known_of(self, table: SeriesTable) -> EncodedSeries:
        known = self._known.get(table)
        if known is None:
            known = self._known[table] = EncodedSeries(table)
        return known


class _Rows:
    """The points of some batches as the kernels take them: number points, and histograms after them."""

    def __init__(self, batches: Sequence[MetricBatch]) -> None:
        many = [batch.histograms for batch in batches if batch.histograms is not None]
        self.numbers = sum(len(batch.series) for batch in batches)
        self.series = _joined([*(batch.series for batch in batches), *(one.series for one in many)])
        self.times = _joined([batch.time_ns for batch in batches])
        self.starts = _joined([batch.start_ns for batch in batches])
        self.values = _joined([batch.value for batch in batches])
        self.flags = _joined([batch.flags for batch in batches])
        self.integers = np.empty(0, np.int64)
        if any(batch.integers is not None for batch in batches):
            self.integers = np.concatenate([_integers(batch) for batch in batches])
        self._add_histograms(many)

    def _add_histograms(self, many: Sequence[HistogramColumns]) -> None:
        h = sum(map(len, many))
        self.h_times = np.empty((h, 2), np.int64)
        self.stats = np.empty((h, histogram_kernels.STATS))
        self.shapes = np.empty((h, histogram_kernels.SHAPES), np.int32)
        self.bucket_starts = np.zeros(h + 1, np.int64)
        self.bounds = _joined([one.bounds for one in many] or [np.empty(0)])
        self.buckets = _joined([one.counts for one in many] or [np.empty(0)])
        if not h:
            return
        for matrix, names in ((self.h_times, _TIMES), (self.stats, _STATS), (self.shapes, _SHAPES)):
            for column, name in enumerate(names):
                matrix[:, column] = _joined([getattr(one, name) for one in many])
        np.cumsum(_joined([np.diff(one.starts) for one in many]), out=self.bucket_starts[1:])


_TIMES = ("start_ns", "time_ns")
_STATS = ("count", "sum", "minimum", "maximum", "zero_count", "zero_threshold")
_SHAPES = ("kind", "flags", "scale", "positive_offset", "negative_offset", "positive_size")


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)


def _integers(batch: MetricBatch) -> NDArray[np.int64]:
    """Return the exact integers of a batch; it has none where floats are as exact."""
    if batch.integers is not None:
        return batch.integers
    with np.errstate(invalid="ignore"):
        return batch.value.astype(np.int64)


def _nodes(rows: _Rows, slots: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.empty((min(len(rows.series), len(slots)), kernels.NODE), np.int64)


def _exemplars(batches: Sequence[MetricBatch], rows: _Rows) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return where the exemplars of each row begin, and all of them as encoded.

    An exemplar is of a series; it goes to the first of its points that is not before it.
    """
    at = np.zeros(len(rows.series) + 1, np.int64)
    every = joined_exemplars([batch.exemplars for batch in batches if batch.exemplars])
    if every is None:
        return at, _NO_BYTES
    times = np.concatenate([rows.times, rows.h_times[:, 1]])
    order = np.lexsort((times, rows.series))
    owners = np.empty(len(every), np.int64)
    attribute_kernels.place_exemplars(order, rows.series, times, every.series, every.time_ns, owners)
    chosen = np.argsort(owners, kind="stable")
    chosen = chosen[np.searchsorted(owners[chosen], 0) :]
    tags = np.full(len(rows.series), _EXEMPLAR_TAG, np.uint8)
    tags[rows.numbers :] = _EXEMPLAR_TAGS[rows.shapes[:, histogram_kernels.KIND]]
    chosen = chosen[tags[owners[chosen]] != 0]
    out = _NO_BYTES
    arena = np.concatenate([every.arena, np.zeros(PAD, np.uint8)])
    for _ in range(2):
        size = attribute_kernels.put_exemplars(
            chosen, owners, tags, every.time_ns, every.value, every.starts, every.spans, arena, at, out
        )
        out = np.empty(size + PAD, np.uint8) if not len(out) else out
    return at, out
