"""What a workspace is made of, told as Prometheus tells it."""

from __future__ import annotations

import http.client
import json
import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.exporters.store_api import EngineIndex
from headrace.store.api import status
from headrace.store.interfaces import SeriesBatch
from headrace.store.store import Store
from remote_write_messages import packed, request_v1
from running import Programs, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from headrace.store.engine import Engine


def series(amount: int) -> list[dict[str, str]]:
    """Return label sets in which no two counts of one ranking are equal near its end."""
    dice = random.Random(3)
    found = []
    for i in range(amount):
        name = min(dice.randrange(30), dice.randrange(30))
        labels = {"__name__": f"metric_{name}", "i": str(i), "é": "ü" * (i % 3), "zone": "abc"[i % 3]}
        if i % 200 == 0:
            labels["long"] = "x" * (120 + i // 10)
        found.append({key: value for key, value in labels.items() if value})
    return found


def ranking(series_: list[dict[str, str]], limit: int) -> dict[str, Any]:
    """Count with loops."""
    metrics: dict[str, int] = {}
    pairs: dict[str, int] = {}
    values: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for labels in series_:
        metrics[labels["__name__"]] = metrics.get(labels["__name__"], 0) + 1
        for name, value in labels.items():
            pairs[f"{name}={value}"] = pairs.get(f"{name}={value}", 0) + 1
            values.setdefault(name, set()).add(value)
            size = sum(len(text.encode()) + (1 if len(text.encode()) < 255 else 4) for text in (name, value))
            sizes[name] = sizes.get(name, 0) + size

    def largest(counts: dict[str, int]) -> list[dict[str, Any]]:
        rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:limit]
        return [{"name": name, "value": value} for name, value in rows]

    return {
        "seriesCountByMetricName": largest(metrics),
        "labelValueCountByLabelName": largest({name: len(found) for name, found in values.items()}),
        "memoryInBytesByLabelName": largest(sizes),
        "seriesCountByLabelValuePair": largest(pairs),
    }


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    store = Store(tmp_path / "store")
    store.open()
    yield store.engine("default")
    await store.close()


async def fill(engine: Engine, sets: list[dict[str, str]], time_ms: int) -> None:
    refs = engine.refs([tuple(sorted(labels.items())) for labels in sets])
    await engine.append(SeriesBatch(refs, np.full(len(refs), time_ms, np.int64), np.ones(len(refs))))


async def test_counts_are_those_of_loops(engine: Engine) -> None:
    """Every ranking, at several lengths, also after series were added behind the lists."""
    sets = series(3000)
    for end in (2000, 3000):
        await fill(engine, sets[:end], int(time.time() * 1000))
        for limit in (1, 5, 1000):
            told = status.tsdb(*EngineIndex(engine).cardinality(limit))
            expected = ranking(sets[:end], limit)
            # Of pairs that as many series have, any may be the last ones.
            pairs = told.pop("seriesCountByLabelValuePair"), expected.pop("seriesCountByLabelValuePair")
            assert [row["value"] for row in pairs[0]] == [row["value"] for row in pairs[1]]
            assert {key: told[key] for key in expected} == expected
            assert told["headStats"]["numSeries"] == end


def test_nothing_is_told_of_an_empty_workspace(engine: Engine) -> None:
    """An empty head begins at the end of time and ends at its beginning, as in Prometheus."""
    told = status.tsdb(*EngineIndex(engine).cardinality(10))
    assert told.pop("headStats") == {
        "numSeries": 0, "numLabelPairs": 0, "chunkCount": 0, "minTime": 2**63 - 1, "maxTime": -(2**63),
    }  # fmt: skip
    assert told == {kind: [] for kind in told}


@pytest.fixture
def prometheus(peers: Path, tmp_path: Path) -> Iterator[int]:
    config = tmp_path / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    port = free_port()
    with Programs(tmp_path) as programs:
        command: list[str | Path] = [
            peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
        ]  # fmt: skip
        programs.start("prometheus", command).wait_http(f"http://127.0.0.1:{port}/-/ready")
        yield port


def ask(port: int, method: str, path: str, body: bytes = b"") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status < 300, text
    connection.close()
    return json.loads(text) if text else None


async def test_as_prometheus_tells_it(engine: Engine, prometheus: int) -> None:
    """The same series in both: the same numbers in the same places."""
    sets, now = series(2000), int(time.time() * 1000)
    ask(prometheus, "POST", "/api/v1/write", packed(request_v1([(labels, [(now, 1.0)]) for labels in sets])))
    await fill(engine, sets, now)
    for limit in (4, 10, 25):
        theirs = ask(prometheus, "GET", f"/api/v1/status/tsdb?limit={limit}")["data"]
        ours = status.tsdb(*EngineIndex(engine).cardinality(limit))
        assert list(ours) == list(theirs)
        assert ours["headStats"] == theirs["headStats"]
        for kind, rows in theirs.items():
            if kind != "headStats":
                # Prometheus orders equal ones as its hash map happens to.
                assert [row["value"] for row in ours[kind]] == [row["value"] for row in rows]
                above = rows[-1]["value"] if rows else 0
                clear = {(row["name"], row["value"]) for row in rows if row["value"] > above}
                assert clear <= {(row["name"], row["value"]) for row in ours[kind]}
