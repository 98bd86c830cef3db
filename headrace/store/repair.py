"""Making a damaged data directory whole again, as far as that goes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.pipeline.errors import CorruptChunk
from headrace.store import inspection
from headrace.store.block import Block, BlockMeta
from headrace.store.block_set import BlockSet
from headrace.store.block_writer import BlockWriter
from headrace.store.files import Files
from headrace.store.index import Index
from headrace.store.lock import DirectoryLock
from headrace.store.openmetrics_import import DIRECTORY as IMPORTS
from headrace.store.runs import Samples, merge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.store.inspection import WorkspaceView

_OLDEST = np.iinfo(np.int64).min
_NEWEST = np.iinfo(np.int64).max - 1


class Action(NamedTuple):
    """Something that a repair does."""

    path: Path
    what: str


def repair(directory: Path, *, salvage: bool, dry_run: bool, files: Files | None = None) -> Iterator[Action]:
    """Repair a data directory; yield each thing once it is done, or with `dry_run` would be.

    Blocks that do not read are set aside. Files that were left behind go. Damaged places in the log are left alone:
    reading it skips them.

    Args:
        directory: It.
        salvage: Write what still decodes of the samples of a damaged block into a new one. Its values are not covered
            by a checksum any more: some may be wrong.
        dry_run: Change nothing.
        files: Does the writing.

    Raises:
        Locked: A daemon has it open.
        InvalidInput: It is no data directory.
        StoreFailed: A file is of a version that is not known here.
    """
    files = files or Files()
    names = inspection.workspaces(directory)
    lock = DirectoryLock(directory)
    try:
        for name in names:
            yield from _repair(inspection.view(directory, name), files, salvage=salvage, dry_run=dry_run)
        yield from _repair_imports(directory, files, dry_run=dry_run)
    finally:
        lock.release()


def _repair(found: WorkspaceView, files: Files, *, salvage: bool, dry_run: bool) -> Iterator[Action]:
    damaged = {block.number: what for block in found.blocks if (what := inspection.check_block(block))}
    for fault in found.faults:
        if fault.what != "was corrupt and was set aside":
            yield Action(fault.path, f"{fault.what}: {_remedy(fault.path)}")
    for fault in inspection.leftovers(found):
        if not fault.path.name.endswith(".corrupt"):
            yield Action(fault.path, f"{fault.what}: is removed")
    # Opening does to faults and leftovers what was said.
    blocks = None if dry_run else BlockSet(found.directory, files)
    labels = Index()
    for block in found.blocks:
        if block.number not in damaged:
            labels.restore(block.series_records())
    for block in [one for one in found.blocks if one.number in damaged]:
        rewritten = _salvaged(block, labels, blocks, files) if salvage else None
        if blocks is not None:
            own = next(one for one in blocks.blocks if one.number == block.number)
            blocks.set_aside(own)
            blocks.commit(blocks.manifest, add=[rewritten] if isinstance(rewritten, Block) else [])
        kept = 0 if rewritten is None else rewritten if isinstance(rewritten, int) else rewritten.meta.samples
        rest = f", {kept} of {block.meta.samples} samples are rewritten" if salvage else ""
        yield Action(block.path, f"{damaged[block.number]}: is set aside{rest}")
    if blocks is not None and not damaged:
        blocks.commit(blocks.manifest)


def _remedy(path: Path) -> str:
    if path.suffix == ".block":
        return "is set aside" if path.exists() else "the manifest no longer names it"
    return "is set aside, and put together anew"


def _salvaged(block: Block, labels: Index, blocks: BlockSet | None, files: Files) -> Block | int | None:
    """Write the samples of a block that decode into a new one; without `blocks` only count them."""
    # Where it fails, other blocks may know the series by the same refs.
    with contextlib.suppress(CorruptChunk):
        labels.restore(block.series_records())
    refs = block.refs[labels.alive(block.refs)]
    block.skip_checksums()
    kept, parts = [], []
    for ref in refs.tolist():
        one = np.array([ref], np.int32)
        try:
            samples = merge([block.read(one, _OLDEST, _NEWEST)], 1)
        except CorruptChunk:
            continue
        times = samples.times_ms
        inside = bool(((times >= block.meta.min_ms) & (times <= block.meta.max_ms)).all())
        if len(times) and inside and bool((np.diff(times) > 0).all()):
            kept.append(ref)
            parts.append(samples)
    total = sum(len(part.times_ms) for part in parts)
    if blocks is None or not total:
        return total
    return _written(block, np.array(kept, np.int32), parts, labels, blocks, files)


def _written(
    block: Block, refs: np.ndarray[tuple[int], np.dtype[np.int32]], parts: list[Samples], labels: Index,
    blocks: BlockSet, files: Files,
) -> Block:  # fmt: skip
    path = blocks.path(blocks.allocate())
    writer = BlockWriter(files, path)
    try:
        for ref, samples in zip(refs, parts, strict=True):
            writer.add(np.array([ref], np.int32), samples)
        meta = BlockMeta(
            block.meta.workspace, writer.min_ms, writer.max_ms, writer.samples, writer.series, block.meta.level
        )
        writer.finish(meta, labels.encode(refs))
    finally:
        writer.abandon()
    return Block(path)


def _repair_imports(directory: Path, files: Files, *, dry_run: bool) -> Iterator[Action]:
    path = directory / IMPORTS
    for one in sorted(path.iterdir()) if path.is_dir() else ():
        done = any(
            inspection.view(directory, name).manifest.imports.get(f"file:{one.name}") == -1
            for name in inspection.workspaces(directory)
        )
        if done:
            if not dry_run:
                files.remove_tree(one)
            yield Action(one, "is left from an import that is complete: is removed")
