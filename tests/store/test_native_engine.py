"""Native histograms in the engine of one workspace: codes, both kinds in one series, blocks, deletion."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.pipeline.errors import CorruptChunk, InvalidInput
from headrace.store.engine import Engine, EngineOptions
from headrace.store.flush import Flush
from headrace.store.histogram_head import HistogramHead
from headrace.store.interfaces import Code, SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions
from native_rows import STALE, STALE_BITS, Row, bits, columns, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.block import Block
    from headrace.store.interfaces import Labels

START = 1_700_000_000_000
NAMES: list[Labels] = [(("__name__", f"h{i}"),) for i in range(3)]
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)
EVER = (0, 1 << 60)
ONE = Row(schema=3, count=3, sum_bits=bits(1.5), positive=((5, 2),), buckets=(1, 2))
TWO = replace(ONE, count=4, buckets=(1, 3))


def opened(path: Path, window_ms: int = 30_000, retention_ms: int = 1 << 50) -> Store:
    options = EngineOptions(out_of_order_ms=window_ms, retention_ms=retention_ms)
    store = Store(path, StoreOptions(Sync.NEVER, 0, options), clock_ms=lambda: START)
    store.open()
    return store


async def natives(engine: Engine, *rows: tuple[int, int, Row]) -> list[Code]:
    refs = engine.refs(NAMES)
    made = columns([refs[i] for i, _, _ in rows], [START + t for _, t, _ in rows], [row for _, _, row in rows])
    return [Code(code) for code in (await engine.append_histograms(made)).codes.tolist()]


async def numbers(engine: Engine, *rows: tuple[int, int, int]) -> list[Code]:
    refs = engine.refs(NAMES)
    values = np.array([value for _, _, value in rows], np.uint64).view(np.float64)
    times = np.array([START + t for _, t, _ in rows], np.int64)
    result = await engine.append(SeriesBatch(refs[[i for i, _, _ in rows]], times, values))
    return [Code(code) for code in result.codes.tolist()]


def contents(engine: Engine, start_ms: int = 0, end_ms: int = 1 << 60) -> list[tuple[str, int, Row]]:
    found = engine.select_histograms(ALL, start_ms, end_ms)
    owners = np.repeat(np.arange(len(found)), np.diff(found.offsets)).tolist()
    rows = rows_of(found.histograms)
    return [
        (found.labels.labels(i)["__name__"], time - START, row)
        for i, (_, time, row) in zip(owners, rows, strict=True)
    ]  # fmt: skip


async def test_codes(tmp_path: Path) -> None:
    """What becomes of each histogram is what becomes of a sample."""
    store = opened(tmp_path)
    engine = store.engine("default")
    assert await natives(engine, (0, 0, ONE), (1, 0, STALE)) == [Code.OK, Code.OK]
    codes = await natives(
        engine,
        (0, 0, ONE), (0, 0, replace(ONE, hint=1, start_ms=5)), (0, 0, TWO), (0, -10_000, ONE), (0, -10_000, ONE),
        (0, -10_000, TWO), (0, -40_000, ONE), (0, 700_000, ONE), (1, 0, TWO), (1, 0, STALE),
    )  # fmt: skip
    assert codes == [
        Code.DUPLICATE, Code.DUPLICATE, Code.CONFLICT, Code.OUT_OF_ORDER_OK, Code.DUPLICATE,
        Code.CONFLICT, Code.TOO_OLD, Code.TOO_FAR_AHEAD, Code.OUT_OF_ORDER_OK, Code.DUPLICATE,
    ]  # fmt: skip
    assert contents(engine) == [("h0", -10_000, ONE), ("h0", 0, ONE), ("h1", 0, TWO)]
    await store.close()


async def test_both_kinds_share_a_time_line(tmp_path: Path) -> None:
    """What is older than the newest of either kind is out of order; at one time there is one of them."""
    store = opened(tmp_path)
    engine = store.engine("default")
    assert await natives(engine, (0, 0, ONE)) == [Code.OK]
    assert await numbers(engine, (0, -5000, 1), (0, 0, 1), (0, 0, STALE_BITS), (0, 5000, 1)) == [
        Code.OUT_OF_ORDER_OK, Code.CONFLICT, Code.DUPLICATE, Code.OK,
    ]  # fmt: skip
    assert await natives(engine, (0, 4000, ONE), (0, 5000, ONE), (0, 5000, STALE), (0, -5000, ONE), (0, 6000, TWO)) == [
        Code.OUT_OF_ORDER_OK, Code.CONFLICT, Code.DUPLICATE, Code.CONFLICT, Code.OK,
    ]  # fmt: skip
    store.flush(everything=True)
    assert await numbers(engine, (0, 6000, 1), (0, 4000, 1)) == [Code.CONFLICT, Code.CONFLICT]
    assert await natives(engine, (0, 5000, ONE), (0, 6000, TWO)) == [Code.CONFLICT, Code.DUPLICATE]
    await store.close()
    engine = opened(tmp_path).engine("default")
    assert await numbers(engine, (0, 5500, 1)) == [Code.OUT_OF_ORDER_OK]
    assert [time for _, time, _ in contents(engine)] == [0, 4000, 6000]


async def test_without_a_window(tmp_path: Path) -> None:
    """Nothing late is taken, and repeats still count as stored."""
    store = opened(tmp_path, window_ms=0)
    engine = store.engine("default")
    codes = await natives(engine, (0, 0, ONE), (0, -1, ONE), (0, 0, ONE), (0, 0, TWO))
    assert codes == [Code.OK, Code.OUT_OF_ORDER, Code.DUPLICATE, Code.CONFLICT]
    await store.close()


async def test_rows_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    """Nothing of them is stored, and their series have no newest time by them."""
    store = opened(tmp_path)
    engine = store.engine("default")
    with pytest.raises(InvalidInput, match="native histogram 1"):
        await natives(engine, (0, 0, ONE), (0, 1, replace(ONE, buckets=(1,))))
    assert contents(engine) == []
    assert await natives(engine, (0, -20_000, ONE)) == [Code.OK]
    await store.close()


async def test_series_with_histograms_alone(tmp_path: Path) -> None:
    """They are in label queries, no orphans, in blocks of their own, deleted, purged and forgotten."""
    store = opened(tmp_path)
    engine = store.engine("default")
    await natives(engine, *((i, k * 1000, ONE) for k in range(300) for i in range(2)))
    for _ in range(2):
        assert engine.label_values("__name__", (), START, START) == ["h0", "h1"]
        assert len(engine.series(ALL, START + 299_000, START + 299_000)) == 2
        assert len(engine.series(ALL, START + 299_001, START + 299_001)) == 0
        assert engine.orphans().tolist() == engine.refs(NAMES[2:]).tolist()
        assert len(engine.select(ALL, *EVER)) == 0
        store.flush(everything=True)
    (block,) = engine.blocks
    block.verify()
    assert (block.meta.samples, block.meta.series, len(block.refs)) == (600, 2, 0)
    assert await store.delete("default", (Matcher("__name__", MatchType.EQUAL, "h0"),), START, START + 298_000) == 1
    assert [row[:2] for row in contents(engine)][:2] == [("h0", 299_000), ("h1", 0)]
    assert await store.purge("default") == 1
    assert engine.blocks[0].meta.samples == 301
    await store.delete("default", (Matcher("__name__", MatchType.EQUAL, "h0"),), *EVER)
    await store.purge("default")
    assert engine.refs(NAMES[:1])[0] in engine.orphans()
    engine.forget(engine.orphans())
    assert {name for name, _, _ in contents(engine)} == {"h1"}
    await store.close()


async def test_a_corrupt_block_is_set_aside(tmp_path: Path) -> None:
    """What lies around it stays queryable."""
    store = opened(tmp_path)
    engine = store.engine("default")
    await natives(engine, (0, 0, ONE))
    store.flush(everything=True)
    await natives(engine, (0, 1000, TWO))
    await store.close()
    path = min((tmp_path / "workspaces" / "default").glob("*.block"))
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    path.write_bytes(data)
    engine = opened(tmp_path).engine("default")
    with pytest.raises(CorruptChunk, match="HISTOGRAMS"):
        contents(engine)
    assert contents(engine) == [("h0", 1000, TWO)]


async def test_what_comes_during_a_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order for its series and older than the end of the flush: it is not lost, nor after a restart."""
    store = opened(tmp_path)
    engine = store.engine("default")
    await natives(engine, (0, 0, ONE), (1, -20_000, ONE))
    await numbers(engine, (2, -20_000, 1))
    came = []
    write = Flush.write

    def slow(flush: Flush, boundary: int) -> list[Block]:
        blocks = write(flush, boundary)
        came.append(natives(engine, (1, -10_000, TWO)))
        came.append(numbers(engine, (2, -10_000, 2)))
        for one in came:
            with contextlib.suppress(StopIteration):
                one.send(None)
        return blocks

    monkeypatch.setattr(Flush, "write", slow)
    store.flush(everything=True)
    monkeypatch.undo()
    for _ in range(2):
        assert [row[:2] for row in contents(engine)] == [("h0", 0), ("h1", -20_000), ("h1", -10_000)]
        assert engine.select(ALL, *EVER).times_ms.tolist() == [START - 20_000, START - 10_000]
        await store.close()
        store = opened(tmp_path)
        engine = store.engine("default")
    await store.close()


async def test_retention(tmp_path: Path) -> None:
    """Blocks of histograms go when they are old."""
    store = opened(tmp_path, retention_ms=86_400_000)
    engine = store.engine("default")
    await natives(engine, (0, -3 * 86_400_000, ONE))
    store.flush(everything=True)
    await natives(engine, (1, 0, ONE))
    assert engine.retain() == 1
    assert contents(engine) == [("h1", 0, ONE)]
    await store.close()


def test_the_head_encodes_what_is_enough(tmp_path: Path) -> None:
    """Open histograms stay within a bound, and what is encoded reads as what is not."""
    del tmp_path
    head = HistogramHead(open_bytes=100_000)
    given = []
    for k in range(2000):
        head.add(columns([k % 7, 9], [k, k], [ONE, TWO]))
        head.seal_where_due()
        given += [(k % 7, k, ONE), (9, k, TWO)]
    assert sum(part.size_bytes for part in head._open) <= 100_000
    assert len(head._sealed) > 2
    found = [row for part in head.read(np.arange(10, dtype=np.int32), 100, 1800) for row in rows_of(part)]
    assert sorted(row[:2] for row in found) == sorted(row[:2] for row in given if 100 <= row[1] <= 1800)
    head.forget_before(1900)
    assert head.oldest_in_order_ms == 1900
    assert head.memory_bytes() < 200_000
