"""Random histories of a workspace, whose model is a plain dict: what tests of them share."""

from __future__ import annotations

import asyncio
import os
import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from headrace.store.engine import EngineOptions
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.interfaces import Labels

HISTORIES = int(os.environ.get("HEADRACE_HISTORIES", "40"))
SHARDS = 4
START = 1_700_000_000_000
LABELS: list[Labels] = [(("__name__", f"m{i % 3}"), ("i", str(i))) for i in range(12)]
ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)
_ACTIONS = 25
_BLOCK_MS = 60_000


class StoreHistory(ABC):
    """A store and its model, which says for each label set and time what is there.

    Args:
        directory: Of the store.
        seed: Of all that happens.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.ms = START
        self.model: dict[Labels, dict[int, Any]] = {}
        self.log: list[Any] = []
        self.store = self.opened()

    @abstractmethod
    async def append(self) -> None:
        """Send something, and learn from the answer what is there now."""

    @abstractmethod
    def check(self) -> None:
        """Compare what the store answers with the model."""

    def opened(self) -> Store:
        """Open the directory."""
        engine = EngineOptions(
            block_ms=_BLOCK_MS, out_of_order_ms=30_000, max_future_ms=600_000, linger_ms=self.random.choice([0, -1])
        )
        store = Store(self.directory, StoreOptions(Sync.NEVER, 0, engine), clock_ms=lambda: self.ms)
        store.open()
        return store

    async def delete(self) -> None:
        """Delete a range of the series of one name."""
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
        """Close and open."""
        await self.store.close()
        self.store = self.opened()

    def crash(self) -> None:
        """As after kill -9: nothing is closed, only the lock goes with the process."""
        self.abandon()
        self.store = self.opened()

    def abandon(self) -> None:
        """Leave the store as a process leaves it that is killed."""
        store = self.store
        assert store._lock is not None
        store._lock.release()
        store._lock = None
        store._open = False
        store.log._thread.shutdown()

    async def act(self) -> None:
        """Do something by chance."""
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

    async def run(self) -> None:
        """Do all that there is to do, and check after each step."""
        for _ in range(_ACTIONS):
            await self.act()
            self.check()
        self.abandon()


def run_shard(kind: type[StoreHistory], directory: Path, shard: int) -> None:
    """Run one shard of all histories; ``HEADRACE_HISTORIES`` is how many, over all shards."""
    seeds = range(shard, HISTORIES, SHARDS)
    for seed in seeds:
        try:
            asyncio.run(kind(directory / str(seed), seed).run())
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error
    print(f"{len(seeds)} histories of {_ACTIONS} actions, 0 differences")  # noqa: T201 -- what a run with -s shows
