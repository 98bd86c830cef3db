"""The log of records: order, restart, damage, disk failures."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import Refused, StoreFailed
from headrace.pipeline.storage import Record, RecordLog
from headrace.pipeline.storage.cursor import MOST_DONE, Cursor
from headrace.pipeline.storage.records import HEAD_BYTES, MAGIC, RecordFlag
from headrace.pipeline.storage.usage import Usage
from headrace.testing.batches import make_settings

if TYPE_CHECKING:
    from collections.abc import Callable


class Lab:
    """A log in a folder, opened again and again."""

    def __init__(self, directory: Path, max_bytes: int = 0, **options: Any) -> None:
        self.directory = directory / "log"
        self.counters = Counters()
        self.now_s = 0.0
        settings = make_settings(
            "file_storage", kind="extensions", counters=self.counters, monotonic_s=lambda: self.now_s
        )
        self.usage = Usage(settings, max_bytes)
        self.options = {"fsync": False, "segment_bytes": 1000, **options}
        self.numbers: list[int] = []
        self.log = self.open()

    def open(self) -> RecordLog:
        self.log = RecordLog(self.directory, self.usage, **self.options)
        self.log.recover()
        return self.log

    async def append(self, *payloads: bytes, flags: int = 0) -> None:
        for payload in payloads:
            self.log.rotate()
            await self.log.append(Record(len(payload), 10 * len(payload), flags, payload), self.numbers.append)

    def read_all(self) -> list[bytes | None]:
        found: list[bytes | None] = []
        after = -1
        while (one := self.log.read(after)) is not None:
            found.append(one.payload)
            after = one.head.seq
        return found

    def files(self) -> list[Path]:
        return sorted(self.directory.glob("*.queue"))

    def count(self, name: str) -> float:
        return self.counters.value(f"headrace_storage_{name}")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


PAYLOADS = [bytes([i]) * (50 + i) for i in range(40)]


async def test_what_was_appended_is_read_again(lab: Lab) -> None:
    """In order, over several files, by this process and the next; only what is not done."""
    await lab.append(*PAYLOADS)
    assert lab.numbers == list(range(40))
    assert lab.read_all() == PAYLOADS
    for seq in (0, 1, 2, 5, 39):
        lab.log.acknowledge(seq)
    await lab.log.close()
    log = lab.open()
    left = [payload for seq, payload in enumerate(PAYLOADS) if seq not in {0, 1, 2, 5, 39}]
    assert lab.read_all() == left
    assert (log.waiting.records, log.waiting.points) == (35, sum(map(len, left)))
    assert log.waiting.size == 10 * log.waiting.points
    await lab.append(b"more")
    assert lab.numbers[-1] == 40
    found = log.read(39)
    assert found is not None
    assert found.payload == b"more"


async def test_files_go_when_all_in_them_is_done(lab: Lab) -> None:
    """In whatever order; the last one stays until the next start."""
    await lab.append(*PAYLOADS)
    before = lab.files()
    assert len(before) > 3
    assert lab.usage.bytes == sum(path.stat().st_size for path in before)
    order = list(range(40))
    random.Random(1).shuffle(order)
    for seq in order:
        lab.log.acknowledge(seq)
    assert lab.files() == before[-1:]
    assert lab.usage.bytes == before[-1].stat().st_size
    await lab.log.close()
    assert lab.usage.bytes == 0
    lab.open()
    assert (lab.read_all(), lab.files()) == ([], [])


async def test_numbers_are_not_used_twice(lab: Lab) -> None:
    """Also after a start that found nothing to do."""
    for round_ in range(5):
        await lab.append(b"x")
        assert lab.numbers[-1] >= round_
        lab.log.acknowledge(lab.numbers[-1])
        await lab.log.close()
        lab.open()
    assert len(set(lab.numbers)) == 5
    assert lab.read_all() == []


async def test_definitions_come_with_what_follows(lab: Lab) -> None:
    """Records that define series are read though they are done, as long as something after them in the file is not."""
    await lab.append(b"first", flags=RecordFlag.DEFINES)
    await lab.append(b"second")
    await lab.append(b"third", flags=RecordFlag.DEFINES)
    await lab.append(b"fourth", b"x" * 1000, b"other file")
    for seq in (0, 1, 2):
        lab.log.acknowledge(seq)
    await lab.log.close()
    log = lab.open()
    found = log.read(-1)
    assert found is not None
    assert (found.payload, found.defines, found.opens) == (b"fourth", [b"first", b"third"], True)
    found = log.read(3)
    assert found is not None
    assert (found.head.seq, found.defines, found.opens) == (4, [], False)
    found = log.read(4)
    assert found is not None
    assert (found.payload, found.defines, found.opens) == (b"other file", [], True)


@pytest.mark.parametrize("kept", [0, 1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 49])
async def test_a_torn_end(lab: Lab, kept: int) -> None:
    """It was never acknowledged: it is left out and counted, and what is appended then is not hurt by it."""
    await lab.append(*PAYLOADS[:3])
    await lab.log.close()
    (path,) = lab.files()
    last = HEAD_BYTES + len(PAYLOADS[2])
    os.truncate(path, path.stat().st_size - last + kept)
    lab.open()
    assert lab.count("torn_tails") == (kept > 0)
    assert lab.count("damaged_bytes") == 0
    await lab.append(b"new")
    assert lab.read_all() == [*PAYLOADS[:2], b"new"]


async def test_every_bit_flip_costs_one_record_at_most(lab: Lab) -> None:
    """Whatever byte it hits; all others are read."""
    await lab.append(*PAYLOADS[:6])
    await lab.log.close()
    (path,) = lab.files()
    good = path.read_bytes()
    generator = random.Random(2)
    for place in generator.sample(range(len(MAGIC), len(good)), 100):
        data = bytearray(good)
        data[place] ^= 1 << generator.randrange(8)
        path.write_bytes(data)
        lab.open()
        found = lab.read_all()
        whole = [payload for payload in found if payload is not None]
        assert len(whole) == 5, place
        assert set(whole) <= set(PAYLOADS[:6]), place
        await lab.log.close()


async def test_garbage_between_records(lab: Lab) -> None:
    """It is skipped, also where it looks like a record at first, and its bytes are counted."""
    await lab.append(*PAYLOADS[:4])
    await lab.log.close()
    (path,) = lab.files()
    data = path.read_bytes()
    middle = len(MAGIC) + 2 * HEAD_BYTES + len(PAYLOADS[0]) + len(PAYLOADS[1])
    garbage = data[middle : middle + HEAD_BYTES - 1] + b"HRQ1" * 10
    path.write_bytes(data[:middle] + garbage + data[middle:])
    lab.open()
    assert lab.read_all() == PAYLOADS[:4]
    assert lab.count("damaged_bytes") == len(garbage)


async def test_a_lost_cursor_repeats(lab: Lab) -> None:
    """Nothing is lost by it; a slot that was cut off leaves the one before."""
    await lab.append(*PAYLOADS[:4])
    lab.log.acknowledge(0)
    lab.log.acknowledge(1)
    await lab.log.close()
    cursor = lab.directory / "cursor"
    data = bytearray(cursor.read_bytes())
    data[20] ^= 1  # the newest of two
    cursor.write_bytes(data)
    lab.open()
    assert lab.read_all() == PAYLOADS[1:4]
    await lab.log.close()
    cursor.unlink()
    lab.open()
    assert lab.read_all() == PAYLOADS[:4]


def test_the_cursor_holds_as_many_as_it_says(tmp_path: Path) -> None:
    """More than that are cut off."""
    cursor = Cursor(tmp_path / "cursor")
    assert cursor.read() is None
    cursor.write(7, set(range(8, 8 + 2 * MOST_DONE)))
    assert Cursor(tmp_path / "cursor").read() == (7, set(range(8, 8 + MOST_DONE)))


class BrokenDisk:
    """Stands in for ``os.write``: some bytes are written, then there is no room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.write = os.write
        monkeypatch.setattr("headrace.pipeline.storage.segments.os.write", self)

    def __call__(self, fd: int, data: bytes) -> int:
        if self.room is not None:
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data, self.room = data[: self.room], 0
        return self.write(fd, data)


