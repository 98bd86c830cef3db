"""What a workspace holds: the data that all operations of its engine share."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.pipeline.errors import CorruptChunk
from headrace.store.block_set import BlockSet
from headrace.store.changes import ChangeLog
from headrace.store.engine.definitions import Definitions
from headrace.store.engine.exemplars import EngineExemplars
from headrace.store.engine.statistics import EngineStatistics
from headrace.store.head import FOREVER, NEVER, Head
from headrace.store.index import Index
from headrace.store.log_needs import LogNeeds

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.block import Block
    from headrace.store.engine.options import EngineOptions
    from headrace.store.files import Files
    from headrace.store.manifest import Manifest


class Contents:
    """The data of one workspace.

    Args:
        workspace: Its id.
        directory: Where its blocks lie; exists.
        files: Does the writing.
        options: Settings; they may be replaced at any time.

    Attributes:
        index: A packed one may take its place, so take it once for what belongs together.
        changes: Tells when samples came or went.
        needs: Which segments of the log hold samples that are in no block.

    Raises:
        StoreFailed: The data are of a version that is not known here.
    """

    def __init__(self, workspace: str, directory: Path, files: Files, options: EngineOptions) -> None:
        self.workspace = workspace
        self.files = files
        self.options = options
        self.logger = logging.getLogger("headrace.store")
        self.statistics = EngineStatistics()
        self.head = Head()
        self.index = Index()
        self.needs = LogNeeds()
        self.changes = ChangeLog()
        self.block_set = BlockSet(directory, files, self.changes)
        self.exemplars = EngineExemplars(self.block_set, options.max_exemplars)
        self.definitions = Definitions(workspace, self.head, self.exemplars, self.block_set.manifest.families)
        self._restore_blocks()

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks, oldest written first."""
        return self.block_set.blocks

    def oldest_ms(self) -> int:
        """Return the oldest time of all samples."""
        return min([self.head.oldest_ms, *(block.meta.min_ms for block in self.blocks)], default=FOREVER)

    def newest_ms(self) -> int:
        """Return the newest time of all samples."""
        return max([self.head.newest_ms, *(block.meta.max_ms for block in self.blocks)], default=NEVER)

    def fit(self) -> None:
        """Make room for all refs of the index."""
        self.head.fit(self.index.next_ref)
        self.definitions.fit(self.index.next_ref)

    def see(self, block: Block) -> None:
        """Tell the head how new the series of a block are."""
        self.head.seen(block.refs, block.last_ms())
        if block.histograms is not None:
            self.head.seen(block.histograms.refs, block.histograms.newest_ms())

    def manifest(self, valid_from: int | None) -> Manifest:
        """Return the manifest of now, for blocks that hold all in-order samples before `valid_from`."""
        return replace(
            self.block_set.manifest,
            next_ref=self.index.next_ref,
            valid_from=valid_from,
            families=tuple(self.definitions.families.values()),
        )

    def unchanged_manifest(self) -> Manifest:
        """Return the manifest of now where the head has not been written."""
        return self.manifest(self.block_set.manifest.valid_from)

    def log_needed_from(self, below: int) -> int:
        """Return the first segment of the log below `below` that holds what is in no block, or `below`."""
        needed = self.needs.first(below, self.head.valid_from)
        exemplars_from = self.exemplars.head.needed_segment()
        return needed if exemplars_from is None else min(needed, exemplars_from)

    def _restore_blocks(self) -> None:
        self._restore_series()
        try:
            self.exemplars.restore(self.index)
        except CorruptChunk as error:
            self.logger.error("%s; some exemplars are left out", error)  # noqa: TRY400 -- the message says all
        manifest = self.block_set.manifest
        self.index.reserve_refs(manifest.next_ref)
        self.head.valid_from = NEVER if manifest.valid_from is None else manifest.valid_from
        self.head.histograms.valid_from = self.head.valid_from
        self.fit()
        for block in self.blocks:
            self.see(block)

    def _restore_series(self) -> None:
        """Put the series of blocks into the index."""
        for block in self.blocks:
            if self.index.alive(block.all_refs).all():
                continue
            try:
                self.index.restore(block.series_records())
            except CorruptChunk as error:
                self.logger.error("%s: %s", block.path, error)  # noqa: TRY400 -- the message says all
                self.block_set.set_aside(block)
