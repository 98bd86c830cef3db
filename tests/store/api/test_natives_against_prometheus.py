"""The same native histograms in a real Prometheus and in the store: answers to plain selectors are equal."""

from __future__ import annotations

import asyncio
import json
import random
import urllib.parse
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS
from headrace.store.api.backend import QueryOptions
from headrace.store.api.promql import PromQLService
from headrace.store.api.ticket import Ticket
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.store.store import Store, StoreOptions
from headrace.testing.promql_script_values import STALE as STALE_NUMBER
from native_messages import request
from native_rows import STALE, Growing, Row, bits, columns
from remote_write_messages import packed
from running import Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer

START_MS = 1_700_000_000_000
STEP_MS = 15_000
POINTS = 60
Data = list[tuple[dict[str, str], list[tuple[int, float]], list[tuple[int, Row]]]]


class Honest(Growing):
    """Histograms that Prometheus takes: their count is that of their buckets."""

    def next(self) -> Row:
        row = super().next()
        if row is STALE or row.flags:
            return row
        return replace(row, count=row.zero_count + sum(row.buckets), hint=0)


def more(row: Row, k: int) -> Row:
    """Return a histogram with `k` more in its first bucket."""
    if row.flags:
        return replace(row, buckets=(bits(k / 3), *row.buckets[1:]))
    return replace(row, count=row.count + k, buckets=(row.buckets[0] + k, *row.buckets[1:]))


