"""Series of earlier runs of the daemon that have not come again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.processors.cardinality_limit.state import REMEMBERED_S, Generation, Members

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.processors.cardinality_limit.limits import Tallies
    from headrace.processors.cardinality_limit.state import Saved


class Digests:
    """Finds digests in an array, each of them once.

    Args:
        rows: (n, 16) uint8.
    """

    def __init__(self, rows: NDArray[np.uint8]) -> None:
        self.rows = rows
        self.is_left = np.ones(len(rows), np.bool_)
        """By row, whether it was not found yet."""
        keys = np.ascontiguousarray(rows[:, :8]).view("<u8").reshape(-1)
        self._order = np.argsort(keys)
        self._keys = keys[self._order]

    def take(self, digest: bytes) -> int:
        """Return the row of a digest that is left, and leave it no longer; -1 where there is none."""
        key = np.uint64(int.from_bytes(digest[:8], "little"))
        for at in range(int(np.searchsorted(self._keys, key)), len(self._keys)):
            if self._keys[at] != key:
                break
            row = int(self._order[at])
            if self.is_left[row] and self.rows[row].tobytes() == digest:
                self.is_left[row] = False
                return row
        return -1


class Memory:
    """What is remembered of a workspace, and since when.

    Args:
        saved: What an earlier run knew.
        slots: (k,) int32: numbers of its overflow series here.
        now_s: When it was taken over, in seconds that never go back.
    """

    def __init__(self, saved: Saved, slots: NDArray[np.int32], now_s: float) -> None:
        self._since_s = now_s
        self._kept = [(one, Digests(one.digests)) for one in saved.kept]
        self._members = saved.members
        self._slot = slots[saved.members.slot]
        self._folded = Digests(saved.members.digests)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing left to remember."""
        return not self._kept and not self._folded.is_left.any()

    @property
    def reserved(self) -> list[Tallies]:
        """The places of the series that were admitted."""
        return [one.tallies for one, _ in self._kept]

    def kept(self, digest: bytes) -> Tallies | None:
        """Return where the place of a series is counted that has come again; None for one that had no place."""
        return next((one.tallies for one, digests in self._kept if digests.take(digest) >= 0), None)

    def folded(self, digest: bytes) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return overflow series and newest value of a folded series that has come again, (1,) each, or (0,)."""
        row = self._folded.take(digest)
        rows = slice(row, row + 1) if row >= 0 else slice(0)
        return self._slot[rows], self._members.last[rows]

    def expire(self, now_s: float) -> tuple[list[Tallies], NDArray[np.int32], NDArray[np.float64]]:
        """Forget what has been waited for long enough.

        Returns:
            The places that are free now; (n,) int32 overflow series and (n,) float64 newest values of folded series.
        """
        waited_s = now_s - self._since_s
        over = [one.tallies for one, _ in self._kept if one.age_s + waited_s >= REMEMBERED_S]
        self._kept = [pair for pair in self._kept if pair[0].tallies.total and pair[0].age_s + waited_s < REMEMBERED_S]
        gone = self._folded.is_left & (self._members.age_s + waited_s >= REMEMBERED_S)
        self._folded.is_left[gone] = False
        return over, self._slot[gone], self._members.last[gone]

    def forget_slots(self, closed: NDArray[np.bool_]) -> None:
        """Forget the folded series of overflow series that are no more, a bool for each number."""
        self._folded.is_left[closed[self._slot]] = False

    def generations(self, now_s: float) -> list[Generation]:
        """Return the series that were admitted and are left, for a state."""
        waited_s = now_s - self._since_s
        return [
            Generation(one.age_s + waited_s, one.tallies, one.digests[digests.is_left])
            for one, digests in self._kept
            if one.tallies.total
        ]

    def members(self, now_s: float) -> Members:
        """Return the folded series that are left, for a state."""
        left, members = self._folded.is_left, self._members
        ages = members.age_s[left] + (now_s - self._since_s)
        return Members(members.digests[left], members.last[left], self._slot[left], ages)
