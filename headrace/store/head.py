"""The head: the newest samples of a workspace, in memory.

One thread writes. Readers take the lock for the time of a copy; sealed chunks never change, so they are decoded
without it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.errors import CorruptChunk
from headrace.store import head_kernels as kernels
from headrace.store.codec.chunk_kernels import max_size
from headrace.store.codec.scratch import MAX_SAMPLES, scratch
from headrace.store.histogram_head import HistogramHead
from headrace.store.histogram_kernels import judge
from headrace.store.interfaces import SeriesBatch
from headrace.store.runs import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms

NEVER = np.iinfo(np.int64).min
"""Newest time of a series without samples."""

_STALE = np.uint64(0x7FF0000000000002)

FOREVER = np.iinfo(np.int64).max

_READ_AT_ONCE = 4096
"""Series that are copied while the lock is held once, so that a large query does not stall writes."""


class Head:
    """Open rows, sealed chunks and out-of-order samples."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        state = np.zeros(kernels.STATE, np.int64)
        state[kernels.NEWEST] = NEVER
        state[kernels.LAST_TIMES] = -1
        slots: list[NDArray[Any]] = [np.zeros((_SLOTS, *shape), dtype) for _, dtype, *shape in _SLOT_ARRAYS]
        refs = [np.full(256, kernels.NO_SLOT, np.int32), np.full(256, NEVER, np.int64)]
        chunks = [np.zeros(1024, np.int32), np.zeros(1024, np.int32), np.zeros(1025, np.int64)]
        times = [np.zeros(257, np.int64), np.zeros((256, 3), np.int64)]
        arenas = [np.zeros(1 << 16, np.uint8), np.zeros(1 << 14, np.uint8), np.zeros(kernels.WIDTH + 1, np.int64)]
        self._rows = kernels.Rows._make([state, *refs, *slots, *chunks, *times, *arenas])
        self._room = scratch()
        self._times = np.empty(kernels.WIDTH, np.int64)
        self._late = _Late()
        self.histograms = HistogramHead()
        self.series = 0
        """One more than the largest ref in use."""
        self.valid_from = NEVER
        """Samples before this time that came in order are in blocks."""
        self._floor = NEVER
        self._writing = (NEVER, 0)
        self._newest_seen = NEVER

    @property
    def newest_ms(self) -> int:
        """Newest time of all samples, those in blocks included; NEVER without any."""
        return max(int(self._rows.state[kernels.NEWEST]), self._newest_seen)

    @property
    def samples(self) -> int:
        """Samples appended in order since the head was made."""
        return int(self._rows.state[kernels.SAMPLES])

    @property
    def chunks(self) -> int:
        """Sealed chunks."""
        return int(self._rows.state[kernels.CHUNKS])

    @property
    def active_series(self) -> int:
        """Series with samples that came in order."""
        state = self._rows.state
        return int(state[kernels.SLOTS] - state[kernels.FREE])

    @property
    def late_samples(self) -> int:
        """Out-of-order samples and histograms that are not in blocks yet."""
        return len(self._late) + self.histograms.late_samples

    @property
    def oldest_ms(self) -> int:
        """Oldest time that may be in the head; FOREVER when it is empty."""
        with self.lock:
            late = self._late.settled().times_ms
        return min(self.oldest_in_order_ms, int(late.min(initial=FOREVER)), self.histograms.oldest_late_ms)

    @property
    def oldest_in_order_ms(self) -> int:
        """Oldest time of samples and histograms that came in order; FOREVER without any."""
        with self.lock:
            return min(int(kernels.oldest_time(self._rows)), self.histograms.oldest_in_order_ms)

    def extents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return first and last time of everything that came in order: open rows, chunks, parts of histograms.

        Returns:
            Two int64 arrays of one length. There are no gaps of more than 25 days within one of these spans.
        """
        with self.lock:
            rows, state = self._rows, self._rows.state
            counts = rows.counts[: int(state[kernels.SLOTS])]
            slots = np.flatnonzero(counts)
            firsts = rows.base[slots]
            lasts = firsts + rows.offsets[slots, counts[slots] - 1]
            chunks = rows.time_rows[: int(state[kernels.TIMES]), 1:].copy()
        own_firsts, own_lasts = self.histograms.extents()
        return np.concatenate([firsts, chunks[:, 0], own_firsts]), np.concatenate([lasts, chunks[:, 1], own_lasts])

    def late_before(self, limit_ms: int) -> int:
        """Count the late samples and histograms older than `limit_ms`."""
        with self.lock:
            late = self._late.settled().times_ms
        return int((late < limit_ms).sum()) + int((self.histograms.late().time_ms < limit_ms).sum())

    def memory_bytes(self) -> int:
        """Return the bytes in use, not counting room for more."""
        state = self._rows.state
        slots = int(state[kernels.SLOTS]) * (12 * kernels.WIDTH + 20)
        chunks = 16 * self.chunks + 32 * int(state[kernels.TIMES])
        late = 20 * len(self._late) + self.histograms.memory_bytes()
        return slots + chunks + int(state[kernels.VALUE_BYTES] + state[kernels.TIME_BYTES]) + 12 * self.series + late

    def fit(self, series: int) -> None:
        """Make room for refs below `series`."""
        if series > len(self._rows.slots):
            with self.lock:
                rows = self._rows
                slots = grown(rows.slots, series, kernels.NO_SLOT)
                self._rows = rows._replace(slots=slots, last=grown(rows.last, len(slots), NEVER))
        if series > self.series:
            # Readers and the writer may both be here.
            with self.lock:
                self.series = max(self.series, series)

    def _fit_refs(self, refs: NDArray[np.int32]) -> None:
        """Make room for refs that a reader has seen in the index before the writer has made it."""
        if int(refs.max(initial=-1)) >= len(self._rows.slots):
            self.fit(int(refs.max()) + 1)

    def append(self, batch: SeriesBatch, latest_ms: int, oldest_ms: int) -> NDArray[np.uint8]:
        """Append samples and return their codes.

        Args:
            batch: Its refs are below `series`.
            latest_ms: Newest time taken.
            oldest_ms: Oldest time taken out of order; above `latest_ms` to take none.

        Returns:
            (n,) uint8 of `headrace.store.interfaces.Code`, or `BELOW_FLOOR`; what these and OUT_OF_ORDER_OK stand for
            is not appended: see `add_late`.
        """
        codes = np.empty(len(batch.refs), np.uint8)
        with self.lock:
            done = 0
            floor = max(self.valid_from, self._floor)
            while True:
                arrays: tuple[Any, ...] = (*self._rows, *self._room)
                done = kernels.append(*batch, done, latest_ms, oldest_ms, floor, codes, self._times, *arrays)
                if done == len(codes):
                    break
                self._grow()
        return codes

    def append_histograms(
        self, histograms: NativeHistograms, latest_ms: int, oldest_ms: int
    ) -> tuple[NDArray[np.uint8], NativeHistograms]:
        """Append native histograms as `append` does samples; return their codes, and those that are kept: the OK ones.

        Args:
            histograms: Canonical; their refs are below `series`.
            latest_ms: Newest time taken.
            oldest_ms: Oldest time taken out of order; above `latest_ms` to take none.
        """
        codes = np.empty(len(histograms), np.uint8)
        # Judged and added in one go, so that a flush either sees them or has them come too late.
        with self.lock:
            where = (latest_ms, oldest_ms, max(self.valid_from, self._floor), self._rows.last)
            newest = judge(histograms.series, histograms.time_ms, *where, codes)
            in_order = histograms.select(codes == kernels.OK)
            self.histograms.add(in_order)
        self.histograms.seal_where_due()
        self._newest_seen = max(self._newest_seen, int(newest))
        return codes, in_order

    def add_late(self, batch: SeriesBatch) -> None:
        """Keep samples that came out of order, or too late for an open row."""
        with self.lock:
            self._late.add(*batch)

    def read(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[Runs]:
        """Return the samples of `refs`, times from start to end inclusive: in-order ones, then late ones."""
        late = self.read_late(refs, start_ms, end_ms)
        in_order = self.read_in_order(refs, start_ms, end_ms)
        return [in_order] if late is None else [in_order, late]

    def count(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.int64]:
        """Return (n,) int64: at most how many samples of each of `refs` came in order."""
        counts = np.zeros(len(refs), np.int64)
        if self.active_series:
            self._fit_refs(refs)
            start_ms, end_ms = max(start_ms, self.valid_from), min(end_ms, FOREVER - 1)
            for i in range(0, len(refs), _READ_AT_ONCE):
                part = slice(i, i + _READ_AT_ONCE)
                with self.lock:
                    kernels.count_samples(refs[part], start_ms, end_ms, self._rows, counts[part])
        return counts

    def read_in_order(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs:
        """Return the samples of `refs` that came in order."""
        if not self.active_series:
            none = np.zeros(len(refs), np.int64)
            return Runs(none, none.copy(), np.empty(0, np.int64), np.empty(0))
        start_ms, end_ms = max(start_ms, self.valid_from), min(end_ms, FOREVER - 1)
        parts = [
            self._read_some(refs[i : i + _READ_AT_ONCE], start_ms, end_ms)
            for i in range(0, max(len(refs), 1), _READ_AT_ONCE)
        ]
        return _joined(parts)

    def read_late(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs | None:
        """Return the samples of `refs` that came out of order, None where there are none."""
        with self.lock:
            late = self._late.settled()
        return late_runs(late, refs, start_ms, end_ms)

    def has_samples(self, refs: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of `refs` have samples or histograms in the head."""
        self._fit_refs(refs)
        with self.lock:
            in_order = self._rows.slots[refs] != kernels.NO_SLOT
            late = self._late.settled().refs
        found: NDArray[np.bool_] = in_order | np.isin(refs, late)
        return found if self.histograms.is_empty else found | self.histograms.has_samples(refs)

    def begin_flush(self, limit_ms: int) -> SeriesBatch:
        """Return the late samples older than `limit_ms`, in the order in which they came.

        From here on nothing older is appended in order: it would come too late for the blocks that are written.
        """
        with self.lock:
            late = self._late.settled()
            old = late.times_ms < limit_ms
            self._floor = limit_ms
            self._writing = limit_ms, int(old.sum())
        return SeriesBatch(late.refs[old], late.times_ms[old], late.values[old])

    def end_flush(self, *, worked: bool) -> None:
        """Drop the late samples that `begin_flush` returned: blocks hold them now. Where that failed, they stay."""
        self.histograms.end_flush(worked=worked)
        with self.lock:
            if worked:
                self._late.drop_before(*self._writing)
            self._floor, self._writing = NEVER, (NEVER, 0)

    def drop_late(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> None:
        """Drop late samples and histograms of some series within a time range: they are deleted."""
        self.histograms.drop_late(refs, start_ms, end_ms)
        with self.lock:
            limit_ms, count = self._writing
            self._writing = limit_ms, count - self._late.drop(refs, start_ms, end_ms, limit_ms, count)

    def forget_before(self, limit_ms: int) -> None:
        """Drop in-order samples and histograms before `limit_ms`: blocks hold them now."""
        self.histograms.forget_before(limit_ms)
        with self.lock:
            self.valid_from = limit_ms
            rows = self._rows
            to = rows._replace(**{name: np.zeros_like(getattr(rows, name)) for name in _CHUNK_ARRAYS})
            kept = np.full(int(rows.state[kernels.TIMES]), -1, np.int32)
            found = np.empty(self.chunks, np.int64)
            kernels.forget_before(limit_ms, self.series, rows, to, kept, found)
            self._rows = to

    def seen(self, refs: NDArray[np.int32], last_ms: NDArray[np.int64]) -> None:
        """Note times of samples that are in blocks, or late: a newer one of the series is in order."""
        with self.lock:
            np.maximum.at(self._rows.last, refs, last_ms)
        self._newest_seen = max(self._newest_seen, int(last_ms.max(initial=NEVER)))

    def _read_some(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs:
        self._fit_refs(refs)
        with self.lock:
            rows = self._rows
            counts = np.empty(len(refs), np.int64)
            longest = kernels.count_samples(refs, start_ms, end_ms, rows, counts)
            places = np.zeros(len(refs), np.int64)
            np.cumsum(counts[:-1], out=places[1:])
            room = int(counts.sum())
            times, values = np.empty(room, np.int64), np.empty(room, np.float64)
            status = kernels.read(
                refs, start_ms, end_ms, rows, places, times, values, counts, scratch(),
                np.empty(MAX_SAMPLES + 128, np.int64), np.empty(max(longest, 1), np.int64),
            )  # fmt: skip
        if status < 0:
            raise CorruptChunk("a chunk in memory does not decode")
        return Runs(places, counts, times, values)

    def _grow(self) -> None:
        """Make room for one more of everything that is full."""
        rows, state = self._rows, self._rows.state
        spare = int(max_size(kernels.WIDTH))
        more: dict[str, NDArray[Any]] = {
            "arena": grown(rows.arena, int(state[kernels.VALUE_BYTES]) + spare),
            "times_arena": grown(rows.times_arena, int(state[kernels.TIME_BYTES]) + spare),
            "time_rows": grown(rows.time_rows, int(state[kernels.TIMES]) + 1),
        }
        more["time_places"] = grown(rows.time_places, len(more["time_rows"]) + 1)
        for name in ("chunk_times", "chunk_older"):
            more[name] = grown(getattr(rows, name), self.chunks + 1)
        more["chunk_places"] = grown(rows.chunk_places, len(more["chunk_times"]) + 1)
        if int(state[kernels.SLOTS]) == len(rows.base) and not state[kernels.FREE]:
            for name, *_ in _SLOT_ARRAYS:
                more[name] = grown(getattr(rows, name), len(rows.base) + 1)
        self._rows = rows._replace(**more)


_SLOTS = 16
_SLOT_ARRAYS: tuple[tuple[Any, ...], ...] = (
    ("base", np.int64),
    ("offsets", np.int32, kernels.WIDTH),
    ("values", np.float64, kernels.WIDTH),
    ("counts", np.int32),
    ("newest", np.int32),
    ("free", np.int32),
)
"""Names, types and further dimensions of the arrays by slot, in the order of `kernels.Rows`."""

_CHUNK_ARRAYS = (
    "chunk_times", "chunk_older", "chunk_places", "time_places", "time_rows", "arena", "times_arena",
)  # fmt: skip


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

    def drop(self, refs: NDArray[np.int32], start_ms: int, end_ms: int, limit_ms: int, count: int) -> int:
        """Drop the samples of `refs` within a time range; return how many of the first `count` before `limit_ms`."""
        late = self.settled()
        kept = (late.times_ms < start_ms) | (late.times_ms > end_ms) | ~np.isin(late.refs, refs)
        old = late.times_ms < limit_ms
        dropped = int((~kept & old & (np.cumsum(old) <= count)).sum())
        self._settled = SeriesBatch(late.refs[kept], late.times_ms[kept], late.values[kept])
        return dropped

    def drop_before(self, limit_ms: int, count: int) -> None:
        """Drop the first `count` of the samples older than `limit_ms`."""
        refs, times_ms, values = self.settled()
        old = times_ms < limit_ms
        kept = ~old | (np.cumsum(old) > count)
        self._settled = SeriesBatch(refs[kept], times_ms[kept], values[kept])


def late_runs(late: SeriesBatch, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs | None:
    """Return the late samples of `refs` in a time range, sorted by time, or None."""
    if not len(late.refs):
        return None
    keep = (late.times_ms >= start_ms) & (late.times_ms <= end_ms) & np.isin(late.refs, refs)
    if not keep.any():
        return None
    found, times, values = late.refs[keep], late.times_ms[keep], late.values[keep]
    # The first of a time stands, but a value beats a stale marker.
    order = np.lexsort((values.view(np.uint64) == _STALE, times, found))
    first = np.ones(len(order), np.bool_)
    first[1:] = (np.diff(found[order]) != 0) | (np.diff(times[order]) != 0)
    order = order[first]
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
