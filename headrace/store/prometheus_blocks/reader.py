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
    """Samples of some series.

    Attributes:
        rows: (n,) int64 numbers of the series.
        floats: Their doubles; a series may have none.
        native: Their native histograms; `series` says which of `rows`.
    """

    rows: NDArray[np.int64]
    floats: Samples
    native: NativeHistograms


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
        """Yield the samples of series.

        Args:
            order: (n,) int64 numbers of series, in the order in which they are to come.

        Raises:
            CorruptChunk: A chunk is damaged; it is named.
        """
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
                yield self._part(rows[a:b], found.take(inside), owners[inside] - a)

    def _part(self, rows: NDArray[np.int64], chunks: Located, owners: NDArray[np.int64]) -> Part:
        is_float = chunks.encodings == xor_kernels.XOR
        floats = self._floats(rows, chunks.take(np.flatnonzero(is_float)), owners[is_float])
        other = np.flatnonzero(~is_float)
        native = self._segments.decode_histograms(chunks.take(other), owners[other])
        if self._deleted and len(native):
            native = native.select(
                tombstones.hide(native.time_ms, native.series.astype(np.int64), self._index.ids[rows], self._deleted)
            )
        return Part(rows, floats, native)

    def _floats(self, rows: NDArray[np.int64], chunks: Located, owners: NDArray[np.int64]) -> Samples:
        total = int(chunks.counts.sum())
        times, values = np.empty(total, np.int64), np.empty(total)
        self._segments.decode_floats(chunks, np.cumsum(chunks.counts) - chunks.counts, times, values)
        sample_owners = np.repeat(owners, chunks.counts)
        if self._deleted:
            keep = tombstones.hide(times, sample_owners, self._index.ids[rows], self._deleted)
            times, values, sample_owners = times[keep], values[keep], sample_owners[keep]
        return samples_of(sample_owners, times, values, len(rows))


def samples_of(
    owners: NDArray[np.int64], times_ms: NDArray[np.int64], values: NDArray[np.float64], n: int
) -> Samples:
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
