"""Random histories of a workspace against a plain dict: what is selected is what was acknowledged and not deleted."""

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

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.interfaces import Labels

HISTORIES = int(os.environ.get("HEADRACE_HISTORIES", "40"))
ACTIONS = 25
SHARDS = 4
START = 1_700_000_000_000
BLOCK_MS = 60_000
STALE_BITS = 0x7FF0000000000002
STALE = float(np.uint64(STALE_BITS).view(np.float64))
LABELS: list[Labels] = [(("__name__", f"m{i % 3}"), ("i", str(i))) for i in range(12)]
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)


class History:
    """A store and its model.

    Args:
        directory: Of the store.
        seed: Of all that happens.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.ms = START
        self.model: dict[Labels, dict[int, int]] = {}
        self.log: list[Any] = []
        self.store = self.opened()

    def opened(self) -> Store:
        engine = EngineOptions(
            block_ms=BLOCK_MS, out_of_order_ms=30_000, max_future_ms=600_000, linger_ms=self.random.choice([0, -1])
        )
        store = Store(self.directory, StoreOptions(Sync.NEVER, 0, engine), clock_ms=lambda: self.ms)
        store.open()
        return store

    async def append(self) -> None:
        pick = self.random
        self.ms += pick.choice([1000, 5000, 15_000, 40_000])
        rows = []
        for i in pick.sample(range(len(LABELS)), pick.randint(1, 8)):
            for _ in range(pick.choice([1, 1, 3])):
                late = pick.choice([0, 0, 0, 1000, 7000, 20_000, 50_000])
                value = pick.choice([pick.random(), float(pick.randint(0, 3)), STALE])
                rows.append((i, self.ms - late, value))
        engine = self.store.engine("default")
        refs = engine.refs([LABELS[i] for i, _, _ in rows])
        times = np.array([time for _, time, _ in rows], np.int64)
        values = np.array([value for _, _, value in rows], np.float64)
        codes = (await engine.append(SeriesBatch(refs, times, values))).codes
        for (i, time, _), bits, code in zip(rows, values.view(np.uint64).tolist(), codes.tolist(), strict=True):
            self.learn(self.model.setdefault(LABELS[i], {}), time, bits, Code(code))

    def learn(self, series: dict[int, int], time: int, bits: int, code: Code) -> None:
        there = series.get(time)
        if code in {Code.OK, Code.OUT_OF_ORDER_OK}:
            # A value takes the place of a stale marker, wherever that lies.
            assert there in {None, STALE_BITS}
            series[time] = bits
        elif code is Code.REPLACED:
            assert there == STALE_BITS
            series[time] = bits
        elif code is Code.DUPLICATE:
            assert there is not None
            assert bits in {there, STALE_BITS}
        elif code is Code.CONFLICT:
            assert there is not None
            assert bits != there
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
            start, end = sorted(START + self.random.randint(-60_000, self.ms - START + 60_000) for _ in range(2))
        found = self.store.engine("default").select(ALL, start, end)
        bits = found.values.view(np.uint64).tolist()
        times = found.times_ms.tolist()
        got = {}
        for i in range(len(found)):
            rows = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
            got[tuple(found.labels.labels(i).items())] = list(zip(times[rows], bits[rows], strict=True))
        expected = {}
        for labels, series in self.model.items():
            inside = sorted((time, value) for time, value in series.items() if start <= time <= end)
            if inside:
                expected[labels] = inside
        assert got == expected, self.log

    async def run(self) -> None:
        for _ in range(ACTIONS):
            await self.act()
            self.check()
        self.abandon()


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_histories(tmp_path: Path, shard: int) -> None:
    """Appends in and out of order, deletions, purges, flushes, merges, restarts and crashes in any order.

    ``HEADRACE_HISTORIES`` is how many, over all shards.
    """
    seeds = range(shard, HISTORIES, SHARDS)
    for seed in seeds:
        directory = tmp_path / str(seed)
        try:
            asyncio.run(History(directory, seed).run())
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error
    print(f"{len(seeds)} histories of {ACTIONS} actions, 0 differences")  # noqa: T201 -- what a run with -s shows
