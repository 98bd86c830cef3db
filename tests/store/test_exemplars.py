"""Exemplars in the store: their rules, their bytes, and random histories against a plain model."""

from __future__ import annotations

import asyncio
import math
import os
import random
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.kernels.buffers import padded
from headrace.pipeline.errors import CorruptChunk
from headrace.store import exemplar_blocks, exemplars
from headrace.store.engine import EngineOptions
from headrace.store.exemplars import ExemplarBatch, ExemplarCode, ExemplarHead, Exemplars
from headrace.store.index import Index, LabelSets
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.store.engine import Engine
    from headrace.store.interfaces import Labels

HISTORIES = int(os.environ.get("HEADRACE_HISTORIES", "24"))
START = 1_700_000_000_000
BLOCK_MS = 60_000
LABELS: list[Labels] = [(("__name__", f"m{i % 3}"), ("i", str(i))) for i in range(8)]
ANCHOR: Labels = (("__name__", "anchor"),)
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)
Row = tuple[Any, int, float, dict[str, str]]


def batch(refs: Any, rows: Sequence[tuple[int, float, dict[str, str]]], *, dated: bool = True) -> ExemplarBatch:
    """Make a batch from times, values and labels; names come in descending order, to be sorted."""
    data = bytearray()
    spans, starts = [], [0]
    for _, _, labels in rows:
        for name, value in sorted(labels.items(), reverse=True):
            row = []
            for text in (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")):
                row += [len(data), len(text)]
                data += text
            spans.append(row)
        starts.append(len(spans))
    return ExemplarBatch(
        np.asarray(refs, np.int32),
        np.array([time for time, _, _ in rows], np.int64),
        np.array([value for _, value, _ in rows], np.float64),
        np.full(len(rows), dated),
        padded(bytes(data)),
        np.array(spans, np.int32).reshape(-1, 4),
        np.array(starts, np.int32),
    )


def opened(directory: Path, clock: list[int], **engine: Any) -> Store:
    options = EngineOptions(block_ms=BLOCK_MS, out_of_order_ms=30_000, max_future_ms=600_000, linger_ms=0, **engine)
    store = Store(directory, StoreOptions(Sync.NEVER, 0, options), clock_ms=lambda: clock[0])
    store.open()
    return store


def abandon(store: Store) -> None:
    """Leave a store as kill -9 does: nothing is closed, only the lock goes with the process."""
    assert store._lock is not None
    store._lock.release()
    store._lock = None
    store._open = False
    store.log._thread.shutdown()


async def sample(engine: Engine, labels: Sequence[Labels], time: int) -> Any:
    refs = engine.refs(labels)
    await engine.append(SeriesBatch(refs, np.full(len(refs), time, np.int64), np.ones(len(refs))))
    return refs


async def put(
    engine: Engine, labels: Labels, *rows: tuple[int, float, dict[str, str]], dated: bool = True
) -> list[str]:
    refs = engine.refs([labels] * len(rows))
    result = await engine.append_exemplars(batch(refs, rows, dated=dated))
    return [ExemplarCode(code).name for code in result.codes.tolist()]


def contents(engine: Engine, start: int = 0, end: int = 1 << 60, matchers: Any = ALL) -> list[Row]:
    table, rows = engine.exemplars(matchers, start, end)
    found = []
    for row, (_, numbers) in enumerate(exemplars.by_series(rows)):
        labels = tuple(table.labels(row).items())
        found += [(labels, int(rows.times_ms[i]), float(rows.values[i]), rows.label_set(i)) for i in numbers]
    return found


def test_exemplars_on_their_way_hold_the_log_from_where_they_may_be() -> None:
    """Not all of it: until it is known where their record lies, no segment before the present one is held."""
    head = ExemplarHead()
    assert head.needed_segment() is None
    part, _ = head.append(batch([0], [(START, 1.0, {})]), START, 1, 7)
    assert head.needed_segment() == 7
    assert part is not None
    head.logged(part, 9)
    assert head.needed_segment() == 9


async def test_rules(tmp_path: Path) -> None:
    """Repeats of the newest one are fine, older ones are not, in order of time, value and labels."""
    store = opened(tmp_path, [START])
    engine = store.engine("default")
    a, b = LABELS[:2]
    assert await put(engine, a, (START, 1.0, {"t": "x", "s": "y"})) == ["OK"]
    assert await put(engine, a, (START, 1.0, {"t": "x", "s": "y"})) == ["DUPLICATE"]
    assert await put(engine, a, (START, 0.5, {"t": "x"}), (START, 2.0, {"t": "x"})) == ["OUT_OF_ORDER", "OK"]
    assert await put(engine, a, (START - 1, 9.0, {})) == ["OUT_OF_ORDER"]
    both = sorted(await put(engine, b, (START, 3.0, {"t": "1"}))) + await put(engine, b, (START, 3.0, {"t": "2"}))
    assert both in (["OK", "OK"], ["OK", "OUT_OF_ORDER"])
    assert await put(engine, a, (START + 5, math.nan, {}), (START + 5, math.nan, {})) == ["OK", "DUPLICATE"]
    assert await put(engine, a, (START + 700_000, 1.0, {})) == ["TOO_FAR_AHEAD"]
    assert await put(engine, a, (START + 9, math.nan, {}), dated=False) == ["DUPLICATE"]
    head = engine.exemplar_statistics()
    assert head.codes[ExemplarCode.DUPLICATE] == 3
    assert [row[1:] for row in contents(engine, matchers=(Matcher("i", MatchType.EQUAL, "0"),))][:2] == [
        (START, 1.0, {"s": "y", "t": "x"}),
        (START, 2.0, {"t": "x"}),
    ]
    await store.close()


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ({"a": "x" * 127}, "OK"),
        ({"a": "x" * 128}, "TOO_LONG"),
        ({"ä": "😀" * 127}, "OK"),
        ({"ä": "😀" * 128}, "TOO_LONG"),
        ({"a": "x" * 100_000}, "TOO_LONG"),
        ({f"{i:02}": "" for i in range(64)}, "OK"),
        ({f"{i:02}": "" for i in range(65)}, "TOO_LONG"),
        ({"": "x"}, "INVALID"),
        ({"a": "\udcff"}, "INVALID"),
        ({}, "OK"),
    ],
)
async def test_labels(tmp_path: Path, labels: dict[str, str], code: str) -> None:
    """As many characters as OpenMetrics allows, UTF-8, and no empty name."""
    store = opened(tmp_path, [START])
    engine = store.engine("default")
    assert await put(engine, LABELS[0], (START, 1.0, labels)) == [code]
    assert contents(engine) == ([(LABELS[0], START, 1.0, dict(sorted(labels.items())))] if code == "OK" else [])
    await store.close()


