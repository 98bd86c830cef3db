"""Parts of OTLP requests that were seen before: known again by their bytes, not read.

Senders name the same points in the same order, time and again. What is kept is a block, a ResourceMetrics with nothing
but number points; one is kept when it comes the second time, so that what never repeats costs nothing but its mark.

See `headrace.pipeline.wire.otlp_recall_kernels`.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.wire import otlp_kernels as columns
from headrace.pipeline.wire import otlp_point_kernels as points
from headrace.pipeline.wire import otlp_recall_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.otlp_walk import Walk

MAX_BYTES = 64 << 20
"""Bytes of blocks that are kept. A set that is larger is not kept in part and then another part of it: what does not
fit is read."""

_RENEW_S = 300.0
"""After so long, blocks are forgotten where there is no room for new ones: most are of senders that are gone."""

_CELLS = 1 << 16
_DOORS = 1 << 15
_MISSED = 1024


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is known of a request.

    Attributes:
        ids: (k,) int32 of the points that are known.
        times: (k,) int64 nanoseconds.
        values: (k,) float64.
        flags: (k,) uint8.
        starts: (k,) int64 nanoseconds.
        missed: (m, MISSED) int64, the blocks that have to be read.
    """

    ids: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    flags: NDArray[np.uint8]
    starts: NDArray[np.int64]
    missed: NDArray[np.int64]

    @property
    def is_whole(self) -> bool:
        """Whether nothing has to be read."""
        return not len(self.missed)

    @property
    def is_part(self) -> bool:
        """Whether something is known, and something has to be read."""
        return len(self.missed) > 0 and len(self.ids) > 0

    def rest(self, data: bytes) -> bytes:
        """Return a request of those blocks of `data` that have to be read."""
        spans = self.missed[:, [kernels.BEGIN, kernels.END]].tolist()
        return b"".join([data[begin:end] for begin, end in spans])


class _Rows(NamedTuple):
    """Room for what is known of a request; columns as in `Recalled`."""

    ids: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    flags: NDArray[np.uint8]
    starts: NDArray[np.int64]

    @classmethod
    def room(cls, size: int) -> _Rows:
        """Return room for `size` rows."""
        return cls(
            np.empty(size, np.int32),
            np.empty(size, np.int64),
            np.empty(size),
            np.empty(size, np.uint8),
            np.empty(size, np.int64),
        )


