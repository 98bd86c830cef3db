"""What happens at the same time, and in which order it becomes durable."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import numpy as np

from faulty_files import FaultyFiles
from headrace.store.interfaces import Code, SeriesBatch
from headrace.store.store import Store
from store_lab import START, StoreLab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_a_new_directory_survives_with_all_above_it(tmp_path: Path) -> None:
    """Synced files are no use in a directory whose name was not synced."""
    files = FaultyFiles(tmp_path)
    store = Store(tmp_path / "a" / "b" / "data", files=files, clock_ms=lambda: START)
    store.open()
    engine = store.engine("default")
    refs = engine.refs([(("__name__", "m"), ("i", "0"))])
    await engine.append(SeriesBatch(refs, np.array([START]), np.array([1.0])))
    for seed in range(10):
        target = tmp_path.parent / f"{tmp_path.name}-{seed}"
        files.lose_power(random.Random(seed), target)
        lab = StoreLab(target / "a" / "b" / "data")
        assert lab.contents() == {"0": {START: 1.0}}
        lab.crash()


async def test_late_samples_hold_their_segment_while_others_flush(tmp_path: Path) -> None:
    """Though they are older than what is in blocks: they are in none."""
    lab = StoreLab(tmp_path)
    await lab.append("a", 1.0)
    lab.ms += 5000
    await lab.append("a", 2.0)
    lab.store.flush(everything=True)
    assert await lab.append("a", 1.5, lab.ms - 1000) is Code.OUT_OF_ORDER_OK
    other = lab.store.engine("other")
    refs = other.refs([(("__name__", "m"), ("i", "0"))])
    await other.append(SeriesBatch(refs, np.array([lab.ms]), np.array([1.0])))
    lab.store.flush(everything=True, only=other)
    contents = lab.contents()
    lab.reopen()
    assert lab.contents() == contents
    assert sorted(contents["a"].values()) == [1.0, 1.5, 2.0]


class Interrupted(FaultyFiles):
    """Lets something else happen when a block is begun."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.meanwhile: Callable[[], Any] = lambda: None

    def open_new(self, path: Path) -> int:
        if path.name.endswith(".block.tmp"):
            meanwhile, self.meanwhile = self.meanwhile, lambda: None
            meanwhile()
        return super().open_new(path)


def interrupted(lab: StoreLab) -> Interrupted:
    """Put such files under a store."""
    files = Interrupted(lab.directory)
    lab.crash()
    lab.store = Store(lab.directory, lab._options, files=files, clock_ms=lambda: lab.ms)
    lab.store.open()
    lab.files = files
    return files


async def test_a_lagging_series_during_a_flush(tmp_path: Path) -> None:
    """Its samples are in order for it, and too old for the blocks that are being written: they are kept."""
    lab = StoreLab(tmp_path)
    files = interrupted(lab)
    await lab.append("a", 1.0)
    lab.ms += 30_000
    await lab.append("b", 2.0)
    loop = asyncio.get_running_loop()

    def meanwhile() -> None:
        for series, time_ms in (("a", lab.ms - 10_000), ("c", lab.ms - 20_000), ("b", lab.ms - 5000)):
            asyncio.run_coroutine_threadsafe(lab.append(series, 3.0, time_ms), loop).result(30)

    files.meanwhile = meanwhile
    await loop.run_in_executor(None, lambda: lab.store.flush(everything=True))
    contents = lab.contents()
    assert {series: len(samples) for series, samples in contents.items()} == {"a": 2, "b": 2, "c": 1}
    lab.store.flush(everything=True)
    assert lab.contents() == contents
    lab.reopen()
    assert lab.contents() == contents


async def test_a_deletion_during_a_flush(tmp_path: Path) -> None:
    """Drops late samples while others are being written: those that are not in the block are not dropped with it."""
    lab = StoreLab(tmp_path)
    files = interrupted(lab)
    for series in "ab":
        await lab.append(series, 1.0)
    lab.ms += 30_000
    for series in "ab":
        await lab.append(series, 2.0)
        await lab.append(series, 1.5, lab.ms - 10_000)
    engine = lab.engine
    gone = engine.refs([(("__name__", "m"), ("i", "a"))])
    loop = asyncio.get_running_loop()

    def meanwhile() -> None:
        engine.head.drop_late(gone, 0, lab.ms)
        asyncio.run_coroutine_threadsafe(lab.append("b", 1.7, lab.ms - 9000), loop).result(30)

    files.meanwhile = meanwhile
    await loop.run_in_executor(None, lambda: lab.store.flush(everything=True))
    assert sorted(lab.contents()["b"].values()) == [1.0, 1.5, 1.7, 2.0]
    lab.crash()


async def test_a_deletion_during_a_merge(tmp_path: Path) -> None:
    """Holds for the block that is being written too."""
    lab = StoreLab(tmp_path)
    files = interrupted(lab)
    await lab.three_blocks()
    loop = asyncio.get_running_loop()
    files.meanwhile = lambda: asyncio.run_coroutine_threadsafe(lab.delete(0, 1 << 60), loop).result(30)
    engine = lab.engine
    await loop.run_in_executor(None, engine._merging.merge, engine.blocks)
    assert lab.contents() == {}
    lab.reopen()
    assert lab.contents() == {}
    # What comes afterwards is in blocks of numbers that no tombstone is about.
    await lab.append("a", 1.0, START)
    lab.store.flush(everything=True)
    lab.reopen()
    assert lab.contents() == {"a": {START: 1.0}}


async def test_numbers_that_a_tombstone_is_about_are_not_given_again(tmp_path: Path) -> None:
    """Though the blocks that had them came to nothing."""
    lab = StoreLab(tmp_path)
    contents = await lab.three_blocks()
    for _ in range(3):
        lab.engine.block_set.allocate()
    await lab.delete(0, 1 << 60)
    lab.reopen()
    for series, samples in contents.items():
        for time, value in samples.items():
            if time > lab.ms - 60_000:
                await lab.append(series, value, time)
    written = lab.contents()
    assert written
    lab.store.flush(everything=True)
    assert lab.contents() == written
    lab.crash()