async def test_a_full_disk(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The append fails and is not read later; the next one is the first of a new file, and all is well again."""
    disk = BrokenDisk(monkeypatch)
    await lab.append(*PAYLOADS[:2])
    disk.room = 30
    with pytest.raises(StoreFailed, match="No space left"):
        await lab.append(PAYLOADS[2])
    assert lab.count("failures") == 1
    disk.room = None
    assert lab.log.rotate()
    await lab.append(PAYLOADS[3])
    assert lab.read_all() == [*PAYLOADS[:2], PAYLOADS[3]]
    assert lab.numbers == [0, 1, 3]
    await lab.log.close()
    lab.open()
    assert lab.read_all() == [*PAYLOADS[:2], PAYLOADS[3]]
    assert lab.count("damaged_bytes") == 0


async def test_a_disk_that_stays_full(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is tried, no files and no descriptors are left, and what waits is not touched."""
    disk = BrokenDisk(monkeypatch)
    await lab.append(*PAYLOADS[:2])
    before = lab.files(), descriptors()
    for room in range(60):
        disk.room = room
        with pytest.raises(StoreFailed, match="No space left"):
            await lab.append(PAYLOADS[2])
    assert (lab.files(), descriptors()) <= before
    with pytest.raises(Refused, match="the storage failed: No space left"):
        lab.log.check()
    disk.room = None
    lab.now_s += 2
    lab.log.check()
    await lab.append(PAYLOADS[3])
    assert lab.read_all() == [*PAYLOADS[:2], PAYLOADS[3]]


async def test_another_version_is_not_touched(lab: Lab) -> None:
    """It is refused by name, and stays as it is."""
    await lab.append(b"x")
    await lab.log.close()
    (path,) = lab.files()
    path.write_bytes(b"HRQUEUE2" + b"whatever a later version writes")
    with pytest.raises(StoreFailed, match=r"version b'2' of the format, and only 1 is known"):
        lab.open()
    assert path.read_bytes().startswith(b"HRQUEUE2")


async def test_damaged_files_are_set_aside(lab: Lab) -> None:
    """When all that can be read of them is done, the last four of them."""
    for round_ in range(6):
        await lab.append(b"a" * 50, b"b" * 50)
        await lab.log.close()
        path = lab.files()[-1]
        data = bytearray(path.read_bytes())
        data[len(MAGIC) + 9] ^= 1
        path.write_bytes(data)
        lab.open()
        for payload in lab.read_all():
            assert payload == b"b" * 50
        first, second = lab.numbers[-2:]
        lab.log.skip(first, second)
        lab.log.acknowledge(second)
        assert lab.files() == [], round_
    assert len(list(lab.directory.glob("*.damaged"))) == 4
    assert lab.usage.bytes == 0


async def test_syncs_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fsync an append waits for the disk, together with those that wait as well; without, never."""
    synced: list[int] = []
    monkeypatch.setattr("headrace.pipeline.storage.record_log.os.fdatasync", synced.append)
    lab = Lab(tmp_path, fsync=True, segment_bytes=1 << 20)
    await asyncio.gather(*(lab.append(payload) for payload in PAYLOADS))
    assert 1 <= len(synced) <= 2
    await lab.log.close()
    synced.clear()
    lab.options["fsync"] = False
    lab.open()
    await lab.append(b"x")
    assert not synced


async def test_a_caller_that_goes_loses_nothing(lab: Lab) -> None:
    """The record is written all the same, and its number is told."""
    task = asyncio.create_task(lab.append(b"x"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await lab.log.close()
    assert lab.numbers == [0]
    lab.open()
    assert lab.read_all() == [b"x"]


async def test_the_limit_is_shared(tmp_path: Path) -> None:
    """It counts what all logs of the storage have on disk."""
    lab = Lab(tmp_path, max_bytes=200)
    lab.log.check()
    await lab.append(b"x" * 200)
    with pytest.raises(Refused, match="the storage is full"):
        lab.log.check()
    lab.log.acknowledge(0)
    await lab.log.close()
    lab.open().check()


FLIPS: list[Callable[[bytes], bytes]] = [lambda data: data[1:], lambda data: data[:-1], lambda _: b""]


@pytest.mark.parametrize("change", FLIPS)
async def test_files_that_are_no_logs(lab: Lab, change: Callable[[bytes], bytes]) -> None:
    """Nothing raises, whatever is in a file."""
    await lab.append(*PAYLOADS[:2])
    await lab.log.close()
    (path,) = lab.files()
    path.write_bytes(change(path.read_bytes()))
    (lab.directory / "notes.queue").write_bytes(b"no log")
    lab.open()
    assert set(lab.read_all()) <= set(PAYLOADS[:2])
