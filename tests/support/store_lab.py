"""A small store on a faulty disk, with a clock that tests set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from faulty_files import FaultyFiles
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import Code, SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.engine import Engine
    from headrace.store.interfaces import Labels

START = 1_700_000_040_000
BLOCK_MS = 60_000
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)

Contents = dict[str, dict[int, float]]
"""Samples by the label ``i`` and time."""


class StoreLab:
    """One directory, opened as often as wanted.

    Args:
        directory: Of the store; exists.
        sync: When writes are acknowledged.
        engine: Settings.
    """

    def __init__(self, directory: Path, sync: Sync = Sync.ALWAYS, **engine: Any) -> None:
        self.directory = directory
        self.workspace = directory / "workspaces" / "default"
        self.ms = START
        self._stepped_ms = 0
        settings = {"block_ms": BLOCK_MS, "max_future_ms": 600_000, "out_of_order_ms": 600_000, "linger_ms": 0}
        self._options = StoreOptions(sync, 0, EngineOptions(**{**settings, **engine}))
        self.open()

    def open(self) -> None:
        """Open the directory."""
        self.files = FaultyFiles(self.directory)
        self.store = Store(
            self.directory, self._options, files=self.files, clock_ms=lambda: self.ms,
            steady_s=lambda: (self.ms - self._stepped_ms) / 1000,
        )  # fmt: skip
        self.store.open()

    def step(self, ms: int) -> None:
        """Have the clock jump; the steady one does not."""
        self.ms += ms
        self._stepped_ms += ms

    @property
    def engine(self) -> Engine:
        """The engine of the only workspace."""
        return self.store.engine("default")

    def crash(self) -> None:
        """Leave the store as kill -9 does."""
        assert self.store._lock is not None
        self.store._lock.release()
        self.store._lock = None
        self.store._open = False
        self.store.log._thread.shutdown()

    def reopen(self) -> None:
        """Kill and open."""
        self.crash()
        self.open()

    async def append(self, series: str, value: float, time_ms: int | None = None) -> Code:
        """Store one sample, now where no time is given."""
        labels: Labels = (("__name__", "m"), ("i", series))
        times = np.array([self.ms if time_ms is None else time_ms], np.int64)
        batch = SeriesBatch(self.engine.refs([labels]), times, np.array([value]))
        return Code(int((await self.engine.append(batch)).codes[0]))

    async def three_blocks(self) -> Contents:
        """Write three blocks of one window each, ten samples of two series; return what is in them."""
        for _ in range(3):
            for step in range(10):
                for series in "ab":
                    await self.append(series, step + (0.5 if series == "b" else 0.0))
                self.ms += 5000
            self.ms = (self.ms // BLOCK_MS + 1) * BLOCK_MS
            self.store.flush(everything=True)
        assert len(self.engine.blocks) == 3
        return self.contents()

    def contents(self) -> Contents:
        """Return all samples."""
        found = self.engine.select(ALL, 0, 1 << 60)
        out: Contents = {}
        for i in range(len(found)):
            rows = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
            labels = dict(found.labels.labels(i))
            out[labels["i"]] = dict(zip(found.times_ms[rows].tolist(), found.values[rows].tolist(), strict=True))
        return out

    def delete(self, start_ms: int, end_ms: int) -> Any:
        """Delete all samples of a time range."""
        return self.store.delete("default", ALL, start_ms, end_ms)


def without(contents: Contents, start_ms: int, end_ms: int) -> Contents:
    """Return `contents` without a time range."""
    kept = {
        series: {time: value for time, value in samples.items() if not start_ms <= time <= end_ms}
        for series, samples in contents.items()
    }
    return {series: samples for series, samples in kept.items() if samples}


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Turn one bit of a file over."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)
