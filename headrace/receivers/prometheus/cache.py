"""What a target's pages had: from lines and raw keys to series, so that only new ones are looked at.

A page whose lines are those of the page before has the same series, and its admission is the same as well: then
nothing is looked up at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.kernels.key_table import KeyTable
from headrace.kernels.key_table_kernels import EMPTY
from headrace.pipeline.wire.text import NO_LINES, SECRETS
from headrace.pipeline.wire.text_line_kernels import NEW
from headrace.receivers.prometheus import cache_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.exposition import Exposition

_NONE = np.empty(0, np.int32)
_SPARE_ENTRIES = 1000


class Stamps:
    """By series, the number of the last scrape that had it; all targets of a table share them."""

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._stamps = np.zeros(1024, np.int32)
        self._number = 0

    def begin(self) -> tuple[int, NDArray[np.int32]]:
        """Return the number of a new scrape, and the stamps; valid until the next table change."""
        if self._number == np.iinfo(np.int32).max:
            self._number = 0
            self._stamps.fill(0)
        self._number += 1
        self._stamps = grown(self._stamps, self._table.capacity)
        return self._number, self._stamps


@dataclass(frozen=True, slots=True)
class Admission:
    """What a page has.

    Attributes:
        series: (n,) int32 verdicts.
        keep: (n,) bool.
        stale: (s,) int32 series that the last page had and this one has not.
        repeats: Samples that repeat a series without a timestamp.
        added: Series that the last page had not.
    """

    series: NDArray[np.int32]
    keep: NDArray[np.bool_]
    stale: NDArray[np.int32]
    repeats: int
    added: int

    @property
    def again(self) -> Admission:
        """The admission of the same page once more."""
        return replace(self, stale=_NONE, added=0)


class ScrapeCache:
    """The raw keys of one target. It is a holder of ids: register it with the table.

    Args:
        table: Where the series are.
        stamps: Of that table.
        domain: What gives raw keys their meaning: labels of the target and rules.
    """

    def __init__(self, table: SeriesTable, stamps: Stamps, domain: bytes) -> None:
        self.secrets = np.array([table.domain_key(domain + bytes([0, kind])) for kind in range(SECRETS)], np.uint64)
        self._stamps = stamps
        self._keys = KeyTable(64)
        self._verdicts = np.full(64, kernels.UNKNOWN, np.int32)
        self._seen = np.zeros(64, np.int32)
        self._used = 0
        self._last = -1
        self._size = 0
        self._tracked = _NONE
        self._steady: tuple[NDArray[np.int32], Admission] | None = None
        self.lines = NO_LINES
        """The lines of the last page in text, with their entries."""

    def __len__(self) -> int:
        return self._used

    def resolve(self, page: Exposition) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Return (n,) int32 entries and verdicts, and the rows whose labels have to be looked at, one an entry."""
        if page.unchanged and self._steady is not None:
            entries, admission = self._steady
            return entries, admission.series, _NONE
        entries, series = page.entries, np.empty(len(page), np.int32)
        missing = int(kernels.resolve(page.hashes, *self._keys.arrays, self._verdicts, entries, series))
        rows = _NONE
        if missing:
            self._keys.reserve(missing)
            self._verdicts = grown(self._verdicts, self._used + missing, kernels.UNKNOWN)
            self._seen = grown(self._seen, self._used + missing)
            rows = np.empty(missing, np.int32)
            used, found = kernels.add(
                page.hashes, *self._keys.arrays, self._verdicts, self._used, entries, series, rows
            )
            self._keys.size += int(used) - self._used
            self._used = int(used)
            rows = rows[: int(found)]
        if page.lines is not None and not page.unchanged:
            self.lines = page.lines
            self.lines.entries[self.lines.entries >= NEW] = entries
        return entries, series, rows

    def decide(self, entries: NDArray[np.int32], verdicts: NDArray[np.int32]) -> None:
        """Remember verdicts about entries."""
        self._steady = None
        self._verdicts[entries] = verdicts

    def verdicts(self, entries: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the verdicts about entries."""
        return self._verdicts[entries]

    def undecide(self) -> None:
        """Forget the entries that only a page had whose scrape failed: there may be new ones each time."""
        if (self._verdicts[: self._used] == kernels.PENDING).any() or self._used > 2 * self._size + _SPARE_ENTRIES:
            self._prune()

    def admit(
        self, entries: NDArray[np.int32], series: NDArray[np.int32], timed: NDArray[np.bool_], *, track_timed: bool
    ) -> Admission:
        """Take a page whose entries all have a verdict."""
        if self._steady is not None and entries is self._steady[0] and not timed.any():
            return self._steady[1]
        n = len(entries)
        number, stamps = self._stamps.begin()
        keep, tracked = np.empty(n, np.bool_), np.empty(n, np.int32)
        count, repeats, added = kernels.stamp(
            entries, series, timed, track_timed, self._seen, self._last, number, stamps, keep, tracked
        )
        before = self._tracked
        stale = before[stamps[before] != number] if len(before) else before
        self._tracked = tracked[: int(count)].copy()
        self._last, self._size = number, n
        admission = Admission(series, keep, stale, int(repeats), int(added))
        self._steady = None if timed.any() else (entries, admission.again)
        if self._used > 2 * n + _SPARE_ENTRIES:
            self._prune()
        return admission

    def clear_tracked(self) -> NDArray[np.int32]:
        """Return the series that become stale now that there is no page, and forget them."""
        self._steady = None
        stale, self._tracked = self._tracked, _NONE
        return stale

    def restore_tracked(self, stale: NDArray[np.int32]) -> None:
        """Remember series again whose stale markers could not be delivered."""
        self._steady = None
        self._tracked = np.union1d(self._tracked, stale).astype(np.int32)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop all verdicts that lead to one of `ids`; refused series get another chance."""
        self._steady = None
        verdicts = self._verdicts[: self._used]
        verdicts[np.isin(verdicts, ids) | (verdicts <= kernels.REFUSED)] = kernels.UNKNOWN
        self._tracked = self._tracked[~np.isin(self._tracked, ids)]

    def _prune(self) -> None:
        """Keep the entries of the last good page only."""
        keys, numbers = self._keys.arrays
        slots = np.flatnonzero(numbers != EMPTY)
        slots = slots[self._seen[numbers[slots]] == self._last]
        kept = numbers[slots]
        self._verdicts[: self._used][self._verdicts[: self._used] == kernels.PENDING] = kernels.UNKNOWN
        renumbered = np.full(self._used, NEW, np.int32)
        self._used = len(kept)
        self._verdicts, self._seen = self._verdicts[kept], self._seen[kept]
        fresh = KeyTable(2 * len(kept))
        fresh.insert(np.ascontiguousarray(keys[slots]), np.arange(len(kept), dtype=np.int32))
        self._keys = fresh
        self._steady = None
        renumbered[kept] = np.arange(len(kept))
        known = self.lines.entries >= 0
        self.lines.entries[known] = renumbered[self.lines.entries[known]]
