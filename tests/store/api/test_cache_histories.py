"""Random histories of a workspace under a dashboard: the cache answers, bit for bit, what an evaluation answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.store.api.backend import Answer, QueryOptions
from headrace.store.api.errors import ApiError
from headrace.store.api.promql import PromQLService
from headrace.store.api.result_cache import CacheStatistics, Question, ResultCache
from headrace.store.api.reuse import WorkspaceCache
from headrace.store.api.ticket import Ticket
from headrace.store.changes import ChangeLog
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.store.promql.language.parser import ALL_FEATURES
from headrace.store.store import Store, StoreOptions
from headrace.testing.store_fakes import MemoryQueryable
from native_rows import Growing, columns
from store_histories import LABELS, SHARDS, START, StoreHistory, run_shard

if TYPE_CHECKING:
    from pathlib import Path

STALE = float(np.uint64(0x7FF0000000000002).view(np.float64))
OPTIONS = EvaluatorOptions(lookback_ms=40_000, subquery_step_ms=7_000, parser=ALL_FEATURES)
QUERIES = (
    "m0",
    "sum by (i) (m0)",
    "sum(rate(m1[45s]))",
    "avg_over_time(m0[1m]) + m1",
    "m0 offset 20s",
    "m0 offset -20s",
    "m1 @ 1700000030",
    "m1 @ end() - m1",
    "m1 @ start()",
    "sum_over_time(m0[30s] @ 1700000100)",
    "max_over_time(sum(m0)[1m:10s])",
    "max_over_time(m0[20s:] offset -15s)",
    "avg_over_time(m0[30s:5s] @ 1700000060 offset 5s)",
    "topk(2, m0 or m1)",
    "count_values('v', m0)",
    "quantile_over_time(0.7, m0[50s])",
    "absent(m0{i='3'})",
    "absent_over_time(m2[20s])",
    "label_replace(m0, 'x', 'y$1', 'i', '(.)')",
    "m0 > on (i) group_left m0 * 0.5",
    "m0 * on () m1",
    "time() - timestamp(m2)",
    "predict_linear(m0[1m], 10)",
    "changes(m1[1m]) > 0 or vector(1)",
    "scalar(m0{i='0'})",
    "m2",
    "sum(m2)",
    "histogram_quantile(0.5, m2)",
    "limit_ratio(0.5, m0)",
    "rate(m0[1m] offset 10s) and m1 unless m0 > 100",
    "increase(m0[45s] anchored)",
    "rate(m1[45s] smoothed)",
    "m0 smoothed",
    "info(m0, {__name__='m1'})",
    "m0 + on (i) fill (3) m1",
    "m0 offset step()",
    "sum_over_time(m0[range() / 2])",
    "avg_over_time(m0[1m] offset (step() * 2))",
    "limitk(2, m0)",
    "topk(scalar(m0{i='0'}), m0 or m1)",
    "quantile(scalar(m0{i='3'} @ 1700000030), m0)",
    "time() % 60 + start() - end()",
    "hour() + minute(m0)",
    "timestamp(m0)",
    "-m0 or {__name__=~'m[01]'}",
    "rate({__name__=~'m.'}[1m])",
    "histogram_count(rate(m2[1m])) or sum_over_time(m0[1m])",
    "sort_by_label(m0, 'i')",
    "max_over_time(deriv(m0[30s])[1m:5s] @ end())",
    "min_over_time((m0 offset -30s)[40s:10s] offset 10s)",
    "ts_of_max_over_time(m0[50s])",
)


class History(StoreHistory):
    """A store with samples and histograms, and a dashboard that shows some of it again and again."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.cache = ResultCache(1 << 20)
        self.statistics = CacheStatistics()
        super().__init__(directory, seed)
        self.options = replace(OPTIONS, delayed_name_removal=self.random.random() < 0.5)
        self.growing = [Growing(self.random) for _ in LABELS]
        self.panels = [
            (query, self.random.choice([5000, 15_000]), self.random.randrange(5000), self.random.choice([60, 180, 400]))
            for query in self.random.sample(QUERIES, 6)
        ]

    def opened(self) -> Store:
        engine = EngineOptions(
            block_ms=60_000, out_of_order_ms=60_000, max_future_ms=600_000, linger_ms=0, retention_ms=240_000
        )
        store = Store(self.directory, StoreOptions(Sync.NEVER, 0, engine), clock_ms=lambda: self.ms)
        store.open()
        changes = store.engine("default").changes
        self.known = WorkspaceCache(self.cache, changes)
        return store

    async def append(self) -> None:
        """Append samples, or histograms of the last name, some late."""
        pick = self.random
        self.ms += pick.choice([1000, 5000, 15_000])
        engine = self.store.engine("default")
        numbers = pick.sample(range(len(LABELS)), pick.randint(1, 8))
        late = pick.choice([0, 0, 0, 1000, 7000, 50_000])
        if pick.random() < 0.3:
            numbers = [i for i in numbers if i % 3 == 2] or [2]
            refs = engine.refs([LABELS[i] for i in numbers])
            rows = [self.growing[i].next() for i in numbers]
            await engine.append_histograms(columns(refs.tolist(), [self.ms - late] * len(rows), rows))
            return
        refs = engine.refs([LABELS[i] for i in numbers])
        values = np.array([pick.choice([pick.random() * 200, float(pick.randint(0, 3)), STALE]) for _ in numbers])
        await engine.append(SeriesBatch(refs, np.full(len(refs), self.ms - late), values))

    async def act(self) -> None:
        """Do something by chance, retention too."""
        if self.random.random() < 0.06:
            self.store.engine("default").retain()
        await super().act()

    def check(self) -> None:
        """Load the dashboard."""
        for query, step_ms, shift_ms, length_s in self.panels:
            if self.random.random() < 0.3:
                continue
            end = (self.ms + self.random.choice([-20_000, 0, 0, 0, 10_000])) // step_ms * step_ms + shift_ms
            start = end - self.random.choice([length_s, length_s, length_s, 90]) * 1000 // step_ms * step_ms
            limit = self.random.choice([0, 0, 0, 2])
            lookback_ms = self.random.choice([None, None, None, 15_000])
            self.compare(Question(query, start, end, step_ms, lookback_ms, limit))
        now = self.ms // 30_000 * 30_000
        self.compare(Question(self.random.choice(QUERIES), now, now, 0, None, 0))

    def compare(self, question: Question) -> None:
        """Ask both and compare; a second question at once is answered with what is kept."""
        engine = self.store.engine("default")
        expected = asked(PromQLService(engine, self.options), question)
        service = PromQLService(engine, self.options, self.known)
        for _ in range(2):
            found = asked(service, question)
            assert found == expected, (question, START, self.log)

    async def run(self) -> None:
        await super().run()
        statistics = self.cache.statistics
        assert statistics.hits > 0
        assert self.cache.size <= self.cache.capacity
        TOTAL.hits += statistics.hits
        TOTAL.partial += statistics.partial
        TOTAL.misses += statistics.misses


