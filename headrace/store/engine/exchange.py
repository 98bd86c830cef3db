"""Blocks that go elsewhere, into a snapshot, and such as come from elsewhere, as imports write them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.store.snapshot import write_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.store.block import Block
    from headrace.store.engine.contents import Contents
    from headrace.store.engine.turns import Turns


class Exchange:
    """Copies the blocks of one workspace out, and takes others in."""

    def __init__(self, contents: Contents, turns: Turns) -> None:
        self._contents = contents
        self._turns = turns

    def snapshot(self, target: Path) -> None:
        """Put what is in blocks into a snapshot."""
        # Nothing replaces or removes a block meanwhile.
        with self._turns.changing:
            contents = self._contents
            tombstones = contents.block_set.tombstones
            write_workspace(target, contents.unchanged_manifest(), contents.blocks, tombstones, contents.files)

    def adopt(self, blocks: Sequence[Block], imports: Mapping[str, int]) -> None:
        """Take blocks in that were written beside the head."""
        with self._turns.changing:
            manifest = replace(self._contents.unchanged_manifest(), imports=dict(imports))
            self._contents.block_set.commit(manifest, add=blocks)
            for block in blocks:
                self._contents.see(block)
                self._contents.changes.note(block.meta.min_ms)
