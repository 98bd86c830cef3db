"""Samples as ``QueryResult`` messages of the remote read API: the same series that remote write sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import PAD
from headrace.pipeline.wire import remote_write_encode_kernels as float_kernels
from headrace.pipeline.wire import remote_write_encode_more_kernels as native_kernels
from headrace.store.api.read_messages import delimited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.api.selection import Selection

# Bounds of the bytes of a histogram's message; see the kernel.
_MESSAGE = 128
_SPAN = 16
_BUCKET = 10
_BOUND = 8

_NO_LABELS = np.zeros(1, np.int32)


def query_result(found: Selection, labels: Sequence[bytes]) -> bytes:
    """Return the message ``QueryResult`` with all series.

    Args:
        found: Samples and histograms.
        labels: Messages ``Label`` of each series.
    """
    if not len(found.natives):
        return _floats(found, labels)
    parts = []
    for row, own in enumerate(labels):
        begin, end = found.offsets[row : row + 2].tolist()
        low, high = found.native_offsets[row : row + 2].tolist()
        samples = _samples(found, begin, end) if end > begin else b""
        natives = _histograms(found.natives, low, high) if high > low else b""
        parts.append(delimited(10, own + samples + natives))
    return b"".join(parts)


def _floats(found: Selection, labels: Sequence[bytes]) -> bytes:
    """Write series without histograms, all at once."""
    n = len(found)
    label_sizes = np.array([len(one) for one in labels], np.int32)
    arena = np.frombuffer(bytearray().join(labels), np.uint8)
    places = np.append(0, np.cumsum(label_sizes[:-1])).astype(np.int64)[:n]
    series = np.repeat(np.arange(n, dtype=np.int32), np.diff(found.offsets))
    bodies, totals = np.zeros(n, np.int64), np.zeros(n, np.int64)
    float_kernels.sizes(found.offsets, series, found.times_ms, label_sizes, bodies, totals)
    out = np.empty(int(totals.sum()) + PAD, np.uint8)
    size = float_kernels.write(
        found.offsets, series, found.times_ms, found.values, places, label_sizes, arena, bodies, out
    )
    return out[:size].tobytes()


def _samples(found: Selection, begin: int, end: int) -> bytes:
    """Write the samples of one series, without what stands around them."""
    one = np.zeros(end - begin, np.int32)
    bounds, times = np.array([0, end - begin], np.int64), found.times_ms[begin:end]
    bodies, totals = np.zeros(1, np.int64), np.zeros(1, np.int64)
    float_kernels.sizes(bounds, one, times, _NO_LABELS, bodies, totals)
    out = np.empty(int(totals[0]) + PAD, np.uint8)
    size = float_kernels.write(
        bounds, one, times, found.values[begin:end], np.zeros(1, np.int64), _NO_LABELS, np.zeros(0, np.uint8), bodies,
        out,
    )  # fmt: skip
    return out[size - int(bodies[0]) : size].tobytes()


def _histograms(natives: NativeHistograms, low: int, high: int) -> bytes:
    """Write the histograms of one series; the kernel puts a series around each, which is taken off again."""
    rows = natives.take(np.arange(low, high))
    bodies = np.full(len(rows), _MESSAGE, np.int64)
    for size, starts in ((_SPAN, rows.span_starts), (_BUCKET, rows.bucket_starts), (_BOUND, rows.bound_starts)):
        bodies += size * np.diff(starts)
    out = np.empty(int(bodies.sum()) + len(rows) * _SPAN, np.uint8)
    body = np.empty(int(bodies.max()), np.uint8)
    used = native_kernels.write_histograms(
        0, len(rows), np.zeros(len(rows), np.int32), rows.time_ms, rows.flags, rows.hint, rows.schema,
        rows.zero_threshold, rows.zero_count, rows.count, rows.sum, rows.span_starts, rows.positive_spans, rows.spans,
        rows.bucket_starts, rows.buckets, rows.bound_starts, rows.bounds, np.zeros(1, np.int64), _NO_LABELS,
        np.zeros(0, np.uint8), body, out,
    )  # fmt: skip
    return _without_series(out[:used].tobytes())


def _without_series(messages: bytes) -> bytes:
    parts, at = [], 0
    while at < len(messages):
        at += 1
        size = shift = 0
        while messages[at] >= 128:
            size |= (messages[at] & 127) << shift
            shift += 7
            at += 1
        size |= messages[at] << shift
        parts.append(messages[at + 1 : at + 1 + size])
        at += 1 + size
    return b"".join(parts)
