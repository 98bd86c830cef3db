# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of the scrape cache: from hashes of raw keys to series, and which series a page has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.key_table_kernels import find

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNKNOWN = -1
"""Verdict of an entry: nobody has looked at the labels."""

DROPPED = -2
"""Metric relabelling drops the series."""

PENDING = -3
"""Somebody is looking at the labels."""

REFUSED = -4
"""And below, minus a `Refusal`: the table has no id for the series."""


@kernel
def resolve(
    hashes: NDArray[np.uint64],
    keys: NDArray[np.uint64],
    numbers: NDArray[np.int32],
    verdicts: NDArray[np.int32],
    entries: NDArray[np.int32],
    series: NDArray[np.int32],
) -> int:
    """Find the entries of samples.

    Args:
        hashes: (n, 2) uint64 of raw keys.
        keys: Keys of the table from hash to entry.
        numbers: Numbers of that table.
        verdicts: (m,) int32 by entry: a series, or one of the codes above.
        entries: (n,) int32; those below 0 are not known: they get their entry, -1 for a key that is new.
        series: (n,) int32 out: the verdict.

    Returns:
        How many have no verdict.
    """
    missing = 0
    for i in range(len(entries)):
        entry = entries[i]
        if entry < 0:
            slot = find(keys, numbers, hashes[i, 0], hashes[i, 1])
            if slot < 0:
                entries[i] = -1
                series[i] = UNKNOWN
                missing += 1
                continue
            entry = numbers[slot]
            entries[i] = entry
        series[i] = verdicts[entry]
        if verdicts[entry] == UNKNOWN:
            missing += 1
    return missing


@kernel
def add(
    hashes: NDArray[np.uint64],
    keys: NDArray[np.uint64],
    numbers: NDArray[np.int32],
    verdicts: NDArray[np.int32],
    used: int,
    entries: NDArray[np.int32],
    series: NDArray[np.int32],
    rows: NDArray[np.int32],
) -> tuple[int, int]:
    """Make entries for samples that have none, and name one sample for each entry without a verdict.

    Args:
        hashes: As for `resolve`; so are the next three, with room for all that are missing.
        keys: Changed.
        numbers: Changed.
        verdicts: Entries without a verdict become PENDING.
        used: Number of entries so far.
        entries: (n,) int32 as `resolve` left it; the -1 are filled in.
        series: (n,) int32 as `resolve` left it.
        rows: (missing,) int32 out: samples to look at, in the page's order.

    Returns:
        Number of entries now, and of rows.
    """
    found = 0
    for i in range(len(entries)):
        if series[i] != UNKNOWN:
            continue
        if entries[i] < 0:
            slot = find(keys, numbers, hashes[i, 0], hashes[i, 1])
            if slot < 0:
                slot = -1 - slot
                keys[slot, 0] = hashes[i, 0]
                keys[slot, 1] = hashes[i, 1]
                numbers[slot] = used
                verdicts[used] = UNKNOWN
                used += 1
            entries[i] = numbers[slot]
        entry = entries[i]
        if verdicts[entry] == UNKNOWN:
            verdicts[entry] = PENDING
            rows[found] = i
            found += 1
    return used, found


@kernel
def stamp(
    entries: NDArray[np.int32],
    series: NDArray[np.int32],
    timed: NDArray[np.bool_],
    track_timed: bool,
    entry_seen: NDArray[np.int32],
    last: int,
    now: int,
    stamps: NDArray[np.int32],
    keep: NDArray[np.bool_],
    tracked: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Decide which samples of a page are kept, and note which series it has.

    Args:
        entries: (n,) int32.
        series: (n,) int32 verdicts.
        timed: (n,) bool: the sample has a timestamp of its own.
        track_timed: Those, too, are stale once they vanish.
        entry_seen: (m,) int32 by entry: number of the last good scrape that had it; changed.
        last: Number of the target's last good scrape.
        now: Number of this one.
        stamps: (capacity,) int32 by series: number of the last scrape that had it, of any target; changed.
        keep: (n,) bool out: False without a series, and for a repeat without a timestamp.
        tracked: (n,) int32 out: series that are stale once they vanish.

    Returns:
        Length of `tracked`, count of repeats, and of entries with a series that `last` did not have.
    """
    n = 0
    repeats = 0
    added = 0
    for i in range(len(entries)):
        entry = entries[i]
        one = series[i]
        seen = entry_seen[entry]
        entry_seen[entry] = now
        keep[i] = one >= 0
        if one < 0:
            continue
        if seen not in (last, now):
            added += 1
        if timed[i] and not track_timed:
            continue
        if stamps[one] == now:
            if not timed[i]:
                keep[i] = False
                repeats += 1
            continue
        stamps[one] = now
        tracked[n] = one
        n += 1
    return n, repeats, added