TOTAL = CacheStatistics()


class ChangingStore:
    """A series in memory, and what happens to it."""

    def __init__(self) -> None:
        self.changes = ChangeLog()
        self._series = MemoryQueryable()
        self.add([0, 10_000], [1.0, 2.0])

    def add(self, times_ms: list[int], values: list[float], **labels: str) -> None:
        """Add a series, of which the log says nothing."""
        self._series.add({"__name__": "m", **labels}, times_ms, values)

    def answer(self, known: WorkspaceCache, question: Question) -> Answer:
        service = PromQLService(self._series, OPTIONS, known)
        return service.range(*question[:4], QueryOptions(Ticket(60.0)))


def asked(service: PromQLService, question: Question) -> Any:
    """Return all of an answer but its times, annotations as sets."""
    query, start, end, step, lookback_ms, limit = question
    options = QueryOptions(Ticket(60.0), limit, lookback_ms=lookback_ms)
    try:
        answer = service.range(query, start, end, step, options) if step else service.instant(query, start, options)
    except ApiError as error:
        return error.kind, error.message
    return answer.kind, answer.result, set(answer.warnings), set(answer.infos)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_histories(tmp_path: Path, shard: int) -> None:
    """Appends in and out of order, histograms, deletions, retention, flushes, merges, restarts and crashes."""
    before = TOTAL.partial
    run_shard(History, tmp_path, shard)
    assert TOTAL.partial > before
    print(f"{TOTAL.hits} whole, {TOTAL.partial} partial, {TOTAL.misses} evaluated")  # noqa: T201 -- what a run shows


