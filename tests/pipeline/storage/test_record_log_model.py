"""The log against a list: appends, disks that fail half-way, kills with torn ends, and what is done in any order."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
from hypothesis import given, settings

from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import StoreFailed
from headrace.pipeline.storage import Record, RecordLog
from headrace.pipeline.storage.usage import Usage
from headrace.testing.batches import make_settings

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 400), min_size=1, max_size=4)),
        st.tuples(st.just("fail"), st.integers(0, 600)),
        st.tuples(st.just("finish"), st.integers(0, 30)),
        st.tuples(st.just("kill"), st.integers(0, 100)),
        st.tuples(st.just("read"), st.integers(0, 10)),
    ),
    max_size=25,
)


class Model:
    """A log beside what it should hold.

    Attributes:
        waiting: Payloads that were acknowledged and are not done, by number.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.waiting: dict[int, bytes] = {}
        self.count = 0
        self.read_up_to = -1
        self.log = self.open()

    def open(self) -> RecordLog:
        usage = Usage(make_settings("s", kind="extensions", counters=Counters()), 0)
        self.log = RecordLog(self.directory, usage, fsync=False, segment_bytes=700)
        self.log.recover()
        self.read_up_to = -1
        return self.log

    async def append(self, sizes: list[int]) -> None:
        """Append some side by side, as senders do."""
        await asyncio.gather(*(self._one(size) for size in sizes))

    async def _one(self, size: int) -> None:
        self.count += 1
        payload = self.count.to_bytes(4, "big") * (1 + size // 4)
        self.log.rotate()
        await self.log.append(Record(1, 8, 0, payload), lambda seq: self.waiting.__setitem__(seq, payload))

    async def fail(self, room: int) -> None:
        """Append to a disk on which there is room for so many bytes; fails, unless the record fits."""
        write, left = os.write, [room]

        def some(fd: int, data: Any) -> int:
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = write(fd, data[: left[0]])
            left[0] -= written
            return written

        with mock.patch("headrace.pipeline.storage.segments.os.write", some):
            before = len(self.waiting)
            try:
                await self._one(300)
            except StoreFailed:
                assert len(self.waiting) == before

    async def finish(self, choice: int) -> None:
        """Have one of the oldest be done."""
        if self.waiting:
            seq = sorted(self.waiting)[choice % len(self.waiting)]
            del self.waiting[seq]
            self.log.acknowledge(seq)

    async def kill(self, torn: int) -> None:
        """Open the files as a new process does; a record that was not acknowledged may have been begun."""
        files = sorted(self.directory.glob("*.queue"))
        if files and torn:
            with files[-1].open("ab") as file:
                file.write(b"HRQ1" + bytes(torn))
        self.open()
        assert (self.log.waiting.records, self.log.waiting.points) == (len(self.waiting), len(self.waiting))

    async def read(self, records: int) -> None:
        """Read on from where the last read ended."""
        expected = [(seq, one) for seq, one in sorted(self.waiting.items()) if seq > self.read_up_to]
        for wanted in expected[:records]:
            found = self.log.read(self.read_up_to)
            assert found is not None
            assert (found.head.seq, found.payload) == wanted
            self.read_up_to = found.head.seq


@settings(max_examples=RUNS, deadline=None)
@given(STEPS)
def test_it_holds_what_was_acknowledged_until_it_is_done(steps: list[tuple[str, Any]]) -> None:
    """All of it, in order, and nothing else."""

    async def run(directory: Path) -> None:
        model = Model(directory)
        for name, argument in steps:
            await getattr(model, name)(argument)
        await model.kill(0)
        await model.read(len(model.waiting))
        assert model.log.read(model.read_up_to) is None
        for seq in list(model.waiting):
            model.log.acknowledge(seq)
        await model.log.close()
        model.open()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
        assert not list(Path(folder).glob("*.queue"))
