"""What is known of one workspace's series: a verdict on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from headrace.kernels.growth import grown
from headrace.processors.cardinality_limit.config import Action
from headrace.processors.cardinality_limit.folding import Folding
from headrace.processors.cardinality_limit.identity import DIGEST, digest
from headrace.processors.cardinality_limit.limits import Limits, Tallies
from headrace.processors.cardinality_limit.memory import Memory
from headrace.processors.cardinality_limit.state import REMEMBERED_S, Generation, Members, Saved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext, MetricBatch
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable
    from headrace.processors.cardinality_limit.config import CardinalityLimitConfig
    from headrace.processors.cardinality_limit.folding import Points

UNDECIDED: Final = 0
KEEP: Final = 1
DROP: Final = 2
FOLD: Final = 3

_NO_SLOT, _NO_VALUE = np.zeros(0, np.int32), np.zeros(0)


class View:
    """Decides once about each series.

    Args:
        config: The settings.
        table: Whose ids.
        context: Of the first batch; overflow points carry it.
    """

    def __init__(self, config: CardinalityLimitConfig, table: SeriesTable, context: BatchContext) -> None:
        self.context = context
        self.verdict = np.zeros(1024, np.uint8)
        """By id."""
        self._over = DROP if config.action is Action.DROP or config.dry_run else FOLD
        self._limits = Limits(config)
        self._folding = Folding()
        self._memory: Memory | None = None
        self._kept: dict[int, Series] = {}
        self._digests = np.zeros((0, DIGEST), np.uint8)
        """By id; of use for series that are kept or folded, and no longer than these need it."""
        table.register(self)

    def fit(self, capacity: int) -> None:
        """Make room for ids below `capacity`."""
        self.verdict = grown(self.verdict, capacity)

    # -- decisions -----------------------------------------------------------------------------------------

    def decide(self, series_id: int, series: Series, now_s: float) -> bool:
        """Give `series_id` a verdict; return whether it is within the limits.

        A series that was folded in an earlier run is judged anew, too; its newest value is known.
        """
        memory = self._memory
        key = digest(series) if memory is not None or self._over == FOLD else b""
        has_place = self._has_place(series, key)
        slot, last = memory.folded(key) if memory is not None else (_NO_SLOT, _NO_VALUE)
        if has_place:
            self._limits.admit(series)
            self._kept[series_id] = series
            if len(last):
                self._folding.subtract(slot, last)
            self._decided(series_id, KEEP, key or digest(series))
        elif self._over == FOLD:
            self._folding.join(series_id, series, float(last[0]) if len(last) else None, now_s)
            self._decided(series_id, FOLD, key)
        else:
            self.verdict[series_id] = DROP
        return has_place

    def _has_place(self, series: Series, key: bytes) -> bool:
        """Return whether a place is reserved for a series, which is given back then, or free."""
        reserved = None if self._memory is None else self._memory.kept(key)
        if reserved is None:
            return not self._limits.are_passed_by(series)
        self._limits.give_back(reserved, series)
        return True

    def _decided(self, series_id: int, verdict: int, key: bytes) -> None:
        self.verdict[series_id] = verdict
        self._digests = grown(self._digests, series_id + 1)
        self._digests[series_id] = np.frombuffer(key, np.uint8)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Give back what freed series took up."""
        ids = ids[ids < len(self.verdict)]
        for one in ids[self.verdict[ids] == KEEP].tolist():
            self._limits.release(self._kept.pop(one))
        self._folding.leave(ids[self.verdict[ids] == FOLD])
        self.verdict[ids] = UNDECIDED

    # -- points --------------------------------------------------------------------------------------------

    def fold(self, batch: MetricBatch, rows: NDArray[np.intp], now_s: float) -> Points:
        """Add the points of some rows; return the overflow points that are complete."""
        points = self._folding.fold(batch, rows, now_s)
        self._mark_overflow(batch.table, points[0])
        return points

    def flushed(self, table: SeriesTable, before_s: float) -> Points:
        """Return the overflow points that wait and were not added to since `before_s`."""
        points = self._folding.flushed(table, before_s)
        self._mark_overflow(table, points[0])
        return points

    def _mark_overflow(self, table: SeriesTable, ids: NDArray[np.int32]) -> None:
        """Have nobody decide about overflow series that are made here: they are of no state and take no place."""
        self.fit(table.capacity)
        made = ids[ids >= 0]
        self.verdict[made[self.verdict[made] == UNDECIDED]] = DROP

    # -- time and state ------------------------------------------------------------------------------------

    def expire(self, now_s: float) -> None:
        """Let go of what has not come for long enough: series of earlier runs, and overflow series."""
        if self._memory is not None:
            places, slots, values = self._memory.expire(now_s)
            for one in places:
                self._limits.held.include(one, -1)
            self._folding.subtract(slots, values)
        closed = self._folding.close_idle(now_s - REMEMBERED_S)
        if closed is not None:
            self._forget_slots(closed)
        if self._memory is not None and self._memory.is_empty:
            self._memory = None

    def _forget_slots(self, closed: NDArray[np.bool_]) -> None:
        ids = np.flatnonzero(self.verdict == FOLD)
        ids = ids[closed[self._folding.slot_of[ids]]]
        self._folding.known[ids] = False
        self.verdict[ids] = UNDECIDED
        if self._memory is not None:
            self._memory.forget_slots(closed)

    def state(self, now_s: float) -> Saved:
        """Return what `restore` takes: array operations, however many series there are."""
        memory = self._memory
        kept = Generation(0.0, self._live(), self._digests[np.flatnonzero(self.verdict == KEEP)])
        sums, place = self._folding.sums(now_s)
        members = self._members()
        if memory is not None:
            left = memory.members(now_s)
            columns = zip(_columns(members), _columns(left), strict=True)
            members = Members(*(np.concatenate(pair) for pair in columns))
        members = Members(members.digests, members.last, place[members.slot], members.age_s)
        generations = [kept] if kept.tallies.total else []
        return Saved(generations + ([] if memory is None else memory.generations(now_s)), members, sums)

    def _live(self) -> Tallies:
        """Return the places of series that are there."""
        if self._memory is None:
            return self._limits.held
        live = Tallies()
        live.include(self._limits.held)
        for reserved in self._memory.reserved:
            live.include(reserved, -1)
        return live

    def _members(self) -> Members:
        folding = self._folding
        ids = np.flatnonzero(self.verdict == FOLD)
        ids = ids[folding.known[ids]]
        return Members(self._digests[ids], folding.last[ids], folding.slot_of[ids], np.zeros(len(ids)))

    def restore(self, saved: Saved, now_s: float) -> None:
        """Take over sums and reserve places; the series that had them are known when they are seen."""
        slots = self._folding.restore(saved.sums, now_s)
        self._memory = Memory(saved, slots, now_s)
        for reserved in self._memory.reserved:
            self._limits.held.include(reserved)


def _columns(members: Members) -> tuple[NDArray[np.generic], ...]:
    return members.digests, members.last, members.slot, members.age_s
