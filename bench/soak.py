"""A day of a store, compressed in time: does what it holds level off?

Series are scraped every 15 seconds of a clock that the program moves, some samples come late, one series in twenty is
replaced each hour, and all of it is asked for all the while; flushes, retention and merges run as in the daemon.
``python -m bench.soak --picture docs/images/soak.svg`` prints a line for each hour and draws the curves.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.curves import Curve, picture
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.promql.evaluate import Evaluator
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.engine import Engine
    from headrace.store.interfaces import Labels

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
STEP_MS = 15_000
RETENTION_MS = 6 * HOUR_MS

_MAINTAIN_MS = 60_000
_COMPACT_MS = 10 * 60_000
_ASK_MS = 5 * 60_000
_LOOK_MS = 15 * 60_000
_CHURN_MS = 12 * 60_000
_CHURN = 0.01
_LATE = 0.02
_QUERIES = (
    "sum by (job) (rate(requests_total[5m]))",
    'topk(5, requests_total{instance=~"1.*"})',
    "max_over_time(requests_total[30m]) - min_over_time(requests_total[30m])",
)


class Look(NamedTuple):
    """What the store holds at one time.

    Attributes:
        hours: Since the start, of the store's clock.
        resident: Bytes of the process in memory.
        disk: Bytes of the data directory.
        series: In the index.
        samples: Stored since the start.
    """

    hours: float
    resident: int
    disk: int
    series: int
    samples: int


class Fleet:
    """Counters of many instances, some of which go and make room for others.

    Args:
        engine: Where their samples go.
        n: How many there are at a time.
    """

    def __init__(self, engine: Engine, n: int) -> None:
        self._engine = engine
        self._rng = np.random.default_rng(7)
        self._made = 0
        self._next = 0
        self._values = np.zeros(n)
        self._rates = self._rng.lognormal(3, 1.5, n)
        self._refs: NDArray[np.int32] = engine.refs(self._labels(n))

    def _labels(self, n: int) -> list[Labels]:
        numbers = range(self._made, self._made + n)
        self._made += n
        return [(("__name__", "requests_total"), ("instance", f"{i}"), ("job", f"job-{i % 20}")) for i in numbers]

    def churn(self) -> None:
        """Replace the instances whose turn it is by new ones."""
        n = max(int(_CHURN * len(self._refs)), 1)
        which = (self._next + np.arange(n)) % len(self._refs)
        self._next = (self._next + n) % len(self._refs)
        self._refs[which] = self._engine.refs(self._labels(n))
        self._values[which] = 0

    async def scrape(self, time_ms: int) -> None:
        """Store a sample of each instance; some of them are of some seconds before, and come after the others."""
        self._values += self._rng.poisson(self._rates)
        times = np.full(len(self._refs), time_ms, np.int64)
        late = self._rng.random(len(times)) < _LATE
        await self._engine.append(SeriesBatch(self._refs, times, self._values))
        late_refs = self._refs[late]
        await self._engine.append(SeriesBatch(late_refs, times[late] - STEP_MS // 2, self._values[late]))


async def soak(directory: Path, hours: float, series: int) -> list[Look]:
    """Let a store live for some hours of its clock; return what it held, a look each quarter of an hour."""
    now_ms = START_MS
    options = StoreOptions(Sync.NEVER, 0, EngineOptions(retention_ms=RETENTION_MS))
    store = Store(directory, options, clock_ms=lambda: now_ms)
    store.open()
    engine = store.engine("default")
    fleet = Fleet(engine, series)
    looks = []
    for now_ms in range(START_MS, START_MS + int(hours * HOUR_MS) + 1, STEP_MS):
        await fleet.scrape(now_ms)
        passed = now_ms - START_MS
        if passed % _CHURN_MS == 0:
            fleet.churn()
        if passed % _ASK_MS == 0:
            _ask(Evaluator(engine), now_ms)
        if passed % _MAINTAIN_MS == 0:
            await store.maintain()
        if passed % _COMPACT_MS == 0:
            await store.compact()
        if passed % _LOOK_MS == 0:
            looks.append(_look(passed / HOUR_MS, directory, engine))
            if passed % HOUR_MS == 0:
                print(_line(looks[-1]), flush=True)
    await store.close()
    return looks


def _ask(evaluator: Evaluator, now_ms: int) -> None:
    for query in _QUERIES:
        evaluator.instant(query, now_ms)
    evaluator.range(_QUERIES[0], now_ms - RETENTION_MS // 2, now_ms, 60_000)


def _look(hours: float, directory: Path, engine: Engine) -> Look:
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    disk = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    return Look(hours, resident, disk, len(engine.index.refs()), engine.statistics.appended)


def _line(look: Look) -> str:
    mib = 1 << 20
    return (
        f"{look.hours:5.1f} h  {look.resident / mib:6.0f} MiB resident  {look.disk / mib:6.1f} MiB on disk"
        f"  {look.series:6d} series  {look.samples / 1e6:6.1f} million samples"
    )


def curves(looks: Sequence[Look]) -> str:
    """Return the picture of a run, as SVG."""
    hours = [look.hours for look in looks]
    return picture(
        hours,
        "hours of the store's clock",
        [
            Curve("resident memory, MiB", [look.resident / (1 << 20) for look in looks]),
            Curve("data directory, MiB", [look.disk / (1 << 20) for look in looks]),
            Curve("series in the index", [float(look.series) for look in looks]),
        ],
    )


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=24.0, help="of the store's clock")
    parser.add_argument("--series", type=int, default=5000, help="at a time")
    parser.add_argument("--picture", type=Path, help="the SVG file to write")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as directory:
        looks = asyncio.run(soak(Path(directory), arguments.hours, arguments.series))
    print(f"{time.monotonic() - began:.0f} s")
    if arguments.picture:
        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        arguments.picture.write_text(curves(looks))


if __name__ == "__main__":
    main()
