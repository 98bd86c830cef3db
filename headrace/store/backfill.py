"""Writing history into a data directory that no daemon uses: straight into blocks, past head and log.

What has been written is known by the manifest of the workspace, which names the blocks and in the same breath how
many parts of the import they are: an import that was cut off goes on where it was, however it was cut off.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np

from headrace.pipeline.errors import StoreFailed
from headrace.store import manifest
from headrace.store.block import Block, BlockMeta
from headrace.store.block_writer import BlockWriter
from headrace.store.files import Files
from headrace.store.runs import without_empty
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.engine import Engine
    from headrace.store.runs import Samples

ALL_PARTS = -1
"""What the manifest says of an import that is complete."""

MIN_FREE_BYTES = 256 << 20
"""Below this much free disk an import stops, as the daemon's writes do by default."""


class Backfill:
    """One workspace of a data directory, opened for an import.

    What the log holds is written into blocks first, as at the end of a daemon.

    Args:
        directory: The data directory; made where it does not exist.
        workspace: Its id.
        files: Does the writing.
        min_free_bytes: Free disk to leave.

    Raises:
        Locked: A daemon, or another command, has the directory open.
        StoreFailed: The directory cannot be used.
        InvalidInput: The id cannot be one of a workspace.
    """

    def __init__(
        self, directory: Path, workspace: str, *, files: Files | None = None, min_free_bytes: int = MIN_FREE_BYTES
    ) -> None:
        self.directory = directory
        self.files = files or Files()
        self._min_free_bytes = min_free_bytes
        self._store = Store(directory, StoreOptions(), files=self.files)
        try:
            self._store.open()
            self._store.flush(everything=True)
            self.engine: Engine = self._store.engine(workspace)
            # Without a manifest all blocks that are there count, those of an import that was cut off too.
            if not (self.engine.block_set.directory / manifest.NAME).exists():
                self.commit("", 0, [])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the directory free; safe to call twice."""
        asyncio.run(self._store.close())

    def done(self, key: str) -> int:
        """Return how many parts of an import are in blocks, or ALL_PARTS."""
        return self.engine.block_set.manifest.imports.get(key, 0)

    def check_disk(self) -> None:
        """Raise `StoreFailed` where little disk is left."""
        free = self.files.free_bytes(self.directory)
        if free < self._min_free_bytes:
            raise StoreFailed(f"{self.directory}: {free} bytes of disk are free, less than {self._min_free_bytes}")

    def writer(self) -> PartWriter:
        """Return what writes a block of the import."""
        self.check_disk()
        return PartWriter(self)

    def commit(self, key: str, done: int, blocks: list[Block]) -> None:
        """Put blocks in force together with how far the import is.

        Raises:
            StoreFailed: The disk refused; nothing has changed.
        """
        imports = dict(self.engine.block_set.manifest.imports)
        if key:
            imports[key] = done
        try:
            self.engine.adopt(blocks, imports)
        except OSError as error:
            raise StoreFailed(f"{self.directory}: {error}") from None


class PartWriter:
    """Writes one block of an import.

    Args:
        backfill: Where it goes.
    """

    def __init__(self, backfill: Backfill) -> None:
        self._engine = backfill.engine
        block_set = self._engine.block_set
        self._path = block_set.path(block_set.allocate())
        self._writer = BlockWriter(backfill.files, self._path)
        self._refs: list[NDArray[np.int32]] = []

    @property
    def samples(self) -> int:
        """Samples taken so far."""
        return self._writer.samples

    def add(self, refs: NDArray[np.int32], samples: Samples) -> None:
        """Take the samples of some series.

        Args:
            refs: (n,) int32, ascending, above all taken before.
            samples: Their doubles; a series may have none.
        """
        refs, samples = without_empty(refs, samples)
        if len(refs):
            self._writer.add(refs, samples)
            self._refs.append(refs)

    def add_native(self, refs: NDArray[np.int32], native: NativeHistograms) -> None:
        """Take native histograms, once all samples have been taken.

        Args:
            refs: (n,) int32, ascending, above all that histograms were taken of.
            native: `series` says which of `refs`; sorted by it and by time.

        Raises:
            InvalidInput: The columns of a row contradict each other.
        """
        if len(native):
            self._writer.add_histograms(replace(native, series=refs[native.series]))
            self._refs.append(np.unique(refs[native.series]))

    def finish(self) -> Block | None:
        """Write the block, durable, and return it; None where there is no sample. It is in force after `commit`."""
        writer = self._writer
        if not writer.samples:
            writer.abandon()
            return None
        meta = BlockMeta(self._engine.workspace, writer.min_ms, writer.max_ms, writer.samples, writer.series)
        writer.finish(meta, self._engine.index.encode(np.unique(np.concatenate(self._refs))))
        return Block(self._path)

    def abandon(self) -> None:
        """Leave nothing behind; safe after `finish`."""
        self._writer.abandon()
