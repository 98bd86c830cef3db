"""A full or failing disk, and missing permissions, while blocks are written, merged, deleted from and retained."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.pipeline.errors import StoreFailed
from store_lab import BLOCK_MS, StoreLab, without

if TYPE_CHECKING:
    from store_lab import Contents


async def half_full(directory: Path) -> tuple[StoreLab, Contents]:
    """Return a store with three blocks and samples in the head, and its contents."""
    lab = StoreLab(directory)
    await lab.three_blocks()
    for i in range(5):
        await lab.append("a", float(i))
        await lab.append("c", float(i))
        lab.ms += 5000
    return lab, lab.contents()


def files_of(lab: StoreLab) -> list[str]:
    return sorted(path.name for path in lab.workspace.iterdir())


FAULTS: list[tuple[str, int, str]] = [
    ("open_new", errno.EACCES, "*.block.tmp"),
    ("open_new", errno.EACCES, "manifest*"),
    ("write", errno.ENOSPC, "*.block.tmp"),
    ("write", errno.ENOSPC, "manifest*"),
    ("sync", errno.EIO, "*.block.tmp"),
    ("sync", errno.EIO, "manifest*"),
    ("rename", errno.EIO, "*.block.tmp"),
    ("rename", errno.EACCES, "manifest*"),
    ("sync_directory", errno.EIO, "default"),
]


@pytest.mark.parametrize(("operation", "error", "match"), FAULTS)
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_flush_that_fails(tmp_path: Path, operation: str, error: int, match: str, after: int) -> None:
    """Nothing is lost and nothing left over, however often it fails; it works once the disk does."""
    lab, contents = await half_full(tmp_path)
    before = files_of(lab)
    lab.files.fail(operation, error, match, after)
    failed = 0
    for _ in range(3):
        try:
            lab.store.flush(everything=True)
        except StoreFailed:
            failed += 1
        assert lab.contents() == contents
    assert failed or after
    left = set(files_of(lab)) - set(before)
    assert failed < 3 or len(left) <= 1, (
        "a manifest that is in place and not durable keeps its blocks, nothing else does"
    )
    lab.reopen()
    assert lab.contents() == contents
    lab.store.flush(everything=True)
    lab.reopen()
    assert lab.contents() == contents
    assert not [name for name in files_of(lab) if name.endswith(".tmp")]


@pytest.mark.parametrize("room", [0, 100, 600])
async def test_a_disk_that_fills_up_during_a_flush(tmp_path: Path, room: int) -> None:
    """Wherever it is full, the attempt takes no room with it."""
    lab, contents = await half_full(tmp_path)
    size = sum(path.stat().st_size for path in lab.workspace.iterdir())
    for _ in range(4):
        lab.files.room = room
        with pytest.raises(StoreFailed, match="No space left"):
            lab.store.flush(everything=True)
        assert sum(path.stat().st_size for path in lab.workspace.iterdir()) == size
    assert lab.contents() == contents
    lab.files.heal()
    lab.store.flush(everything=True)
    lab.reopen()
    assert lab.contents() == contents


@pytest.mark.parametrize(("operation", "error", "match"), FAULTS)
async def test_a_merge_that_fails(tmp_path: Path, operation: str, error: int, match: str) -> None:
    """The blocks stay as they were."""
    lab, contents = await half_full(tmp_path)
    lab.files.fail(operation, error, match, times=1)
    before = [block.number for block in lab.engine.blocks]
    with pytest.raises(OSError):  # noqa: PT011 -- any of them
        lab.engine._merging.merge(lab.engine.blocks)
    assert [block.number for block in lab.engine.blocks] == before
    assert lab.contents() == contents
    lab.engine._merging.merge(lab.engine.blocks)
    assert len(lab.engine.blocks) == 1
    lab.reopen()
    assert lab.contents() == contents


@pytest.mark.parametrize("match", ["*.wal", "tombstones*"])
async def test_a_deletion_that_fails(tmp_path: Path, match: str) -> None:
    """It is not acknowledged, and can be tried again; what it is not about is not touched."""
    lab, contents = await half_full(tmp_path)
    first = min(contents["a"])
    lab.files.fail("write", errno.ENOSPC, match, times=1)
    with pytest.raises(StoreFailed, match="No space left"):
        await lab.delete(first, first + 20_000)
    await lab.delete(first, first + 20_000)
    await lab.store.log.retry()
    expected = without(contents, first, first + 20_000)
    assert lab.contents() == expected
    lab.reopen()
    assert lab.contents() == expected
    await lab.store.purge("default")
    lab.reopen()
    assert lab.contents() == expected


async def test_old_blocks_go_though_flushes_fail(tmp_path: Path) -> None:
    """Or a full disk would stay full for ever."""
    lab, _ = await half_full(tmp_path)
    lab.engine.options = lab.engine.options.__class__(retention_ms=BLOCK_MS, block_ms=BLOCK_MS, linger_ms=0)
    lab.ms += 2 * BLOCK_MS
    await lab.append("a", 9.0)
    lab.files.fail("write", errno.ENOSPC, "*.block.tmp")
    with pytest.raises(StoreFailed, match="No space left"):
        await lab.store.maintain()
    assert len(lab.engine.blocks) < 3
    assert 9.0 in lab.contents()["a"].values()
    lab.crash()


async def test_files_that_do_not_go(tmp_path: Path) -> None:
    """A merged block whose file cannot be removed is out of force, and goes with the next start."""
    lab, contents = await half_full(tmp_path)
    lab.files.fail("remove", errno.EACCES, "0000000[123].block")
    lab.engine._merging.merge(lab.engine.blocks)
    assert len(lab.engine.blocks) == 1
    assert lab.contents() == contents
    lab.reopen()
    assert lab.contents() == contents
    assert lab.engine.block_set.statistics.leftovers == 3


async def test_a_close_that_cannot_flush(tmp_path: Path) -> None:
    """It closes all the same, gives the lock back, and the next start reads the log."""
    lab, contents = await half_full(tmp_path)
    lab.files.fail("write", errno.ENOSPC, "*.block.tmp")
    await lab.store.close()
    lab.open()
    assert lab.contents() == contents


async def test_a_corrupt_block_that_cannot_be_renamed(tmp_path: Path) -> None:
    """It is out of use all the same."""
    lab, contents = await half_full(tmp_path)
    block = lab.engine.blocks[1]
    lab.files.fail("rename", errno.EACCES)
    lab.engine.block_set.set_aside(block)
    lab.engine.block_set.set_aside(block)
    assert lab.contents() == without(contents, block.meta.min_ms, block.meta.max_ms)
    lab.crash()


@pytest.mark.parametrize("what", ["wal", "workspaces", "default"])
async def test_a_directory_that_may_not_be_read(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start is refused, and the message names directory and reason."""
    lab, contents = await half_full(tmp_path)
    lab.crash()
    refuse(monkeypatch, ("iterdir",), lambda path: path.name == what)
    with pytest.raises(StoreFailed, match=rf"data directory .*Permission denied.*{what}"):
        lab.open()
    lab.crash()
    monkeypatch.undo()
    lab.open()
    assert lab.contents() == contents


