"""Deleting samples: hiding them by tombstones, and removing what tombstones hide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store import exemplar_blocks, records
from headrace.store.head import NEVER
from headrace.store.interfaces import Record
from headrace.store.stopwatch import measured
from headrace.store.tombstones import Tombstone, Tombstones

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.store.block import Block
    from headrace.store.block_set import BlockSet
    from headrace.store.engine.contents import Contents
    from headrace.store.engine.merging import Merging
    from headrace.store.engine.sources import Sources
    from headrace.store.engine.turns import Turns
    from headrace.store.log import WriteAheadLog
    from headrace.store.matchers import Matcher


class Deleting:
    """Deletes from one workspace; see `Engine` for what its methods promise.

    Args:
        contents: The workspace.
        sources: Reads it.
        log: Makes deletions durable.
        turns: Of its maintenance.
        merging: Rewrites blocks.
    """

    def __init__(
        self, contents: Contents, sources: Sources, log: WriteAheadLog, turns: Turns, merging: Merging
    ) -> None:
        self._contents = contents
        self._sources = sources
        self._log = log
        self._turns = turns
        self._merging = merging
        self.statistics = contents.statistics

    @measured("delete_seconds", calls="deletions")
    def delete(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Tombstone:
        """Delete samples in blocks; return the tombstone."""
        contents = self._contents
        with self._turns.changing:
            end_ms = min(end_ms, max(contents.head.valid_from, NEVER + 1) - 1)
            selected = contents.index.select(matchers)
            refs = self._sources.present(selected, start_ms, end_ms)
            refs = np.union1d(refs, contents.exemplars.present(selected, start_ms, end_ms)).astype(np.int32)
            row = Tombstone(start_ms, end_ms, contents.block_set.next_block, refs)
            if len(refs):
                contents.block_set.set_tombstones(contents.block_set.tombstones.with_row(row))
                contents.changes.note(start_ms)
            return row

    async def log(self, row: Tombstone) -> None:
        """Make a deletion durable, and void the late samples that it is about."""
        contents = self._contents
        # Before anything else is appended, so that the log tells it in the same order.
        contents.head.drop_late(row.refs, row.start_ms, row.end_ms)
        contents.exemplars.head.drop(row.refs, row.start_ms, row.end_ms)
        contents.changes.note(row.start_ms)
        await self._log.append([Record(records.DELETED, contents.workspace, Tombstones((row,)).encode())])

    @measured("purge_seconds", result="purged_blocks")
    def purge(self) -> int:
        """Rewrite all blocks that hold deleted samples; return how many."""
        with self._turns.merging:
            tombstones = self._contents.block_set.tombstones
            rewritten = 0
            for block in self._contents.blocks if not self._turns.closed else ():
                own = tombstones.of_block(block.number)
                some = own.touch(block.all_refs, block.meta.min_ms, block.meta.max_ms)
                if some or exemplar_blocks.touched(block, own):
                    self._merging.merge([block], rest=0)
                    rewritten += 1
            with self._turns.changing:
                drop_idle_tombstones(self._contents.block_set)
            return rewritten


def drop_idle_tombstones(block_set: BlockSet) -> None:
    """Drop tombstones that are about no block any more; the caller has the turn to change blocks."""
    tombstones = block_set.tombstones
    left = tuple(
        row for row in tombstones.rows
        if any(block.number < row.below and _is_about(row, block) for block in block_set.blocks)
    )  # fmt: skip
    if len(left) < len(tombstones):
        block_set.set_tombstones(Tombstones(left))


def _is_about(row: Tombstone, block: Block) -> bool:
    times = (row.start_ms, row.end_ms)
    return block.overlaps(*times) or exemplar_blocks.overlaps(block, *times)
