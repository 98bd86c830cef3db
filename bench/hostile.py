"""A dashboard beside somebody who asks for too much: do its answers still come in time?

A daemon over a store of many series is asked, over HTTP, by a dashboard that loads its panels again and again: alone
and beside clients that send queries over everything, with thousands of steps and subqueries in subqueries, as fast as
they are answered; in turns, so that what else the machine does meets both alike. Each hostile query has to end with
Prometheus' error.
``python -m bench.hostile`` prints both distributions and how the hostile queries ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import numpy as np

from bench.compare_stores import free_port, own_command, wait_until_ready
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from headrace.store.interfaces import Labels

STEP_S = 15
_PANELS = (
    "sum by (job) (rate(requests_total[5m]))",
    'sum by (code) (rate(requests_total{job="job-%d"}[5m]))',
    'topk(5, rate(requests_total{job="job-%d"}[5m]))',
    'max by (instance) (requests_total{job="job-%d"})',
    'avg_over_time(requests_total{instance="instance-%d",code="200"}[10m])',
    'requests_total{instance="instance-%d"}',
    'sum(rate(requests_total{code="500",job="job-%d"}[5m])) / sum(rate(requests_total{job="job-%d"}[5m]))',
)
_DASHBOARD = 20
_MOST = 2.0
"""The p99 beside hostile queries may be so many times that alone."""
_HOSTILE = (
    '{__name__=~".+"}',
    'sum(max_over_time(rate({__name__=~".+"}[5m])[1h:15s]))',
    'max_over_time(max_over_time(max_over_time({__name__=~".+"}[1h:1s])[1h:1s])[1h:1s])',
    'count by (instance, code, job) ({instance=~".*1.*|.*2.*|.*3.*"})',
    'label_replace({__name__=~".+"}, "x", "$1$1$1$1", "instance", "(.*)")',
    "quantile_over_time(0.5, requests_total[2h])",
    "sum by (job) (quantile_over_time(0.5, requests_total[20m]))",
    'sum(sum_over_time({__name__=~".+"}[1h]) / on (instance, code, job) deriv(requests_total[1h]))',
    'sort_desc({__name__=~".+"} * on (instance, code, job) group_left {__name__=~".+"})',
)


def main() -> int:
    """Measure and print; 1 where the dashboard suffers or a hostile query ends otherwise than it should."""
    options = _parser().parse_args()
    found = measured(options)
    if options.report:
        options.report.write_text(json.dumps(found, indent=1))
    show(found)
    good = found["beside"]["p99_ms"] <= _MOST * found["alone"]["p99_ms"]
    return 0 if good and not found["unexpected"] else 1


def run() -> dict[str, float]:
    """Measure at a size that every machine has time for.

    Raises:
        AssertionError: A hostile query ended otherwise than it should.
    """
    found = measured(_parser().parse_args(["--series", "20000", "--hours", "0.5", "--rounds", "2", "--timeout", "5s"]))
    if found["unexpected"]:
        raise AssertionError(f"bug: {found['unexpected'][:3]}")
    times = {f"{name}_{key}": found[name][key] for name in ("alone", "beside") for key in ("p50_ms", "p99_ms")}
    return {**times, "p99_ratio": _ratio(found), "peak_mb": found["peak_mb"]}


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Make the data, and measure."""
    with tempfile.TemporaryDirectory(prefix="headrace-hostile-") as directory:
        end_s = asyncio.run(fill(Path(directory), options.series, options.hours))
        return with_daemon(Path(directory), options, end_s)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=7.0, help="of each phase of a round")
    parser.add_argument("--rounds", type=int, default=3, help="alone and beside, in turns")
    parser.add_argument("--hostile", type=int, default=4, help="clients that ask for too much")
    parser.add_argument("--timeout", default="10s", help="that hostile clients ask for")
    parser.add_argument("--report", type=Path)
    return parser


async def fill(directory: Path, series: int, hours: float) -> int:
    """Make a data directory of counters; return the time of their last samples, Unix seconds."""
    end_s = int(time.time()) // STEP_S * STEP_S
    steps = int(hours * 3600) // STEP_S
    store = Store(directory, StoreOptions(Sync.NEVER, 0, EngineOptions()))
    store.open()
    engine = store.engine("default")
    rng = np.random.default_rng(3)
    refs = engine.refs([_labels(i) for i in range(series)])
    values, rates = np.zeros(series), rng.lognormal(2, 1, series)
    for step in range(steps):
        values += rng.poisson(rates)
        times = np.full(series, (end_s - (steps - 1 - step) * STEP_S) * 1000, np.int64)
        await engine.append(SeriesBatch(refs, times, values))
    await store.close()
    return end_s


def _labels(i: int) -> Labels:
    code = ("200", "400", "404", "500")[i % 4]
    instance = f"instance-{i // 4}"
    return (("__name__", "requests_total"), ("code", code), ("instance", instance), ("job", f"job-{i // 4 % 100}"))


