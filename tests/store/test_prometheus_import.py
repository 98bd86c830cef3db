"""Moving in from a real Prometheus: its snapshot, imported, answers as it does."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.pipeline.errors import CorruptChunk, InvalidInput
from headrace.store.api.backend import QueryOptions
from headrace.store.api.promql import PromQLService
from headrace.store.api.ticket import Ticket
from headrace.store.backfill import Backfill
from headrace.store.inspection import check_block
from headrace.store.prometheus_blocks import meta
from headrace.store.prometheus_import import import_blocks
from headrace.store.promql.evaluate import EvaluatorOptions
from prometheus_history import Histogram, OneSeries, PrometheusServer
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.store.engine import Engine

pytestmark = pytest.mark.peer

STALE = float(np.uint64(0x7FF0000000000002).view(np.float64))
T0 = 1_700_000_000_000
STEP = 15_000
N = 700


def float_series() -> list[OneSeries]:
    """Counters with resets, gauges, gaps, jittered times, and every value that is not a number."""
    rng = np.random.default_rng(11)
    found = []
    for k in range(24):
        values = np.cumsum(rng.integers(0, 50, N)).astype(np.float64)
        if k % 3 == 0:
            values[N // 2 :] -= values[N // 2]
        if k % 3 == 1:
            values = rng.normal(size=N) * 10.0 ** rng.integers(-300, 300)
        if k % 4 == 2:
            values[[10, 20, 30, 40, 50]] = [math.nan, math.inf, -math.inf, -0.0, STALE]
        times = T0 + np.arange(N) * STEP + (rng.integers(-7000, 7000, N) if k % 2 else 0)
        keep = np.ones(N, np.bool_)
        keep[100:160] = k % 5 != 0
        rows = list(zip(times[keep].tolist(), values[keep].tolist(), strict=True))
        found.append(OneSeries({"__name__": f"m{k % 4}", "i": str(k), "zone": 'a"\\\n\u00e4'}, rows))
    return found


def histogram_series() -> list[OneSeries]:
    """All kinds of native histograms: integer, float, gauge, custom buckets, layouts that change, stale markers."""
    times = [T0 + k * STEP for k in range(300)]
    integers = [
        Histogram(
            t, 1.5 * k, 3, 0.001, k, [(0, 2), (3, 1 + k // 100)],
            [k % 150, 2 * (k % 150), k % 150 // 2, *[k % 150] * (k // 100)], [(-4, 1)], [k % 150],
        )
        for k, t in enumerate(times)
    ]  # fmt: skip
    floats = [
        Histogram(t, 1.5 * k, 8, 0.5, 3.5 * k, [(0, 2)], [k * 1.5, k * 0.25], [(5, 2)], [k * 2.5, k], is_float=True)
        for k, t in enumerate(times)
    ]
    gauges = [
        Histogram(t, -k, -2, 2.0**-128, 3, [(0, 2 + k % 3)], range(1, 3 + k % 3), hint=3) for k, t in enumerate(times)
    ]
    custom = [
        Histogram(t, k, -53, positive_spans=[(0, 3)], positive=[k, k, 2 * k], bounds=[0.1, 2.5, math.pi])
        for k, t in enumerate(times)
    ]
    custom_floats = [
        Histogram(t, k, -53, positive_spans=[(1, 2)], positive=[k / 2, k], bounds=[0.1, 2.5, 4e9], is_float=True)
        for k, t in enumerate(times)
    ]
    integers[250] = Histogram(times[250], stale=True)
    floats[250] = Histogram(times[250], stale=True, is_float=True)
    kinds = {"integer": integers, "float": floats, "gauge": gauges, "custom": custom, "custom_float": custom_floats}
    found = [OneSeries({"__name__": "h", "kind": kind}, [], rows) for kind, rows in kinds.items()]
    mixed = OneSeries({"__name__": "h", "kind": "mixed"}, [(t, 1.0) for t in times[:100]], integers[100:])
    return [*found, mixed]


@pytest.fixture(scope="module")
def server(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    folder = tmp_path_factory.mktemp("prometheus")
    with Programs(folder) as programs:
        first = PrometheusServer(programs, peers, folder / "first")
        first.write([*float_series(), *histogram_series()], STALE)
        snapshot = first.snapshot()
        first.program.stop()
        # A second one on the snapshot: what it deletes lies in blocks, as tombstones.
        data = folder / "second" / "data"
        data.parent.mkdir()
        shutil.copytree(snapshot, data)
        second = PrometheusServer(programs, peers, folder / "second")
        for selector, first_s, last_s in (('m0{i="4"}', 100, 4000), ('h{kind="custom"}', 1000, 1500)):
            second.post(
                "admin/tsdb/delete_series",
                **{"match[]": selector, "start": T0 / 1000 + first_s, "end": T0 / 1000 + last_s},
            )
        yield second


@pytest.fixture(scope="module")
def snapshot(server: PrometheusServer) -> Path:
    return server.snapshot()


@pytest.fixture
def imported(snapshot: Path, tmp_path: Path) -> Iterator[Engine]:
    with Backfill(tmp_path / "data", "default") as backfill:
        import_blocks(snapshot, backfill)
        yield backfill.engine


QUERIES = (
    "m0",
    "rate(m0[5m])",
    "increase(m1[20m]) + 1",
    "sum by (zone) (m2)",
    "max_over_time(m1[10m])",
    "resets(m3[1h])",
    "count_over_time({__name__=~'m.'}[7m])",
    "changes(m0[1h]) > 3",
    "timestamp(m2)",
    "quantile(0.9, m3)",
    # Instant queries on histograms of which some are deleted end in "index out of range" in Prometheus 3.5.
    'h{kind!="custom"}',
    'histogram_count(h{kind!="custom"})',
    'histogram_sum(h{kind!="custom"})',
)


@pytest.mark.parametrize("query", QUERIES)
def test_answers_are_those_of_prometheus(server: PrometheusServer, imported: Engine, query: str) -> None:
    """At instants and over a range, to the last digit."""
    ours = PromQLService(imported, EvaluatorOptions())
    end = T0 + N * STEP
    for time_ms in (T0, T0 + 50 * STEP, T0 + 130 * STEP, end):
        theirs = server.query("query", query=query, time=time_ms / 1000)
        answer = ours.instant(query, time_ms, QueryOptions(ticket()))
        assert by_labels(json.loads(answer.result)) == by_labels(theirs["result"])
    theirs = server.query("query_range", query=query, start=T0 / 1000, end=end / 1000, step=60)
    answer = ours.range(query, T0, end, 60_000, QueryOptions(ticket()))
    assert by_labels(json.loads(answer.result)) == by_labels(theirs["result"])


def ticket() -> Ticket:
    return Ticket(60.0)


KINDS = ("value", "values", "histogram", "histograms")


def by_labels(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        json.dumps(row["metric"], sort_keys=True): {kind: row[kind] for kind in KINDS if kind in row} for row in rows
    }


def test_every_sample_is_there_bit_by_bit(imported: Engine) -> None:
    """Of doubles, deleted ones aside: NaN, infinities, negative zero and stale markers too."""
    for series in float_series():
        found = samples_of(imported, series.labels)
        deleted = series.labels["i"] == "4"
        kept = [(t, v) for t, v in sorted(series.floats) if not (deleted and T0 + 100_000 <= t <= T0 + 4_000_000)]
        want = np.array([v for _, v in kept]).view(np.uint64).tolist()
        assert found == list(zip([t for t, _ in kept], want, strict=True)), series.labels
    mixed = samples_of(imported, {"__name__": "h", "kind": "mixed"})
    assert [t for t, _ in mixed] == [T0 + k * STEP for k in range(100)]


def samples_of(engine: Engine, labels: dict[str, str]) -> list[tuple[int, int]]:
    ref = int(engine.refs([tuple(sorted(labels.items()))])[0])
    refs = np.array([ref], np.int32)
    runs = [block.read(refs, 0, 1 << 60) for block in engine.blocks]
    return sorted(
        (t, v) for run in runs for t, v in zip(run.times_ms.tolist(), run.values.view(np.uint64).tolist(), strict=True)
    )


@pytest.mark.parametrize("kind", ["integer", "float", "gauge", "custom", "custom_float", "mixed"])
def test_native_histograms_are_those_of_prometheus(server: PrometheusServer, imported: Engine, kind: str) -> None:
    """Counts, sums and buckets of each, as its API shows them."""
    selector = f'h{{kind="{kind}"}}[{N * STEP // 1000}s]'
    found = server.query("query", query=selector, time=(T0 + N * STEP) / 1000 - 1)
    theirs = {round(t * 1000): row for t, row in found["result"][0]["histograms"]}
    ref = imported.refs([(("__name__", "h"), ("kind", kind))])
    (block,) = imported.blocks
    ours = block.read_histograms(ref, 0, 1 << 60)
    live = np.flatnonzero(ours.flags & 2 == 0)
    assert ours.time_ms[live].tolist() == sorted(theirs)
    assert len(theirs) >= 150
    assert len(ours) - len(live) == (kind in {"integer", "float", "mixed"})
    for row in live.tolist():
        want = theirs[int(ours.time_ms[row])]
        as_float = bool(ours.flags[row] & 1)
        count, buckets = ours.count[row : row + 1], ours.buckets[ours.bucket_starts[row] : ours.bucket_starts[row + 1]]
        zero = ours.zero_count[row : row + 1]
        if as_float:
            count, buckets, zero = count.view(np.float64), buckets.view(np.float64), zero.view(np.float64)
        assert float(count[0]) == float(want["count"])
        assert float(ours.sum[row]) == float(want["sum"])
        # The API leaves empty buckets out, and shows the negative ones first, from the outside in.
        spans = ours.spans[ours.span_starts[row] : ours.span_starts[row + 1]]
        split = int(spans[: ours.positive_spans[row], 1].sum())
        own = [*buckets[split:][::-1].tolist(), *zero.tolist(), *buckets[:split].tolist()]
        assert [float(n) for n in own if n] == [float(n) for *_, n in want.get("buckets", [])]


def test_blocks_are_whole_and_imported_once(snapshot: Path, tmp_path: Path) -> None:
    """A second run of the import finds them there."""
    with Backfill(tmp_path, "default") as backfill:
        first = import_blocks(snapshot, backfill)
        assert [check_block(block) for block in backfill.engine.blocks] == [""] * len(first)
    with Backfill(tmp_path, "default") as backfill:
        assert [one.known for one in import_blocks(snapshot, backfill)] == [True] * len(first)
        assert len(backfill.engine.blocks) == len(first)
    with Backfill(tmp_path, "other") as backfill:
        assert not any(one.known for one in import_blocks(next(snapshot.iterdir()), backfill))


def test_blocks_that_promtool_made(peers: Path, tmp_path: Path) -> None:
    """`promtool tsdb create-blocks-from openmetrics`, two blocks."""
    lines = [f'up{{i="{i}"}} {i * k} {T0 // 1000 + 60 * k}' for i in range(3) for k in range(150)]
    (tmp_path / "in.om").write_text("\n".join(["# TYPE up gauge", *lines, "# EOF", ""]))
    arguments: list[str | Path] = ["tsdb", "create-blocks-from", "openmetrics", tmp_path / "in.om", tmp_path / "out"]
    command: list[str | Path] = [peers / "promtool", *arguments]
    subprocess.run(command, check=True, capture_output=True)
    with Backfill(tmp_path / "data", "default") as backfill:
        results = import_blocks(tmp_path / "out", backfill)
        assert len(results) >= 2
        assert sum(one.samples for one in results) == 450
        found = samples_of(backfill.engine, {"__name__": "up", "i": "2"})
    assert found == [(T0 + 60_000 * k, int(np.float64(2 * k).view(np.uint64))) for k in range(150)]


@pytest.mark.parametrize(
    ("file", "place"),
    [
        pytest.param("index", 0.02, id="symbols"),
        pytest.param("index", 0.3, id="series"),
        pytest.param("index", 0.999, id="contents"),
        pytest.param("chunks/000001", 0.0, id="segment"),
        pytest.param("chunks/000001", 0.66, id="chunk"),
        pytest.param("tombstones", 0.5, id="tombstones"),
        pytest.param("meta.json", 0.0, id="meta"),
    ],
)
def test_damage_is_named_and_leaves_nothing(snapshot: Path, tmp_path: Path, file: str, place: float) -> None:
    """A flipped bit in what is read: an error with the file's name, and no block of ours."""
    source = tmp_path / "snapshot"
    shutil.copytree(snapshot, source)
    path = meta.find_blocks(source)[0] / file
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0x10
    path.write_bytes(data)
    with Backfill(tmp_path / "data", "default") as backfill:
        with pytest.raises(CorruptChunk, match=file):
            import_blocks(source, backfill)
        assert backfill.engine.blocks == ()
        shutil.rmtree(source)
        shutil.copytree(snapshot, source)
        assert import_blocks(source, backfill)[0].samples > 0


def test_a_directory_without_blocks_is_refused(tmp_path: Path) -> None:
    """And what is only in the log of Prometheus is known to be missing."""
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / "00000001").write_bytes(b"x")
    assert meta.has_head(tmp_path)
    with (
        Backfill(tmp_path / "data", "default") as backfill,
        pytest.raises(InvalidInput, match="no blocks of Prometheus"),
    ):
        import_blocks(tmp_path, backfill)