def test_repeated_names_are_refused() -> None:
    """Whatever lies between them."""
    given = batch([0], [(1, 1.0, {"a": "1", "b": "2", "c": "3"})])
    given.spans[0, :2] = given.spans[2, :2]
    rows, codes = exemplars.of_batch(given)
    assert codes.tolist() == [ExemplarCode.INVALID]
    assert len(rows.refs) == 0


def rows_of(*rows: tuple[int, int, float, dict[str, str]]) -> Exemplars:
    return exemplars.of_batch(batch([row[0] for row in rows], [row[1:] for row in rows]))[0]


SMALL = rows_of((5, 1000, 0.5, {"id": "ab"}), (2, 900, -1.0, {}), (5, 1010, 2.0, {"id": "ab"}))
LABEL = "0200 6964 0200 6162"


def test_golden_record() -> None:
    """The format does not drift: these bytes were worked out by hand from docs/format/exemplars.md."""
    expected = bytes.fromhex(
        "03000000 05000000 02000000 05000000"
        "e803000000000000 8403000000000000 f203000000000000"
        "000000000000e03f 000000000000f0bf 0000000000000040"
        f"0800 0000 0800 {LABEL} {LABEL}"
    )
    assert exemplars.encode(SMALL) == expected
    again = exemplars.decode(expected)
    assert exemplars.encode(again) == expected
    assert [again.label_set(i) for i in range(3)] == [{"id": "ab"}, {}, {"id": "ab"}]