def with_daemon(directory: Path, options: argparse.Namespace, end_s: int) -> dict[str, Any]:
    """Start a daemon, measure, and end it."""
    port = free_port()
    environment = {**os.environ, "HEADRACE_PORT": str(port), "HEADRACE_DATA_DIR": str(directory)}
    daemon = subprocess.Popen(own_command(), env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(f"{url}/-/ready")
        memory = resident(daemon.pid)
        found = asyncio.run(measure(url, options, end_s))
        return {**found, "resident_mb": memory / 1e6, "peak_mb": peak_resident(daemon.pid) / 1e6}
    finally:
        daemon.terminate()
        daemon.wait(60)


async def measure(url: str, options: argparse.Namespace, end_s: int) -> dict[str, Any]:
    """Load the dashboard, alone and beside the others, in turns."""
    ends: Counter[str] = Counter()
    unexpected: list[str] = []
    alone: list[float] = []
    beside: list[float] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(300)) as session:
        await load(session, url, end_s, 5)
        for _ in range(options.rounds):
            alone += await load(session, url, end_s, options.seconds)
            hostile = [
                asyncio.create_task(attack(session, url, end_s, options, ends, unexpected, k))
                for k in range(options.hostile)
            ]
            await asyncio.sleep(1)
            beside += await load(session, url, end_s, options.seconds)
            await _gone(hostile)
    return {"alone": _spread(alone), "beside": _spread(beside), "ends": dict(ends), "unexpected": unexpected}


async def _gone(hostile: list[asyncio.Task[None]]) -> None:
    """Let the hostile clients hang up, and the daemon notice it.

    Raises:
        Exception: What broke one of them.
    """
    for task in hostile:
        task.cancel()
    for found in await asyncio.gather(*hostile, return_exceptions=True):
        if isinstance(found, Exception):
            raise found
    await asyncio.sleep(1)


async def load(session: aiohttp.ClientSession, url: str, end_s: int, seconds: float) -> list[float]:
    """Load the dashboard's panels, all at once, again and again; return the seconds that each took."""
    took: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        took += await asyncio.gather(*(panel(session, url, query, end_s) for query in dashboard()))
        await asyncio.sleep(0.2)
    return took


def _spread(took: list[float]) -> dict[str, float]:
    milliseconds = np.sort(np.array(took) * 1000)
    return {
        "panels": len(took),
        "p50_ms": float(np.quantile(milliseconds, 0.5)),
        "p99_ms": float(np.quantile(milliseconds, 0.99)),
        "max_ms": float(milliseconds[-1]),
    }


def dashboard() -> list[str]:
    """Return the queries of the panels."""
    return [text % ((i,) * text.count("%d")) for i, text in enumerate((_PANELS * 3)[:_DASHBOARD])]


async def panel(session: aiohttp.ClientSession, url: str, query: str, end_s: int) -> float:
    """Load a panel, an hour of steps of 15 seconds, evaluated anew; return the seconds it took."""
    form = {"query": query, "start": end_s - 3600, "end": end_s, "step": STEP_S, "nocache": "1"}
    began = time.perf_counter()
    async with session.post(f"{url}/api/v1/query_range", data=form) as reply:
        body = await reply.read()
    if reply.status != 200:
        raise AssertionError(f"bug: {query}: {body[:300]!r}")
    return time.perf_counter() - began


async def attack(
    session: aiohttp.ClientSession,
    url: str,
    end_s: int,
    options: argparse.Namespace,
    ends: Counter[str],
    unexpected: list[str],
    k: int,
) -> None:
    """Send hostile queries, one after the other, and tell how they end."""
    while True:
        for query in (*_HOSTILE[k % len(_HOSTILE) :], *_HOSTILE[: k % len(_HOSTILE)]):
            form = {"query": query, "start": end_s - 11_000, "end": end_s, "step": 1, "timeout": options.timeout}
            form["nocache"] = "1"
            async with session.get(f"{url}/api/v1/query_range?{urlencode(form)}") as reply:
                text = await ended(reply)
            ends[f"{query[:50]}: {text}"] += 1
            if not text.startswith(("422", "503")):
                unexpected.append(f"{query}: {text}")


async def ended(reply: aiohttp.ClientResponse) -> str:
    """Return how a query ended; of an answer, only that there is one."""
    if reply.status == 200:
        size = 0
        async for piece in reply.content.iter_chunked(1 << 20):
            size += len(piece)
        return f"200, {size / 1e6:.0f} MB"
    return f"{reply.status} {json.loads(await reply.read())['error']}"


def resident(pid: int) -> int:
    """Return the bytes that a process has in memory."""
    return _status(pid, "VmRSS")


def peak_resident(pid: int) -> int:
    """Return the most that it had."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def show(found: dict[str, Any]) -> None:
    """Print what was found."""
    lines = [f"{name}: {found[name]}" for name in ("alone", "beside")]
    lines += [f"{amount:4d} x {end}" for end, amount in sorted(found["ends"].items())]
    lines.append(f"memory: {found['resident_mb']:.0f} MB, at most {found['peak_mb']:.0f} MB")
    lines.append(f"p99 beside hostile queries is {_ratio(found):.2f} times that alone")
    sys.stdout.write("\n".join(lines) + "\n")


def _ratio(found: dict[str, Any]) -> float:
    return float(found["beside"]["p99_ms"] / found["alone"]["p99_ms"])


if __name__ == "__main__":
    sys.exit(main())
