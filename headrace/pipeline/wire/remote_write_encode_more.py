"""Native histograms and exemplars as remote write requests of version 1.0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import NS_PER_MS
from headrace.pipeline.wire import remote_write_encode_more_kernels as kernels
from headrace.pipeline.wire.remote_write_request import Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.batch import ExemplarColumns
    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.pipeline.wire.remote_write_encode import LabelArena

# Bounds of the bytes that fields take.
_MESSAGE = 128
_SPAN = 16
_BUCKET = 10
_BOUND = 8
_LABEL = 24


def histogram_requests(arena: LabelArena, rows: NativeHistograms, max_bytes: int) -> Iterator[Encoded]:
    """Yield requests of at most `max_bytes` (or one histogram)."""
    if not len(rows):
        return
    arena.learn(rows.series)
    bodies = np.full(len(rows), _MESSAGE, np.int64)
    for size, starts in ((_SPAN, rows.span_starts), (_BUCKET, rows.bucket_starts), (_BOUND, rows.bound_starts)):
        bodies += size * np.diff(starts)
    for first, until, body, out in _rooms(bodies, arena.sizes[rows.series], max_bytes):
        used = kernels.write_histograms(
            first, until, rows.series, rows.time_ms, rows.flags, rows.hint, rows.schema, rows.zero_threshold,
            rows.zero_count, rows.count, rows.sum, rows.span_starts, rows.positive_spans, rows.spans,
            rows.bucket_starts, rows.buckets, rows.bound_starts, rows.bounds, arena.places, arena.sizes, arena.arena,
            body, out,
        )  # fmt: skip
        yield Encoded(out[:used].data, rows.series[first:until], histograms=until - first)


def exemplar_requests(arena: LabelArena, rows: ExemplarColumns, now_ms: int, max_bytes: int) -> Iterator[Encoded]:
    """Yield requests of at most `max_bytes` (or one exemplar); `now_ms` is the time of exemplars without one."""
    if not len(rows):
        return
    arena.learn(rows.series)
    texts = np.concatenate([[0], np.cumsum(rows.spans[:, 1] + rows.spans[:, 3] + _LABEL)])
    bodies = _MESSAGE + texts[rows.starts[1:]] - texts[rows.starts[:-1]]
    times = np.where(rows.time_ns == 0, now_ms, rows.time_ns // NS_PER_MS)
    for first, until, body, out in _rooms(bodies, arena.sizes[rows.series], max_bytes):
        size = kernels.write_exemplars(
            first, until, rows.series, times, rows.value, rows.starts, rows.spans, rows.arena, arena.places,
            arena.sizes, arena.arena, body, out,
        )  # fmt: skip
        yield Encoded(out[:size].data, rows.series[first:until], exemplars=until - first)


def _rooms(
    bodies: NDArray[np.int64], labels: NDArray[np.int32], max_bytes: int
) -> Iterator[tuple[int, int, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield ranges of rows that fit into a request, with room for one message and for all of them."""
    totals = np.cumsum(bodies + labels + 2 * _SPAN)
    first, done = 0, 0
    while first < len(totals):
        until = max(first + 1, int(np.searchsorted(totals, done + max_bytes, "right")))
        room = int(totals[until - 1]) - done
        yield first, until, np.empty(int(bodies[first:until].max()), np.uint8), np.empty(room, np.uint8)
        first, done = until, int(totals[until - 1])
