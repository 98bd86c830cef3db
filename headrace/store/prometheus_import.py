"""Taking the history of a Prometheus over: each of its blocks becomes one of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.backfill import ALL_PARTS
from headrace.store.prometheus_blocks.meta import find_blocks
from headrace.store.prometheus_blocks.meta import read as read_meta
from headrace.store.prometheus_blocks.reader import PrometheusBlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.store.backfill import Backfill

_SERIES_AT_ONCE = 1 << 16


class BlockImport(NamedTuple):
    """What became of a block.

    Attributes:
        ulid: Its id.
        series: Series with samples.
        samples: Samples written.
        known: It had been imported before, and nothing was done.
    """

    ulid: str
    series: int = 0
    samples: int = 0
    known: bool = False


class Progress(NamedTuple):
    """How far the import of a block is.

    Attributes:
        ulid: The block.
        done: Series read.
        series: Series in it.
    """

    ulid: str
    done: int
    series: int


def import_blocks(
    directory: Path, backfill: Backfill, on_progress: Callable[[Progress], None] = lambda _progress: None
) -> list[BlockImport]:
    """Import all blocks of a data directory of Prometheus, or one block directory; those imported before are skipped.

    Args:
        directory: Where they are; only read.
        backfill: Where they go.
        on_progress: Told after each step.

    Raises:
        InvalidInput: There are none.
        CorruptChunk: One is damaged: the file is named, what came before it is imported.
        StoreFailed: The disk refused; what came before is imported.
    """
    return [_import_block(path, backfill, on_progress) for path in find_blocks(directory)]


def _import_block(path: Path, backfill: Backfill, on_progress: Callable[[Progress], None]) -> BlockImport:
    ulid = read_meta(path).ulid
    key = f"prometheus:{ulid}"
    if backfill.done(key) == ALL_PARTS:
        return BlockImport(ulid, known=True)
    source = PrometheusBlock(path)
    refs = _refs(source, backfill)
    # Blocks hold series by ascending ref. Two label sets never share one.
    order = np.argsort(refs, kind="stable")
    writer = backfill.writer()
    done = 0
    try:
        with_native = []
        for part in source.read(order):
            writer.add(refs[part.rows], part.floats)
            with_native.append(part.rows[part.has_native])
            done += len(part.rows)
            on_progress(Progress(ulid, done, len(source)))
        # A block holds histograms behind all of its samples, so that they are read in a pass of their own.
        for rows, native in source.read_native(np.concatenate([np.empty(0, np.int64), *with_native])):
            writer.add_native(refs[rows], native)
        block = writer.finish()
    finally:
        writer.abandon()
    backfill.commit(key, ALL_PARTS, [] if block is None else [block])
    return BlockImport(ulid, 0 if block is None else block.meta.series, writer.samples)


def _refs(source: PrometheusBlock, backfill: Backfill) -> NDArray[np.int32]:
    refs = np.empty(len(source), np.int32)
    for first in range(0, len(source), _SERIES_AT_ONCE):
        rows = np.arange(first, min(first + _SERIES_AT_ONCE, len(source)))
        refs[rows] = backfill.engine.refs_of(source.label_sets(rows))
    return refs
