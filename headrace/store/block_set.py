"""The blocks of a workspace, and the manifest that says which they are."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.pipeline.errors import CorruptChunk, StoreFailed
from headrace.store import manifest
from headrace.store.block import Block
from headrace.store.changes import ChangeLog
from headrace.store.manifest import Manifest
from headrace.store.tombstones import NAME as TOMBSTONES
from headrace.store.tombstones import Tombstones

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from headrace.store.files import Files


@dataclass
class BlockStatistics:
    """What became of blocks since the workspace was opened.

    Attributes:
        set_aside: Blocks, manifests and tombstone files that did not read.
        missing: Blocks that the manifest names and that are not there.
        leftovers: Files of a flush or a merge that was cut off, removed.
    """

    set_aside: int = 0
    missing: int = 0
    leftovers: int = 0


class BlockSet:
    """The blocks of one workspace; `blocks` and `tombstones` are replaced, never changed, so that readers need no lock.

    Args:
        directory: Where they lie.
        files: Does the writing.
        changes: Told where samples are lost.

    Raises:
        StoreFailed: The manifest or a block is of a version that is not known here.
    """

    def __init__(self, directory: Path, files: Files, changes: ChangeLog | None = None) -> None:
        self.directory = directory
        self.files = files
        self.changes = changes or ChangeLog()
        self.statistics = BlockStatistics()
        self._logger = logging.getLogger("headrace.store")
        self.blocks: tuple[Block, ...] = ()
        self.tombstones = self._read_tombstones()
        self.manifest = self._open()
        self._numbering = threading.Lock()
        self._changing = threading.Lock()
        self._next = self.manifest.next_block
        for row in self.tombstones.rows:
            self.reserve(row.below)

    def path(self, number: int) -> Path:
        """Return where block `number` lies."""
        return self.directory / f"{number:08d}.block"

    def allocate(self) -> int:
        """Return the number of a new block, which no other has had; any thread that does maintenance."""
        with self._numbering:
            number, self._next = self._next, self._next + 1
            return number

    def reserve(self, below: int) -> None:
        """Give no numbers below `below` out: a tombstone is about them."""
        with self._numbering:
            self._next = max(self._next, below)

    @property
    def next_block(self) -> int:
        """The number that the next block gets."""
        return self._next

    def size_bytes(self) -> int:
        """Return the bytes of all blocks."""
        return sum(block.size_bytes for block in self.blocks)

    def commit(self, new: Manifest, add: Iterable[Block] = (), remove: Iterable[Block] = ()) -> None:
        """Put a manifest in force that names `add` and no longer `remove`; these files go.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        gone = {block.number for block in remove}
        with self._changing:
            blocks = (*(block for block in self.blocks if block.number not in gone), *add)
            numbers = tuple(sorted(block.number for block in blocks))
            new = replace(new, blocks=numbers, next_block=self._next)
            before, self.blocks = self.blocks, tuple(sorted(blocks, key=lambda block: block.number))
            try:
                new.write(self.files, self.directory)
            except OSError:
                self.blocks = before
                self._withdraw(add)
                raise
            self.manifest = new
        for number in gone:
            self._remove(self.path(number))

    def _withdraw(self, blocks: Iterable[Block]) -> None:
        """Remove blocks that did not come into force, unless the manifest is in place and only not durable."""
        try:
            named = manifest.read(self.directory)
        except (CorruptChunk, StoreFailed, OSError):
            return
        for block in blocks:
            if named is None or block.number not in named.blocks:
                self._remove(block.path)

    def _remove(self, path: Path) -> None:
        """Remove a file that is not in force; the next start does it where the disk refuses now."""
        try:
            self.files.remove(path)
        except OSError as error:
            self._logger.warning("%s is no longer needed, and stays until the next start: %s", path, error)

    def set_tombstones(self, tombstones: Tombstones) -> None:
        """Put tombstones in force, durable.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        if len(tombstones):
            tombstones.write(self.files, self.directory)
        else:
            self.files.remove(self.directory / TOMBSTONES)
        self.tombstones = tombstones

    def set_aside(self, block: Block) -> None:
        """Move a corrupt block out of the way; the data around it stay queryable. Any thread, more than once."""
        with self._changing:
            known = block in self.blocks
            self.blocks = tuple(b for b in self.blocks if b is not block)
        if known:
            self.changes.note(block.meta.min_ms)
            self._set_aside(block.path)

    def close(self) -> None:
        """Let the blocks go; files stay."""
        self.blocks = ()

    def _open(self) -> Manifest:
        # Not `glob`, which takes a directory that may not be read for an empty one.
        for path in list(self.directory.iterdir()):
            if path.suffix == ".tmp":
                self._leftover(path)
        found = self._read_manifest()
        numbers = self._numbers(".block")
        if found is None:
            found = Manifest(blocks=tuple(numbers), next_block=max(numbers, default=0) + 1)
        leftovers = set(numbers) - set(found.blocks)
        for number in leftovers:
            self._leftover(self.path(number))
        aside = self._numbers(".corrupt")
        found = replace(found, next_block=max([found.next_block, *(n + 1 for n in (*leftovers, *aside))]))
        self.blocks = tuple(block for number in found.blocks if (block := self._open_block(number)) is not None)
        return found

    def _numbers(self, suffix: str) -> list[int]:
        names = [path for path in self.directory.iterdir() if path.suffix == suffix and path.stem.isdecimal()]
        return sorted(int(path.stem) for path in names)

    def _read_manifest(self) -> Manifest | None:
        try:
            return manifest.read(self.directory)
        except CorruptChunk as error:
            # All blocks that are there are taken then; what the log holds besides is recognised as the same samples.
            self._logger.error("%s; it is put together anew", error)  # noqa: TRY400 -- the message says all
            self._set_aside(self.directory / manifest.NAME)
            return None

    def _read_tombstones(self) -> Tombstones:
        try:
            return Tombstones.read(self.directory)
        except CorruptChunk as error:
            self._logger.error("%s; deleted samples that are not purged yet come back", error)  # noqa: TRY400 -- says all
            self._set_aside(self.directory / TOMBSTONES)
            return Tombstones()

    def _open_block(self, number: int) -> Block | None:
        path = self.path(number)
        try:
            return Block(path)
        except FileNotFoundError:
            if not path.with_suffix(".corrupt").exists():
                self.statistics.missing += 1
                self._logger.error("block %s, which the manifest names, is missing", path)  # noqa: TRY400 -- says all
        except CorruptChunk as error:
            self._logger.error("%s", error)  # noqa: TRY400 -- the message says all
            self._set_aside(path)
        return None

    def _set_aside(self, path: Path) -> None:
        self.statistics.set_aside += 1
        self._logger.error("%s is corrupt and was set aside", path)
        try:
            self.files.replace(path, path.with_suffix(".corrupt"))
        except OSError as error:
            self._logger.error("%s could not be renamed: %s", path, error)  # noqa: TRY400 -- it is out of use anyway

    def _leftover(self, path: Path) -> None:
        self.statistics.leftovers += 1
        self._logger.warning("%s is left from a write that was cut off, and is removed", path)
        self._remove(path)
