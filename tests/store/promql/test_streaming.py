"""Aggregations over a scan, batch by batch, against the same query with everything in memory at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions
from headrace.store.promql.pushdown import parallel
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from headrace.store.engine import Engine
    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.labels import ColumnarSeries, QuerySymbols
    from headrace.store.matchers import Matcher
    from headrace.store.promql.evaluate import Result
    from headrace.store.symbols import Symbols

START = 1_700_000_000_000
SCRAPES = 120
STEP = 15_000
END = START + SCRAPES * STEP
STALE = float(np.uint64(0x7FF0000000000002).view(np.float64))

ROWS = (
    "a_total", "rate(a_total[1m])", "increase(a_total[50s])", "delta(a_total[2m])", "sum_over_time(a_total[1m])",
    "avg_over_time(a_total[3m])", "max_over_time(a_total[1m])", "min_over_time(a_total[90s])",
    "count_over_time(a_total[1m])", "present_over_time(a_total[20s])", "last_over_time(a_total[20s])",
    "first_over_time(a_total[1m])", "irate(a_total[1m])", "stddev_over_time(a_total[1m])", "changes(a_total[2m])",
    "quantile_over_time(0.3, a_total[1m])", "deriv(a_total[2m])", "-a_total", "abs(rate(a_total[1m])) * 2 > 0.5",
    "2 > bool (a_total)", "clamp(a_total, 1, 5)", "round(a_total)", "timestamp(a_total)", "a_total offset 1m",
    "rate(a_total[1m] offset 30s)", "hour(a_total)", "predict_linear(a_total[2m], 60)", "a_total + time()",
    "max_over_time(a_total[1m] @ 1700000900)", "a_total @ end()",
)  # fmt: skip
"""Row-wise expressions."""

AGGREGATIONS = (
    "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "sum by (job)", "avg by (job, odd)",
    "max by (__name__)", "sum without (i)", "count without (i, job)", "stddev by (odd)", "min by (nothing)",
)  # fmt: skip
CHOICES = ("topk(2, {})", "bottomk by (job) (3, {})", "topk without (i) (1, {})", "bottomk(1000, {})")
OTHERS = (
    "sum(sum by (job) (rate(a_total[1m])))", "sum by (job) (a_total) / count by (job) (a_total)",
    "histogram_quantile(0.9, sum by (i) (a_total))", "max_over_time(sum by (job) (rate(a_total[1m]))[3m:30s])",
    'sum({__name__=~"a_.*|b"})', 'sum(rate({__name__=~"a_.*|c"}[1m]))', 'count by (__name__) ({job=~".+"})',
    'sum(rate({job="0"}[1m]))', "sum(nothing)", "topk(3, nothing)", "sum by (job) (a_total) > 1",
)  # fmt: skip
COLLIDING = ('sum(rate({job="0"}[1m]))',)
"""Queries of series that become equal without their names."""

QUERIES = (
    *(f"{aggregation} ({rows})" for aggregation in AGGREGATIONS for rows in ROWS[::3]),
    *(f"sum by (job) ({rows})" for rows in ROWS),
    *(choice.format(rows) for choice in CHOICES for rows in ROWS[::4]),
    *OTHERS,
)


class Gathered:
    """A source that cannot be scanned, so that everything is selected at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def symbols(self) -> Symbols:
        return self._engine.symbols()

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols) -> ColumnarSeries:
        return self._engine.select(matchers, start_ms, end_ms, symbols)

    def select_histograms(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols
    ) -> HistogramSeries:
        return self._engine.select_histograms(matchers, start_ms, end_ms, symbols)