@pytest.mark.parametrize("what", ["00000002.block", "manifest.json", "tombstones", "*.wal"])
async def test_a_file_that_may_not_be_read(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start is refused and nothing is set aside: this is no damage, and is put right from outside."""
    lab, contents = await half_full(tmp_path)
    await lab.delete(0, 1)
    await lab.delete(min(contents["a"]), min(contents["a"]))
    lab.ms += 1000
    await lab.append("c", 3.0)
    contents = lab.contents()
    lab.crash()
    refuse(monkeypatch, ("open", "read_bytes"), lambda path: path.match(what))
    with pytest.raises(StoreFailed, match=rf"data directory .*Permission denied.*{what.replace('*', '')}"):
        lab.open()
    lab.crash()
    monkeypatch.undo()
    lab.open()
    assert lab.contents() == contents


def refuse(monkeypatch: pytest.MonkeyPatch, methods: tuple[str, ...], concerns: Any) -> None:
    """Have methods of `Path` fail as without permission; these tests may run as root, who is refused nothing."""
    for name in methods:
        real = getattr(Path, name)

        def method(self: Path, *args: Any, _real: Any = real, **named: Any) -> Any:
            if concerns(self):
                raise PermissionError(errno.EACCES, "Permission denied", str(self))
            return _real(self, *args, **named)

        monkeypatch.setattr(Path, name, method)
