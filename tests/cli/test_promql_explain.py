"""``headrace promql explain`` in this process."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner, Result

from headrace.cli.main import main
from headrace.cli.query.client import Answer
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.store import Store, StoreOptions
from remote_write_messages import packed
from running import HEADRACE, free_port
from two_servers import made_series

if TYPE_CHECKING:
    from pathlib import Path

    from running import Programs

START = 1_700_000_000_000


async def fill(directory: Path) -> None:
    store = Store(directory, StoreOptions(Sync.NEVER, 0, EngineOptions()), clock_ms=lambda: START + 900_000)
    store.open()
    engine = store.engine("default")
    refs = engine.refs([(("__name__", "m_total"), ("i", str(i))) for i in range(3)])
    for scrape in range(60):
        await engine.append(SeriesBatch(refs, np.full(3, START + scrape * 15_000), np.full(3, float(scrape))))
    await store.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of three series."""
    asyncio.run(fill(tmp_path))
    return tmp_path


def explain(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["promql", "explain", *map(str, arguments)])


def test_a_plan_is_shown(data: Path) -> None:
    """Without times, the query is explained at the newest sample."""
    result = explain("sum(rate(m_total[5m]))", "--data", data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "sum  [pushed down: 1 batches into 1 groups]",
        "└─ rate()  [one walk of each series]",
        "   └─ m_total[5m]  [3 series, about 60 samples]",
    ]


def test_an_analysis_is_shown(data: Path) -> None:
    """Nodes say what they took, over the range that is asked for."""
    times = ("--start", START / 1000, "--end", START / 1000 + 600, "--step", "1m")
    result = explain("sum(m_total)", "--data", data, "--analyze", *times)
    assert result.exit_code == 0
    assert " ms: 1 series, 33 samples looked at, 99 bytes]" in result.stdout


def test_a_daemon_explains(programs: Programs, tmp_path: Path) -> None:
    """A server that runs is asked for its plan, at one time and over a range, and for what the query took."""
    address = f"127.0.0.1:{free_port()}"
    daemon = programs.start("headrace", [HEADRACE, "serve", "--data-dir", tmp_path / "data", "--listen", address])
    daemon.wait_http(f"http://{address}/-/ready", 200)
    end_s = int(time.time()) // 15 * 15
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"http://{address}/api/v1/write", packed(made_series(end_s * 1000)), headers)
    urllib.request.urlopen(request, timeout=60).close()
    server = ("--url", f"http://{address}")

    plan = explain("sum by (job) (rate(requests_total[5m]))", *server, "--time", end_s)
    assert (plan.exit_code, plan.stderr) == (0, "")
    first, *others = plan.stdout.splitlines()
    assert first.startswith("sum by (job)  [pushed down: 1 batches into ")
    assert others[0] == "└─ rate()  [one walk of each series]"
    assert re.fullmatch(r"   └─ requests_total\[5m\]  \[\d+ series, about \d+ samples\]", others[1])

    times = ("--start", end_s - 600, "--end", end_s, "--step", "1m")
    analyzed = explain("max(temperature)", *server, "--analyze", "--json", *times)
    assert analyzed.exit_code == 0
    assert re.search(
        r"pushed down: .* ms: 1 series, \d+ samples looked at, 99 bytes\]$", json.loads(analyzed.stdout)[0]
    )

    assert explain("sum(", *server).stderr.endswith("^\n")
    assert explain("sum(", *server).exit_code == 1


def test_what_a_server_evaluates_is_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus does not know the parameter, and answers the query."""
    answer = Answer({"resultType": "vector", "result": []})
    monkeypatch.setattr("headrace.cli.query.client.Client.ask", lambda *_args, **_more: answer)
    result = explain("up")
    assert result.exit_code == 1
    assert "only Headrace explains" in result.stderr


def test_faults_have_their_exit_codes(data: Path) -> None:
    """Wrong options are 2, what cannot be explained is 1."""
    assert explain("m_total", "--data", data, "--time", "yesterday").exit_code == 2
    assert explain("m_total", "--data", data, "--workspace", "none").exit_code == 1
    result = explain("sum(", "--data", data)
    assert result.exit_code == 1
    assert result.stderr.endswith("^\n")
