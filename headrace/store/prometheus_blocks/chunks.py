"""The chunk segments of a Prometheus block: samples of doubles and native histograms."""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.pipeline.errors import CorruptChunk
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store.prometheus_blocks import histogram_kernels, xor_kernels
from headrace.store.prometheus_blocks.checksums import crc32c_tables

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC = 0x85BD40DD
_VERSION = 1
_FAULTS = {
    xor_kernels.OUTSIDE: "does not lie in the segment",
    xor_kernels.CHECKSUM: "has another checksum",
    xor_kernels.IMPOSSIBLE: "is too short for its samples",
    xor_kernels.BITS: "does not decode",
}
_ENCODINGS = (xor_kernels.XOR, xor_kernels.HISTOGRAM, xor_kernels.FLOAT_HISTOGRAM)


class Located(NamedTuple):
    """Chunks that were found, one row each.

    Attributes:
        refs: (n,) int64: segment and offset.
        starts: (n,) int64 first byte of the data.
        ends: (n,) int64 one past the last.
        encodings: (n,) uint8.
        counts: (n,) int64 samples.
    """

    refs: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    encodings: NDArray[np.uint8]
    counts: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64] | slice) -> Located:
        """Return some rows."""
        return Located(self.refs[rows], self.starts[rows], self.ends[rows], self.encodings[rows], self.counts[rows])


