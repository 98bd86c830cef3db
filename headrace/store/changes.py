"""When samples of which time came or went: what a cache of query results asks before it serves old ones."""

from __future__ import annotations

import threading
from bisect import bisect_right

from headrace.store.head import FOREVER

_MAX_KEPT = 4096
"""Changes that are told apart; of older ones, neighbours are taken together."""


class ChangeLog:
    """The versions of a workspace's samples. Any thread.

    A change is noted once it can be seen and before it is acknowledged. Whoever takes the version first and reads the
    samples then may have read more than that version has, and is told so by `since`; never less.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.version = 0
        """Number of changes so far."""
        # Ascending both: an older change of newer samples says nothing that a newer change of older samples does not.
        self._versions: list[int] = []
        self._oldest_ms: list[int] = []

    def note(self, oldest_ms: int) -> None:
        """Say that samples came or went, the oldest of them at `oldest_ms`; nothing where that is `FOREVER`."""
        if oldest_ms == FOREVER:
            return
        with self._lock:
            self.version += 1
            while self._oldest_ms and self._oldest_ms[-1] >= oldest_ms:
                self._oldest_ms.pop()
                self._versions.pop()
            self._oldest_ms.append(oldest_ms)
            self._versions.append(self.version)
            if len(self._versions) > _MAX_KEPT:
                self._merge()

    def since(self, version: int) -> int:
        """Return the oldest time (ms), or an older one, of which samples came or went since a version.

        `FOREVER` where none did.
        """
        with self._lock:
            first = bisect_right(self._versions, version)
            return self._oldest_ms[first] if first < len(self._versions) else FOREVER

    def _merge(self) -> None:
        """Take neighbours in the older half together: the later version with the older time."""
        half = len(self._versions) // 2 // 2 * 2
        self._versions[:half] = self._versions[1:half:2]
        self._oldest_ms[:half] = self._oldest_ms[0:half:2]
