"""Histogram streams: the arena of their buckets, and rows as the kernels take them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.batch import HistogramColumns, HistogramKind
from headrace.pipeline.streams import bucket_differences_kernels, bucket_sums_kernels
from headrace.pipeline.streams import layout as at
from headrace.pipeline.streams.rows import taken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.streams.slots import Slots

_PACK_FROM = 1 << 16
"""Elements below which an arena is not worth packing."""


class Buckets:
    """The buckets of the streams of some slots; see `layout` for the columns that say where they are.

    Args:
        slots: With the columns `layout.FIELDS`.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.data = np.zeros(1024)
        self._used = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the arena."""
        return self.data.nbytes

    @property
    def _marks(self) -> NDArray[np.int64]:
        return self._slots.columns["marks"]

    def reserve(self, slots: NDArray[np.integer[Any]], room: NDArray[np.int64]) -> None:
        """Give slots, (k,) and each once, room for as many elements, keeping what they hold."""
        short = self._marks[slots, at.ROOM] < room
        for slot, size in zip(slots[short].tolist(), room[short].tolist(), strict=True):
            self._move(slot, max(size, 2 * int(self._marks[slot, at.ROOM])))

    def _move(self, slot: int, room: int) -> None:
        marks = self._marks[slot]
        first, old = int(marks[at.FIRST]), int(marks[at.ROOM])
        self.data = grown(self.data, self._used + room)
        self.data[self._used : self._used + room] = 0.0
        if marks[at.KIND] == HistogramKind.EXPLICIT:
            self.data[self._used : self._used + old] = self.data[first : first + old]
        else:
            half, new = old // 2, room // 2
            self.data[self._used : self._used + half] = self.data[first : first + half]
            self.data[self._used + new : self._used + new + half] = self.data[first + half : first + 2 * half]
        marks[at.FIRST], marks[at.ROOM] = self._used, room
        self._used += room

    def _pack_if_wasted(self) -> None:
        """Give back what closed and moved streams have left, where it is the most."""
        live = self._slots.live()
        if self._used > _PACK_FROM and 2 * int(self._marks[live, at.ROOM].sum()) < self._used:
            self.data = np.concatenate([self.packed(live), np.zeros(1024)])
            self._place(live)

    def packed(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what slots have of the arena, one after the other."""
        rooms = self._marks[slots, at.ROOM]
        ends = np.cumsum(rooms)
        places = np.repeat(self._marks[slots, at.FIRST] - (ends - rooms), rooms)
        return self.data[places + np.arange(int(ends[-1]) if len(ends) else 0)]

    def unpack(self, slots: NDArray[np.int64], rooms: NDArray[np.int64], data: NDArray[np.float64]) -> None:
        """Take over what `packed` returned.

        Args:
            slots: (k,) that are followed again, -1 for those that are not.
            rooms: (k,) as they were.
            data: What `packed` returned.

        Raises:
            ValueError: `rooms` and `data` do not fit.
        """
        if (rooms < 0).any() or int(rooms.sum()) != len(data) or data.dtype != np.float64:
            raise ValueError("buckets do not fit their streams")
        kept = slots >= 0
        self.data = np.concatenate([data[np.repeat(kept, rooms)], np.zeros(1024)])
        self._place(slots[kept])

    def _place(self, slots: NDArray[np.int64]) -> None:
        """Note that slots have the arena from its begin, one after the other."""
        ends = np.cumsum(self._marks[slots, at.ROOM])
        self._marks[slots, at.FIRST] = ends - self._marks[slots, at.ROOM]
        self._used = int(ends[-1]) if len(ends) else 0

    # -- work ----------------------------------------------------------------------------------------------

    def accumulate(
        self, slots: NDArray[np.int32], rows: HistogramColumns
    ) -> tuple[HistogramColumns, NDArray[np.uint8]]:
        """Merge delta rows into their slots.

        Args:
            slots: (h,) of the rows, which are in ascending order of time within a stream.
            rows: Explicit and exponential histograms.

        Returns:
            The sums, as many rows, and (h,) `Verdict`; rows that are not kept have no buckets.
        """
        n = len(rows)
        ints, floats = _matrices(rows)
        self._prepare(slots, ints, 2 * bucket_sums_kernels.MAX_BUCKETS)
        verdicts = np.zeros(n, np.uint8)
        out_ints, out_floats = np.zeros((n, at.MARKS), np.int64), np.zeros((n, at.SUMS))
        out = [np.empty(2 * bucket_sums_kernels.MAX_BUCKETS + 2 * len(rows.counts)) for _ in range(2)]
        status = np.zeros(3, np.int64)
        scratch, moved, spans = self._scratch(ints), np.zeros(3), np.zeros(4, np.int64)
        while True:
            code = bucket_sums_kernels.accumulate(
                slots, ints, floats, rows.counts, rows.bounds, self._marks, self._slots.columns["sums"], self.data,
                scratch, moved, spans, verdicts, out_ints, out_floats, out[0], out[1], status,
            )  # fmt: skip
            if code == bucket_sums_kernels.NEEDS_ROOM:
                self.reserve(slots[status[0] : status[0] + 1], status[2:])
            elif code == bucket_sums_kernels.NEEDS_OUTPUT:
                out = [grown(array, 2 * len(array)) for array in out]
            else:
                break
        used = int(status[1])
        out_ints[:, at.TIME] = ints[:, at.TIME]
        return _columns(rows, out_ints, out_floats, out[0][:used].copy(), out[1][:used].copy()), verdicts

    def difference(
        self, slots: NDArray[np.int32], rows: HistogramColumns, *, keeps_reference: bool
    ) -> tuple[HistogramColumns, NDArray[np.uint8]]:
        """Take the references of slots from cumulative rows.

        Args:
            slots: (h,) of the rows, which are in ascending order of time within a stream.
            rows: Explicit and exponential histograms.
            keeps_reference: Whether the reference is the first point of the stream instead of the point before.

        Returns:
            As many rows, and (h,) `Verdict`.
        """
        ints, floats = _matrices(rows)
        self._prepare(slots, ints)
        verdicts = np.zeros(len(rows), np.uint8)
        counts = rows.counts.copy()
        bucket_differences_kernels.difference(
            slots, ints, floats, counts, rows.bounds, keeps_reference, self._marks, self._slots.columns["sums"],
            self.data, self._scratch(ints), np.zeros(3), verdicts,
        )  # fmt: skip
        changed: dict[str, Any] = {"start_ns": ints[:, at.START].copy(), "counts": counts}
        for name, column in (("count", at.COUNT), ("sum", at.SUM), ("zero_count", at.ZERO_COUNT)):
            changed[name] = floats[:, column].copy()
        stale = rows.flags & at.FLAG_STALE != 0
        changed["sum"] = np.where(stale, rows.sum, changed["sum"])
        return replace(rows, **changed), verdicts

    def _prepare(self, slots: NDArray[np.int32], ints: NDArray[np.int64], most: int = 1 << 40) -> None:
        """Give slots the room that the largest of their rows takes; exponential ones no more than `most`."""
        self._pack_if_wasted()
        rooms = 2 * np.maximum(ints[:, at.POSITIVE_SIZE], ints[:, at.NEGATIVE_SIZE])
        exponential = ints[:, at.KIND] == HistogramKind.EXPONENTIAL
        rooms[exponential] = np.minimum(rooms[exponential], most)
        used, which = np.unique(slots, return_inverse=True)
        largest = np.zeros(len(used), np.int64)
        np.maximum.at(largest, which.ravel(), rooms)
        self.reserve(used, largest)

    @staticmethod
    def _scratch(ints: NDArray[np.int64]) -> NDArray[np.float64]:
        largest = int((ints[:, at.POSITIVE_SIZE] + ints[:, at.NEGATIVE_SIZE]).max(initial=0))
        return np.empty(2 * largest + 4 * bucket_sums_kernels.MAX_BUCKETS)


