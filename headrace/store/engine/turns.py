"""Whose turn it is to change the blocks of a workspace."""

from __future__ import annotations

import threading


class Turns:
    """The locks of maintenance; `merging` is taken before `changing` where both are.

    Attributes:
        merging: Held through a merge or a purge, which read and write for long; flushes go on meanwhile.
        changing: Held while blocks or tombstones are replaced.
        closed: Whether the engine was closed, after which nothing is changed any more.
    """

    def __init__(self) -> None:
        self.merging = threading.Lock()
        self.changing = threading.RLock()
        self.closed = False
