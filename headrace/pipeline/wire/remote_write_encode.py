"""Batches as remote write requests of version 1.0."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.wire import remote_write_encode_kernels as kernels
from headrace.pipeline.wire.protobuf_text import text_field, varint
from headrace.pipeline.wire.remote_write_request import Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.series import SeriesTable


class LabelArena:
    """Encoded labels of a table's series, made once for each.

    Args:
        table: Whose series.
        external: Labels to add where a series lacks them.
    """

    def __init__(self, table: SeriesTable, external: Mapping[str, str]) -> None:
        self._table = weakref.ref(table)
        self._external = dict(external)
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
        for one in np.unique(new).tolist():
            labels = self._external | dict(table.series(one).labels)
            encoded = b"".join(_label(name, value) for name, value in sorted(labels.items()))
            end = self._used + len(encoded)
            self.arena = grown(self.arena, end)
            self.arena[self._used : end] = np.frombuffer(encoded, np.uint8)
            self.places[one], self.sizes[one] = self._used, len(encoded)
            self._used = end

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
    order = np.argsort(series, kind="stable")
    series, times_ms, values = series[order], times_ms[order], values[order]
    first = np.flatnonzero(np.concatenate([[True], series[1:] != series[:-1]]))
    starts = np.append(first, len(series)).astype(np.int64)
    bodies = np.zeros(len(first), np.int64)
    totals = np.zeros(len(first), np.int64)
    kernels.sizes(starts, series, times_ms, arena.sizes, bodies, totals)
    begin = 0
    while begin < len(first):
        ends = np.cumsum(totals[begin:])
        count = max(1, int(np.searchsorted(ends, max_bytes, "right")))
        out = np.empty(int(ends[count - 1]), np.uint8)
        chosen = starts[begin : begin + count + 1]
        size = kernels.write(
            chosen, series, times_ms, values, arena.places, arena.sizes, arena.arena,
            bodies[begin : begin + count], out,
        )  # fmt: skip
        yield Encoded(out[:size].data, series[chosen[:-1]], int(chosen[-1] - chosen[0]))
        begin += count


def _label(name: str, value: str) -> bytes:
    body = text_field(1, name) + text_field(2, value)
    return b"\x0a" + varint(len(body)) + body