def _matrices(rows: HistogramColumns) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return integers and floats of rows in the columns that `layout` says."""
    n, sizes = len(rows), np.diff(rows.starts)
    explicit = rows.kind == HistogramKind.EXPLICIT
    ints, floats = np.zeros((n, at.MARKS), np.int64), np.zeros((n, at.SUMS))
    positive = np.where(explicit, sizes, rows.positive_size)
    for column, values in (
        (at.TIME, rows.time_ns), (at.START, rows.start_ns), (at.KIND, rows.kind), (at.FLAGS, rows.flags),
        (at.SCALE, rows.scale), (at.POSITIVE_OFFSET, rows.positive_offset), (at.NEGATIVE_OFFSET, rows.negative_offset),
        (at.POSITIVE_SIZE, positive), (at.NEGATIVE_SIZE, sizes - positive), (at.FIRST, rows.starts[:-1]),
    ):  # fmt: skip
        ints[:, column] = values
    for column, amounts in (
        (at.COUNT, rows.count), (at.SUM, rows.sum), (at.MINIMUM, rows.minimum), (at.MAXIMUM, rows.maximum),
        (at.ZERO_COUNT, rows.zero_count), (at.ZERO_THRESHOLD, rows.zero_threshold),
    ):  # fmt: skip
        floats[:, column] = amounts
    return ints, floats


def _columns(
    rows: HistogramColumns,
    ints: NDArray[np.int64],
    floats: NDArray[np.float64],
    counts: NDArray[np.float64],
    bounds: NDArray[np.float64],
) -> HistogramColumns:
    """Return `rows` with the numbers of `ints` and `floats`, and with these buckets."""
    sizes = ints[:, at.POSITIVE_SIZE] + ints[:, at.NEGATIVE_SIZE]
    stale = rows.flags & at.FLAG_STALE != 0
    exponential = rows.kind == HistogramKind.EXPONENTIAL
    return replace(
        rows,
        start_ns=ints[:, at.START].copy(),
        count=floats[:, at.COUNT].copy(),
        sum=np.where(stale, rows.sum, floats[:, at.SUM]),
        minimum=floats[:, at.MINIMUM].copy(),
        maximum=floats[:, at.MAXIMUM].copy(),
        scale=ints[:, at.SCALE].astype(np.int32),
        zero_count=floats[:, at.ZERO_COUNT].copy(),
        zero_threshold=floats[:, at.ZERO_THRESHOLD].copy(),
        positive_offset=ints[:, at.POSITIVE_OFFSET].astype(np.int32),
        negative_offset=ints[:, at.NEGATIVE_OFFSET].astype(np.int32),
        positive_size=np.where(exponential, ints[:, at.POSITIVE_SIZE], 0).astype(np.int32),
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        counts=counts,
        bounds=bounds,
    )


def ordered(rows: HistogramColumns, index: NDArray[np.int64]) -> HistogramColumns:
    """Return the rows with the given numbers, (k,) int64; the same object where these are all, in order."""
    if len(index) == len(rows) and (index == np.arange(len(rows))).all():
        return rows
    return taken(rows, index)
