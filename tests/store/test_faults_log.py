"""The log after torn writes, bit flips and missing segments."""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import StoreFailed
from headrace.store.log import MAGIC, Sync, decode
from store_lab import StoreLab, flip

if TYPE_CHECKING:
    from pathlib import Path

    from store_lab import Contents


async def written(directory: Path, count: int = 6) -> tuple[StoreLab, Path, Contents]:
    """Return a store that was killed, its only segment, and what is in it: one record of samples each second."""
    lab = StoreLab(directory)
    for i in range(count):
        await lab.append("a", float(i))
        lab.ms += 1000
    contents = lab.contents()
    lab.crash()
    return lab, directory / "wal" / "00000001.wal", contents


def records_of(path: Path) -> list[tuple[int, int]]:
    """Return first byte and end of each record."""
    data, at, found = path.read_bytes(), len(MAGIC), []
    while at < len(data):
        _, end = decode(data, at)
        found.append((at, end))
        at = end
    return found


def expect(contents: Contents, gone: set[float]) -> Contents:
    """Return contents without the samples of some numbers."""
    return {"a": {time: value for time, value in contents["a"].items() if value not in gone}}


async def test_a_torn_end(tmp_path: Path) -> None:
    """Whatever part of the last record is there: it is left out and counted, and writing goes on elsewhere."""
    lab, path, contents = await written(tmp_path)
    whole = path.read_bytes()
    start, end = records_of(path)[-1]
    for cut in random.sample(range(start + 1, end), 10):
        path.write_bytes(whole[:cut])
        lab.open()
        assert lab.contents() == expect(contents, {5.0})
        statistics = lab.store.log.statistics
        assert (statistics.torn_tails, statistics.corrupt_records) == (1, 0)
        lab.crash()
    lab.open()
    await lab.append("a", 5.0, max(contents["a"]))
    lab.reopen()
    assert lab.contents() == contents


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
async def test_torn_in_the_middle(tmp_path: Path, fill: bytes) -> None:
    """A page that was never written, between records that were: what it held is left out, the rest is read."""
    lab, path, contents = await written(tmp_path)
    data = bytearray(path.read_bytes())
    start, end = records_of(path)[3]
    data[start + 4 : end - 4] = fill * (end - start - 8)
    path.write_bytes(data)
    lab.open()
    assert lab.contents() == expect(contents, {2.0})
    assert lab.store.log.statistics.corrupt_records == 1


@pytest.mark.parametrize("part", ["mark", "size", "kind", "cipher", "workspace", "checksum", "payload"])
async def test_bit_flips(tmp_path: Path, part: str) -> None:
    """In any field of a record: it is skipped, counted and reported with its place, and all others are read."""
    lab, path, contents = await written(tmp_path)
    start, end = records_of(path)[3]
    first, size = {
        "mark": (0, 4), "size": (4, 4), "kind": (8, 1), "cipher": (9, 1), "workspace": (10, 2), "checksum": (16, 8),
        "payload": (24, end - start - 24),
    }[part]  # fmt: skip
    flip(path, start + first + random.randrange(size), random.randrange(8))
    lab.open()
    assert lab.contents() == expect(contents, {2.0})
    assert lab.store.log.statistics.corrupt_records == 1


async def test_bit_flips_in_the_head_of_a_segment(tmp_path: Path) -> None:
    """The records are found all the same."""
    lab, path, contents = await written(tmp_path)
    flip(path, random.randrange(len(MAGIC)), random.randrange(8))
    lab.open()
    assert lab.contents() == contents


async def test_a_lost_definition(tmp_path: Path) -> None:
    """Samples whose series nobody knows any more are counted, and never become those of another series."""
    lab, path, _ = await written(tmp_path)
    start, _ = records_of(path)[0]
    flip(path, start + 30)
    lab.open()
    assert lab.contents() == {}
    assert lab.engine.statistics.replay_unknown == 6
    await lab.append("b", 1.0)
    lab.store.flush()
    lab.reopen()
    assert lab.contents() == {"b": {lab.ms: 1.0}}