class _Kept:
    """Blocks, their bytes and their points; see the kernels for the columns."""

    def __init__(self) -> None:
        self.marks = np.zeros(_CELLS, np.uint64)
        self.numbers = np.full(_CELLS, -1, np.int32)
        self.blocks = np.zeros((64, kernels.BLOCK), np.int64)
        self.arena = np.zeros(65_536, np.uint8)
        self.places = np.zeros((1024, kernels.PLACES), np.int32)
        self.ids = np.zeros(1024, np.int32)
        self.used = self.points = self.bytes = 0

    def add(self, found: Walk, rows: slice, begin: int, size: int) -> bool:
        """Keep a block of a request, with some rows of number points; return whether it can be."""
        amount = rows.stop - rows.start
        self.places = grown(self.places, self.points + amount)
        self.ids = grown(self.ids, self.points + amount)
        self.arena = grown(self.arena, self.bytes + size)
        self.blocks = grown(self.blocks, self.used + 1)
        of = slice(self.points, self.points + amount)
        if kernels.find_places(found.buf, found.numbers.rows[rows], begin, self.places[of]) < 0:
            return False
        self.ids[of] = found.numbers.ids[rows]
        self.arena[self.bytes : self.bytes + size] = found.buf[begin : begin + size]
        self.blocks[self.used] = self.bytes, size, self.points, amount
        self.used += 1
        self.points += amount
        self.bytes += size
        return True

    def put(self, mark: int) -> None:
        """Let a mark lead to the last block: in a free cell, in place of a block that is forgotten, or of another."""
        first = mark & (_CELLS - kernels.WAYS)
        cells = self.numbers[first : first + kernels.WAYS]
        free = np.flatnonzero((cells < 0) | (self.blocks[cells, kernels.BYTES] < 0))
        cell = first + (int(free[0]) if len(free) else secrets.randbelow(kernels.WAYS))
        if self.numbers[cell] >= 0:
            self.blocks[self.numbers[cell], kernels.BYTES] = -1
        self.marks[cell], self.numbers[cell] = mark, self.used - 1

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the blocks with points of these series."""
        hit = np.flatnonzero(np.isin(self.ids[: self.points], ids))
        owners = np.searchsorted(self.blocks[: self.used, kernels.FIRST_POINT], hit, "right") - 1
        self.blocks[owners, kernels.BYTES] = -1


class RecalledBlocks:
    """Keeps blocks; on the thread that owns the table.

    Args:
        table: Whose ids the points have.
        max_bytes: Most bytes of blocks.
        monotonic_s: Seconds that never go back.
    """

    def __init__(
        self,
        table: SeriesTable,
        max_bytes: int = MAX_BYTES,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._monotonic_s = monotonic_s
        self._seed = np.uint64(secrets.randbits(64))
        self._doors = np.zeros(_DOORS, np.uint64)
        self._missed = np.empty((_MISSED, kernels.MISSED), np.int64)
        self._counts = np.zeros(3, np.int64)
        self._rows = _Rows.room(1024)
        self._kept = _Kept()
        self._cleared_s = monotonic_s()
        table.register(self)

    def recall(self, data: bytes) -> Recalled | None:
        """Read the blocks of a request that are known; return None where it holds something else."""
        view, kept = np.frombuffer(data, np.uint8), self._kept
        while True:
            status = kernels.recall(
                view, self._seed, kept.marks, kept.numbers, self._doors, kept.blocks, kept.arena, kept.places,
                kept.ids, *self._rows, self._missed, self._counts,
            )  # fmt: skip
            if status != kernels.CROWDED:
                break
            self._rows = _Rows.room(2 * len(self._rows.ids))
        if status < 0:
            return None
        n, missed = self._counts[:2].tolist()
        rows = self._rows
        return Recalled(
            rows.ids[:n].copy(),
            rows.times[:n].copy(),
            rows.values[:n].copy(),
            rows.flags[:n].copy(),
            rows.starts[:n].copy(),
            self._missed[:missed].copy(),
        )

    def keep(self, missed: NDArray[np.int64], found: Walk) -> None:
        """Keep the blocks that have come before.

        Args:
            missed: (m, MISSED), what was read.
            found: What it holds: no faults, and known series.
        """
        wanted = np.flatnonzero(missed[:, kernels.WANTED])
        if not len(wanted) or found.rewritten or not self._has_room(found.size):
            return
        marks = missed[:, kernels.MARK].copy().view(np.uint64)
        sizes = missed[:, kernels.END] - missed[:, kernels.BEGIN]
        begins = np.cumsum(sizes) - sizes + missed[:, kernels.BODY] - missed[:, kernels.BEGIN]
        owners = _resources(found, found.numbers.metric)
        firsts = np.searchsorted(owners, np.arange(len(missed) + 1))
        mixed = set(_resources(found, found.histograms.metric).tolist())
        for one in wanted.tolist():
            rows = slice(int(firsts[one]), int(firsts[one + 1]))
            size = int(missed[one, kernels.END] - missed[one, kernels.BODY])
            plain = one not in mixed and not found.numbers.rows[rows, points.EXEMPLARS].any()
            if plain and self._kept.add(found, rows, int(begins[one]), size):
                self._kept.put(int(marks[one]))

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the blocks with points of series that the table frees."""
        self._kept.forget(ids)

    def _has_room(self, more: int) -> bool:
        if self._kept.bytes + more <= self._max_bytes:
            return True
        if self._monotonic_s() - self._cleared_s < _RENEW_S:
            return False
        self._kept = _Kept()
        self._cleared_s = self._monotonic_s()
        return more <= self._max_bytes


def joined(batch: MetricBatch, recalled: Recalled, found: Walk) -> MetricBatch:
    """Return `batch`, all that was read, with what was recalled, in the order of the request."""
    rows = len(recalled.ids)
    read = 2 * recalled.missed[_resources(found, found.numbers.metric), kernels.BEFORE]
    at = np.argsort(np.concatenate([2 * np.arange(rows) + 1, read]), kind="stable")
    integers = batch.integers
    if integers is not None:
        with np.errstate(invalid="ignore"):
            integers = np.concatenate([recalled.values.astype(np.int64), integers])[at]
    return batch.with_columns(
        series=np.concatenate([recalled.ids, batch.series])[at],
        time_ns=np.concatenate([recalled.times, batch.time_ns])[at],
        value=np.concatenate([recalled.values, batch.value])[at],
        flags=np.concatenate([recalled.flags, batch.flags])[at],
        start_ns=np.concatenate([recalled.starts, batch.start_ns])[at],
        integers=integers,
    )


def _resources(found: Walk, metrics: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the resource of each of some metrics."""
    resources: NDArray[np.int32] = found.scopes[found.metrics[metrics, columns.SCOPE_OF], columns.RESOURCE_OF]
    return resources
