"""Merging blocks into larger ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.errors import CorruptChunk
from headrace.store.compaction import REST, Progress, merge_blocks, plan
from headrace.store.engine.setting_aside import set_corrupt_aside
from headrace.store.stopwatch import measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.store.block import Block
    from headrace.store.engine.contents import Contents
    from headrace.store.engine.turns import Turns


class Merging:
    """Merges blocks of one workspace."""

    def __init__(self, contents: Contents, turns: Turns) -> None:
        self._contents = contents
        self._turns = turns
        self.statistics = contents.statistics

    def compact(self) -> bool:
        """Merge the blocks whose turn it is; return whether there were any. Flushes go on meanwhile.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        with self._turns.merging:
            options = self._contents.options
            valid_from = self._contents.head.valid_from
            group = plan(self._contents.blocks, options.block_ms, options.retention_ms, valid_from)
            if self._turns.closed or not group:
                return False
            self.merge(group)
            return True

    @measured("compaction_seconds")
    def merge(self, group: Sequence[Block], *, rest: float = REST) -> None:
        """Put one block in the place of some; the caller has the turn to merge.

        Args:
            group: The blocks; those that are corrupt are set aside, and nothing is merged then.
            rest: See `merge_blocks`.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        contents, files = self._contents, self._contents.files
        with self._turns.changing:
            # Together: a tombstone that comes now is about this block too, or was seen here.
            path = contents.block_set.path(contents.block_set.allocate())
            tombstones = contents.block_set.tombstones
        try:
            parts = sorted(group, key=lambda block: block.number)
            merged = merge_blocks(parts, path, files, tombstones, self._progress, rest=rest)
        except CorruptChunk as error:
            contents.logger.error("%s", error)  # noqa: TRY400 -- the message says all
            set_corrupt_aside(contents.block_set, group)
            return
        finally:
            self.statistics.compaction = None
        with self._turns.changing:
            # Retention may have removed some of them meanwhile, and then what was merged is too much.
            if self._turns.closed or not set(group) <= set(contents.blocks):
                files.remove(path)
                return
            add = [] if merged is None else [merged]
            contents.block_set.commit(contents.unchanged_manifest(), add=add, remove=group)
        self.statistics.compactions += 1
        self.statistics.compacted_samples += 0 if merged is None else merged.meta.samples

    def _progress(self, progress: Progress) -> None:
        self.statistics.compaction = progress