def test_golden_sections() -> None:
    """The sections of a block, before compression."""
    index = Index()
    index.intern(LabelSets.of([(("__name__", "m"),)]), np.array([2], np.int32))
    index.intern(LabelSets.of([(("__name__", "n"),)]), np.array([5], np.int32))
    found = exemplar_blocks.encode(SMALL, np.array([5], np.int32), index)
    assert {int(kind): data.hex() for kind, data in found.items()} == {
        kind: bytes.fromhex(data).hex()
        for kind, data in {
            20: "03000000 8403000000000000 f203000000000000 02000000 03000000 00000000",
            21: "8403000000000000 6400000000000000 0a00000000000000",
            22: "000000000000f0bf 000000000000e03f 0000000000000040",
            23: f"02000000 0000 0800 00000000 01000000 01000000 {LABEL}",
            24: "01000000 02000000 0100 08000000 5f5f6e616d655f5f 01000000 6d",
        }.items()
    }
    assert exemplar_blocks.encode(Exemplars.empty(), np.empty(0, np.int32), index) == {}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data[:3], "shorter than its head"),
        (lambda data: data[:40], "do not hold 3 exemplars"),
        (lambda data: data[:-1], "not well formed"),
        (lambda data: data + b"x", "not well formed"),
        (lambda data: b"\xff\xff\xff\xff" + data[4:], "do not hold 4294967295 exemplars"),
        (lambda data: data[:-10] + b"\xff" + data[-9:], "not well formed"),
        (lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:], "ref -1"),
    ],
)
def test_corrupt_records(change: Any, why: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(CorruptChunk, match=why):
        exemplars.decode(change(exemplars.encode(SMALL)))


@pytest.mark.fuzz
def test_mutated_records() -> None:
    """Whatever the bytes, there is an answer or an error."""
    pick = random.Random(3)
    whole = exemplars.encode(SMALL)
    for _ in range(int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))):
        data = bytearray(whole)
        for _ in range(pick.randint(1, 4)):
            data[pick.randrange(len(data))] = pick.randrange(256)
        try:
            found = exemplars.decode(bytes(data[: pick.randint(0, len(data)) if pick.random() < 0.3 else None]))
        except CorruptChunk:
            continue
        assert all(isinstance(found.label_set(i), dict) for i in range(len(found.refs)))


class _FakeBlock:
    """Sections without a file."""

    def __init__(self, sections: dict[int, bytes]) -> None:
        self._sections = sections

    def optional(self, kind: int) -> bytes | None:
        return self._sections.get(int(kind))

    path = type("Path", (), {"name": "00000001.block"})


@pytest.mark.fuzz
def test_mutated_sections() -> None:
    """Sections that do not decode are as none; what decodes is rows."""
    pick = random.Random(4)
    index = Index()
    index.reserve_refs(6)
    whole = {int(k): v for k, v in exemplar_blocks.encode(SMALL, np.array([2, 5], np.int32), index).items()}
    assert len(exemplar_blocks.read(_FakeBlock(whole)).refs) == 3  # type: ignore[arg-type]  # as a block
    for _ in range(int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))):
        sections = {kind: bytearray(data) for kind, data in whole.items()}
        data = sections[pick.choice(list(sections))]
        at = pick.randrange(len(data))
        data[at] = pick.randrange(256)
        if pick.random() < 0.3:
            del data[at:]
        found = exemplar_blocks.read(_FakeBlock({k: bytes(v) for k, v in sections.items()}))  # type: ignore[arg-type]
        assert len(found.refs) in (0, 3)


async def test_memory_is_bounded(tmp_path: Path) -> None:
    """The oldest go, and are counted."""
    store = opened(tmp_path, [START], max_exemplars=5)
    engine = store.engine("default")
    await put(engine, LABELS[0], *((START + i, float(i), {}) for i in range(4)))
    await put(engine, LABELS[1], *((START + i, float(i), {}) for i in range(3)))
    assert [(row[0][1][1], row[2]) for row in contents(engine)] == [
        ("0", 2.0),
        ("0", 3.0),
        ("1", 0.0),
        ("1", 1.0),
        ("1", 2.0),
    ]
    assert engine.exemplar_statistics().evicted == 2
    await store.close()


