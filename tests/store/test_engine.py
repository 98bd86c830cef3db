"""The engine against a plain model: appends, flushes, reopenings, selections."""

from __future__ import annotations

import asyncio
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
STALE_BITS = 0x7FF0000000000002
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
        Code.OUT_OF_ORDER_OK,
        Code.DUPLICATE,
        Code.CONFLICT,
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


async def test_a_sample_of_long_ago_makes_a_block_and_no_search(tmp_path: Path) -> None:
    """A flush looks only into windows that have samples, however many lie between."""
    store = opened(tmp_path)
    engine = store.engine("default")
    old = 1_000_000_000
    await append(engine, [(0, old, 1.0), (0, START - 5, 2.0), (1, START, 3.0)])
    before = engine.block_set.next_block
    assert store.flush(everything=True) == 3
    assert engine.block_set.next_block - before == len(engine.blocks) == 2
    assert [time for samples in contents(engine).values() for time, _ in samples] == [old, START - 5, START]
    await store.close()


async def test_late_samples_of_an_open_window_do_not_make_flushes_due(tmp_path: Path, monkeypatch: Any) -> None:
    """Only those do that a flush would write."""
    monkeypatch.setattr("headrace.store.engine.flushing._MAX_LATE", 1)
    store = opened(tmp_path)
    engine = store.engine("default")
    await append(engine, [(0, START, 1.0)])
    await append(engine, [(0, START - 1000, 1.0), (0, START - 2000, 1.0)])
    assert engine.head.late_samples == 2
    assert not engine.flush_due()
    store.flush(everything=True)
    await append(engine, [(0, START - 3000, 1.0), (0, START - 4000, 1.0)])
    assert engine.flush_due()
    await store.close()


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


@pytest.mark.parametrize("where", ["head", "blocks", "both", "deleted"])
async def test_values_of_labels_are_those_of_a_time(tmp_path: Path, where: str) -> None:
    """A value counts where some series that has it has a sample in the time, wherever that is stored."""
    store = opened(tmp_path)
    engine = store.engine("default")
    model = [(i, START + 1000 * (7 * i % 12)) for i in range(len(LABELS))]
    for i, time in sorted(model, key=lambda row: row[1]):
        await append(engine, [(i, time, 1.0)])
        if where == "both" and time == START + 6000:
            store.flush(everything=True)
    if where in {"blocks", "deleted"}:
        store.flush(everything=True)
    if where == "deleted":
        engine.delete((Matcher("i", MatchType.EQUAL, "5"),), 0, 1 << 60)
        model = [row for row in model if row[0] != 5]
    for start in range(START - 1000, START + 13_000, 1000):
        for end in range(start, START + 13_000, 1000):
            there = [dict(LABELS[i]) for i, time in model if start <= time <= end]
            for name in ("__name__", "i"):
                assert engine.label_values(name, (), start, end) == sorted({labels[name] for labels in there})
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
    assert engine.block_set.statistics.set_aside == 1
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


async def test_the_newest_blocks_are_checked_after_the_start(tmp_path: Path) -> None:
    """A corrupt one is set aside before any query fails; older ones wait where all are too many."""
    clock = Clock()
    store = opened(tmp_path, clock)
    engine = store.engine("default")
    for i in range(3):
        await append(engine, [(i, clock.ms, 1.0)])
        store.flush(everything=True)
        clock.ms += 120_000
    oldest, middle, _ = sorted(block.path for block in engine.blocks)
    await store.close()
    for path in (oldest, middle):
        data = bytearray(path.read_bytes())
        data[70] ^= 255
        path.write_bytes(data)
    again = opened(tmp_path, clock)
    engine = again.engine("default")
    sizes = [block.size_bytes for block in sorted(engine.blocks, key=lambda block: block.number)]
    assert engine.check_newest(sizes[2] - 1) == 0
    assert engine.check_newest(sizes[1] + sizes[2]) == sizes[1] + sizes[2]
    assert engine.block_set.statistics.set_aside == 1
    await again._check_newest()
    assert engine.block_set.statistics.set_aside == 2
    assert set(contents(engine)) == {LABELS[2]}
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
