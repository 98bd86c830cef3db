"""Merging blocks into larger ones, a bounded number of samples at a time."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.block import Block, BlockMeta
from headrace.store.block_writer import BlockWriter
from headrace.store.histogram_rows import merge as merge_histograms
from headrace.store.index import Index
from headrace.store.runs import merge, without_empty
from headrace.store.tombstones import read_block, read_block_histograms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.store.files import Files
    from headrace.store.tombstones import Tombstones

FACTOR = 6
"""How many times as long the blocks of one level are as those of the level below."""

_MAX_RANGE_MS = 31 * 86_400_000
_SAMPLES_AT_ONCE = 1 << 20
REST = 0.5
"""Time to rest for each second of work, so that queries and writes keep most of the machine."""


class Progress(NamedTuple):
    """How far a merge is.

    Attributes:
        done: Series written.
        series: Series to write.
        blocks: Blocks that are merged.
    """

    done: int
    series: int
    blocks: int


def plan(blocks: Sequence[Block], block_ms: int, retention_ms: int, settled_ms: int) -> list[Block]:
    """Return the blocks to merge next, none where nothing is due.

    Ranges are aligned, each FACTOR times the one below, up to a tenth of the retention or 31 days. A range is merged
    once it is over, or once blocks within it overlap.

    Args:
        blocks: All blocks.
        block_ms: Time that a block of the head covers.
        retention_ms: How long samples are kept.
        settled_ms: In-order samples before this time are in blocks.
    """
    largest = min(max(retention_ms // 10, block_ms), _MAX_RANGE_MS)
    span = block_ms
    while span <= largest:
        for start, group in _by_range(blocks, span).items():
            over = start + span <= settled_ms
            if len(group) > 1 and over and (span > block_ms or _overlap(group)):
                return group
        span *= FACTOR
    return []


def _by_range(blocks: Sequence[Block], span: int) -> dict[int, list[Block]]:
    groups: dict[int, list[Block]] = {}
    for block in sorted(blocks, key=lambda b: (b.meta.min_ms, b.number)):
        start = block.meta.min_ms // span * span
        if block.meta.max_ms < start + span:
            groups.setdefault(start, []).append(block)
    return dict(sorted(groups.items()))


def _overlap(group: Sequence[Block]) -> bool:
    return any(a.meta.max_ms >= b.meta.min_ms for a, b in itertools.pairwise(group))


def merge_blocks(
    blocks: Sequence[Block],
    path: Path,
    files: Files,
    tombstones: Tombstones,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    *,
    rest: float = REST,
) -> Block | None:
    """Write the samples of `blocks` into one block, without the deleted ones.

    Args:
        blocks: One or more, oldest written first: where two have a sample of the same time, the first one's stands.
        path: The new block.
        files: Does the writing.
        tombstones: What was deleted.
        on_progress: Told after each step.
        rest: Time to rest for each second of work.

    Returns:
        The new block, None where no sample is left.

    Raises:
        CorruptChunk: A block does not decode; nothing is left behind.
        OSError: The disk refused; nothing is left behind.
    """
    refs = np.unique(np.concatenate([block.refs for block in blocks]))
    sizes = sum((_sizes(block, refs) for block in blocks), np.zeros(len(refs), np.int64))
    writer = BlockWriter(files, path)
    written = []
    try:
        for first, last in _batches(sizes):
            began = time.monotonic()
            some = refs[first:last]
            runs = [read_block(block, tombstones, some, _OLDEST, _NEWEST) for block in blocks]
            some, samples = without_empty(some, merge(runs, len(some)))
            writer.add(some, samples)
            written.append(some)
            on_progress(Progress(last, len(refs), len(blocks)))
            time.sleep(rest * (time.monotonic() - began))
        written += _merge_histograms(blocks, writer, tombstones, rest)
        if not writer.samples:
            return None
        meta = BlockMeta(
            blocks[0].meta.workspace, writer.min_ms, writer.max_ms, writer.samples, writer.series,
            max(block.meta.level for block in blocks) + 1, tuple(block.number for block in blocks),
        )  # fmt: skip
        writer.finish(meta, _series_of(blocks, np.unique(np.concatenate(written))))
    finally:
        writer.abandon()
    return Block(path)


_OLDEST = np.iinfo(np.int64).min
_NEWEST = np.iinfo(np.int64).max


def _merge_histograms(
    blocks: Sequence[Block], writer: BlockWriter, tombstones: Tombstones, rest: float
) -> list[NDArray[np.int32]]:
    """Write the native histograms of all blocks; return whose they are."""
    lanes = [block.histograms for block in blocks if block.histograms is not None]
    refs = np.unique(np.concatenate([np.empty(0, np.int32), *(lane.refs for lane in lanes)]))
    sizes = sum((lane.counts(refs) for lane in lanes), np.zeros(len(refs), np.int64))
    written = []
    for first, last in _batches(sizes * _HISTOGRAM_WEIGHT):
        began = time.monotonic()
        some = refs[first:last]
        found = [read_block_histograms(block, tombstones, some, _OLDEST, _NEWEST) for block in blocks]
        merged = merge_histograms(found)
        writer.add_histograms(merged)
        written.append(np.unique(merged.series))
        time.sleep(rest * (time.monotonic() - began))
    return written


_HISTOGRAM_WEIGHT = 32
"""How many samples a histogram counts as where memory is bounded."""


def _sizes(block: Block, refs: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the samples of each ref in a block."""
    tables = block.tables
    if not len(block.refs):
        return np.zeros(len(refs), np.int64)
    counts = np.add.reduceat(tables.time_rows[0][tables.chunk_times], tables.firsts[:-1])
    at = np.minimum(np.searchsorted(block.refs, refs), len(block.refs) - 1)
    sizes: NDArray[np.int64] = np.where(block.refs[at] == refs, counts[at], 0)
    return sizes


def _batches(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut series into runs of bounded size."""
    total = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(total[first - 1]) if first else 0
        last = max(int(np.searchsorted(total, before + _SAMPLES_AT_ONCE, "right")), first + 1)
        yield first, last
        first = last


def _series_of(blocks: Sequence[Block], refs: NDArray[np.int32]) -> bytes:
    """Return the series record of `refs`, put together from those of the blocks."""
    index = Index()
    for block in blocks:
        if not index.alive(block.all_refs).all():
            index.restore(block.series_records())
    return index.encode(refs)
