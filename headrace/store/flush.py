"""Writing the head into blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store.block import Block, BlockMeta
from headrace.store.block_writer import BlockWriter
from headrace.store.head import late_runs
from headrace.store.histogram_rows import merge as merge_histograms
from headrace.store.histogram_rows import within
from headrace.store.interfaces import SeriesBatch
from headrace.store.runs import merge, without_empty

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.block_set import BlockSet
    from headrace.store.head import Head
    from headrace.store.index import Index

_SERIES_AT_ONCE = 4096


class Flush:
    """One flush of a head.

    Args:
        head: What is written; it is not changed.
        index: Its series.
        block_set: Where the blocks go; it is not changed.
        workspace: Whose they are.
        block_ms: Time that a block covers.
    """

    def __init__(self, head: Head, index: Index, block_set: BlockSet, workspace: str, block_ms: int) -> None:
        self._head = head
        self._index = index
        self._block_set = block_set
        self._workspace = workspace
        self._step = block_ms
        self.late_taken = 0
        """Late samples that `write` has written: those that came first, of those before the boundary."""
        self.late_histograms_taken = 0
        """The same of late histograms."""

    def write(self, boundary: int) -> list[Block]:
        """Write what lies before `boundary` into blocks, one for each window; return them.

        Raises:
            OSError: The disk refused; nothing is left behind.
        """
        late = self._head.late_before(boundary)
        self.late_taken = len(late.refs)
        windows = self._windows(boundary)
        late_windows = late.times_ms // self._step
        histograms = self._head.histograms.late_before(boundary)
        self.late_histograms_taken = len(histograms)
        histogram_windows = histograms.time_ms // self._step
        blocks: list[Block] = []
        try:
            for window in sorted({*windows, *np.unique(np.concatenate([late_windows, histogram_windows])).tolist()}):
                inside = late_windows == window
                some = SeriesBatch(late.refs[inside], late.times_ms[inside], late.values[inside])
                late_histograms = histograms.select(histogram_windows == window)
                block = self._write_block(window, boundary, some, late_histograms, in_order=window in windows)
                if block is not None:
                    blocks.append(block)
        except BaseException:
            for block in blocks:
                self._block_set.files.remove(block.path)
            raise
        return blocks

    def _windows(self, boundary: int) -> range:
        """Return the numbers of the windows of in-order samples before `boundary`."""
        oldest = max(self._head.oldest_in_order_ms, self._head.valid_from)
        return range(oldest // self._step, -(-boundary // self._step)) if oldest < boundary else range(0)

    def _write_block(
        self, window: int, boundary: int, late: SeriesBatch, late_histograms: NativeHistograms, *, in_order: bool
    ) -> Block | None:
        start, end = window * self._step, min((window + 1) * self._step, boundary) - 1
        refs = self._index.refs() if in_order else np.unique(late.refs)
        path = self._block_set.path(self._block_set.allocate())
        writer = BlockWriter(self._block_set.files, path)
        taken = []
        try:
            for i in range(0, len(refs), _SERIES_AT_ONCE):
                some = refs[i : i + _SERIES_AT_ONCE]
                sources = [self._head.read_in_order(some, start, end)] if in_order else []
                found = late_runs(late, some, start, end)
                samples = merge([*sources, *([] if found is None else [found])], len(some))
                some, samples = without_empty(some, samples)
                writer.add(some, samples)
                taken.append(some)
            if not self._head.histograms.is_empty:
                taken += self._add_histograms(writer, (start, end), late_histograms, in_order=in_order)
            if not writer.samples:
                return None
            meta = BlockMeta(self._workspace, writer.min_ms, writer.max_ms, writer.samples, writer.series)
            writer.finish(meta, self._index.encode(np.unique(np.concatenate(taken))))
        finally:
            writer.abandon()
        return Block(path)

    def _add_histograms(
        self, writer: BlockWriter, times_ms: tuple[int, int], late: NativeHistograms, *, in_order: bool
    ) -> list[NDArray[np.int32]]:
        """Write the histograms of a block; return whose they are."""
        refs = self._index.refs() if in_order else np.unique(late.series)
        taken = []
        for i in range(0, len(refs), _SERIES_AT_ONCE):
            some = refs[i : i + _SERIES_AT_ONCE]
            sources = self._head.histograms.read_in_order(some, *times_ms) if in_order else []
            found = merge_histograms([*sources, within(late, some, *times_ms)])
            writer.add_histograms(found)
            taken.append(np.unique(found.series))
        return taken