class ChunkSegments:
    """The files of a ``chunks`` directory.

    Args:
        directory: It.

    Raises:
        CorruptChunk: A file is no segment.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = sorted(path for path in directory.glob("*") if path.name.isdecimal())
        self._segments = [_mapped(path) for path in self._files]

    def locate(self, refs: NDArray[np.int64]) -> Located:
        """Find chunks and check their checksums.

        Raises:
            CorruptChunk: One is damaged; the first such is named.
        """
        n = len(refs)
        found = Located(
            refs, np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.uint8), np.zeros(n, np.int64)
        )
        for segment, rows in self._by_segment(refs):
            offsets = refs[rows] & 0xFFFFFFFF
            starts, ends, counts = np.zeros((3, len(rows)), np.int64)
            encodings, faults = np.zeros((2, len(rows)), np.uint8)
            bad = xor_kernels.locate(
                self._segment(segment), offsets, crc32c_tables(), starts, ends, encodings, counts, faults
            )
            if bad:
                raise self._fault(refs[rows], faults)
            found.starts[rows], found.ends[rows], found.counts[rows] = starts, ends, counts
            found.encodings[rows] = encodings
        unknown = ~np.isin(found.encodings, _ENCODINGS)
        if unknown.any():
            first = int(unknown.argmax())
            raise CorruptChunk(f"{self._name(int(refs[first]))}: encoding {found.encodings[first]} is not known here")
        return found

    def decode_floats(
        self, chunks: Located, places: NDArray[np.int64], times_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        """Decode chunks of doubles.

        Args:
            chunks: They.
            places: (n,) int64: where the samples of each go.
            times_ms: int64 out.
            values: float64 out.

        Raises:
            CorruptChunk: One does not decode; the first such is named.
        """
        for segment, rows in self._by_segment(chunks.refs):
            part = chunks.take(rows)
            faults = np.zeros(len(rows), np.uint8)
            bad = xor_kernels.decode(
                self._segment(segment), part.starts, part.ends, part.counts, places[rows], times_ms, values, faults
            )
            if bad:
                raise self._fault(part.refs, faults)

    def decode_histograms(self, chunks: Located, owners: NDArray[np.int64]) -> NativeHistograms:
        """Decode chunks of native histograms.

        Args:
            chunks: They.
            owners: (n,) int64: what `series` says of the samples of each.

        Returns:
            Their samples, chunk by chunk.

        Raises:
            CorruptChunk: One does not decode; the first such is named.
        """
        parts = []
        for segment, rows in self._by_segment(chunks.refs):
            parts.append(self._decode_histograms(self._segment(segment), chunks.take(rows), owners[rows]))
        return NativeHistograms.joined(parts)

    def _decode_histograms(
        self, buf: NDArray[np.uint8], chunks: Located, owners: NDArray[np.int64]
    ) -> NativeHistograms:
        n = len(chunks.refs)
        thresholds, faults = np.zeros(n), np.zeros(n, np.uint8)
        layouts = np.zeros((n, histogram_kernels.LAYOUT), np.int64)
        if histogram_kernels.lay_out(buf, chunks.starts, chunks.ends, thresholds, layouts, faults):
            raise self._fault(chunks.refs, faults)
        buckets = layouts[:, histogram_kernels.POSITIVE_BUCKETS] + layouts[:, histogram_kernels.NEGATIVE_BUCKETS]
        most = int(buckets.max(initial=0))
        room, scratch = np.zeros((2, most + 3), np.int64), np.zeros(most + 3, np.uint64)
        is_float = chunks.encodings == xor_kernels.FLOAT_HISTOGRAM
        # Counted first: bytes say little about how much comes out of them.
        counted = _rows(np.zeros(4, np.int64))
        for rows in (counted, None):
            filled = _rows(counted.sizes) if rows is None else rows
            bad = histogram_kernels.decode(
                buf, chunks.ends, chunks.counts, is_float, layouts, thresholds, owners, filled, room, scratch, faults
            )
            if bad:
                raise self._fault(chunks.refs, faults)
        return _native(filled)

    def _by_segment(self, refs: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
        segments = refs >> 32
        return [(segment, np.flatnonzero(segments == segment)) for segment in np.unique(segments).tolist()]

    def _segment(self, number: int) -> NDArray[np.uint8]:
        if number >= len(self._segments):
            raise CorruptChunk(f"{self._directory}: there is no segment {number + 1:06d}, which the index names")
        return self._segments[number]

    def _name(self, ref: int) -> str:
        return f"{self._files[ref >> 32]}: the chunk at byte {ref & 0xFFFFFFFF}"

    def _fault(self, refs: NDArray[np.int64], faults: NDArray[np.uint8]) -> CorruptChunk:
        first = int((faults != xor_kernels.FINE).argmax())
        return CorruptChunk(f"{self._name(int(refs[first]))} {_FAULTS[int(faults[first])]}")


def _mapped(path: Path) -> NDArray[np.uint8]:
    with path.open("rb") as file:
        if file.seek(0, 2) < 8:
            raise CorruptChunk(f"{path}: is cut short")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    magic, version = struct.unpack_from(">IB", data)
    if magic != _MAGIC or version != _VERSION:
        raise CorruptChunk(f"{path}: is no segment of chunks of version {_VERSION}")
    return np.frombuffer(data, np.uint8)


def _rows(sizes: NDArray[np.int64]) -> histogram_kernels.Rows:
    n, spans, buckets, bounds = sizes.tolist()
    return histogram_kernels.Rows(
        np.zeros(4, np.int64), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.uint8),
        np.empty(n, np.uint8), np.empty(n, np.int8), np.empty(n, np.float64), np.empty(n, np.uint64),
        np.empty(n, np.uint64), np.empty(n, np.float64), np.empty(n, np.int32), np.empty(n, np.int64),
        np.empty((spans, 2), np.int32), np.empty(n, np.int64), np.empty(buckets, np.uint64), np.empty(n, np.int64),
        np.empty(bounds, np.float64),
    )  # fmt: skip


def _native(rows: histogram_kernels.Rows) -> NativeHistograms:
    return NativeHistograms(
        rows.owner.astype(np.int32), rows.times, np.zeros(len(rows.times), np.int64), rows.flags, rows.hint,
        rows.schema, rows.zero_threshold, rows.zero_count, rows.count, rows.sum, _starts(rows.span_sizes),
        rows.positive_spans, rows.spans, _starts(rows.bucket_sizes), rows.buckets, _starts(rows.bound_sizes),
        rows.bounds,
    )  # fmt: skip


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts
