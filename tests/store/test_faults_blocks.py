"""Damaged, cut, missing and foreign files of a workspace: what is lost is set aside and reported, the rest answers."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import CorruptChunk, StoreFailed
from headrace.store.block import Block
from headrace.store.block_writer import FIRST_OPTIONAL, FOOTER, HEADER, SECTION, Section
from native_rows import Growing, columns, rows_of
from store_lab import ALL, BLOCK_MS, StoreLab, flip, without

if TYPE_CHECKING:
    from pathlib import Path

    from store_lab import Contents


def answered(lab: StoreLab) -> Contents:
    """Ask; a query that finds a damaged block says so, and the next one goes on without it."""
    try:
        return lab.contents()
    except CorruptChunk:
        return lab.contents()


async def closed_lab(directory: Path) -> tuple[StoreLab, Contents]:
    """Return a closed store with three blocks and nothing in the log, and its contents."""
    lab = StoreLab(directory)
    contents = await lab.three_blocks()
    await lab.store.close()
    return lab, contents


def path_of(lab: StoreLab, number: int) -> Path:
    return lab.workspace / f"{number:08d}.block"


def span(path: Path) -> tuple[int, int]:
    block = Block(path)
    return block.meta.min_ms, block.meta.max_ms


def parts(path: Path) -> dict[str, tuple[int, int]]:
    """Return where the parts of a block lie: first byte and size."""
    block = Block(path)
    size = path.stat().st_size
    table = size - FOOTER.size - len(block._sections) * SECTION.size
    found = {section.name: (place.start, place.size) for section, place in block._sections.items()}
    footer = (size - FOOTER.size, FOOTER.size)
    return {**found, "header": (0, HEADER.size), "table": (table, size - FOOTER.size - table), "footer": footer}


FLOATS = [section.name for section in Section if section < FIRST_OPTIONAL]
HISTOGRAMS = [section.name for section in Section if section >= FIRST_OPTIONAL]


@pytest.mark.parametrize("part", [*FLOATS, "header", "table", "footer"])
async def test_a_bit_flip_in_a_block(tmp_path: Path, part: str) -> None:
    """In whatever part: the block is set aside, nothing else is lost, and writing, merging and restarting go on."""
    lab, contents = await closed_lab(tmp_path)
    # The first one: it alone tells what the series are called; for the others, the first one does.
    path = path_of(lab, 1)
    start, size = parts(path)[part]
    lost = span(path)
    place = random.randrange(size)
    flip(path, start + place, random.randrange(8))
    lab.open()
    assert answered(lab) == without(contents, *lost), f"byte {place} of {part}"
    assert lab.engine.block_set.statistics.set_aside == 1
    assert path.with_suffix(".corrupt").exists()
    assert not path.exists()
    await lab.append("a", 77.0)
    lab.store.flush(everything=True)
    await lab.store.compact()
    expected = without(contents, *lost)
    expected["a"][lab.ms] = 77.0
    assert lab.contents() == expected
    lab.reopen()
    assert lab.contents() == expected
    assert lab.engine.block_set.statistics.set_aside == 0


@pytest.mark.parametrize("part", HISTOGRAMS)
async def test_a_bit_flip_in_the_histograms_of_a_block(tmp_path: Path, part: str) -> None:
    """The block is set aside, and the histograms of the other one are still there."""
    lab = StoreLab(tmp_path)
    growing = Growing(random.Random(7))
    for _ in range(2):
        refs = lab.engine.refs([(("__name__", "h"),)])
        for _ in range(10):
            codes = (await lab.engine.append_histograms(columns(refs.tolist(), [lab.ms], [growing.next()]))).codes
            assert codes.tolist() == [0]
            lab.ms += 5000
        lab.ms = (lab.ms // BLOCK_MS + 1) * BLOCK_MS
        lab.store.flush(everything=True)
    second = lab.engine.blocks[1].meta.min_ms
    before = rows_of(lab.engine.select_histograms(ALL, 0, 1 << 60).histograms)
    await lab.store.close()
    path = path_of(lab, 1)
    start, size = parts(path)[part]
    flip(path, start + random.randrange(size), random.randrange(8))
    lab.open()
    with contextlib.suppress(CorruptChunk):
        lab.engine.select_histograms(ALL, 0, 1 << 60)
    assert rows_of(lab.engine.select_histograms(ALL, 0, 1 << 60).histograms) == [r for r in before if r[1] >= second]
    assert lab.engine.block_set.statistics.set_aside == 1


@pytest.mark.parametrize("size", [0, 10, 63, 88, 200, -1, -24])
async def test_a_truncated_block(tmp_path: Path, size: int) -> None:
    """At any size."""
    lab, contents = await closed_lab(tmp_path)
    path = path_of(lab, 2)
    lost = span(path)
    path.write_bytes(path.read_bytes()[:size])
    lab.open()
    assert answered(lab) == without(contents, *lost)
    assert path.with_suffix(".corrupt").exists()


async def test_damage_that_a_merge_finds(tmp_path: Path) -> None:
    """It is set aside instead of being tried for ever, and the others are merged."""
    lab, contents = await closed_lab(tmp_path)
    path = path_of(lab, 2)
    lost = span(path)
    start, size = parts(path)["VALUES"]
    lab.open()
    flip(path, start + size // 2)
    with pytest.raises(CorruptChunk):
        lab.engine.blocks[1].verify()
    lab.engine._merging.merge(lab.engine.blocks)
    assert lab.contents() == without(contents, *lost)
    lab.engine._merging.merge(lab.engine.blocks)
    assert len(lab.engine.blocks) == 1
    assert lab.contents() == without(contents, *lost)


async def test_a_missing_block(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported by name and counted; the others answer."""
    lab, contents = await closed_lab(tmp_path)
    path = path_of(lab, 2)
    lost = span(path)
    path.unlink()
    lab.open()
    assert lab.contents() == without(contents, *lost)
    assert lab.engine.block_set.statistics.missing == 1
    assert "00000002.block, which the manifest names, is missing" in caplog.text


