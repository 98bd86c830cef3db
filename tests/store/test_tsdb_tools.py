"""Looking at a data directory, checking and repairing it, and making snapshots of it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.pipeline.errors import InvalidInput, Locked, StoreFailed
from headrace.store import inspection
from headrace.store.analysis import analyze
from headrace.store.backfill import Backfill
from headrace.store.block import Block
from headrace.store.block_writer import Section
from headrace.store.dump import DumpCounts, DumpOptions, dump
from headrace.store.engine import EngineOptions
from headrace.store.files import Files
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.openmetrics_import import ImportOptions, import_file
from headrace.store.repair import repair
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.engine import Engine

T0 = 1_700_000_000_000
STALE = float(np.uint64(0x7FF0000000000002).view(np.float64))
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)
LABELS = [(("__name__", f"m{i % 3}"), ("i", str(i))) for i in range(12)]
SAMPLES = 150


def opened(directory: Path, files: Files | None = None) -> Store:
    options = StoreOptions(Sync.NEVER, 0, EngineOptions(max_future_ms=1 << 50, linger_ms=0))
    store = Store(directory, options, files=files, clock_ms=lambda: T0)
    store.open()
    return store


async def fill(store: Store, samples: int = SAMPLES) -> None:
    """Three windows of two hours, the last one in the head."""
    engine = store.engine("default")
    refs = engine.refs(LABELS)
    for k in range(samples):
        values = np.arange(12, dtype=np.float64) / 2 + k
        values[3] = STALE if k % 50 == 49 else values[3]
        await engine.append(SeriesBatch(refs, np.full(12, T0 + k * 120_000, np.int64), values))
    store.flush()


def contents(engine: Engine) -> dict[Any, Any]:
    found = engine.select(ALL, 0, 1 << 60)
    return {
        tuple(found.labels.labels(i).items()): (
            found.times_ms[found.offsets[i] : found.offsets[i + 1]].tolist(),
            found.values[found.offsets[i] : found.offsets[i + 1]].view(np.uint64).tolist(),
        )
        for i in range(len(found))
    }


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    store = opened(tmp_path / "data")
    await fill(store)
    await store.close()
    return tmp_path / "data"


def blocks(data: Path) -> list[Path]:
    return sorted((data / "workspaces" / "default").glob("*.block"))


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x55
    path.write_bytes(raw)


def test_a_whole_directory_has_no_faults(data: Path) -> None:
    """While nobody, and while somebody, has it open."""
    assert list(inspection.verify(data)) == []
    with Backfill(data, "default"):
        assert list(inspection.verify(data)) == []


@pytest.mark.parametrize("section", list(Section)[:11], ids=lambda s: s.name)
def test_damage_of_every_section_is_found(data: Path, section: Section) -> None:
    """And its block named."""
    path = blocks(data)[0]
    place = Block(path)._sections[section]
    flip(path, place.start + place.size // 2)
    (fault,) = inspection.verify(data)
    assert fault.serious
    assert fault.path == path
    assert f"section {section.name} has another checksum" in fault.what


@pytest.mark.parametrize("how", ["cut", "missing", "manifest", "leftover", "tmp", "log"])
async def test_other_faults_are_found(data: Path, how: str) -> None:
    """Files that are cut short, missing, damaged, or left behind."""
    first = blocks(data)[0]
    store = opened(data)
    await fill(store, SAMPLES + 5)
    segments = [path for _, path in store.log.segments()]
    if how == "log":
        flip(segments[-1], 40)
    await store.log.close()
    store._lock.release()  # type: ignore[union-attr]
    expected = {
        "cut": (first, "no block, or cut short", True),
        "missing": (first, "is missing", True),
        "manifest": (first.with_name("manifest.json"), "another checksum", True),
        "leftover": (first.with_name("00000099.block"), "left from a write that was cut off", False),
        "tmp": (first.with_name("00000099.block.tmp"), "left from a write that was cut off", False),
        "log": (segments[-1], "1 damaged places", True),
    }[how]
    if how == "cut":
        first.write_bytes(first.read_bytes()[:-50])
    elif how == "missing":
        first.unlink()
    elif how == "manifest":
        path = first.with_name("manifest.json")
        path.write_bytes(path.read_bytes().replace(b'"next_ref": 12', b'"next_ref": 13'))
    elif how in {"leftover", "tmp"}:
        expected[0].write_bytes(first.read_bytes())
    found = list(inspection.verify(data))
    assert [(one.path, one.serious) for one in found] == [(expected[0], expected[2])]
    assert expected[1] in found[0].what


async def test_repair_sets_damaged_blocks_aside(data: Path) -> None:
    """A dry run changes nothing; the real one leaves a directory without faults, and the rest of the data."""
    damaged, other = blocks(data)[:2]
    place = Block(damaged)._sections[Section.VALUES]
    flip(damaged, place.start + place.size - 1)
    kept = Block(other).meta.samples
    (damaged.parent / "00000099.block").write_bytes(b"x")
    before = sorted(path.name for path in damaged.parent.iterdir())
    planned = list(repair(data, salvage=False, dry_run=True))
    assert sorted(path.name for path in damaged.parent.iterdir()) == before
    done = list(repair(data, salvage=False, dry_run=False))
    assert planned == done
    assert {action.path.name for action in done} == {damaged.name, "00000099.block"}
    assert [fault.serious for fault in inspection.verify(data)] == [False]
    assert damaged.with_suffix(".corrupt").exists()
    assert list(repair(data, salvage=False, dry_run=False)) == []
    store = opened(data)
    assert len(contents(store.engine("default"))) == 12
    assert sum(len(times) for times, _ in contents(store.engine("default")).values()) >= kept
    await store.close()


async def test_repair_salvages_what_decodes(data: Path) -> None:
    """Where one column is damaged, the series that do not use it are all there."""
    store = opened(data)
    before = contents(store.engine("default"))
    await store.close()
    damaged = blocks(data)[0]
    place = Block(damaged)._sections[Section.VALUES]
    flip(damaged, place.start)
    done = list(repair(data, salvage=True, dry_run=False))
    assert "samples are rewritten" in done[0].what
    assert not [fault for fault in inspection.verify(data) if fault.serious]
    store = opened(data)
    after = contents(store.engine("default"))
    await store.close()
    assert sum(after[labels] == before[labels] for labels in before) >= 11


def test_repair_needs_the_directory_for_itself(data: Path) -> None:
    """Whoever has it is named."""
    with Backfill(data, "default"), pytest.raises(Locked, match=str(os.getpid())):
        list(repair(data, salvage=False, dry_run=True))


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    """Nor is a workspace that is not there made up."""
    with pytest.raises(InvalidInput, match="is no data directory"):
        list(inspection.verify(tmp_path))
    (tmp_path / "workspaces").mkdir()
    with pytest.raises(InvalidInput, match="no workspace 'x'"):
        inspection.view(tmp_path, "x")


def test_analysis_counts_series_values_and_absence(data: Path) -> None:
    """Of a series that was there for a part of the time, the rest is churn."""
    text = f'm9{{i="late"}} 1 {(T0 + 17_880_000) / 1000}\n# EOF\n'
    (data / "in.om").write_text(text)
    with Backfill(data, "default") as backfill:
        import_file(data / "in.om", backfill, ImportOptions())
    found = inspection.view(data, "default")
    result = analyze(found.blocks, 3)
    assert (result.series, result.samples) == (13, 12 * SAMPLES + 1)
    assert result.labels == [("i", 13), ("__name__", 4)]
    assert result.metrics == [("m0", 4), ("m1", 4), ("m2", 4)]
    assert result.size_bytes == sum(path.stat().st_size for path in blocks(data))
    assert result.churning_pairs == [("__name__=m9", 1.0), ("i=late", 1.0)]


def imported(folder: Path) -> dict[Any, Any]:
    with Backfill(folder / "other", "default") as backfill:
        import_file(folder / "out.om", backfill, ImportOptions())
        return contents(backfill.engine)


async def test_dump_and_import_again(data: Path, tmp_path: Path) -> None:
    """OpenMetrics loses stale markers and nothing else; matchers and times cut."""
    found = inspection.view(data, "default")
    counts = DumpCounts()
    text = "".join(dump(found, DumpOptions(openmetrics=True), counts))
    assert (counts.samples, counts.stale) == (12 * SAMPLES - 3, 3)
    (tmp_path / "out.om").write_text(text)
    again = await asyncio.to_thread(imported, tmp_path)
    store = opened(data)
    want = contents(store.engine("default"))
    await store.close()
    stale = (("__name__", "m0"), ("i", "3"))
    assert {k: v for k, v in again.items() if k != stale} == {k: v for k, v in want.items() if k != stale}
    few = DumpOptions([[Matcher("i", MatchType.EQUAL, "3")]], T0 + 48 * 120_000, T0 + 49 * 120_000)
    lines = "".join(dump(found, few, DumpCounts())).splitlines()
    assert lines == [
        f'{{__name__="m0", i="3"}} 49.5 {T0 + 48 * 120_000}', f'{{__name__="m0", i="3"}} NaN {T0 + 49 * 120_000}'
    ]  # fmt: skip


async def test_a_snapshot_is_a_directory_by_itself(tmp_path: Path) -> None:
    """With what was only in the head; what comes later, or goes, does not change it."""
    store = opened(tmp_path / "data")
    await fill(store)
    await store.delete("default", [Matcher("i", MatchType.EQUAL, "5")], 0, T0 + 1_000_000)
    want = contents(store.engine("default"))
    skipping = store.snapshot(with_head=False)
    made = store.snapshot()
    assert made.parent == tmp_path / "data" / "snapshots"
    linked = next(made.rglob("*.block"))
    assert linked.stat().st_nlink >= 2
    await store.delete("default", ALL, 0, 1 << 60)
    assert await store.purge("default") > 0
    assert contents(store.engine("default")) == {}
    await store.close()
    for path in (made, skipping):
        assert list(inspection.verify(path)) == []
        other = opened(path)
        assert contents(other.engine("default")) == want
        await fill(other, 2)
        await other.close()


async def test_a_snapshot_without_links_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As across file systems."""
    store = opened(tmp_path / "data")
    await fill(store)

    def refused(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    made = store.snapshot()
    assert next(made.rglob("*.block")).stat().st_nlink == 1
    assert list(inspection.verify(made)) == []
    await store.close()


class FullDisk(Files):
    """Refuses whole files once it is told to."""

    full = False

    def write_whole(self, path: Path, data: Any) -> None:
        if self.full and "snapshots" in path.parts:
            raise OSError(28, "No space left on device")
        super().write_whole(path, data)


async def test_a_snapshot_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """And says why."""
    files = FullDisk()
    store = opened(tmp_path / "data", files)
    await fill(store)
    files.full = True
    with pytest.raises(StoreFailed, match="No space left"):
        store.snapshot()
    assert list((tmp_path / "data" / "snapshots").iterdir()) == []
    await store.close()
