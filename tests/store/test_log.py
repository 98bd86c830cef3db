"""The write-ahead log: torn tails, damage, failing disks."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import StoreFailed
from headrace.store.files import Files
from headrace.store.interfaces import Record
from headrace.store.log import Sync, WriteAheadLog, decode, encode
from headrace.testing.store_fakes import MemoryLog

if TYPE_CHECKING:
    from pathlib import Path

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))


class BadDisk(Files):
    """Fails while it is told to; may write half before."""

    def __init__(self) -> None:
        self.failing = ""

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        if self.failing == "half":
            super().write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.failing == "write":
            raise OSError(errno.EIO, "Input/output error")
        super().write(fd, data)

    def sync(self, fd: int) -> None:
        if self.failing == "sync":
            raise OSError(errno.EIO, "Input/output error")
        super().sync(fd)


def record(i: int, size: int = 10) -> Record:
    return Record(2, "ws", bytes([i % 256]) * size)


def payloads(log: WriteAheadLog) -> list[bytes]:
    return [bytes(found.payload) for _, found in log.read()]


async def fill(directory: Path, count: int = 5) -> WriteAheadLog:
    log = WriteAheadLog(directory)
    for i in range(count):
        await log.append([record(i)])
    await log.close()
    return log


async def test_order_and_groups(tmp_path: Path) -> None:
    """Appends of many tasks share commits, and read back in order."""
    log = WriteAheadLog(tmp_path)
    offsets = await asyncio.gather(*(log.append([record(i)]) for i in range(50)))
    await log.close()
    assert payloads(log) == [bytes(record(i).payload) for i in range(50)]
    assert len(set(offsets)) < 10
    assert log.statistics.records >= 50


async def test_segments(tmp_path: Path) -> None:
    """A full segment is closed; a new process begins another."""
    log = WriteAheadLog(tmp_path, segment_bytes=1000)
    for i in range(20):
        await log.append([record(i, 200)])
    await log.close()
    assert len(log.segments()) > 4
    again = WriteAheadLog(tmp_path)
    await again.append([record(99)])
    await again.close()
    assert payloads(again)[-1] == bytes(record(99).payload)
    assert len(payloads(again)) == 21


async def test_a_torn_tail_is_cut_off(tmp_path: Path) -> None:
    """At every byte of the last record; it is no corruption."""
    log = await fill(tmp_path)
    path = log.segments()[0][1]
    whole = path.read_bytes()
    last = len(encode(record(4)))
    for cut in range(1, last + 1):
        path.write_bytes(whole[:-cut])
        again = WriteAheadLog(tmp_path)
        assert len(payloads(again)) == 4
        assert again.statistics.corrupt_records == 0


async def test_damage_in_the_middle(tmp_path: Path) -> None:
    """The damaged record is skipped and counted; those behind it are read."""
    log = await fill(tmp_path)
    path = log.segments()[0][1]
    data = bytearray(path.read_bytes())
    data[8 + len(encode(record(0))) + 30] ^= 1
    path.write_bytes(data)
    again = WriteAheadLog(tmp_path)
    assert payloads(again) == [bytes(record(i).payload) for i in (0, 2, 3, 4)]
    assert again.statistics.corrupt_records == 1


@pytest.mark.parametrize("how", ["write", "half", "sync"])
async def test_a_failing_disk(tmp_path: Path, how: str) -> None:
    """Nobody is told that it worked; what failed goes first once the disk works again; nothing is lost or torn."""
    disk = BadDisk()
    log = WriteAheadLog(tmp_path, files=disk)
    await log.append([record(0)])
    disk.failing = how
    for i in (1, 2):
        with pytest.raises(StoreFailed, match="write-ahead log"):
            await log.append([record(i)])
    assert log.failed
    with pytest.raises(StoreFailed):
        await log.retry()
    disk.failing = ""
    await log.retry()
    assert [log.failed] == [False]
    await log.append([record(3)])
    await log.close()
    found = payloads(WriteAheadLog(tmp_path))
    assert list(dict.fromkeys(found)) == [bytes(record(i).payload) for i in range(4)]
    assert log.statistics.failures >= 2


async def test_trim_keeps_what_it_is_told(tmp_path: Path) -> None:
    """Old segments go; definitions stand in their place, before what stays."""
    log = WriteAheadLog(tmp_path)
    await log.append([record(0)])
    below = log.rotate()
    await log.append([record(1)])
    log.trim(below, [record(7)])
    await log.close()
    assert payloads(log) == [bytes(record(i).payload) for i in (7, 1)]


async def test_the_fake_does_the_same() -> None:
    """What tests rely on in place of the log."""
    log = MemoryLog()
    await log.append([record(0)])
    offset = await log.append([record(1)])
    await log.append([record(2)])
    log.trim(offset, [record(7)])
    assert [bytes(found.payload)[:1] for _, found in log.read()] == [b"\x07", b"\x02"]


class SlowDisk(Files):
    """Syncs only when it may."""

    def __init__(self) -> None:
        self.may = threading.Event()

    def sync(self, fd: int) -> None:
        self.may.wait(30)
        super().sync(fd)


async def test_a_write_under_way_is_no_failure(tmp_path: Path) -> None:
    """Others may go on sending meanwhile."""
    disk = SlowDisk()
    log = WriteAheadLog(tmp_path, files=disk)
    first = asyncio.create_task(log.append([record(0)]))
    while not (tmp_path / "00000001.wal").exists():  # noqa: ASYNC110 -- it appears from another thread
        await asyncio.sleep(0.001)
    assert not log.failed
    disk.may.set()
    await first
    await log.close()


@pytest.mark.parametrize("sync", list(Sync))
async def test_every_way_to_sync(tmp_path: Path, sync: Sync) -> None:
    """What is acknowledged is in the file."""
    log = WriteAheadLog(tmp_path, sync)
    await log.append([record(0)])
    assert len(payloads(WriteAheadLog(tmp_path))) == 1
    await log.sync_now()
    await log.close()


@pytest.mark.fuzz
def test_mutated_records() -> None:
    """A record comes back whole or not at all."""
    generator = random.Random(11)
    whole = encode(Record(1, "workspace", bytes(range(200))))
    for _ in range(RUNS):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 3)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        found, end = decode(bytes(data), 0)
        if found is not None:
            assert bytes(data) == whole
            assert end == len(whole)
