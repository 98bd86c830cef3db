"""Setting blocks aside that do not read, so that the data around them stay queryable."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from headrace.pipeline.errors import CorruptChunk
from headrace.store.head import FOREVER, NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.store.block import Block
    from headrace.store.block_set import BlockSet


class SettingAside:
    """Sets a block aside where reading it fails; the exception goes on."""

    def __init__(self, blocks: BlockSet, block: Block) -> None:
        self._blocks = blocks
        self._block = block

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, CorruptChunk):
            self._blocks.set_aside(self._block)


def set_corrupt_aside(blocks: BlockSet, group: Iterable[Block]) -> None:
    """Read some of `blocks` through and set the corrupt ones aside."""
    for block in group:
        with contextlib.suppress(CorruptChunk), SettingAside(blocks, block):
            # What is wrong with exemplars alone costs only them.
            block.verify(exemplars=False)
            block.read(block.refs, NEVER, FOREVER)
            block.read_histograms(block.all_refs, NEVER, FOREVER)


def check_newest(blocks: BlockSet, most_bytes: int) -> int:
    """Check the checksums of the newest of `blocks`, so that no query has to; return the bytes of these.

    Args:
        blocks: Those that do not pass are set aside.
        most_bytes: What all together may have.
    """
    left = most_bytes
    for block in sorted(blocks.blocks, key=lambda block: block.meta.max_ms, reverse=True):
        if block.size_bytes > left:
            break
        left -= block.size_bytes
        with contextlib.suppress(CorruptChunk), SettingAside(blocks, block):
            block.check()
    return most_bytes - left
