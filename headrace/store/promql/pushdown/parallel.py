"""Work on pieces of a query, on as many threads as there are processors; kernels run without the interpreter's lock."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

T = TypeVar("T")
R = TypeVar("R")

PIECE = 1 << 18
"""Samples or points of a piece: some megabytes, which fit into caches, and a millisecond or two of work."""


def pieces(sizes: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Cut series into pieces, from the first of each to the one after its last.

    Args:
        sizes: (n,) int64 what each series weighs.
        most: A piece ends with the series that makes it so heavy.
    """
    if not len(sizes):
        return []
    if int(sizes.sum()) <= most:
        return [(0, len(sizes))]
    before = np.cumsum(sizes)
    ends = np.searchsorted(before, np.arange(most, int(before[-1]), most)) + 1
    return list(pairwise(np.unique([0, *ends.tolist(), len(sizes)]).tolist()))


def in_order(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield what `work` makes of each item, in order; a few ahead of who takes them are made on other threads.

    Raises:
        BaseException: What `work` raised; what was begun ends first, what was not is never begun.
    """
    threads = min(len(os.sched_getaffinity(0)), len(items) // 2)
    if threads < 2:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, "headrace-pieces")
    try:
        ahead = deque(pool.submit(work, item) for item in items[: threads + 1])
        for item in items[threads + 1 :]:
            done = ahead.popleft().result()
            ahead.append(pool.submit(work, item))
            yield done
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