async def test_a_missing_segment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported by number and counted; the others are read."""
    lab = StoreLab(tmp_path)
    for i in range(4):
        await lab.append("a", float(i))
        lab.ms += 1000
        lab.store.log.rotate()
    contents = lab.contents()
    lab.crash()
    (tmp_path / "wal" / "00000003.wal").unlink()
    lab.open()
    assert lab.contents() == expect(contents, {2.0})
    assert lab.store.log.statistics.missing_segments == 1
    assert "segments 3 to 3 are missing" in caplog.text


async def test_a_trim_that_was_cut_off_is_no_missing_segment(tmp_path: Path) -> None:
    """At each of its steps: what is left is an end of the log, and nothing is reported."""
    for step in range(9):
        directory = tmp_path / str(step)
        directory.mkdir()
        lab = StoreLab(directory)
        for i in range(5):
            await lab.append("a", float(i))
            lab.ms += 1000
            lab.store.log.rotate()
        contents = lab.contents()
        engine = lab.engine
        engine.flush(everything=True)
        engine.forget_logged()
        below = lab.store.log.rotate()
        await lab.append("b", 1.0)
        lab.files.dies_in = step
        with pytest.raises(OSError, match="power"):
            lab.store.log.trim(below, engine.definitions())
        lab.reopen()
        assert lab.contents() == {**contents, "b": {lab.ms: 1.0}}
        assert lab.store.log.statistics.missing_segments == 0
        lab.crash()


async def test_a_failed_sync_is_not_trusted(tmp_path: Path) -> None:
    """Nobody is told that it worked; it is written again elsewhere; power loss afterwards takes nothing."""
    (tmp_path / "a").mkdir()
    lab = StoreLab(tmp_path / "a")
    await lab.append("a", 0.0)
    lab.files.fail("sync", match="*.wal", times=1)
    lab.ms += 1000
    with pytest.raises(StoreFailed, match="write-ahead log"):
        await lab.append("a", 1.0)
    assert lab.store.log.failed
    await lab.store.log.retry()
    assert await lab.append("a", 1.0)
    contents = lab.contents()
    for seed in range(20):
        target = tmp_path / str(seed + 100)
        lab.files.lose_power(random.Random(seed), target)
        assert StoreLab(target).contents() == contents
    lab.crash()


async def test_what_failed_holds_its_segment(tmp_path: Path) -> None:
    """A batch that the disk refused, and that was written on another try, is not trimmed before it is in a block."""
    lab = StoreLab(tmp_path)
    await lab.append("a", 0.0)
    lab.files.fail("sync", match="*.wal", times=1)
    lab.ms += 90_000
    with pytest.raises(StoreFailed):
        await lab.append("a", 1.0)
    await lab.append("a", 1.0)
    lab.ms += 1000
    lab.store.log.rotate()
    lab.store.flush()
    assert len(lab.engine.blocks) == 1
    contents = lab.contents()
    lab.reopen()
    assert lab.contents() == contents
    assert sorted(contents["a"].values()) == [0.0, 1.0]


@pytest.mark.parametrize("part_of_it", [0, 3, 40])
async def test_a_full_disk(tmp_path: Path, part_of_it: int) -> None:
    """Writes are refused and queries go on; nothing piles up; all of it is there once there is room."""
    lab = StoreLab(tmp_path)
    await lab.append("a", 0.0)
    lab.files.room = part_of_it
    for i in range(1, 4):
        lab.ms += 1000
        with pytest.raises(StoreFailed, match="No space left"):
            await lab.append("a", float(i))
    assert lab.store.log.size_bytes() < 400
    assert len(lab.store.log.segments()) <= 2
    assert 0.0 in lab.contents()["a"].values()
    lab.files.heal()
    await lab.store.maintain()
    assert not lab.store.log.failed
    assert sorted(lab.contents()["a"].values()) == [0.0, 1.0, 2.0, 3.0]
    contents = lab.contents()
    lab.reopen()
    assert lab.contents() == contents
    assert lab.store.log.statistics.corrupt_records == 0


async def test_a_new_segment_that_cannot_be_begun(tmp_path: Path) -> None:
    """Neither without permission nor where its name cannot be made durable; no file is left over."""
    for operation, error in (("open_new", errno.EACCES), ("sync_directory", errno.EIO), ("write", errno.ENOSPC)):
        directory = tmp_path / operation
        directory.mkdir()
        lab = StoreLab(directory)
        lab.files.fail(operation, error, "*wal", times=1)
        with pytest.raises(StoreFailed):
            await lab.append("a", 1.0)
        assert [path.name for path in (directory / "wal").iterdir()] == []
        await lab.append("a", 1.0)
        assert [path.name for path in (directory / "wal").iterdir()] == ["00000001.wal"]
        lab.crash()


async def test_a_sync_each_second_that_fails(tmp_path: Path) -> None:
    """With ``interval`` it is counted and reported, and what comes goes into another segment."""
    lab = StoreLab(tmp_path, Sync.INTERVAL)
    await lab.append("a", 1.0)
    lab.files.fail("sync", match="*.wal", times=2)
    with pytest.raises(StoreFailed, match="may not survive a power loss"):
        await lab.store.log.sync_now()
    assert lab.store.log.statistics.failures == 1
    await lab.append("b", 1.0)
    assert len(lab.store.log.segments()) == 2
    lab.crash()


async def test_a_cancelled_append_holds_its_segment(tmp_path: Path) -> None:
    """A sender that hangs up: what it sent is written all the same, and not trimmed before it is in a block."""
    lab = StoreLab(tmp_path)
    await lab.append("a", 0.0)
    lab.ms += 90_000
    append = lab.append("a", 1.0)
    append.send(None)
    append.close()
    lab.ms += 1000
    await lab.append("a", 2.0)
    lab.store.log.rotate()
    lab.store.flush()
    contents = lab.contents()
    lab.reopen()
    assert lab.contents() == contents
    assert sorted(contents["a"].values()) == [0.0, 1.0, 2.0]
