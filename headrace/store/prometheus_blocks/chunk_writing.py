"""Samples as chunks in Prometheus' encoding, ready to be sent as messages of the remote read API."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.bits import PAD
from headrace.store.prometheus_blocks import chunk_write_kernels, histogram_write_kernels
from headrace.store.prometheus_blocks.checksums import crc32c_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms

MAX_SAMPLES = histogram_write_kernels.MAX_SAMPLES

# Bounds of the bytes that things take; see the kernels.
_MESSAGE = 48
_CHUNK = 24
_SAMPLE = 20
_HISTOGRAM_CHUNK = 64
_SPAN = 20
_BOUND = 10
_HISTOGRAM = 48
_BUCKET = 9


class Chunks(NamedTuple):
    """Messages ``Chunk`` with their tags, in order of series and time.

    Attributes:
        messages: uint8.
        places: (n,) int64 where each begins.
        sizes: (n,) int64 their bytes.
        series: (n,) int64 whose they are: a row of the offsets they were made with.
        times_ms: (n,) int64 of their first samples.
    """

    messages: NDArray[np.uint8]
    places: NDArray[np.int64]
    sizes: NDArray[np.int64]
    series: NDArray[np.int64]
    times_ms: NDArray[np.int64]


def float_chunks(
    offsets: NDArray[np.int64], times_ms: NDArray[np.int64], values: NDArray[np.float64], breaks: NDArray[np.bool_]
) -> Chunks:
    """Write samples of doubles.

    Args:
        offsets: (s + 1,) samples of series i are ``offsets[i]:offsets[i + 1]``.
        times_ms: (m,) ascending within a series.
        values: (m,).
        breaks: (m,) where a chunk has to begin.
    """
    starts = _starts(offsets, breaks)
    ends = np.append(starts[1:], len(times_ms)).astype(np.int64)
    data = np.empty(_CHUNK + _SAMPLE * MAX_SAMPLES + PAD, np.uint8)
    out = np.empty(len(starts) * (_MESSAGE + _CHUNK) + _SAMPLE * len(times_ms) + PAD, np.uint8)
    bounds = np.zeros(len(starts) + 1, np.int64)
    size = chunk_write_kernels.write_chunks(times_ms, values, starts, ends, data, out, bounds)
    return Chunks(out[:size], bounds[:-1], np.diff(bounds), _owners(offsets, starts), times_ms[starts])


def histogram_chunks(offsets: NDArray[np.int64], rows: NativeHistograms, breaks: NDArray[np.bool_]) -> Chunks:
    """Write native histograms.

    Args:
        offsets: (s + 1,) histograms of series i are ``offsets[i]:offsets[i + 1]``.
        rows: m histograms.
        breaks: (m,) where a chunk has to begin.
    """
    n = len(rows)
    columns = histogram_write_kernels.Columns(
        rows.time_ms, rows.flags, rows.hint, rows.schema, rows.zero_threshold, rows.zero_count, rows.count, rows.sum,
        rows.span_starts, rows.positive_spans, np.ascontiguousarray(rows.spans), rows.bucket_starts, rows.buckets,
        rows.bound_starts, rows.bounds,
    )  # fmt: skip
    starts, heads = np.zeros(n, np.int64), np.zeros(n, np.uint8)
    count = histogram_write_kernels.cut(columns, offsets, breaks, starts, heads)
    starts, heads = starts[:count], heads[:count]
    ends = np.append(starts[1:], n).astype(np.int64)
    buckets = np.diff(rows.bucket_starts)
    room = np.append(0, np.cumsum(_HISTOGRAM + _BUCKET * buckets))
    sizes = room[ends] - room[starts] + _HISTOGRAM_CHUNK
    sizes += _SPAN * np.diff(rows.span_starts)[starts] + _BOUND * np.diff(rows.bound_starts)[starts]
    data = np.empty(int(sizes.max(initial=0)) + PAD, np.uint8)
    out = np.empty(int(sizes.sum()) + _MESSAGE * count + PAD, np.uint8)
    windows = np.zeros((2, 3 + int(buckets.max(initial=0))), np.int64)
    bounds = np.zeros(count + 1, np.int64)
    size = histogram_write_kernels.write_chunks(columns, starts, ends, heads, windows, data, out, bounds)
    return Chunks(out[:size], bounds[:-1], np.diff(bounds), _owners(offsets, starts), rows.time_ms[starts])


def joined(parts: Sequence[Chunks]) -> Chunks:
    """Put chunks of the same series together, in order of series and time."""
    shifts = np.cumsum([0, *(len(part.messages) for part in parts)])
    places = np.concatenate([part.places + shift for part, shift in zip(parts, shifts, strict=False)])
    series, times = (np.concatenate([getattr(part, name) for part in parts]) for name in ("series", "times_ms"))
    sizes = np.concatenate([part.sizes for part in parts])
    order = np.lexsort((times, series))
    messages = np.concatenate([part.messages for part in parts])
    return Chunks(messages, places[order], sizes[order], series[order], times[order])


def frames(chunks: Chunks, labels: Sequence[bytes], query: int, max_bytes: int) -> memoryview:
    """Return frames of a streamed answer.

    Args:
        chunks: In order of series and time.
        labels: Messages ``Label`` with their tags of each series.
        query: Number of the query.
        max_bytes: A frame is closed once it has as many.
    """
    sizes = np.array([len(one) for one in labels], np.int64)
    label_bounds = np.append(0, np.cumsum(sizes)).astype(np.int64)
    firsts = np.searchsorted(chunks.series, np.arange(len(labels) + 1)).astype(np.int64)
    room = len(chunks.messages) + int((sizes[chunks.series] + _MESSAGE).sum()) + PAD
    out = np.empty(room, np.uint8)
    texts = np.frombuffer(bytearray().join(labels), np.uint8)
    size = chunk_write_kernels.write_frames(
        firsts, chunks.places, chunks.sizes, chunks.messages, label_bounds, texts, query, max_bytes, crc32c_tables(),
        out,
    )  # fmt: skip
    return out[:size].data


def _starts(offsets: NDArray[np.int64], breaks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first rows of chunks: at breaks, at the begin of series, and after every MAX_SAMPLES."""
    begins = breaks.copy()
    begins[offsets[:-1][np.diff(offsets) > 0]] = True
    rows = np.arange(len(begins))
    first = np.maximum.accumulate(np.where(begins, rows, 0))
    return np.flatnonzero((rows - first) % MAX_SAMPLES == 0)


def _owners(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(offsets, rows, "right") - 1
