"""Random histories of samples and native histograms against a plain dict: what is selected is what was acknowledged."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.store.engine import EngineOptions
from headrace.store.interfaces import Code, SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions
from native_rows import STALE, STALE_BITS, Growing, Row, columns, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.interfaces import Labels

HISTORIES = int(os.environ.get("HEADRACE_HISTORIES", "40"))
ACTIONS = 25
SHARDS = 4
START = 1_700_000_000_000
BLOCK_MS = 60_000
LABELS: list[Labels] = [(("__name__", f"m{i % 3}"), ("i", str(i))) for i in range(12)]
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)
Value = int | Row
"""Bits of a sample, or a histogram."""


class History:
    """A store of both kinds and its model, which says for each label set and time what is there.

    Args:
        directory: Of the store.
        seed: Of all that happens.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.ms = START
        self.model: dict[Labels, dict[int, Any]] = {}
        self.growing = [Growing(self.random) for _ in LABELS]
        self.log: list[Any] = []
        self.store = self.opened()

    def opened(self) -> Store:
        engine = EngineOptions(
            block_ms=BLOCK_MS, out_of_order_ms=30_000, max_future_ms=600_000, linger_ms=self.random.choice([0, -1])
        )
        store = Store(self.directory, StoreOptions(Sync.NEVER, 0, engine), clock_ms=lambda: self.ms)
        store.open()
        return store

    def value(self, i: int, *, histograms: bool) -> Value:
        """Return something to append: often what is there already, so that duplicates come up."""
        pick = self.random
        if not histograms:
            return pick.choice([pick.randint(0, 3), STALE_BITS])
        found = [value for value in self.model.get(LABELS[i], {}).values() if isinstance(value, Row)]
        return pick.choice(found) if found and pick.random() < 0.2 else self.growing[i].next()

    async def append(self) -> None:
        pick = self.random
        self.ms += pick.choice([1000, 5000, 15_000, 40_000])
        histograms = pick.random() < 0.6
        rows = []
        for i in pick.sample(range(len(LABELS)), pick.randint(1, 8)):
            for _ in range(pick.choice([1, 1, 3])):
                late = pick.choice([0, 0, 0, 1000, 7000, 20_000, 50_000])
                rows.append((i, self.ms - late, self.value(i, histograms=histograms)))
        rows += [(i, time, self.again(i, time, value)) for i, time, value in rows if pick.random() < 0.1]
        engine = self.store.engine("default")
        refs = engine.refs([LABELS[i] for i, _, _ in rows])
        times, values = [time for _, time, _ in rows], [value for _, _, value in rows]
        if histograms:
            natives = columns(refs.tolist(), times, [value for value in values if isinstance(value, Row)])
            codes = (await engine.append_histograms(natives)).codes
        else:
            floats = np.array(values, np.uint64).view(np.float64)
            codes = (await engine.append(SeriesBatch(refs, np.array(times, np.int64), floats))).codes
        # What is in order goes in before what is late, whatever its row.
        late = (codes == Code.DUPLICATE) | (codes == Code.CONFLICT) | (codes == Code.OUT_OF_ORDER_OK)
        for k in np.argsort(late, kind="stable").tolist():
            i, time, value = rows[k]
            self.learn_any(self.model.setdefault(LABELS[i], {}), time, value, Code(int(codes[k])))

    def again(self, i: int, time: int, value: Value) -> Value:
        """Return what is there, or what comes."""
        there = self.model.get(LABELS[i], {}).get(time, value)
        return there if isinstance(there, Row) == isinstance(value, Row) else value

    def learn_any(self, series: dict[int, Any], time: int, value: Value, code: Code) -> None:
        there = series.get(time)
        stale = value in (STALE, STALE_BITS)
        same_kind = isinstance(there, Row) == isinstance(value, Row)
        if code in {Code.OK, Code.OUT_OF_ORDER_OK, Code.REPLACED}:
            assert there is None or (same_kind and there in (STALE, STALE_BITS)), (there, value, code)
            series[time] = value
        elif code is Code.DUPLICATE:
            assert there is not None
            assert stale or (same_kind and alike(there, value))
        elif code is Code.CONFLICT:
            assert there is not None
            assert not stale
            assert not same_kind or not alike(there, value)
        else:
            assert code is Code.TOO_OLD

    async def delete(self) -> None:
        pick = self.random
        name = f"m{pick.randint(0, 2)}"
        start, end = sorted(START + pick.randint(0, max(self.ms - START, 1)) for _ in range(2))
        matcher = Matcher("__name__", MatchType.EQUAL, name)
        await self.store.delete("default", (matcher,), start, end)
        for labels, series in self.model.items():
            if labels[0][1] == name:
                for time in [time for time in series if start <= time <= end]:
                    del series[time]

    async def restart(self) -> None:
        await self.store.close()
        self.store = self.opened()

    def crash(self) -> None:
        """As after kill -9: nothing is closed, only the lock goes with the process."""
        self.abandon()
        self.store = self.opened()

    def abandon(self) -> None:
        store = self.store
        assert store._lock is not None
        store._lock.release()
        store._lock = None
        store._open = False
        store.log._thread.shutdown()

    async def act(self) -> None:
        action = self.random.choices(
            ["append", "flush", "everything", "delete", "purge", "compact", "restart", "crash", "orphans"],
            [70, 6, 3, 4, 2, 6, 3, 4, 2],
        )[0]
        self.log.append((action, self.ms))
        if action == "flush":
            self.store.flush()
        elif action == "everything":
            self.store.flush(everything=True)
        elif action == "purge":
            await self.store.purge("default")
        elif action == "compact":
            await self.store.compact()
        elif action == "crash":
            self.crash()
        elif action == "orphans":
            engine = self.store.engine("default")
            engine.forget(engine.orphans())
        else:
            await getattr(self, action)()

    def check(self) -> None:
        start, end = 0, 1 << 60
        if self.random.random() < 0.5:
            start, end = sorted(self.ms - self.random.randint(-60_000, 600_000) for _ in range(2))
        engine = self.store.engine("default")
        got: dict[Any, dict[int, Any]] = {}
        floats = engine.select(ALL, start, end)
        bits, times = floats.values.view(np.uint64).tolist(), floats.times_ms.tolist()
        for i in range(len(floats)):
            rows = range(int(floats.offsets[i]), int(floats.offsets[i + 1]))
            got[tuple(floats.labels.labels(i).items())] = {times[k]: bits[k] for k in rows}
        found = engine.select_histograms(ALL, start, end)
        natives = rows_of(found.histograms)
        for i in range(len(found)):
            series = got.setdefault(tuple(found.labels.labels(i).items()), {})
            part = natives[int(found.offsets[i]) : int(found.offsets[i + 1])]
            assert [time for _, time, _ in part] == sorted({time for _, time, _ in part})
            assert not series.keys() & {time for _, time, _ in part}
            series.update({time: row for _, time, row in part})
        expected = {
            labels: inside
            for labels, series in self.model.items()
            if (inside := {time: value for time, value in series.items() if start <= time <= end})
        }
        assert got == expected, self.log
        table = engine.series(ALL, start, end)
        assert {tuple(table.labels(i).items()) for i in range(len(table))} == set(expected)
        # Series whose samples were all purged are known until they are forgotten.
        assert set(engine.label_values("i", ALL, start, end)) >= {labels[1][1] for labels in expected}

    async def run(self) -> None:
        for _ in range(ACTIONS):
            await self.act()
            self.check()
        self.abandon()


def alike(one: Value, other: Value) -> bool:
    """Return whether two values count as one."""
    if isinstance(one, Row) and isinstance(other, Row):
        return plain(one) == plain(other)
    return one == other


def plain(row: Row) -> tuple[Any, ...]:
    """Return what makes a histogram: all but hint and start time."""
    return (
        row.flags, row.schema, row.threshold_bits, row.zero_count, row.count, row.sum_bits, row.positive, row.negative,
        row.buckets, row.bounds_bits,
    )  # fmt: skip


@pytest.mark.parametrize("shard", range(SHARDS))
def test_histories(tmp_path: Path, shard: int) -> None:
    """Samples and histograms in and out of order, deletions, purges, flushes, merges, restarts and crashes."""
    seeds = range(shard, HISTORIES, SHARDS)
    for seed in seeds:
        try:
            asyncio.run(History(tmp_path / str(seed), seed).run())
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error
    print(f"{len(seeds)} histories of {ACTIONS} actions, 0 differences")  # noqa: T201 -- what a run with -s shows