def values_of(rng: np.random.Generator, kind: int) -> np.ndarray[Any, Any]:
    """Return a series: counters with resets, decimals, whole gauges, special numbers, constants."""
    steps = rng.poisson(2.0, SCRAPES).astype(float)
    if kind == 0:
        counter = np.cumsum(steps)
        return counter - np.where(np.arange(SCRAPES) > SCRAPES // 2, counter[SCRAPES // 2], 0.0)
    if kind == 1:
        return np.round(rng.normal(3, 2, SCRAPES), 2)
    if kind == 2:
        return steps * 4096
    if kind == 3:
        special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e308, -1e308, 1.0, 2.0, 3.0])
        return rng.choice(special, SCRAPES)
    return np.full(SCRAPES, 7.0)


async def fill(store: Store, rng: np.random.Generator) -> None:
    """Store series, four of each scrape, with gaps, stale markers and late samples, in blocks and head."""
    engine = store.engine("default")
    labels = [
        (("__name__", ("a_total", "b", "c")[i % 7 // 5 + (i % 11 == 10)]), ("i", str(i)), ("job", str(i // 4 % 3)))
        + ((("odd", "yes"),) if i % 2 else ())
        for i in range(70)
    ]
    refs = engine.refs(labels)
    values = np.stack([values_of(rng, i % 5) for i in range(len(labels))])
    late = []
    for scrape in range(SCRAPES):
        times = START + scrape * STEP + np.repeat(rng.integers(0, 2, 18) * rng.integers(0, 999, 18), 4)[: len(refs)]
        keep = rng.random(len(refs)) > np.where(np.arange(len(refs)) % 9 == 0, 0.3, 0.0)
        row = values[:, scrape].copy()
        row[rng.random(len(refs)) < 0.01] = STALE
        if scrape % 17 == 5:
            late.append((refs[keep], times[keep], row[keep]))
        else:
            await engine.append(SeriesBatch(refs[keep], times[keep].astype(np.int64), row[keep]))
        if scrape in {40, 80}:
            store.flush(everything=True)
    for refs_late, times, row in late:
        await engine.append(SeriesBatch(refs_late, times.astype(np.int64), row))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A workspace of samples in two blocks, in the head, and late ones."""
    directory: Path = tmp_path_factory.mktemp("stream")
    options = EngineOptions(max_future_ms=1 << 40, out_of_order_ms=1 << 40, block_ms=SCRAPES * STEP)
    store = Store(directory, StoreOptions(Sync.NEVER, 0, options), clock_ms=lambda: END)
    store.open()
    asyncio.run(fill(store, np.random.default_rng(1)))
    yield store.engine("default")
    asyncio.run(store.close())


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "PIECE", 2500)


def written(result: Result) -> object:
    """Return all that there is to a result, numbers as bits, except that a NaN is a NaN."""
    value: Any = result.value
    bits = np.where(np.isnan(value.values), np.nan, value.values).view(np.uint64)
    labels = [value.labels.labels(i) for i in range(len(value.labels))]
    marks = None if value.drop_name is None else value.drop_name.tolist()
    return (
        labels, np.where(value.present, bits, 0).tolist(), value.present.tolist(), value.ordered, marks,
        sorted(result.warnings), sorted(result.infos), result.statistics.total, result.statistics.per_step.tolist(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "delayed", [pytest.param(False, id="dropped", marks=pytest.mark.large), pytest.param(True, id="delayed")]
)
@pytest.mark.parametrize("query", [query for query in QUERIES if query not in COLLIDING])
def test_batches_give_what_all_at_once_gives(engine: Engine, query: str, *, delayed: bool) -> None:
    """Values, labels, order, annotations and counts of samples are the same, to the last bit."""
    options = EvaluatorOptions(delayed_name_removal=delayed, lookback_ms=60_000)
    streamed, gathered = Evaluator(engine, options), Evaluator(Gathered(engine), options)
    times = (START + 300_000, END - 60_000, 40_000)
    assert written(streamed.range(query, *times)) == written(gathered.range(query, *times))
    moment = START + 900_000
    assert written(streamed.instant(query, moment)) == written(gathered.instant(query, moment))