def test_what_is_kept_is_what_was_sent() -> None:
    """An answer's bytes are kept by question, until something happens to what it depends on."""
    store = ChangingStore()
    cache = ResultCache(1 << 20)
    known = WorkspaceCache(cache, store.changes)
    question = Question("m", 0, 50_000, 10_000, None, 0)
    assert known.body(question) is None
    bodies = store.answer(known, question).bodies
    assert bodies is not None
    bodies.keep("", b"plain")
    bodies.keep("gzip", b"packed")
    kept = known.body(question)
    assert kept is not None
    assert (kept.find(""), kept.find("gzip"), kept.find("zstd")) == (b"plain", b"packed", None)
    store.changes.note(50_001)
    assert known.body(question) is not None
    store.changes.note(50_000)
    assert known.body(question) is None


def test_steps_of_before_do_not_hide_an_error() -> None:
    """Series that are equal but for their names fail a query, though some steps were answered without them."""
    source = MemoryQueryable()
    source.add({"__name__": "m", "i": "0"}, [0, 10_000], [1.0, 2.0])
    source.add({"__name__": "n", "i": "0"}, [500_000, 510_000], [1.0, 2.0])
    known = WorkspaceCache(ResultCache(1 << 20), ChangeLog())
    query = "rate({i='0'}[1m])"
    for cache in (None, known):
        service = PromQLService(source, OPTIONS, cache)
        assert asked(service, Question(query, 0, 400_000, 10_000, None, 0))[0] == "matrix"
        assert asked(service, Question(query, 0, 550_000, 10_000, None, 0))[0] == "execution"


def test_entries_make_room_for_those_used_later() -> None:
    """No more bytes are taken than there may be, and a workspace that goes takes its entries along."""
    store = ChangingStore()
    cache = ResultCache(20_000)
    known = WorkspaceCache(cache, store.changes)
    for i in range(100):
        store.answer(known, Question(f"m + {i}", 0, 50_000, 10_000, None, 0))
    assert 0 < cache.size <= cache.capacity
    assert cache.statistics.evicted > 50
    assert known.body(Question("m + 99", 0, 50_000, 10_000, None, 0)) is None
    WorkspaceCache(cache, ChangingStore().changes).drop()
    assert len(cache)
    known.drop()
    assert (len(cache), cache.size) == (0, 0)


def test_large_results_are_not_kept() -> None:
    """One result does not push out all others."""
    store = ChangingStore()
    cache = ResultCache(20_000)
    known = WorkspaceCache(cache, store.changes)
    question = Question("m", 0, 500_000, 1_000, None, 0)
    bodies = store.answer(known, question).bodies
    assert bodies is not None
    bodies.keep("", b"x" * 10_000)
    assert cache.size < 2000
    assert known.body(question) is None


def test_workspaces_do_not_see_one_another() -> None:
    """The same question has another answer in each, and a change of one leaves the other's alone."""
    cache = ResultCache(1 << 20)
    stores = [ChangingStore(), ChangingStore()]
    known = [WorkspaceCache(cache, store.changes) for store in stores]
    stores[1].add([20_000], [7.0], other="yes")
    question = Question("m", 0, 50_000, 10_000, None, 0)
    first, second = (store.answer(own, question) for store, own in zip(stores, known, strict=True))
    assert first.result != second.result
    stores[1].changes.note(0)
    assert [store.answer(own, question).result for store, own in zip(stores, known, strict=True)] == [
        first.result, second.result,
    ]  # fmt: skip
    assert (cache.statistics.hits, cache.statistics.misses) == (1, 3)
