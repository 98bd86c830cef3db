"""A program that stores numbered samples and prints each number once it is acknowledged, until it is killed.

Usage: ``python kill_writer.py DIRECTORY SERIES``. It begins where the data end.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np

from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions

START_MS = 1_700_000_000_000
STEP_MS = 1000
BLOCK_MS = 60_000


def opened(directory: Path) -> Store:
    """Open the store, with small blocks so that flushes happen."""
    engine = EngineOptions(block_ms=BLOCK_MS, max_future_ms=1 << 42, retention_ms=1 << 42)
    store = Store(directory, StoreOptions(engine=engine))
    store.open()
    return store


async def main(directory: Path, series: int) -> None:
    """Write until the end of the process."""
    store = opened(directory)
    engine = store.engine("default")
    refs = engine.refs([(("__name__", "n"), ("i", str(i))) for i in range(series)])
    newest = engine.select((Matcher("__name__", MatchType.EQUAL, "n"),), 0, 1 << 60).times_ms.max(initial=START_MS)
    number = (int(newest) - START_MS) // STEP_MS + 1
    loop = asyncio.get_running_loop()
    flushing: asyncio.Future[int] | None = None
    while True:
        times = np.full(series, START_MS + number * STEP_MS, np.int64)
        await engine.append(SeriesBatch(refs, times, np.full(series, float(number))))
        print(number, flush=True)  # noqa: T201 -- the acknowledgement
        number += 1
        if number % 40 == 0 and (flushing is None or flushing.done()):
            flushing = loop.run_in_executor(None, store.flush)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
