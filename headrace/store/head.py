"""The head: the newest samples of a workspace, in memory.

One thread writes. Readers take the lock for the time of a copy; sealed chunks never change, so they are decoded
without it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.errors import CorruptChunk
from headrace.store import head_kernels as kernels
from headrace.store.codec.chunk_kernels import MAX_SAMPLES, max_size
from headrace.store.interfaces import SeriesBatch
from headrace.store.runs import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER = np.iinfo(np.int64).min
"""Newest time of a series without samples."""

FOREVER = np.iinfo(np.int64).max

_READ_AT_ONCE = 4096
"""Series that are copied while the lock is held once, so that a large query does not stall writes."""


class Head:
    """Open rows, sealed chunks and out-of-order samples."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._last = np.full(256, NEVER, np.int64)
        self._base = np.zeros(256, np.int64)
        self._offsets = np.zeros((256, kernels.WIDTH), np.int32)
        self._values = np.zeros((256, kernels.WIDTH), np.float64)
        self._counts = np.zeros(256, np.int32)
        self._newest = np.full(256, kernels.NO_CHUNK, np.int32)
        self._chunks = np.zeros((1024, 6), np.int64)
        self._arena = np.zeros(1 << 18, np.uint8)
        self._state = np.array([0, 0, NEVER, 0], np.int64)
        self._scratch = (
            np.empty(kernels.WIDTH, np.int64), np.empty(kernels.WIDTH, np.uint64), np.empty(kernels.WIDTH, np.int64)
        )  # fmt: skip
        self._late = _Late()
        self.series = 0
        """One more than the largest ref in use."""
        self.valid_from = NEVER
        """Samples before this time that came in order are in blocks."""

    @property
    def newest_ms(self) -> int:
        """Newest time of all samples; NEVER without any."""
        return int(self._state[2])

    @property
    def samples(self) -> int:
        """Samples appended in order since the head was made."""
        return int(self._state[3])

    @property
    def chunks(self) -> int:
        """Sealed chunks."""
        return int(self._state[1])

    @property
    def late_samples(self) -> int:
        """Out-of-order samples that are not in blocks yet."""
        return len(self._late)

    @property
    def oldest_ms(self) -> int:
        """Oldest time that may be in the head; FOREVER when it is empty."""
        with self.lock:
            used = self._counts[: self.series] > 0
            bases = self._base[: self.series][used]
            chunks = self._chunks[: self.chunks, 0]
            late = self._late.settled().times_ms
            return min((int(part.min()) for part in (bases, chunks, late) if len(part)), default=FOREVER)

    def fit(self, series: int) -> None:
        """Make room for refs below `series`."""
        with self.lock:
            self.series = max(self.series, series)
            self._last = grown(self._last, series, NEVER)
            self._base = grown(self._base, series)
            self._offsets = grown(self._offsets, series)
            self._values = grown(self._values, series)
            self._counts = grown(self._counts, series)
            self._newest = grown(self._newest, series, kernels.NO_CHUNK)

    def append(self, batch: SeriesBatch, latest_ms: int, oldest_ms: int) -> NDArray[np.uint8]:
        """Append samples and return their codes.

        Args:
            batch: Its refs are below `series`.
            latest_ms: Newest time taken.
            oldest_ms: Oldest time taken out of order; above `latest_ms` to take none.

        Returns:
            (n,) uint8 of `headrace.store.interfaces.Code`.
        """
        codes = np.empty(len(batch.refs), np.uint8)
        with self.lock:
            done = 0
            while True:
                done = kernels.append(
                    *batch, done, latest_ms, oldest_ms, self.valid_from, self._last, self._base, self._offsets,
                    self._values,
                    self._counts, self._newest, self._chunks, self._arena, self._state, *self._scratch, codes,
                )  # fmt: skip
                if done == len(codes):
                    break
                self._grow_arena()
            late = codes == kernels.OUT_OF_ORDER_OK
            if late.any():
                self._late.add(batch.refs[late], batch.times_ms[late], batch.values[late])
        return codes

    def read(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[Runs]:
        """Return the samples of `refs`, times from start to end inclusive: in-order ones, then late ones."""
        late = self.read_late(refs, start_ms, end_ms)
        in_order = self.read_in_order(refs, start_ms, end_ms)
        return [in_order] if late is None else [in_order, late]

    def read_in_order(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs:
        """Return the samples of `refs` that came in order."""
        start_ms = max(start_ms, self.valid_from)
        parts = [
            self._read_some(refs[i : i + _READ_AT_ONCE], start_ms, end_ms)
            for i in range(0, max(len(refs), 1), _READ_AT_ONCE)
        ]
        return _joined(parts)

    def read_late(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs | None:
        """Return the samples of `refs` that came out of order, None where there are none."""
        with self.lock:
            late = self._late.settled()
        return _late_runs(late, refs, start_ms, end_ms)

    def last_ms(self, refs: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the newest time of each of `refs`, NEVER for none."""
        newest: NDArray[np.int64] = self._last[refs]
        return newest

    def has_samples(self, refs: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of `refs` have samples in the head."""
        with self.lock:
            in_order = (self._counts[refs] > 0) | (self._newest[refs] != kernels.NO_CHUNK)
            late = self._late.settled().refs
        found: NDArray[np.bool_] = in_order | np.isin(refs, late)
        return found

    def forget_before(self, limit_ms: int, late_upto: int) -> None:
        """Drop what blocks hold now.

        Args:
            limit_ms: In-order samples before this time are in blocks.
            late_upto: So many of the oldest-arrived late samples are in blocks.
        """
        with self.lock:
            self.valid_from = limit_ms
            chunks, arena = np.zeros_like(self._chunks), np.zeros_like(self._arena)
            found = np.empty(len(self._chunks), np.int64)
            kernels.forget_before(
                limit_ms, self.series, self._newest, self._chunks, self._arena, chunks, arena, found, self._state
            )
            self._chunks, self._arena = chunks, arena
            kernels.drop_open_before(limit_ms, self.series, self._last, self._counts)
            self._late.drop_first(late_upto)

    def seen(self, refs: NDArray[np.int32], last_ms: NDArray[np.int64]) -> None:
        """Note the newest times of series whose samples are in blocks."""
        with self.lock:
            self._last[refs] = np.maximum(self._last[refs], last_ms)
            self._state[2] = max(int(self._state[2]), int(last_ms.max(initial=NEVER)))

    def _read_some(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs:
        with self.lock:
            counts = np.empty(len(refs), np.int64)
            longest = kernels.count_samples(refs, start_ms, end_ms, self._counts, self._newest, self._chunks, counts)
            places = np.zeros(len(refs), np.int64)
            np.cumsum(counts[:-1], out=places[1:])
            room = int(counts.sum())
            times, values = np.empty(room, np.int64), np.empty(room, np.float64)
            status = kernels.read(
                refs, start_ms, end_ms, self._base, self._offsets, self._values, self._counts, self._newest,
                self._chunks, self._arena, places, times, values, counts,
                np.empty(MAX_SAMPLES, np.uint64), np.empty(max(longest, 1), np.int64),
            )  # fmt: skip
        if status < 0:
            raise CorruptChunk("a chunk in memory does not decode")
        return Runs(places, counts, times, values)

    def _grow_arena(self) -> None:
        self._arena = grown(self._arena, int(self._state[0]) + max_size(kernels.WIDTH) + 16)
        self._chunks = grown(self._chunks, int(self._state[1]) + 1)


class _Late:
    """Out-of-order samples in the order in which they came; used under the head's lock."""

    def __init__(self) -> None:
        self._settled = SeriesBatch(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64))
        self._new: list[SeriesBatch] = []

    def __len__(self) -> int:
        return len(self._settled.refs) + sum(len(batch.refs) for batch in self._new)

    def add(self, refs: NDArray[np.int32], times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Take samples."""
        self._new.append(SeriesBatch(refs, times_ms, values))

    def settled(self) -> SeriesBatch:
        """Return all samples as columns that nobody changes afterwards."""
        if self._new:
            batches, self._new = [self._settled, *self._new], []
            self._settled = SeriesBatch(
                np.concatenate([batch.refs for batch in batches]),
                np.concatenate([batch.times_ms for batch in batches]),
                np.concatenate([batch.values for batch in batches]),
            )
        return self._settled

    def drop_first(self, count: int) -> None:
        """Drop the `count` samples that came first."""
        refs, times_ms, values = self.settled()
        self._settled = SeriesBatch(refs[count:], times_ms[count:], values[count:])


def _late_runs(late: SeriesBatch, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs | None:
    """Return the late samples of `refs` in a time range, sorted by time, or None."""
    if not len(late.refs):
        return None
    keep = (late.times_ms >= start_ms) & (late.times_ms <= end_ms) & np.isin(late.refs, refs)
    if not keep.any():
        return None
    found, times, values = late.refs[keep], late.times_ms[keep], late.values[keep]
    order = np.lexsort((times, found))
    found = found[order]
    places = np.searchsorted(found, refs, "left").astype(np.int64)
    counts = np.searchsorted(found, refs, "right").astype(np.int64) - places
    return Runs(places, counts, times[order], values[order])


def _joined(parts: list[Runs]) -> Runs:
    if len(parts) == 1:
        return parts[0]
    shifts = np.cumsum([0, *(len(part.times_ms) for part in parts[:-1])])
    return Runs(
        np.concatenate([part.places + shift for part, shift in zip(parts, shifts, strict=True)]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.times_ms for part in parts]),
        np.concatenate([part.values for part in parts]),
    )