async def test_a_block_of_a_later_version(tmp_path: Path) -> None:
    """The start is refused, naming block and version: it is no damage, and what it holds must not go."""
    lab, contents = await closed_lab(tmp_path)
    path = path_of(lab, 2)
    whole = path.read_bytes()
    later = whole[:6] + b"\x09" + whole[7:-2] + b"\x09" + whole[-1:]
    path.write_bytes(later)
    with pytest.raises(StoreFailed, match=r"00000002\.block: a block of version 9"):
        lab.open()
    lab.crash()
    assert path.read_bytes() == later
    path.write_bytes(whole)
    lab.open()
    assert lab.contents() == contents


async def test_bit_flips_in_the_manifest(tmp_path: Path) -> None:
    """All blocks that are there are taken; nothing is lost."""
    lab, contents = await closed_lab(tmp_path)
    path = lab.workspace / "manifest.json"
    whole = path.read_bytes()
    places = {whole.index(b"2"), *random.sample(range(len(whole) - 1), 25)}
    for place in places:
        path.write_bytes(whole)
        flip(path, place, random.randrange(8))
        lab.open()
        assert lab.contents() == contents, f"byte {place}"
        assert lab.engine.block_set.statistics.set_aside == 1
        await lab.append("a", 1.0, lab.ms)
        lab.crash()
        for segment in (tmp_path / "wal").iterdir():
            segment.unlink()


async def test_a_missing_manifest(tmp_path: Path) -> None:
    """As with a damaged one; what the log still holds is recognised as the same samples."""
    lab = StoreLab(tmp_path)
    contents = await lab.three_blocks()
    await lab.append("a", 5.0)
    contents["a"][lab.ms] = 5.0
    lab.crash()
    (lab.workspace / "manifest.json").unlink()
    lab.open()
    assert lab.contents() == contents
    lab.ms += 1000
    await lab.append("c", 6.0)
    lab.reopen()
    assert lab.contents() == {**contents, "c": {lab.ms: 6.0}}


async def test_a_manifest_of_a_later_version(tmp_path: Path) -> None:
    """The start is refused, naming file and version."""
    lab, _ = await closed_lab(tmp_path)
    path = lab.workspace / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"version": 2', b'"version": 3'))
    with pytest.raises(StoreFailed, match=r"manifest\.json: version 3 is not known here"):
        lab.open()


async def test_bit_flips_in_the_tombstones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are set aside and that is reported; what the log still tells of is deleted again."""
    lab = StoreLab(tmp_path)
    contents = await lab.three_blocks()
    first = min(contents["a"])
    await lab.delete(first, first + 20_000)
    path = lab.workspace / "tombstones"
    lab.crash()
    flip(path, random.randrange(16))
    lab.open()
    assert "tombstones is corrupt and was set aside" in caplog.text
    assert lab.contents() == without(contents, first, first + 20_000)
    await lab.store.close()
    flip(path, random.randrange(20, path.stat().st_size))
    lab.open()
    assert lab.contents() == contents
    assert "deleted samples that are not purged yet come back" in caplog.text


async def test_leftovers_of_a_flush_or_merge(tmp_path: Path) -> None:
    """Files that no manifest names are removed, counted, and their numbers not given again."""
    lab, contents = await closed_lab(tmp_path)
    whole = path_of(lab, 3).read_bytes()
    path_of(lab, 9).write_bytes(whole)
    (lab.workspace / "00000010.block.tmp").write_bytes(whole[:100])
    (lab.workspace / "manifest.json.tmp").write_bytes(b"{")
    (tmp_path / "wal" / "00000001.wal.tmp").write_bytes(b"HR")
    lab.open()
    assert lab.contents() == contents
    assert lab.engine.block_set.statistics.leftovers == 3
    assert lab.engine.block_set.next_block == 10
    assert [path.name for path in (tmp_path / "wal").iterdir()] == ["00000001.wal"]
    assert not [path for path in lab.workspace.iterdir() if path.suffix == ".tmp"]