def make_data() -> Data:
    """Make series of histograms, of numbers, and of both in turn."""
    pick = random.Random(7)
    times = [START_MS + i * STEP_MS for i in range(POINTS)]
    data: Data = []
    for i in range(12):
        growing = Honest(pick)
        kept = [time for time in times if pick.random() > 0.1]
        data.append(({"__name__": "h", "i": str(i)}, [], [(time, growing.next()) for time in kept]))
    for i in range(4):
        growing = Honest(pick)
        row = next(row for row in iter(growing.next, None) if row.buckets)
        fixed = [(time, STALE if k % 20 == 19 else more(row, k)) for k, time in enumerate(times)]
        data.append(({"__name__": "fixed", "i": str(i)}, [], fixed))
    for i in range(2, 5):
        data.append(({"__name__": "g", "i": str(i)}, [(time, float(i)) for time in times[5:50]], []))
    for i in range(3):
        growing = Honest(pick)
        native = [(times.index(time) // (3 + i)) % 2 == 1 for time in times]
        numbers = [
            (t, pick.choice([1.5, STALE_NUMBER])) for t, is_native in zip(times, native, strict=True) if not is_native
        ]
        rows = [(t, growing.next()) for t, is_native in zip(times, native, strict=True) if is_native]
        data.append(({"__name__": "both", "i": str(i)}, numbers, rows))
    return data


@pytest.fixture(scope="module")
def data() -> Data:
    return make_data()


@pytest.fixture(scope="module")
def prometheus(peers: Path, tmp_path_factory: pytest.TempPathFactory, data: Data) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "prometheus.yml"
    config.write_text("scrape_configs: []\nstorage:\n  tsdb:\n    out_of_order_time_window: 100y\n")
    port = free_port()
    with Programs(folder) as programs:
        command: list[str | Path] = [
            peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=200y", f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            "--enable-feature=native-histograms,promql-experimental-functions",
        ]  # fmt: skip
        programs.start("prometheus", command).wait_http(f"http://127.0.0.1:{port}/-/ready")
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        # One time after the other, so that in a series of both kinds nothing is out of order.
        for time in sorted({time for _, numbers, rows in data for time, _ in (*numbers, *rows)}):
            some = [
                (labels, [row for row in numbers if row[0] == time], [row for row in rows if row[0] == time])
                for labels, numbers, rows in data
            ]
            body = packed(request([one for one in some if one[1] or one[2]]))
            urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/write", body, headers)
            ).close()
        yield port


@pytest.fixture(scope="module", params=["head", "blocks"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data: Data) -> PromQLService:
    store = Store(
        tmp_path_factory.mktemp("store"),
        StoreOptions(Sync.NEVER, 0, EngineOptions()),
        clock_ms=lambda: START_MS + POINTS * STEP_MS,
    )
    store.open()
    engine = store.engine("default")
    refs = engine.refs([tuple(sorted(labels.items())) for labels, _, _ in data]).tolist()

    async def fill() -> None:
        for time in range(START_MS, START_MS + POINTS * STEP_MS, STEP_MS):
            numbers = [(ref, v) for ref, one in zip(refs, data, strict=True) for t, v in one[1] if t == time]
            rows = [(ref, row) for ref, one in zip(refs, data, strict=True) for t, row in one[2] if t == time]
            batch = SeriesBatch(
                np.array([ref for ref, _ in numbers], np.int32),
                np.full(len(numbers), time, np.int64),
                np.array([value for _, value in numbers], np.float64),
            )
            assert (await engine.append(batch)).accepted == len(numbers)
            natives = columns([ref for ref, _ in rows], [time] * len(rows), [row for _, row in rows])
            assert (await engine.append_histograms(natives)).accepted == len(rows)

    asyncio.run(fill())
    if request.param == "blocks":
        store.flush(everything=True)
    return PromQLService(engine, EvaluatorOptions())


def asked(port: int, path: str, **params: str | float) -> Any:
    """Return what Prometheus answers."""
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(params)}"
    with urllib.request.urlopen(url) as response:
        return json.load(response)["data"]["result"]


def by_labels(result: Any) -> Any:
    return sorted(result, key=lambda row: sorted(row["metric"].items()))


INSTANT = [
    "h", "h{i=~'1|2|3'}", "(h)", "+h", "h offset 2m", "h @ 1700000300", "both", "{__name__=~'h|g|both'}", "fixed",
    "fixed[2m]", "fixed[5m] offset 1m", "{__name__=~'fixed|g'}[4m]", "count(h)", "count by (i) (both)", "group(h)",
    "absent(h)", "absent(h{i='9'})", "absent(nothing)", "absent_over_time(both[30s])", "timestamp(h)",
    "h and on(i) g", "h unless on(i) g", "h or g", "g or h", "histogram_count(h)", "histogram_sum(h)",
    "histogram_avg(h)", "histogram_count(both)", "scalar(h{i='1'})", "topk(2, g)", "sum(g)",
]  # fmt: skip
NOTHING = ["g == on(i) h", "h > 1"]
RANGE = [query for query in INSTANT if not query.endswith("]") and "] offset" not in query]


@pytest.mark.parametrize("query", INSTANT + NOTHING)
def test_instant(prometheus: int, service: PromQLService, query: str) -> None:
    """At many times: histograms with all their buckets, numbers, and what ends with a stale marker."""
    shown = 0
    for k in range(0, POINTS + 25, 3):
        time_ms = START_MS + k * STEP_MS + 1000
        theirs = asked(prometheus, "query", query=query, time=time_ms / 1000)
        answer = service.instant(query, time_ms, QueryOptions(Ticket(60.0)))
        ours = json.loads(answer.result)
        if answer.kind == "scalar":
            assert ours == theirs
        else:
            assert by_labels(ours) == by_labels(theirs)
        shown += len(theirs)
    assert bool(shown) is (query not in NOTHING)


def test_points(prometheus: int, service: PromQLService, data: Data) -> None:
    """Each point of a range selector is what Prometheus answers for its time.

    Not what it answers for the range: there, version 3.5 shows negative counts where buckets were added meanwhile.
    """
    end_ms = START_MS + POINTS * STEP_MS
    query = "{__name__=~'h|both'}"
    found: dict[int, list[Any]] = {}
    for row in json.loads(service.instant(f"{query}[1h]", end_ms, QueryOptions(Ticket(60.0))).result):
        for kind, points in (("value", row.get("values", [])), ("histogram", row.get("histograms", []))):
            for time, point in points:
                found.setdefault(round(time * 1000), []).append({"metric": row["metric"], kind: [time, point]})
    assert sum(map(len, found.values())) > 500
    for time_ms, points in found.items():
        theirs = asked(prometheus, "query", query=query, time=time_ms / 1000, lookback_delta="1ms")
        assert by_labels(points) == by_labels(theirs)


@pytest.mark.parametrize("query", RANGE)
def test_range(prometheus: int, service: PromQLService, query: str) -> None:
    """Step by step, in the order of the answer."""
    start_ms, end_ms, step_ms = START_MS - 30_000, START_MS + (POINTS + 25) * STEP_MS, 20_000
    theirs = asked(
        prometheus, "query_range", query=query, start=start_ms / 1000, end=end_ms / 1000, step=step_ms / 1000
    )
    ours = json.loads(service.range(query, start_ms, end_ms, step_ms, QueryOptions(Ticket(60.0))).result)
    assert by_labels(ours) == by_labels(theirs)


def test_the_data_have_all_kinds(data: Data) -> None:
    """Custom buckets, exponential ones, doubles, stale markers, counts that doubles do not hold."""
    rows = [row for _, _, histograms in data for _, row in histograms]
    assert {row.schema for row in rows} >= {CUSTOM_BUCKETS, 0, 3, 8}
    assert any(row.flags == 1 for row in rows)
    assert STALE in rows
    assert any(row.count > 1 << 53 and not row.flags for row in rows)
