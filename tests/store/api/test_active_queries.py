"""What is known of queries after a crash, and what the query log says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

import kill_queries
from api_lab import ApiLab
from headrace.pipeline.http.auth import Peer
from headrace.store.api.active_queries import NAME, ActiveQueries, left_in
from headrace.store.api.backend import Answer, QueryOptions
from headrace.store.api.errors import ApiError
from headrace.store.api.pool import About, Finished, QueryPool
from headrace.store.api.prometheus import PrometheusApi
from headrace.store.api.query_log import QueryLog, QueryWatcher
from headrace.store.api.ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ABOUT = About("up", 1000, 2000, 10)


def test_queries_that_a_kill_cut_off_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Kill -9 leaves those that were running, and not the one that had ended; the next start forgets them."""
    program = subprocess.Popen(
        [sys.executable, kill_queries.__file__, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    program.kill()
    program.wait()
    program.stdout.close()

    active = ActiveQueries(tmp_path / NAME, 4, lambda: 0.0)

    found = {query["workspace"]: query for query in active.unfinished}
    assert found["default"] == {
        "query": "rate(m[5m])", "timestamp_sec": 1_700_000_000, "workspace": "default",
        "start_ms": 1000, "end_ms": 2000, "step_ms": 10,
    }  # fmt: skip
    assert 500 < len(found["other"]["query"]) < 1024
    assert caplog.text.count("a query was running when the store was cut off") == 2
    active.close()
    assert left_in(tmp_path / NAME) == []


def test_no_more_than_there_are_places(tmp_path: Path) -> None:
    """What finds none is not noted, and places are used again."""
    active = ActiveQueries(tmp_path / NAME, 2, lambda: 0.0)
    for _ in range(3):
        ends = [active.begin(ABOUT, str(i)) for i in range(4)]
        assert sorted(query["workspace"] for query in left_in(tmp_path / NAME)) == ["0", "1"]
        for end in ends:
            end()
        assert left_in(tmp_path / NAME) == []
    late = active.begin(ABOUT, "x")
    active.close()
    active.close()
    late()
    active.begin(ABOUT, "y")()


@pytest.mark.parametrize("text", ["\U0001f600" * 2000, '"' * 2000, "a" * 1020, ""])
def test_long_queries_are_cut(tmp_path: Path, text: str) -> None:
    """What is noted is whole JSON, whatever it takes to write the text."""
    active = ActiveQueries(tmp_path / NAME, 1, lambda: 0.0)
    end = active.begin(About(text, 0, 0, 0), "default")
    (found,) = left_in(tmp_path / NAME)
    assert text.startswith(found["query"])
    assert len(found["query"]) >= min(len(text), 60)
    end()
    active.close()


def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """Garbage is no query."""
    (tmp_path / NAME).write_bytes(b"{".ljust(1024, b"\0") + b'{"query":"up"}'.ljust(1024, b"\0") + b"[1]")
    assert left_in(tmp_path / NAME) == [{"query": "up"}]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[ApiLab]:
    made = ApiLab()
    watcher = QueryWatcher(QueryLog(tmp_path / "queries.log", lambda: 1_700_000_000.25))
    watcher.active = ActiveQueries(tmp_path / NAME, 2, lambda: 0.0)
    made.pool = QueryPool(2, 2, 5, watcher)
    made.api = PrometheusApi(made.backends.get, made.pool, made.settings)
    await made.start()
    yield made
    await made.close()
    watcher.close()
    watcher.close()


async def test_each_query_is_a_line(lab: ApiLab, tmp_path: Path) -> None:
    """With what was asked, by whom, how long it took and how it ended; credentials are not in it."""
    seen = []

    def answer(query: str, options: QueryOptions) -> Answer:
        seen.extend(left_in(tmp_path / NAME))
        options.ticket.samples = 7
        if query == "bad":
            raise ApiError("execution", "it is bad")
        return Answer("vector", b"[]")

    lab.queries.answer = answer
    secret = {"Authorization": "Bearer hush"}
    window = [("start", "1"), ("end", "2"), ("step", "0.5")]
    await lab.ask("/api/v1/query_range", headers=secret, form=[("query", "up"), *window])
    await lab.get("/api/v1/query", ("query", "bad"), ("time", "3"))
    await lab.get("/api/v1/labels")

    lines = [json.loads(line) for line in (tmp_path / "queries.log").read_text().splitlines()]
    assert [query["query"] for query in seen] == ["up", "bad"]
    assert left_in(tmp_path / NAME) == []
    assert len(lines) == 2
    timings = lines[0]["stats"].pop("timings")
    assert set(timings) == {"execQueueTime", "execTotalTime"}
    assert lines[0] == {
        "ts": "2023-11-14T22:13:20.250Z",
        "params": {"query": "up", "start": "1970-01-01T00:00:01.000Z", "end": "1970-01-01T00:00:02.000Z", "step": 0.5},
        "stats": {"samples": {"totalQueryableSamples": 7}},
        "httpRequest": {"clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query_range"},
        "workspace": "default",
    }
    assert lines[1]["error"] == "it is bad"
    assert "hush" not in (tmp_path / "queries.log").read_text()
    counted = lab.pool.statistics
    assert (counted.queries, counted.samples, counted.errors["execution"]) == (3, 14, 1)


def test_a_full_disk_costs_lines_of_the_log_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and counted."""
    log = QueryLog(Path("/dev/full"), lambda: 0.0)
    asked = SimpleNamespace(peer=Peer("::1"), method="GET", path="/api/v1/query", params={})
    for _ in range(2):
        log.write(Finished(ABOUT, cast("Any", asked), Ticket(60.0), 0.1, None), ABOUT)
    assert log.failures == 2
    assert caplog.text.count("the query log cannot be written") == 1
    log.close()
    with pytest.raises(OSError, match="directory"):
        QueryLog(tmp_path / "none" / "log", lambda: 0.0)
