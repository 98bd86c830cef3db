"""The engine against a plain model: appends, flushes, reopenings, selections."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.pipeline.errors import CorruptChunk, Locked, Refused
from headrace.store.engine import EngineOptions
from headrace.store.files import Files
from headrace.store.interfaces import Code, MetadataRow, SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.engine import Engine
    from headrace.store.interfaces import Labels

START = 1_700_000_000_000
STALE = float(np.uint64(0x7FF0000000000002).view(np.float64))
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)
LABELS: list[Labels] = [(("__name__", f"m{i % 3}"), ("i", str(i))) for i in range(12)]


class Clock:
    """The time that tests set."""

    def __init__(self) -> None:
        self.ms = START


def options(**engine: Any) -> StoreOptions:
    defaults = {"block_ms": 60_000, "out_of_order_ms": 30_000, "max_future_ms": 600_000}
    return StoreOptions(Sync.NEVER, 0, EngineOptions(**{**defaults, **engine}))


def opened(directory: Path, clock: Clock | None = None, **engine: Any) -> Store:
    clock = clock or Clock()
    store = Store(directory, options(**engine), clock_ms=lambda: clock.ms)
    store.open()
    return store


def contents(engine: Engine, start: int = 0, end: int = 1 << 60, matchers: Any = ALL) -> dict[Any, list[Any]]:
    found = engine.select(matchers, start, end)
    out = {}
    for i in range(len(found)):
        a, b = int(found.offsets[i]), int(found.offsets[i + 1])
        values = found.values[a:b].view(np.uint64).tolist()
        out[tuple(found.labels.labels(i).items())] = list(zip(found.times_ms[a:b].tolist(), values, strict=True))
    return out


async def append(engine: Engine, rows: list[tuple[int, int, float]]) -> list[Code]:
    refs = engine.refs(LABELS)
    batch = SeriesBatch(
        refs[[i for i, _, _ in rows]],
        np.array([t for _, t, _ in rows], np.int64),
        np.array([v for _, _, v in rows], np.float64),
    )
    return [Code(code) for code in (await engine.append(batch)).codes.tolist()]


async def test_codes(tmp_path: Path) -> None:
    """What becomes of each sample."""
    clock = Clock()
    store = opened(tmp_path, clock)
    engine = store.engine("default")
    assert await append(engine, [(0, START, 1.0), (1, START, STALE)]) == [Code.OK, Code.OK]
    codes = await append(
        engine,
        [
            (0, START, 1.0),
            (0, START, 2.0),
            (0, START - 10_000, 5.0),
            (0, START - 10_000, 5.0),
            (0, START - 10_000, 6.0),
            (0, START - 40_000, 5.0),
            (0, START + 700_000, 5.0),
            (1, START, 4.0),
        ],
    )
    assert codes == [
        Code.DUPLICATE,
        Code.CONFLICT,
        # Late samples are not compared with each other when they come, but when they are read: the first one stands.
        Code.OUT_OF_ORDER_OK,
        Code.OUT_OF_ORDER_OK,
        Code.OUT_OF_ORDER_OK,
        Code.TOO_OLD,
        Code.TOO_FAR_AHEAD,
        Code.REPLACED,
    ]
    found = contents(engine)
    assert found[LABELS[0]] == [
        (START - 10_000, np.float64(5.0).view(np.uint64)),
        (START, np.float64(1.0).view(np.uint64)),
    ]
    assert found[LABELS[1]] == [(START, np.float64(4.0).view(np.uint64))]
    await store.close()


async def test_no_window_takes_no_late_sample(tmp_path: Path) -> None:
    """As Prometheus by default."""
    store = opened(tmp_path, out_of_order_ms=0)
    codes = await append(store.engine("default"), [(0, START, 1.0), (0, START - 1, 1.0)])
    assert codes == [Code.OK, Code.OUT_OF_ORDER]
    await store.close()


@pytest.mark.parametrize("seed", range(6))
async def test_against_a_model(tmp_path: Path, seed: int) -> None:
    """Through random appends, flushes, clean and unclean reopenings, what is selected is what was acknowledged."""
    generator = random.Random(seed)
    clock = Clock()
    store = opened(tmp_path, clock)
    model: dict[Labels, dict[int, int]] = {}
    newest = 0
    flushed = False
    for _ in range(120):
        action = generator.random()
        engine = store.engine("default")
        if action < 0.8:
            clock.ms += generator.choice([1000, 5000, 15_000])
            rows = []
            for i in generator.sample(range(len(LABELS)), 5):
                late = generator.choice([0, 0, 0, 7000, 20_000])
                value = generator.choice([generator.random(), float(generator.randint(0, 5)), STALE])
                rows.append((i, clock.ms - late, value))
            for (i, time, value), code in zip(rows, await append(engine, rows), strict=True):
                bits = int(np.float64(value).view(np.uint64))
                series = model.setdefault(LABELS[i], {})
                if code is Code.OUT_OF_ORDER_OK and time in series:
                    # It is in a block already, which is not read when something late is written. What was there
                    # first stands, but a value beats a stale marker.
                    assert flushed
                    if series[time] == int(np.float64(STALE).view(np.uint64)):
                        series[time] = bits
                elif code in {Code.OK, Code.OUT_OF_ORDER_OK}:
                    assert time not in series
                    series[time] = bits
                elif code is Code.REPLACED:
                    assert series[time] == int(np.float64(STALE).view(np.uint64))
                    series[time] = bits
                elif code is Code.DUPLICATE:
                    assert time in series
            newest = max(newest, clock.ms)
        elif action < 0.9:
            store.flush(everything=generator.random() < 0.3)
            flushed = True
        elif action < 0.95:
            await store.close()
            store = opened(tmp_path, clock)
            flushed = True
        else:
            # As after kill -9: nothing is closed, only the lock goes with the process.
            assert store._lock is not None
            store._lock.release()
            store._lock = None
            store._open = False
            store = opened(tmp_path, clock)
        engine = store.engine("default")
        found = contents(engine)
        expected = {labels: sorted(samples.items()) for labels, samples in model.items() if samples}
        assert found == expected
    start, end = START + 100_000, newest - 50_000
    inside = {
        labels: kept
        for labels, samples in model.items()
        if (kept := [(t, v) for t, v in sorted(samples.items()) if start <= t <= end])
    }
    assert contents(store.engine("default"), start, end) == inside
    await store.close()


MATCHERS = [
    Matcher("i", MatchType.EQUAL, "3"),
    Matcher("i", MatchType.NOT_EQUAL, "3"),
    Matcher("i", MatchType.REGEX, "1|2|1."),
    Matcher("i", MatchType.NOT_REGEX, "1.*"),
    Matcher("absent", MatchType.EQUAL, ""),
    Matcher("absent", MatchType.NOT_EQUAL, ""),
    Matcher("absent", MatchType.REGEX, "|x"),
    Matcher("__name__", MatchType.REGEX, "m[01]"),
    Matcher("__name__", MatchType.EQUAL, "m2"),
]


async def test_matchers(tmp_path: Path) -> None:
    """Every pair of conditions, against asking each series."""
    store = opened(tmp_path)
    engine = store.engine("default")
    await append(engine, [(i, START, float(i)) for i in range(len(LABELS))])
    for one in MATCHERS:
        for other in MATCHERS:
            expected = {
                labels for labels in LABELS if all(m.matches(dict(labels).get(m.name, "")) for m in (one, other))
            }
            assert set(contents(engine, matchers=(one, other))) == expected
    assert engine.label_names((), 0, 1 << 60) == ["__name__", "i"]
    assert engine.label_values("__name__", (), 0, 1 << 60) == ["m0", "m1", "m2"]
    assert engine.label_values("i", (MATCHERS[-1],), 0, 1 << 60) == ["11", "2", "5", "8"]
    assert engine.label_names((), START + 1, START + 2) == []
    await store.close()


async def test_metadata_survives(tmp_path: Path) -> None:
    """Clean and unclean ends."""
    store = opened(tmp_path)
    await store.engine("default").update_metadata([MetadataRow("m0", "counter", "Help.", "s")])
    store._lock.release()  # type: ignore[union-attr]
    again = opened(tmp_path)
    assert again.engine("default").metadata() == [MetadataRow("m0", "counter", "Help.", "s")]
    await again.engine("default").update_metadata([MetadataRow("m0", "gauge", "", "")])
    again.flush(everything=True)
    await again.close()
    last = opened(tmp_path)
    assert last.engine("default").metadata() == [MetadataRow("m0", "gauge", "", "")]
    await last.close()


async def test_retention(tmp_path: Path) -> None:
    """Blocks that are too old go, and with them the series that are nowhere else."""
    clock = Clock()
    store = opened(tmp_path, clock, retention_ms=600_000)
    engine = store.engine("default")
    await append(engine, [(0, clock.ms, 1.0)])
    clock.ms += 900_000
    await append(engine, [(1, clock.ms, 1.0)])
    store.flush(everything=True)
    assert len(engine.blocks) >= 2
    clock.ms += 60_000
    engine.retain()
    gone = engine.orphans()
    engine.forget(gone)
    assert set(contents(engine)) == {LABELS[1]}
    assert engine.label_values("i", (), 0, 1 << 60) == ["1"]
    await store.close()


async def test_a_corrupt_block_is_set_aside(tmp_path: Path) -> None:
    """The other blocks stay queryable, and the file is kept for whoever wants to look at it."""
    clock = Clock()
    store = opened(tmp_path, clock)
    engine = store.engine("default")
    for i in range(2):
        await append(engine, [(i, clock.ms, 1.0)])
        store.flush(everything=True)
        clock.ms += 120_000
    await store.close()
    path = min((tmp_path / "workspaces" / "default").glob("*.block"))
    data = bytearray(path.read_bytes())
    data[-40] ^= 255
    path.write_bytes(data)
    again = opened(tmp_path, clock)
    engine = again.engine("default")
    assert set(contents(engine)) == {LABELS[1]}
    assert engine.statistics.blocks_set_aside == 1
    assert path.with_suffix(".corrupt").exists()
    await again.close()


async def test_a_corrupt_chunk_is_found_when_it_is_read(tmp_path: Path) -> None:
    """The query fails once and says so; the next one answers without the block."""
    store = opened(tmp_path)
    await append(store.engine("default"), [(0, START, 1.0)])
    store.flush(everything=True)
    await store.close()
    path = next((tmp_path / "workspaces" / "default").glob("*.block"))
    data = bytearray(path.read_bytes())
    data[70] ^= 255
    path.write_bytes(data)
    again = opened(tmp_path)
    with pytest.raises(CorruptChunk):
        contents(again.engine("default"))
    assert contents(again.engine("default")) == {}
    await again.close()


async def test_one_process_a_directory(tmp_path: Path) -> None:
    """The second one is told."""
    store = opened(tmp_path)
    with pytest.raises(Locked):
        opened(tmp_path)
    await store.close()
    again = opened(tmp_path)
    await again.close()


class FullDisk(Files):
    """Has so many bytes left."""

    def __init__(self) -> None:
        self.free = 1 << 40

    def free_bytes(self, path: Path) -> int:
        del path
        return self.free


async def test_below_the_floor_writes_are_refused(tmp_path: Path) -> None:
    """Queries go on, and writes when there is room again."""
    disk = FullDisk()
    store = Store(tmp_path, StoreOptions(Sync.NEVER, 1 << 20), files=disk, clock_ms=lambda: START)
    with pytest.raises(Refused, match="not open"):
        store.admit()
    store.open()
    engine = store.engine("default")
    await append(engine, [(0, START, 1.0)])
    store.admit()
    disk.free = 1000
    await store.maintain()
    with pytest.raises(Refused, match="bytes of disk are free"):
        store.admit()
    assert len(contents(engine)) == 1
    disk.free = 1 << 40
    await store.maintain()
    store.admit()
    await store.close()


async def test_queries_run_beside_writes(tmp_path: Path) -> None:
    """A reader on a thread sees whole batches or none, through flushes."""
    clock = Clock()
    store = opened(tmp_path, clock)
    engine = store.engine("default")
    loop = asyncio.get_running_loop()
    counts = []
    for step in range(60):
        clock.ms += 5000
        reading = loop.run_in_executor(None, contents, engine)
        await append(engine, [(i, clock.ms, float(step)) for i in range(len(LABELS))])
        if step % 10 == 9:
            await loop.run_in_executor(None, store.flush)
        found = await reading
        sizes = {len(samples) for samples in found.values()}
        counts.append(max(sizes, default=0))
        assert max(sizes, default=0) - min(sizes, default=0) <= 1
        assert counts == sorted(counts)
    await store.close()
