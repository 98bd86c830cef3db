"""Slots: a dense number for each stream that a processor follows, and the columns of its state.

A series id says which slot; whether a stream is followed at all is decided once for each new series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.streams.tables import OfTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.series import SeriesTable

NEW = -1
"""Of a series: nobody has decided about it."""

OTHER = -2
"""Of a series: it is not followed; its points pass as they are."""

REFUSED = -3
"""Of a series: there was no room for it; its points are dropped."""

_FIRST_SLOTS = 1024


@dataclass(frozen=True, slots=True)
class Field:
    """A column of state.

    Attributes:
        dtype: Of its elements.
        width: Elements of one slot; 0 for a column that is a plain array.
        fill: What a new slot holds.
    """

    dtype: type[np.generic]
    width: int = 0
    fill: float = 0


class Slots(OfTable):
    """Slots of the streams of one series table.

    Args:
        table: Whose ids.
        fields: Columns of state by name.
        max_slots: Most streams at a time.
    """

    def __init__(self, table: SeriesTable, fields: Mapping[str, Field], max_slots: int = 1 << 62) -> None:
        super().__init__(table)
        self._max_slots = max_slots
        self._fields = dict(fields)
        self.slot_of = np.full(_FIRST_SLOTS, NEW, np.int32)
        """Slot by series id, or NEW, OTHER or REFUSED."""
        self.ids = np.full(_FIRST_SLOTS, -1, np.int32)
        """Series id by slot, -1 for a free slot."""
        self.out = np.full(_FIRST_SLOTS, -1, np.int32)
        """Id of the series under which a stream is passed on, by slot."""
        self.seen_ns = np.zeros(_FIRST_SLOTS, np.int64)
        """When the newest point of a stream came, by slot."""
        self.columns: dict[str, NDArray[Any]] = {}
        for name, one in self._fields.items():
            shape = (_FIRST_SLOTS, one.width) if one.width else (_FIRST_SLOTS,)
            self.columns[name] = np.full(shape, one.fill, one.dtype)
        self._used = 0
        self._free: list[int] = []
        self._has_refused = False
        self.on_close: Callable[[NDArray[np.integer[Any]]], None] | None = None
        """Called with slots before they are given up."""
        table.register(self)

    def __len__(self) -> int:
        return self._used - len(self._free)

    @property
    def nbytes(self) -> int:
        """Bytes that all arrays take."""
        arrays: list[NDArray[Any]] = [self.slot_of, self.ids, self.out, self.seen_ns, *self.columns.values()]
        return sum(array.nbytes for array in arrays)

    def fit(self) -> None:
        """Make room for all ids of the table."""
        self.slot_of = grown(self.slot_of, self.table.capacity, NEW)

    def live(self) -> NDArray[np.int64]:
        """Return the slots in use, ascending; (n,) int64."""
        return np.flatnonzero(self.ids[: self._used] >= 0)

    def open(self, ids: NDArray[np.int32], out: NDArray[np.int32]) -> None:
        """Follow series `ids`, (n,) int32, that are passed on as `out`; those without room are refused."""
        room = max(0, self._max_slots - len(self))
        self.slot_of[ids[room:]] = REFUSED
        self._has_refused = self._has_refused or room < len(ids)
        ids, out = ids[:room], out[:room]
        slots = self._take(len(ids))
        self.slot_of[ids] = slots
        self.ids[slots] = ids
        self.out[slots] = out
        self.seen_ns[slots] = 0

    def open_numbers(self, n: int) -> None:
        """Take `n` slots for what is no series, for slots that live no longer than a call."""
        self.ids[self._take(n)] = 0

    def _take(self, n: int) -> NDArray[np.int32]:
        again = [self._free.pop() for _ in range(min(n, len(self._free)))]
        fresh = n - len(again)
        slots = np.concatenate([again, np.arange(self._used, self._used + fresh)]).astype(np.int32)
        self._used += fresh
        self.ids, self.out = grown(self.ids, self._used, -1), grown(self.out, self._used, -1)
        self.seen_ns = grown(self.seen_ns, self._used)
        for name, one in self._fields.items():
            self.columns[name] = grown(self.columns[name], self._used, one.fill)
        return slots

    def close(self, slots: NDArray[np.integer[Any]]) -> None:
        """Forget the streams of some slots; series that were refused may have a place now."""
        if not len(slots):
            return
        if self.on_close is not None:
            self.on_close(slots)
        self.slot_of[self.ids[slots]] = NEW
        self.ids[slots] = -1
        self.out[slots] = -1
        for name, one in self._fields.items():
            self.columns[name][slots] = one.fill
        self._free += slots.tolist()
        if self._has_refused:
            self.slot_of[self.slot_of == REFUSED] = NEW
            self._has_refused = False

    def expired(self, before_ns: int) -> NDArray[np.int64]:
        """Return the slots whose newest point came before `before_ns`; (n,) int64."""
        live = self.live()
        return live[self.seen_ns[live] < before_ns]

    def resume(self, saved_ns: int, now_ns: int) -> None:
        """Go on after a time in which nothing could come: it does not make streams idle.

        Args:
            saved_ns: When the state was saved.
            now_ns: When it was taken over.
        """
        self.seen_ns[self.live()] += max(0, now_ns - saved_ns)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Forget series that the table has freed, and the streams that come from or lead to one."""
        gone = np.zeros(max(self.table.capacity, len(self.slot_of)), np.bool_)
        gone[ids] = True
        live = self.live()
        self.close(live[gone[self.ids[live]] | gone[self.out[live]]])
        self.slot_of[ids[ids < len(self.slot_of)]] = NEW

    def touch(self) -> None:
        """Keep the series of all streams alive in the table."""
        live = self.live()
        self.table.touch(self.ids[live])
        self.table.touch(self.out[live])
