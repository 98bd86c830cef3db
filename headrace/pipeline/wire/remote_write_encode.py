"""Batches as remote write requests of version 1.0."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.buffers import padded
from headrace.kernels.growth import grown
from headrace.pipeline.wire import remote_write_encode_kernels as kernels
from headrace.pipeline.wire.remote_write_label_kernels import encode_labels
from headrace.pipeline.wire.remote_write_request import Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.series import SeriesTable


_STEP = 4096
"""Series that are encoded at a time, so that what is made for it stays small."""

_NO_BYTES = np.empty(0, np.uint8)


class LabelArena:
    """Encoded labels of a table's series, made once for each.

    Args:
        table: Whose series.
        external: Labels to add where a series lacks them.
    """

    def __init__(self, table: SeriesTable, external: Mapping[str, str]) -> None:
        self._table = weakref.ref(table)
        self._external, self._external_spans = _spans(external)
        self._slots = np.full(1024, -1, np.int32)
        self.places = np.zeros(1024, np.int64)
        self.sizes = np.zeros(1024, np.int32)
        self.arena = np.zeros(65_536, np.uint8)
        self._used = 0
        self._freed = 0
        table.register(self)

    def learn(self, ids: NDArray[np.int32]) -> None:
        """Encode the labels of the series that are new."""
        table = self._table()
        if table is None:
            raise AssertionError("bug: the table of a batch is gone")
        self.places = grown(self.places, table.capacity)
        self.sizes = grown(self.sizes, table.capacity)
        new = ids[self.sizes[ids] == 0]
        if len(new):
            new = np.unique(new)
            for first in range(0, len(new), _STEP):
                self._learn(table, new[first : first + _STEP])

    def _learn(self, table: SeriesTable, ids: NDArray[np.int32]) -> None:
        labels = (*table.label_spans(ids), self._external, self._external_spans)
        sizes = np.empty(len(ids), np.int32)
        places = np.empty(len(ids), np.int64)
        encode_labels(*labels, places, sizes, _NO_BYTES)
        ends = self._used + np.cumsum(sizes, dtype=np.int64)
        places = ends - sizes
        self.arena = grown(self.arena, int(ends[-1]))
        encode_labels(*labels, places, sizes, self.arena)
        self.places[ids], self.sizes[ids] = places, sizes
        self._used = int(ends[-1])

    def grouped(self, series: NDArray[np.int32]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
        """Return how to bring rows together by series, None where each has one row, and where each series begins."""
        n = len(series)
        self._slots = grown(self._slots, len(self.sizes), -1)
        starts, order = np.empty(n + 1, np.int64), np.empty(n, np.int64)
        groups = kernels.group(series, self._slots, np.empty(n, np.int32), starts, order)
        return (None if groups == n else order), starts[: groups + 1]

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop ids that the table frees; start over when half of the arena is of no use."""
        ids = ids[ids < len(self.sizes)]
        self._freed += int(self.sizes[ids].sum())
        self.sizes[ids] = 0
        if 2 * self._freed > self._used:
            self.sizes[:] = 0
            self._used = self._freed = 0


def requests(
    arena: LabelArena,
    series: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    max_bytes: int,
) -> Iterator[Encoded]:
    """Yield requests of at most `max_bytes` (or one series); no series is in two of them.

    Args:
        arena: Labels.
        series: (n,) ids.
        times_ms: (n,) milliseconds.
        values: (n,).
        max_bytes: Before compression.
    """
    if not len(series):
        return
    arena.learn(series)
    order, starts = arena.grouped(series)
    if order is not None:
        series, times_ms, values = series[order], times_ms[order], values[order]
    bodies = np.empty(len(starts) - 1, np.int64)
    totals = np.empty(len(starts) - 1, np.int64)
    kernels.sizes(starts, series, times_ms, arena.sizes, bodies, totals)
    ends = np.cumsum(totals)
    begin = written = 0
    while begin < len(totals):
        count = max(1, int(np.searchsorted(ends, written + max_bytes, "right")) - begin)
        out = np.empty(int(ends[begin + count - 1]) - written, np.uint8)
        chosen = starts[begin : begin + count + 1]
        size = kernels.write(
            chosen, series, times_ms, values, arena.places, arena.sizes, arena.arena,
            bodies[begin : begin + count], out,
        )  # fmt: skip
        yield Encoded(out[:size].data, series[chosen[:-1]], int(chosen[-1] - chosen[0]))
        begin += count
        written += size


def _spans(labels: Mapping[str, str]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return labels, sorted by name, as bytes and (m, 4) int32 spans of them."""
    data = b""
    spans = []
    for pair in sorted(labels.items()):
        for text in pair:
            encoded = text.encode()
            spans += [len(data), len(encoded)]
            data += encoded
    return padded(data), np.array(spans, np.int32).reshape(-1, 4)
