"""Writing the head into blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store import exemplar_blocks
from headrace.store.block import Block, BlockMeta
from headrace.store.block_writer import BlockWriter
from headrace.store.exemplars import ExemplarHead, Exemplars
from headrace.store.head import NEVER, late_runs
from headrace.store.histogram_rows import merge as merge_histograms
from headrace.store.histogram_rows import within
from headrace.store.interfaces import SeriesBatch
from headrace.store.runs import merge, without_empty

if TYPE_CHECKING:
    from collections.abc import Callable

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
        index_of: Returns the index of its series.
        block_set: Where the blocks go; it is not changed.
        workspace: Whose they are.
        block_ms: Time that a block covers.
        exemplars: Exemplars in memory, which ride in the blocks; they are not changed.
    """

    def __init__(
        self,
        head: Head,
        index_of: Callable[[], Index],
        block_set: BlockSet,
        workspace: str,
        block_ms: int,
        exemplars: ExemplarHead,
    ) -> None:
        self._head = head
        self._index_of = index_of
        self._index = index_of()
        self._block_set = block_set
        self._workspace = workspace
        self._step = block_ms
        self.exemplar_parts = exemplars.snapshot()
        """The exemplars that `write` has written are those of these parts,"""
        self.exemplars_below = NEVER
        """before this time."""
        self._exemplars = Exemplars.joined([part.rows for part in self.exemplar_parts])

    def write(self, boundary: int) -> list[Block]:
        """Write what lies before `boundary` into blocks, one for each window; return them.

        The head's `end_flush` is for the caller, who knows whether the blocks are in force.

        Raises:
            OSError: The disk refused; nothing is left behind.
        """
        late = self._head.begin_flush(boundary)
        # Not before: what is appended from here on is not in order for this flush, and may be of series that it lacks.
        self._index = self._index_of()
        windows = self._windows(boundary)
        late_windows = late.times_ms // self._step
        histograms = self._head.histograms.begin_flush(boundary)
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

    def _windows(self, boundary: int) -> list[int]:
        """Return the numbers of the windows before `boundary` that may have in-order samples, ascending.

        Long gaps are passed over: one sample of long ago must not make a flush look into every window since.
        """
        firsts, lasts = self._head.extents()
        windows = []
        at = self._head.valid_from
        while at < boundary:
            ahead = lasts >= at
            at = int(np.maximum(firsts[ahead], at).min(initial=boundary))
            if at < boundary:
                windows.append(at // self._step)
                at = (windows[-1] + 1) * self._step
        return windows

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
            named = np.unique(np.concatenate(taken))
            writer.extra = exemplar_blocks.encode(self._exemplars_until(end), named, self._index)
            writer.finish(meta, self._index.encode(named))
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

    def _exemplars_until(self, end: int) -> Exemplars:
        """Return the exemplars up to a time that no block of this flush has yet: a block takes older ones along."""
        rows = self._exemplars
        mine = (rows.times_ms >= self.exemplars_below) & (rows.times_ms <= end)
        self.exemplars_below = max(self.exemplars_below, end + 1)
        return rows.select(mine & self._index.alive(rows.refs))
