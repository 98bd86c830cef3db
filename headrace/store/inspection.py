"""Looking at the data of a directory without opening it: nothing is written, so a daemon may use it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.errors import CorruptChunk, InvalidInput, StoreFailed
from headrace.store import manifest
from headrace.store.block import Block
from headrace.store.index import Index, decode_series
from headrace.store.log import WriteAheadLog
from headrace.store.manifest import Manifest
from headrace.store.tombstones import Tombstones

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_TRIES = 3
_SERIES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong.

    Attributes:
        path: The file.
        what: What is wrong with it.
        serious: Data are lost or unreadable; else it is only untidy.
    """

    path: Path
    what: str
    serious: bool = True


@dataclass(slots=True)
class WorkspaceView:
    """What lies in a workspace's directory at a moment.

    Attributes:
        workspace: Its id.
        directory: Where it lies.
        manifest: Its manifest; an empty one where there is none.
        blocks: Those of its blocks that open, oldest written first.
        tombstones: What was deleted.
        faults: What did not read.
    """

    workspace: str
    directory: Path
    manifest: Manifest = field(default_factory=Manifest)
    blocks: list[Block] = field(default_factory=list)
    tombstones: Tombstones = field(default_factory=Tombstones)
    faults: list[Fault] = field(default_factory=list)


def workspaces(directory: Path) -> list[str]:
    """Return the ids of the workspaces in a data directory.

    Raises:
        InvalidInput: It is no data directory.
    """
    path = directory / "workspaces"
    if not path.is_dir():
        raise InvalidInput(f"{directory}: is no data directory, there is no directory workspaces in it")
    return sorted(one.name for one in path.iterdir() if one.is_dir())


def view(directory: Path, workspace: str) -> WorkspaceView:
    """Look at a workspace.

    Raises:
        InvalidInput: There is none of this name.
        StoreFailed: A file is of a version that is not known here.
    """
    path = directory / "workspaces" / workspace
    if not path.is_dir():
        raise InvalidInput(f"{directory}: there is no workspace {workspace!r}")
    for _ in range(_TRIES):
        found = _view(workspace, path)
        # A merge of the daemon replaces blocks at any time; what it replaced is not missing.
        if found is not None:
            return found
    raise StoreFailed(f"{path}: changes too fast to be read")


def _view(workspace: str, path: Path) -> WorkspaceView | None:
    found = WorkspaceView(workspace, path)
    try:
        # Tombstones before blocks, as queries read them.
        found.tombstones = Tombstones.read(path)
    except CorruptChunk as error:
        found.faults.append(Fault(path / "tombstones", _why(error)))
    try:
        found.manifest = manifest.read(path) or Manifest(blocks=tuple(_numbers(path)))
    except CorruptChunk as error:
        found.faults.append(Fault(path / manifest.NAME, _why(error)))
        found.manifest = Manifest(blocks=tuple(_numbers(path)))
    for number in found.manifest.blocks:
        block = path / f"{number:08d}.block"
        try:
            found.blocks.append(Block(block))
        except FileNotFoundError:
            if manifest.read(path) != found.manifest:
                return None
            aside = block.with_suffix(".corrupt").exists()
            found.faults.append(Fault(block, "was corrupt and was set aside" if aside else "is missing"))
        except CorruptChunk as error:
            found.faults.append(Fault(block, _why(error)))
    return found


def _numbers(path: Path) -> list[int]:
    return sorted(int(one.stem) for one in path.glob("*.block") if one.stem.isdecimal())


def _why(error: Exception) -> str:
    return str(error).rpartition(": ")[2]


def index_of(blocks: list[Block]) -> Index:
    """Return the index of all series of some blocks.

    Raises:
        CorruptChunk: A series record does not read.
    """
    index = Index()
    for block in blocks:
        if not index.alive(block.all_refs).all():
            index.restore(block.series_records())
    return index


# -- verification ------------------------------------------------------------------------------------------


def verify(directory: Path) -> Iterator[Fault]:
    """Read all of a data directory and yield what is wrong with it.

    Raises:
        InvalidInput: It is no data directory.
        StoreFailed: A file is of a version that is not known here.
    """
    for workspace in workspaces(directory):
        found = view(directory, workspace)
        yield from found.faults
        for block in found.blocks:
            what = check_block(block)
            if what:
                yield Fault(block.path, what)
        yield from leftovers(found)
    yield from _verify_log(directory)


def check_block(block: Block) -> str:
    """Read a block through: checksums, tables, series, every chunk; return what is wrong, or nothing."""
    try:
        block.verify()
        refs, _ = decode_series(block.series_records())
        if not np.array_equal(np.sort(refs), block.all_refs):
            return "its series are not those of its tables"
        return _check_samples(block)
    except CorruptChunk as error:
        return _why(error)


def _check_samples(block: Block) -> str:
    samples = 0
    oldest, newest = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    lowest, highest = np.iinfo(np.int64).min, np.iinfo(np.int64).max - 1
    refs = block.all_refs
    for first in range(0, len(refs), _SERIES_AT_ONCE):
        some = refs[first : first + _SERIES_AT_ONCE]
        runs = block.read(some, lowest, highest)
        times = [runs.times_ms]
        if not _ascending(np.repeat(np.arange(len(some)), runs.counts), runs.times_ms):
            return "samples of a series are not in order"
        if block.histograms is not None:
            native = block.read_histograms(some, lowest, highest)
            if not _ascending(native.series, native.time_ms):
                return "histograms of a series are not in order"
            times.append(native.time_ms)
        for part in times:
            samples += len(part)
            if len(part):
                oldest, newest = min(oldest, int(part.min())), max(newest, int(part.max()))
    meta = block.meta
    if (samples, oldest, newest, len(refs)) != (meta.samples, meta.min_ms, meta.max_ms, meta.series):
        return f"holds {samples} samples from {oldest} to {newest} of {len(refs)} series, and says otherwise"
    return ""


def _ascending(owners: NDArray[np.generic], times_ms: NDArray[np.int64]) -> bool:
    same = owners[1:] == owners[:-1]
    return bool((np.diff(times_ms)[same] > 0).all())


def leftovers(found: WorkspaceView) -> list[Fault]:
    """Return the files that writes which were cut off have left, and what was set aside."""
    faults = [Fault(path, "is left from a write that was cut off", serious=False) for path in _unfinished(found)]
    faults += [Fault(path, "was set aside", serious=False) for path in sorted(found.directory.glob("*.corrupt"))]
    return faults


def _unfinished(found: WorkspaceView) -> list[Path]:
    named = set(found.manifest.blocks)
    blocks = [path for path in found.directory.glob("*.block") if path.stem.isdecimal() and int(path.stem) not in named]
    return sorted([*found.directory.glob("*.tmp"), *blocks])


def _verify_log(directory: Path) -> Iterator[Fault]:
    log = WriteAheadLog(directory / "wal")
    for _number, path in log.segments() if log.directory.is_dir() else ():
        before = log.statistics.corrupt_records
        try:
            records = sum(1 for _ in log.read_segment(path))
        except FileNotFoundError:
            # Trimmed meanwhile.
            continue
        damaged = log.statistics.corrupt_records - before
        if damaged:
            yield Fault(path, f"{damaged} damaged places between {records} intact records")
