"""A block of Prometheus: series and their samples, a bounded number at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.prometheus_blocks import meta, tombstones, xor_kernels
from headrace.store.prometheus_blocks.chunks import ChunkSegments
from headrace.store.prometheus_blocks.index import PrometheusIndex
from headrace.store.runs import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.index import LabelSets
    from headrace.store.prometheus_blocks.chunks import Located

_CHUNKS_AT_ONCE = 1 << 15
_SAMPLES_AT_ONCE = 1 << 21


class Part(NamedTuple):
    """Doubles of some series.

    Attributes:
        rows: (n,) int64 numbers of the series.
        floats: Their samples; a series may have none.
        has_native: (n,) bool: the series has native histograms.
    """

    rows: NDArray[np.int64]
    floats: Samples
    has_native: NDArray[np.bool_]


class PrometheusBlock:
    """One block directory.

    Args:
        directory: It.

    Raises:
        CorruptChunk: A file is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.meta = meta.read(directory)
        self._index = PrometheusIndex(directory / "index")
        self._segments = ChunkSegments(directory / "chunks")
        self._deleted = tombstones.read(directory)

    def __len__(self) -> int:
        """Count the series."""
        return len(self._index)

    def label_sets(self, rows: NDArray[np.int64]) -> LabelSets:
        """Return the label sets of some series, by number."""
        return self._index.label_sets(rows)

    def read(self, order: NDArray[np.int64]) -> Iterator[Part]:
        """Yield the doubles of series.

        Args:
            order: (n,) int64 numbers of series, in the order in which they are to come.

        Raises:
            CorruptChunk: A chunk is damaged; it is named.
        """
        for rows, chunks, owners in self._located(order):
            is_float = chunks.encodings == xor_kernels.XOR
            floats = self._floats(rows, chunks.take(np.flatnonzero(is_float)), owners[is_float])
            has_native = np.zeros(len(rows), np.bool_)
            has_native[owners[~is_float]] = True
            yield Part(rows, floats, has_native)

    def read_native(self, order: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NativeHistograms]]:
        """Yield the native histograms of series, as `read` does: numbers of series, and histograms.

        `series` of these says which of the numbers; they are sorted by it and by time.
        """
        for rows, chunks, owners in self._located(order):
            native_rows = np.flatnonzero(chunks.encodings != xor_kernels.XOR)
            native = self._segments.decode_histograms(chunks.take(native_rows), owners[native_rows])
            if self._deleted and len(native):
                own = native.series.astype(np.int64)
                native = native.select(tombstones.hide(native.time_ms, own, self._index.ids[rows], self._deleted))
            yield rows, _ordered(native)

    def _located(self, order: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Located, NDArray[np.int64]]]:
        """Yield numbers of series, their chunks, and which of the series each chunk belongs to."""
        starts = self._index.chunk_starts
        sizes = starts[order + 1] - starts[order]
        for first, last in _cut(sizes, _CHUNKS_AT_ONCE):
            rows, chunks = order[first:last], sizes[first:last]
            begins = np.cumsum(chunks) - chunks
            places = np.repeat(starts[rows] - begins, chunks) + np.arange(int(chunks.sum()))
            found = self._segments.locate(self._index.chunk_refs[places])
            owners = np.repeat(np.arange(len(rows)), chunks)
            samples = np.bincount(owners, found.counts, len(rows)).astype(np.int64)
            for a, b in _cut(samples, _SAMPLES_AT_ONCE):
                inside = np.flatnonzero((owners >= a) & (owners < b))
                yield rows[a:b], found.take(inside), owners[inside] - a

    def _floats(self, rows: NDArray[np.int64], chunks: Located, owners: NDArray[np.int64]) -> Samples:
        total = int(chunks.counts.sum())
        times, values = np.empty(total, np.int64), np.empty(total)
        self._segments.decode_floats(chunks, np.cumsum(chunks.counts) - chunks.counts, times, values)
        sample_owners = np.repeat(owners, chunks.counts)
        if self._deleted:
            keep = tombstones.hide(times, sample_owners, self._index.ids[rows], self._deleted)
            times, values, sample_owners = times[keep], values[keep], sample_owners[keep]
        return samples_of(sample_owners, times, values, len(rows))


def _ordered(native: NativeHistograms) -> NativeHistograms:
    """Sort histograms by series and time; of two of the same the first stands."""
    order = np.lexsort((native.time_ms, native.series))
    own, times = native.series[order], native.time_ms[order]
    keep = np.ones(len(order), np.bool_)
    keep[1:] = (np.diff(own) > 0) | (np.diff(times) > 0)
    order = order[keep]
    return native if len(order) == len(native) and bool((np.diff(order) > 0).all()) else native.take(order)


def samples_of(owners: NDArray[np.int64], times_ms: NDArray[np.int64], values: NDArray[np.float64], n: int) -> Samples:
    """Put samples in order; of two of the same series and time the first one stands.

    Args:
        owners: (k,) int64 below `n`, ascending.
        times_ms: (k,) int64.
        values: (k,) float64.
        n: Number of series.
    """
    forward = (np.diff(owners) > 0) | (np.diff(times_ms) > 0)
    if not forward.all():
        order = np.lexsort((times_ms, owners))
        owners, times_ms, values = owners[order], times_ms[order], values[order]
        keep = np.ones(len(owners), np.bool_)
        keep[1:] = (np.diff(owners) > 0) | (np.diff(times_ms) > 0)
        owners, times_ms, values = owners[keep], times_ms[keep], values[keep]
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(owners, minlength=n), out=offsets[1:])
    return Samples(offsets, times_ms, values)


def _cut(sizes: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Cut rows into runs whose sizes add up to `most` or are one row."""
    total = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(total[first - 1]) if first else 0
        last = max(int(np.searchsorted(total, before + most, "right")), first + 1)
        yield first, last
        first = last
