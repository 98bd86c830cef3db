"""The exemplars of an engine: those in memory and those in blocks as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store import exemplar_blocks
from headrace.store.exemplars import ExemplarHead, Exemplars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.block_set import BlockSet
    from headrace.store.index import Index


class EngineExemplars:
    """Exemplars of one workspace.

    Args:
        block_set: Its blocks.
        limit: Most exemplars in memory.

    Attributes:
        head: Those in memory.
    """

    def __init__(self, block_set: BlockSet, limit: int) -> None:
        self._block_set = block_set
        self.head = ExemplarHead(limit)

    def restore(self, index: Index) -> None:
        """Take the series that only exemplars of blocks have into the index, and learn the newest of each series.

        Raises:
            CorruptChunk: A record of series does not decode.
        """
        for block in self._block_set.blocks:
            rows = exemplar_blocks.read(block)
            if len(rows.refs):
                others = exemplar_blocks.series(block)
                if others is not None:
                    index.restore(others)
                self.head.restore(rows, max(index.next_ref, int(rows.refs[-1]) + 1))

    def select(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Exemplars:
        """Return the exemplars of `refs` in a time range, both ends inclusive: by ref, time, value and labels."""
        # Memory before blocks, as for samples: what a flush moves meanwhile is seen twice instead of not at all.
        parts = [self.head.select(refs, start_ms, end_ms)]
        tombstones = self._block_set.tombstones
        parts += [exemplar_blocks.select(block, tombstones, refs, start_ms, end_ms) for block in self._block_set.blocks]
        return _distinct(Exemplars.joined([part for part in parts if len(part.refs)]))

    def present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.int32]:
        """Return those of `refs` that have exemplars in a time range, ascending."""
        found: NDArray[np.int32] = np.unique(self.select(refs, start_ms, end_ms).refs)
        return found

    def used(self) -> NDArray[np.int32]:
        """Return the refs of all exemplars, deleted ones in blocks included."""
        # Memory before blocks: what a flush moves meanwhile is seen twice instead of not at all.
        in_memory = self.head.refs()
        blocks = [exemplar_blocks.read(block).refs for block in self._block_set.blocks]
        return np.unique(np.concatenate([in_memory, *blocks]))


def _distinct(rows: Exemplars) -> Exemplars:
    """Sort rows by ref, time, value and labels; one that is there twice stays once."""
    if not len(rows.refs):
        return rows
    hashes = rows.hashes()
    order = np.lexsort((hashes[:, 1], hashes[:, 0], rows.values, rows.times_ms, rows.refs)).astype(np.int64)
    bits = rows.values.view(np.uint64)
    new = np.zeros(len(order), np.bool_)
    new[0] = True
    for column in (rows.refs, rows.times_ms, bits, hashes[:, 0], hashes[:, 1]):
        sorted_ = column[order]
        new[1:] |= sorted_[1:] != sorted_[:-1]
    return rows.take(order[new])
