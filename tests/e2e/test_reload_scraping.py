"""Reloads of a daemon that scrapes: what has not changed is scraped as if nothing had happened."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from reload_stand import Stand
from running import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from running import Programs

RELOADS = 20
INTERVAL_S = 0.5


class Targets:
    """A page for each path, which says how often it was fetched."""

    def __init__(self) -> None:
        self.fetched: dict[str, int] = {}
        targets = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                number = targets.fetched[self.path] = targets.fetched.get(self.path, 0) + 1
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(f"fetched {number}\n".encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Store:
    """The daemon's store, asked over its API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query?"

    def ask(self, query: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": query, "time": str(time.time())})
        with urllib.request.urlopen(self._url + query, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def samples(self, name: str, job: str) -> list[tuple[float, float]]:
        [series] = self.ask(f'{name}{{job="{job}"}}[10m]')
        return [(at, float(value)) for at, value in series["values"]]


@pytest.fixture
def targets() -> Iterator[Targets]:
    targets = Targets()
    yield targets
    targets.close()


def document(stand: Stand, folder: Path, port: int, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    times = {"scrape_interval": f"{INTERVAL_S * 1000:.0f}ms", "scrape_timeout": f"{INTERVAL_S * 1000:.0f}ms"}
    whole = stand.document()
    return {
        "receivers": {"prometheus": {"config": {"global": times, "scrape_configs": jobs}}},
        "exporters": {"store": {"endpoint": f"127.0.0.1:{port}", "directory": str(folder / "data")}},
        "service": {
            "telemetry": whole["service"]["telemetry"],
            "pipelines": {"metrics": {"receivers": ["prometheus"], "exporters": ["store"]}},
        },
    }


def check_times(samples: list[tuple[float, float]]) -> None:
    """No scrape came twice: two lie an interval apart, or nearly so where one was late."""
    assert all(after - before > INTERVAL_S / 2 for (before, _), (after, _) in pairwise(samples))


def test_one_job_changes_one_goes_one_stays(programs: Programs, tmp_path: Path, targets: Targets) -> None:
    """Twenty times: every page of the one that stays is stored once, and what is known about both of them is kept."""
    stand, port = Stand(programs, tmp_path), free_port()
    store = Store(port)

    def job(name: str, **more: Any) -> dict[str, Any]:
        return {
            "job_name": name, "metrics_path": f"/{name}", "static_configs": [{"targets": [targets.address]}], **more
        }  # fmt: skip

    def jobs(*more: dict[str, Any], limit: int = 10) -> dict[str, Any]:
        return document(stand, tmp_path, port, [job("stays"), job("changes", sample_limit=limit), *more])

    stand.start(jobs(job("goes")))
    wait_until(lambda: len(store.ask("fetched")) == 3, "all are scraped", 60)
    for number in range(RELOADS):
        assert stand.reload(jobs(limit=11 + number))
        if not number:
            began_s = time.monotonic()
            wait_until(lambda: not store.ask('{job="goes"}'), "series of the job that went are gone", 30)
            assert time.monotonic() - began_s < 20
        if not number % 5:
            assert not stand.reload(jobs(job("broken", bearer_token_file=str(tmp_path / "none"))))
    enough = targets.fetched["/stays"] + 2
    wait_until(lambda: len(store.samples("fetched", "stays")) >= enough, "it is still scraped", 30)

    stays, changes = (store.samples("fetched", name) for name in ("stays", "changes"))
    assert [value for _, value in stays] == [float(1 + n) for n in range(len(stays))]
    for name, samples in (("stays", stays), ("changes", changes)):
        check_times(samples)
        assert samples[-1][0] - samples[0][0] < 2 * INTERVAL_S * len(samples)
        added = [value for _, value in store.samples("scrape_series_added", name)]
        assert (added[0], set(added[1:])) == (1.0, {0.0})
    assert stand.daemon.stop() == 0
