"""Reading a workspace's samples and histograms: the head and the blocks as one.

The head is read before the blocks: what a flush moves meanwhile is then seen twice instead of not at all. Tombstones
are taken before blocks: a purge replaces the blocks first, and drops the tombstones afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store.engine.setting_aside import SettingAside
from headrace.store.runs import merge, without_empty
from headrace.store.tombstones import read_block, read_block_histograms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.block import Block
    from headrace.store.engine.contents import Contents
    from headrace.store.runs import Runs


class Sources:
    """Reads one workspace; a block that does not decode is set aside, and the reading raises CorruptChunk."""

    def __init__(self, contents: Contents) -> None:
        self._head = contents.head
        self._block_set = contents.block_set

    def reading(self, block: Block) -> SettingAside:
        """Return what sets `block` aside where it does not decode."""
        return SettingAside(self._block_set, block)

    def samples(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[Runs]:
        """Return the samples of `refs` in a time range, oldest source first."""
        newest = self._head.read(refs, start_ms, end_ms)
        tombstones = self._block_set.tombstones
        found = []
        for block in self._block_set.blocks:
            if block.overlaps(start_ms, end_ms):
                with self.reading(block):
                    found.append(read_block(block, tombstones, refs, start_ms, end_ms))
        return found + newest

    def histograms(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[NativeHistograms]:
        """Return the native histograms of `refs` in a time range, oldest source first; none is empty."""
        newest = self._head.histograms.read(refs, start_ms, end_ms)
        tombstones = self._block_set.tombstones
        found = []
        for block in self._block_set.blocks:
            if block.histograms is not None and block.overlaps(start_ms, end_ms):
                with self.reading(block):
                    found.append(read_block_histograms(block, tombstones, refs, start_ms, end_ms))
        return [part for part in (*found, *newest) if len(part)]

    @property
    def have_histograms(self) -> bool:
        """Whether there is any native histogram."""
        blocks = self._block_set.blocks
        return not self._head.histograms.is_empty or any(block.histograms is not None for block in blocks)

    def present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.int32]:
        """Return those of `refs`, ascending, that have samples or histograms in a time range."""
        return refs[self.are_present(refs, start_ms, end_ms)]

    def are_present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.bool_]:
        """Return which of `refs`, ascending, have samples or histograms in a time range."""
        tombstones = self._block_set.tombstones
        if tombstones.touch(refs, start_ms, end_ms):
            sampled = without_empty(refs, merge(self.samples(refs, start_ms, end_ms), len(refs)))[0]
            parts = [part.series for part in self.histograms(refs, start_ms, end_ms)]
            return np.isin(refs, np.concatenate([sampled, *parts]))
        found = self._head.histograms.present(refs, start_ms, end_ms)
        for run in self._head.read(refs, start_ms, end_ms):
            found |= run.counts > 0
        for block in self._block_set.blocks:
            if block.overlaps(start_ms, end_ms):
                left = ~found
                with self.reading(block):
                    found[left] = block.present(refs[left], start_ms, end_ms)
                    found[left] |= block.histograms_present(refs[left], start_ms, end_ms)
        return found
