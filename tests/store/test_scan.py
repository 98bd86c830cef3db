"""Scans: any slice of the series reads as a selection of them, whatever lies where."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.scan import plain_columns
from headrace.store.store import Store, StoreOptions
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.store.scan import EngineScan

START = 1_700_000_000_000
SERIES = 30
ALL = (Matcher("__name__", MatchType.EQUAL, "m"),)
TIMES = ((START, START + 10_000_000), (START + 100_000, START + 500_000), (START + 330_000, START + 331_000), (0, 1))
LAYOUTS = ("head", "block", "block and head", "two blocks", "late", "deleted")


async def fill(store: Store, layout: str) -> None:
    """Store series of three targets, in blocks and in the head as `layout` says."""
    engine = store.engine("default")
    refs = engine.refs([(("__name__", "m"), ("i", f"{i:02d}"), ("t", str(i // 10))) for i in range(SERIES)])
    for scrape in range(100):
        times = START + scrape * 10_000 + np.repeat([0, 3, 7], 10) * (scrape % 3)
        keep = np.arange(SERIES) // 5 != scrape % 11
        await engine.append(SeriesBatch(refs[keep], times[keep], refs[keep] * 1000.0 + scrape))
        if layout in {"block and head", "two blocks"} and scrape == 50:
            store.flush(everything=True)
    if layout in {"block", "two blocks", "late", "deleted"}:
        store.flush(everything=True)
    if layout == "late":
        await engine.append(SeriesBatch(refs, np.full(SERIES, START + 255_555), np.full(SERIES, 5.0)))
    if layout == "deleted":
        await store.delete("default", (Matcher("i", MatchType.REGEX, "0[3-6]"),), START + 200_000, START + 400_000)


@pytest.fixture(scope="module", params=LAYOUTS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A workspace whose samples lie as the parameter says."""
    directory: Path = tmp_path_factory.mktemp("scan")
    options = EngineOptions(max_future_ms=1 << 40, out_of_order_ms=1 << 40, block_ms=1 << 40)
    store = Store(directory, StoreOptions(Sync.NEVER, 0, options), clock_ms=lambda: START)
    store.open()
    asyncio.run(fill(store, request.param))
    yield store
    asyncio.run(store.close())


def contents(scan: EngineScan, first: int, last: int, *, share: bool) -> list[tuple[str, list[int], list[float]]]:
    """Return label, times and values of the series of a slice that have samples."""
    samples = plain_columns(scan.read(first, last, share=share))
    found = []
    for i in range(last - first):
        part = slice(samples.offsets[i], samples.offsets[i + 1])
        label = scan.labels.labels(first + i)["i"]
        found.append((label, samples.times_ms[part].tolist(), samples.values[part].tolist()))
    return [one for one in found if one[1]]


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("share", [False, True], ids=["apart", "shared"])
def test_slices_are_what_is_selected(store: Store, times: tuple[int, int], *, share: bool) -> None:
    """All slices together have what a selection has, in its order."""
    engine = store.engine("default")
    found = engine.select(ALL, *times)
    expected = []
    for i in range(len(found)):
        part = slice(found.offsets[i], found.offsets[i + 1])
        expected.append((found.labels.labels(i)["i"], found.times_ms[part].tolist(), found.values[part].tolist()))
    scan = engine.scan(ALL, *times)
    assert contents(scan, 0, len(scan), share=share) == expected
    cuts = (0, 1, 9, 10, 11, 25, SERIES)
    slices = [contents(scan, a, b, share=share) for a, b in pairwise(cuts)]
    assert [one for part in slices for one in part] == expected


def test_counts_are_at_least_what_is_there(store: Store) -> None:
    """Whoever cuts a scan into batches knows how large they become."""
    scan = store.engine("default").scan(ALL, *TIMES[1])
    assert (scan.counts() + 1 >= scan.read(0, len(scan)).counts).all()


def test_series_of_one_scrape_have_one_copy_of_their_times(store: Store) -> None:
    """Times that are equal are named, not copied."""
    samples = store.engine("default").scan(ALL, *TIMES[0]).read(0, SERIES)
    named = set(samples.time_places[samples.counts > 0].tolist())
    # Six sets of five, and those of which a part was deleted.
    assert len(named) <= 6 + 2


def test_columns_are_those_of_the_table(store: Store) -> None:
    """One label of all series is had without the others."""
    scan = store.engine("default").scan(ALL, *TIMES[0])
    for name in ("i", "t", "__name__"):
        assert scan.column(name).tolist() == scan.labels.column(name).tolist()
    assert set(scan.column("nothing").tolist()) == {ABSENT}


def test_what_a_flush_moves_meanwhile_is_not_lost(tmp_path: Path) -> None:
    """A scan that was begun before a flush reads from the block what it would have found in the head."""
    options = EngineOptions(max_future_ms=1 << 40, block_ms=1 << 40)
    store = Store(tmp_path, StoreOptions(Sync.NEVER, 0, options), clock_ms=lambda: START)
    store.open()
    asyncio.run(fill(store, "head"))
    scan = store.engine("default").scan(ALL, *TIMES[0])
    before = contents(scan, 0, 10, share=True)
    store.flush(everything=True)
    assert contents(scan, 0, 10, share=True) == before
    asyncio.run(store.close())