@pytest.mark.parametrize("way", ["close", "crash", "flush and crash"])
async def test_they_survive(tmp_path: Path, way: str) -> None:
    """A restart, a crash, and a crash after a flush; afterwards the rules know the newest one."""
    clock = [START]
    store = opened(tmp_path, clock)
    engine = store.engine("default")
    await sample(engine, [ANCHOR], START)
    await put(engine, LABELS[0], (START - 1, 1.0, {"trace_id": "ä"}), (START, 2.0, {}))
    before = contents(engine)
    assert len(before) == 2
    if way == "close":
        await store.close()
    else:
        if way == "flush and crash":
            store.flush(everything=True)
            assert len(engine.exemplar_statistics()) == 0
        abandon(store)
    store = opened(tmp_path, clock)
    engine = store.engine("default")
    assert contents(engine) == before
    assert await put(engine, LABELS[0], (START, 2.0, {}), (START, 1.0, {})) == ["DUPLICATE", "OUT_OF_ORDER"]
    assert len(engine.orphans()) == 0
    await store.close()


async def test_the_log_is_kept_for_exemplars_in_no_block(tmp_path: Path) -> None:
    """An exemplar from after the last block is not lost with the segment that it lies in."""
    clock = [START]
    store = opened(tmp_path, clock)
    engine = store.engine("default")
    await sample(engine, [ANCHOR], START)
    await put(engine, LABELS[0], (START + 5000, 1.0, {}))
    store.flush(everything=True)
    assert len(engine.exemplar_statistics()) == 1
    abandon(store)
    store = opened(tmp_path, clock)
    assert contents(store.engine("default")) == [(LABELS[0], START + 5000, 1.0, {})]
    await store.close()


async def test_retention(tmp_path: Path) -> None:
    """They go with their block, and out of memory."""
    clock = [START]
    store = opened(tmp_path, clock, retention_ms=100_000)
    engine = store.engine("default")
    await sample(engine, [ANCHOR], START)
    await put(engine, LABELS[0], (START, 1.0, {}), (START + 10, 1.0, {}))
    store.flush(everything=True)
    assert len(contents(engine)) == 2
    clock[0] += 200_000
    engine.retain()
    assert contents(engine) == []
    await store.close()


