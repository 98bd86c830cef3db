"""The store's own metrics."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from headrace.exporters.store import QueryConfig
from headrace.exporters.store_metrics import PREFIX, metrics, observe
from headrace.exporters.store_queries import StoreQueries
from headrace.pipeline.counters import Counters
from headrace.pipeline.telemetry import Telemetry
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
NOW_MS = 1_700_000_000_000


def opened(directory: Path, clock: ManualClock | None = None) -> Store:
    options = StoreOptions(min_free_bytes=0, engine=EngineOptions(retention_ms=10**9))
    store = Store(directory, options, clock_ms=lambda: NOW_MS if clock is None else clock.now_ms, steady_s=None)
    store.open()
    return store


class ManualClock:
    now_ms = NOW_MS


async def append(store: Store, names: list[str], time_ms: int, value: float = 1.0) -> None:
    engine = store.engine("default")
    refs = engine.refs([(("__name__", name),) for name in names])
    await engine.append(SeriesBatch(refs, np.full(len(refs), time_ms, np.int64), np.full(len(refs), value)))


def read(store: Store) -> dict[str, float]:
    """Return the metrics by name, with attributes behind it."""
    return {".".join([one.name, *(value for _, value in one.attributes)]): float(one.read()) for one in metrics(store)}


async def test_every_stage_is_counted(tmp_path: Path) -> None:
    """A life of a store: what it did is what its metrics say."""
    clock = ManualClock()
    store = opened(tmp_path, clock)
    assert read(store)["series"] == 0
    assert read(store)["newest_sample_seconds"] == 0
    await append(store, ["a", "b"], NOW_MS - 60_000)
    await append(store, ["a", "b", "c"], NOW_MS)
    await append(store, ["a"], NOW_MS)
    await append(store, ["a"], NOW_MS, 2.0)
    await append(store, ["b"], NOW_MS - 30_000)
    await append(store, ["b"], NOW_MS - 3_600_000)
    await append(store, ["b"], NOW_MS + 3_600_000)
    told = read(store)
    expected = {
        "samples_appended": 6, "samples_late": 1, "samples_repeated": 1, "samples_replacing_stale": 0,
        "samples_rejected.duplicate_timestamp": 1, "samples_rejected.too_old": 1, "samples_rejected.out_of_bounds": 1,
        "samples_rejected.out_of_order": 0, "series_created": 3, "series": 3, "symbols": 4, "writable": 1,
        "wal_commits": 7, "wal_segments": 1, "wal_failures": 0, "head_series": 3, "head_late_samples": 1,
        "newest_sample_seconds": NOW_MS / 1000, "blocks": 0, "flushes": 0, "replay_progress": 1, "tombstones": 0,
    }  # fmt: skip
    assert {name: told[name] for name in expected} == expected
    for name in ("wal_bytes", "wal_records", "wal_sync_seconds", "wal_disk_bytes", "head_bytes", "index_bytes"):
        assert told[name] > 0, name

    matcher = [Matcher("__name__", MatchType.EQUAL, "a")]
    assert await store.delete("default", matcher, 0, NOW_MS) == 1
    assert await store.purge("default") >= 1
    await append(store, ["c"], NOW_MS + 60_000)
    store.flush(everything=True)
    told = read(store)
    expected = {"deletions": 1, "flushed_samples": 7, "flushes": 2, "head_late_samples": 0, "head_series": 0}
    assert {name: told[name] for name in expected} == expected
    for name in ("flush_seconds", "delete_seconds", "purge_seconds", "purged_blocks", "blocks", "block_bytes"):
        assert told[name] > 0, name
    assert told["compaction_seconds"] > 0
    assert told["compaction_progress"] == 0

    assert store.engine("default").retain() == 0
    clock.now_ms += 2 * 10**9
    blocks = store.engine("default").retain()
    told = read(store)
    assert told["expired_blocks"] == blocks > 0
    assert told["retention_seconds"] > 0
    await store.close()


async def test_what_was_read_back_is_counted(tmp_path: Path) -> None:
    """After a crash the log's samples are read back; series that are brought back are not new."""
    store = opened(tmp_path)
    await append(store, ["a", "b"], NOW_MS)
    await store.log.close()
    assert store._lock is not None
    store._lock.release()  # as the end of the process does

    again = opened(tmp_path)
    told = read(again)
    assert told["replayed_samples"] == 2
    assert told["replay_progress"] == 1
    assert told["replay_seconds"] > 0
    assert (told["series"], told["series_created"]) == (2, 0)
    again.replay_status.done, again.replay_status.min, again.replay_status.max = False, 3, 6
    again.replay_status.current = 5
    assert read(again)["replay_progress"] == 0.5
    await again.close()


def all_of(directory: Path) -> Counters:
    """Return a registry with all metrics of a store and its queries."""
    counters = Counters()
    observe(Store(directory), "store", counters)
    StoreQueries(QueryConfig(), "exporters.store", lambda: 0.0).observe("store", counters)
    return counters


def test_the_page_lists_them_all(tmp_path: Path) -> None:
    """docs/metrics.md has each metric as it is scraped, with its type, and no other."""
    counters = all_of(tmp_path)
    scraped = dict(re.findall(rf"^# TYPE ({PREFIX}\w+) (\w+)$", Telemetry(counters).text(), re.MULTILINE))
    listed = dict(re.findall(rf"^\| `({PREFIX}\w+)`[^|]*\| (\w+) \|", PAGE.read_text(), re.MULTILINE))
    assert listed == scraped
    assert len(scraped) > 40


def test_the_page_names_nothing_unknown(tmp_path: Path) -> None:
    """Names in running text are those of the tables."""
    counters = all_of(tmp_path)
    scraped = set(re.findall(rf"^# TYPE ({PREFIX}\w+)", Telemetry(counters).text(), re.MULTILINE))
    for page in sorted(PAGE.parent.rglob("*.md")):
        named = set(re.findall(rf"{PREFIX}\w+", page.read_text()))
        assert named <= scraped, page
