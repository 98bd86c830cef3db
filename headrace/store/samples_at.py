"""Whether samples that come out of order are stored already."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.runs import merge

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.interfaces import SeriesBatch
    from headrace.store.runs import Runs

_STALE = np.uint64(0x7FF0000000000002)


class Stored(IntEnum):
    """What is stored at the time of a sample."""

    NOTHING = 0
    """Nothing, or a stale marker that the sample replaces."""

    EQUAL = 1
    """The same value, or any where the sample is a stale marker: a value beats it."""

    OTHER = 2
    """Another value."""


def compare(late: SeriesBatch, read: Callable[[NDArray[np.int32], int, int], list[Runs]]) -> NDArray[np.uint8]:
    """Look late samples up.

    Args:
        late: n samples in any order, repeats allowed.
        read: Returns what is stored of some refs within a time range.

    Returns:
        (n,) uint8 of `Stored`. Of samples of the same time within `late` the first counts as stored for the others.
    """
    n = len(late.refs)
    out = np.zeros(n, np.uint8)
    if not n:
        return out
    refs = np.unique(late.refs)
    samples = merge(read(refs, int(late.times_ms.min()), int(late.times_ms.max())), len(refs))
    owners = np.repeat(refs, np.diff(samples.offsets))
    # The stored ones before the late ones, and these in their order: a stable sort makes the first of a time stand.
    all_refs = np.concatenate([owners, late.refs])
    all_times = np.concatenate([samples.times_ms, late.times_ms])
    bits = np.concatenate([samples.values, late.values]).view(np.uint64)
    order = np.lexsort((all_times, all_refs))
    bits = bits[order]
    stale = bits == _STALE
    new = np.ones(len(order), np.bool_)
    a, b = order[:-1], order[1:]
    new[1:] = (all_refs[a] != all_refs[b]) | (all_times[a] != all_times[b])
    places = np.arange(len(order))
    starts = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    # The first of a time stands, but a value beats a stale marker.
    first_value = np.minimum.reduceat(np.where(stale, len(order), places), starts)[group]
    other = np.where(bits[np.minimum(first_value, len(order) - 1)] == bits, Stored.EQUAL, Stored.OTHER)
    of_value = np.where(first_value < places, other, Stored.NOTHING)
    of_stale = np.where(starts[group] < places, Stored.EQUAL, Stored.NOTHING)
    verdict = np.empty(len(order), np.uint8)
    verdict[order] = np.where(stale, of_stale, of_value)
    out[:] = verdict[len(owners) :]
    return out
