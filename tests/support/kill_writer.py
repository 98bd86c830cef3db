"""A program that stores numbered samples and says what was acknowledged, until it is killed.

Usage: ``python kill_writer.py DIRECTORY SERIES``. It begins where the data end. Lines: ``+ N``, sample N of all series
is acknowledged; ``? A B``, the deletion of samples A to B of the series ``d`` begins; ``- A B``, it is acknowledged.

Series ``n`` and ``d`` get sample N at time N; ``l`` gets even ones in order, and every second odd one late.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import numpy as np

from headrace.store.engine import EngineOptions
from headrace.store.interfaces import Code, Labels, SeriesBatch
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions

START_MS = 1_700_000_000_000
STEP_MS = 1000
BLOCK_MS = 60_000
LATE = 3


def opened(directory: Path) -> Store:
    """Open the store, with small blocks so that flushes and merges happen."""
    engine = EngineOptions(block_ms=BLOCK_MS, max_future_ms=1 << 42, retention_ms=1 << 42)
    store = Store(directory, StoreOptions(engine=engine))
    store.log.segment_bytes = 1 << 18
    store.open()
    return store


def late_numbers(number: int) -> list[int]:
    """Return the numbers of the samples of ``l`` that come together with sample `number` of the others."""
    return [] if number % 2 else [number] if number % 4 or number < 2 * LATE else [number, number - LATE]


class Writer:
    """Appends, and looks after the store meanwhile."""

    def __init__(self, directory: Path, series: int) -> None:
        self.store = opened(directory)
        self.engine = self.store.engine("default")
        sets: list[Labels] = [(("__name__", name), ("i", str(i))) for name in "ndl" for i in range(series)]
        self.refs = self.engine.refs(sets)
        self.series = series
        found = self.engine.select((Matcher("__name__", MatchType.EQUAL, "n"),), 0, 1 << 60)
        self.number = (int(found.times_ms.max(initial=START_MS)) - START_MS) // STEP_MS + 1

    async def append(self) -> None:
        """Store the next number."""
        number, series = self.number, self.series
        late = late_numbers(number)
        numbers = np.repeat(np.array([number, number, *late], np.int64), series)
        refs = np.concatenate([self.refs[: 2 * series], *[self.refs[2 * series :]] * len(late)])
        times = START_MS + numbers * STEP_MS
        result = await self.engine.append(SeriesBatch(refs, times, numbers.astype(np.float64)))
        assert set(result.codes.tolist()) <= {Code.OK, Code.OUT_OF_ORDER_OK, Code.DUPLICATE}, result.codes
        print("+", number, flush=True)  # noqa: T201 -- the acknowledgement
        self.number += 1

    async def maintain(self) -> None:
        """Flush, merge, delete and purge without end."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.005)
            action = random.choice(["flush", "flush", "compact", "delete", "purge"])
            if action == "flush":
                await loop.run_in_executor(None, self.store.flush)
            elif action == "compact":
                await self.store.compact()
            elif action == "purge":
                await self.store.purge("default")
            else:
                await self.delete()

    async def delete(self) -> None:
        """Delete a few samples."""
        first = random.randint(1, self.number)
        last = min(first + random.randint(0, 5), self.number - 1)
        if last < first:
            return
        print("?", first, last, flush=True)  # noqa: T201 -- for the test
        start, end = START_MS + first * STEP_MS, START_MS + last * STEP_MS
        await self.store.delete("default", (Matcher("__name__", MatchType.EQUAL, "d"),), start, end)
        print("-", first, last, flush=True)  # noqa: T201 -- the acknowledgement


async def main(directory: Path, series: int) -> None:
    """Write until the end of the process."""
    writer = Writer(directory, series)
    maintaining = asyncio.create_task(writer.maintain())
    while not maintaining.done():
        await writer.append()
    await maintaining


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
