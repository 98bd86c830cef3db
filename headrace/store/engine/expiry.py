"""Removing what nobody keeps: blocks beyond the retention, and series without samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store.engine.deleting import drop_idle_tombstones
from headrace.store.head import NEVER
from headrace.store.retention_clock import RetentionClock
from headrace.store.stopwatch import measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.block import Block
    from headrace.store.engine.contents import Contents
    from headrace.store.engine.turns import Turns


class Expiry:
    """Removes blocks and series of one workspace; see `Engine` for what its methods promise.

    Args:
        contents: The workspace.
        turns: Of its maintenance.
        clock_ms: Unix time.
        steady_s: Seconds of a clock that never steps; `clock_ms` is taken for one without it.
    """

    def __init__(
        self, contents: Contents, turns: Turns, clock_ms: Callable[[], int], steady_s: Callable[[], float] | None
    ) -> None:
        self._contents = contents
        self._turns = turns
        self._clock_ms = clock_ms
        self._steady_s = steady_s or (lambda: clock_ms() / 1000)
        self._clock: RetentionClock | None = None
        self.statistics = contents.statistics

    def believe(self) -> None:
        """Begin to follow the clock, from the newest sample that is stored."""
        newest = self._contents.newest_ms()
        start = None if newest == NEVER else newest
        self._clock = RetentionClock(self._clock_ms, self._steady_s, start, self._contents.workspace)

    @measured("retention_seconds", result="expired_blocks")
    def retain(self) -> int:
        """Remove the blocks that are older than the retention, or too many bytes; return how many."""
        contents = self._contents
        with self._turns.changing:
            if self._clock is None:
                self.believe()
            assert self._clock is not None
            limit = self._clock.now_ms() - contents.options.retention_ms
            contents.exemplars.head.drop_before(limit)
            old = self._expired(limit)
            if old and not self._turns.closed:
                contents.block_set.commit(contents.unchanged_manifest(), remove=old)
                drop_idle_tombstones(contents.block_set)
                contents.changes.note(min(block.meta.min_ms for block in old))
            return len(old)

    def _expired(self, limit: int) -> list[Block]:
        """Return the blocks that end before `limit`, and the oldest others while all are more bytes than allowed."""
        blocks = self._contents.blocks
        old = [block for block in blocks if block.meta.max_ms < limit]
        most_bytes = self._contents.options.retention_bytes
        if most_bytes:
            left = sorted((block for block in blocks if block not in old), key=lambda block: block.meta.max_ms)
            excess = sum(block.size_bytes for block in left) - most_bytes
            while left and excess > 0:
                excess -= left[0].size_bytes
                old.append(left.pop(0))
        return old

    def orphans(self) -> NDArray[np.int32]:
        """Return the refs of series without any sample."""
        refs = self._contents.index.refs()
        used = self._contents.head.has_samples(refs)
        for block in self._contents.blocks:
            used |= np.isin(refs, block.all_refs)
        used |= np.isin(refs, self._contents.exemplars.used())
        return refs[~used]

    def forget(self, refs: NDArray[np.int32]) -> None:
        """Take series out of the index."""
        contents = self._contents
        contents.index.remove(refs)
        contents.exemplars.head.forget_series(refs)
        if contents.index.wasteful:
            contents.index = contents.index.packed()
