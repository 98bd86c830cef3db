"""Queries within one process: with aggregations added up while series are read, and with everything gathered first.

20,000 series, 65 minutes at 15 s, in a block: counters and gauges of the kinds of `value_classes`, twenty of a scrape.
CPU milliseconds a query, best of several, evaluation alone. Gathering is what a source is asked that cannot be scanned:
every node for all series at once, by the kernels that look at each window by itself.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.value_classes import CLASSES, INTERVAL_MS, START_MS
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.promql.evaluate import Evaluator
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.store.engine import Engine
    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.labels import ColumnarSeries, QuerySymbols
    from headrace.store.matchers import Matcher
    from headrace.store.symbols import Symbols

SERIES = 20_000
SCRAPES = 260
END_MS = START_MS + SCRAPES * INTERVAL_MS
HOUR_MS = 3_600_000
A_SCRAPE = 20

QUERIES = {
    "sum_by_rate_1h_15s": ("sum by (job) (rate(requests_total[5m]))", 15_000),
    "sum_by_rate_1h_60s": ("sum by (job) (rate(requests_total[5m]))", 60_000),
    "topk_rate_1h_60s": ("topk(10, rate(requests_total[5m]))", 60_000),
    "max_of_avg_over_1h": ("max(avg_over_time(pages[1h]))", 0),
    "avg_over_time_of_decimals_1h_60s": ("avg(avg_over_time(decimals[5m]))", 60_000),
    "max_over_time_1h_15s": ("min by (job) (max_over_time(decimals[10m]))", 15_000),
    "count_of_all": ('count({__name__!=""})', 0),
    "rate_of_all_rows_1h_60s": ("rate(requests_total[5m])", 60_000),
}
"""PromQL and step; 0 for one time."""

SMALL = 'requests_total{instance="10.0.0.3:9100",path="/7"}'


class Gathered:
    """A source that cannot be scanned."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def symbols(self) -> Symbols:
        """Return the engine's."""
        return self._engine.symbols()

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols) -> ColumnarSeries:
        """Return everything at once."""
        return self._engine.select(matchers, start_ms, end_ms, symbols)

    def select_histograms(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols
    ) -> HistogramSeries:
        """Return the engine's."""
        return self._engine.select_histograms(matchers, start_ms, end_ms, symbols)


def run() -> dict[str, float]:
    """Measure CPU milliseconds, streamed and gathered, and their ratio; and of a query of one series, microseconds."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        store = Store(Path(name), StoreOptions(Sync.NEVER, 0, EngineOptions()), clock_ms=lambda: END_MS)
        store.open()
        asyncio.run(_fill(store))
        engine = store.engine("default")
        streamed, gathered = Evaluator(engine), Evaluator(Gathered(engine))
        found = {}
        for title, (query, step) in QUERIES.items():
            one, other = _cpu_ms(streamed, query, step), _cpu_ms(gathered, query, step)
            found |= {f"{title}_ms": one, f"{title}_gathered_ms": other, f"{title}_ratio": one / other}
        found["one_series_us"] = 1e3 * _cpu_ms(streamed, SMALL, 0, 300)
        found["one_series_1h_60s_us"] = 1e3 * _cpu_ms(streamed, SMALL, 60_000, 300)
        asyncio.run(store.close())
    return found


async def _fill(store: Store) -> None:
    """Store counters, pages and decimals, a third each, and write them into a block."""
    engine = store.engine("default")
    rng = np.random.default_rng(1)
    kinds = {"requests_total": "requests", "pages": "pages", "decimals": "decimals"}
    rows = SERIES // len(kinds)
    labels = [
        (("__name__", name), ("instance", f"10.0.{i // A_SCRAPE >> 8}.{i // A_SCRAPE & 255}:9100"),
         ("job", f"job-{i // A_SCRAPE % 10}"), ("path", f"/{i % A_SCRAPE}"))
        for name in kinds for i in range(rows)
    ]  # fmt: skip
    refs = engine.refs(labels)
    values = np.concatenate([CLASSES[kind](rng, rows, SCRAPES) for kind in kinds.values()])
    offsets = np.tile(np.arange(rows) // A_SCRAPE * 37 % INTERVAL_MS, len(kinds))
    for scrape in range(SCRAPES):
        late = np.repeat(rng.random(len(refs) // A_SCRAPE + 1) < 0.02, A_SCRAPE)[: len(refs)] * 7
        times = START_MS + scrape * INTERVAL_MS + offsets + late
        await engine.append(SeriesBatch(refs, times, np.ascontiguousarray(values[:, scrape])))
    store.flush(everything=True)


def _cpu_ms(evaluator: Evaluator, query: str, step: int, runs: int = 7) -> float:
    def ask() -> None:
        if step:
            evaluator.range(query, END_MS - HOUR_MS, END_MS, step)
        else:
            evaluator.instant(query, END_MS)

    ask()
    return min(_timed(ask) for _ in range(runs))


def _timed(ask: Callable[[], None]) -> float:
    began = time.process_time()
    ask()
    return 1e3 * (time.process_time() - began)