@pytest.mark.parametrize("kind", exemplar_blocks.ExemplarSection, ids=lambda kind: kind.name)
async def test_a_damaged_section_costs_the_exemplars_only(
    tmp_path: Path, kind: exemplar_blocks.ExemplarSection
) -> None:
    """The samples of the block stay, also when it is merged, and so do the exemplars of other blocks."""
    clock = [START]
    store = opened(tmp_path, clock)
    engine = store.engine("default")
    for labels in LABELS[:2]:
        await sample(engine, [ANCHOR], clock[0])
        await put(engine, labels, (clock[0], 1.0, {"trace_id": "abcdefghijklmnop"}))
        store.flush(everything=True)
        clock[0] += BLOCK_MS
    block = engine.blocks[0]
    place = block._sections[kind]
    await store.close()
    data = bytearray(block.path.read_bytes())
    data[place.start + place.size // 2] ^= 1
    block.path.write_bytes(data)
    store = opened(tmp_path, clock)
    engine = store.engine("default")
    for _ in range(2):
        assert [labels for labels, *_ in contents(engine)] == [LABELS[1]]
        assert engine.select(ALL, 0, 1 << 60).times_ms.tolist() == [START, START + BLOCK_MS]
        engine._merging.merge(engine.blocks, rest=0)
    assert len(engine.blocks) == 1
    assert engine.block_set.statistics.set_aside == 0
    await store.close()


class History:
    """A store and its model: what was acknowledged and not deleted. A series without deletions keeps blocks alive."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.clock = [START]
        self.model: list[Row] = []
        self.log: list[Any] = []
        self.store = opened(directory, self.clock)

    @property
    def engine(self) -> Engine:
        return self.store.engine("default")

    async def append(self) -> None:
        pick = self.random
        self.clock[0] += pick.choice([1000, 5000, 15_000, 40_000])
        await sample(self.engine, [ANCHOR, *pick.sample(LABELS, 3)], self.clock[0])
        rows = []
        for _ in range(pick.randint(1, 6)):
            labels = {"trace_id": f"{pick.randint(0, 5)}"} | ({"ä": "ö"} if pick.random() < 0.3 else {})
            time = self.clock[0] + pick.choice([-50_000, -2000, -1000, 0, 0, 1, 3000])
            rows.append((pick.choice(LABELS), (time, float(pick.randint(0, 3)), labels)))
        refs = self.engine.refs([labels for labels, _ in rows])
        codes = (await self.engine.append_exemplars(batch(refs, [row for _, row in rows]))).codes.tolist()
        for (series, (time, value, own)), code in zip(rows, codes, strict=True):
            row = (series, time, value, dict(sorted(own.items())))
            if code == ExemplarCode.OK:
                assert row not in self.model
                self.model.append(row)
            elif code == ExemplarCode.OUT_OF_ORDER:
                assert any(other[0] == series for other in self.model) or self.deleted
            else:
                assert code == ExemplarCode.DUPLICATE
                assert row in self.model or self.deleted

    deleted = False

    async def delete(self) -> None:
        pick = self.random
        name = f"m{pick.randint(0, 2)}"
        start, end = sorted(START + pick.randint(-60_000, max(self.clock[0] - START, 1)) for _ in range(2))
        await self.store.delete("default", (Matcher("__name__", MatchType.EQUAL, name),), start, end)
        self.deleted = True
        # As for samples: what is newer than the head's beginning came afterwards.
        end = min(end, self.engine.head.valid_from - 1)
        self.model = [row for row in self.model if row[0][0][1] != name or not start <= row[1] <= end]

    async def act(self) -> None:
        action = self.random.choices(
            ["append", "flush", "everything", "delete", "purge", "compact", "restart", "crash", "orphans"],
            [70, 6, 4, 4, 2, 6, 3, 5, 2],
        )[0]
        self.log.append((action, self.clock[0] - START))
        if action == "flush":
            self.store.flush()
        elif action == "everything":
            self.store.flush(everything=True)
        elif action == "purge":
            await self.store.purge("default")
        elif action == "compact":
            await self.store.compact()
        elif action == "restart":
            await self.store.close()
            self.store = opened(self.directory, self.clock)
        elif action == "crash":
            abandon(self.store)
            self.store = opened(self.directory, self.clock)
        elif action == "orphans":
            self.engine.forget(self.engine.orphans())
        else:
            await getattr(self, action)()

    def check(self) -> None:
        start, end = 0, 1 << 60
        if self.random.random() < 0.5:
            start, end = sorted(START + self.random.randint(-60_000, self.clock[0] - START) for _ in range(2))
        key = repr
        found = contents(self.engine, start, end)
        assert sorted(found, key=key) == sorted((r for r in self.model if start <= r[1] <= end), key=key), self.log
        times = [(row[0], row[1]) for row in found]
        assert all(a[1] <= b[1] for a, b in pairwise(times) if a[0] == b[0])

    async def run(self) -> None:
        for _ in range(25):
            await self.act()
            self.check()
        abandon(self.store)


def test_histories(tmp_path: Path) -> None:
    """Appends, deletions, purges, flushes, merges, restarts and crashes in any order."""
    for seed in range(HISTORIES):
        try:
            asyncio.run(History(tmp_path / str(seed), seed).run())
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error


def test_joined_and_taken_rows_keep_their_labels() -> None:
    """Any order, repeats included."""
    both = Exemplars.joined([SMALL, SMALL.take(np.array([2, 1]))])
    assert [both.label_set(i) for i in range(5)] == [{"id": "ab"}, {}, {"id": "ab"}, {"id": "ab"}, {}]
    assert both.take(np.array([4, 3])).times_ms.tolist() == [900, 1010]
    assert struct.pack("<d", both.values[4]) == struct.pack("<d", -1.0)
