"""The same exemplars to a real Prometheus and to Headrace: ``/query_exemplars`` answers the same."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from remote_write_messages import packed, request_v1
from running import HEADRACE, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from running import Programs

pytestmark = pytest.mark.peer

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
QUERIES = (
    "http_requests_total",
    'http_requests_total{code="500"}',
    'rate(http_requests_total{code=~"2.."}[5m]) / on (code) sum by (code) (latency_bucket)',
    "histogram_quantile(0.9, latency_bucket offset 1h)",
    '{__name__=~".+"}',
    "nothing",
    "1 + 2",
)


def requests(now_ms: int) -> list[Any]:
    """Make requests whose exemplars are fine, repeats, older than others, too long, and of odd values."""
    series = [
        {"__name__": "http_requests_total", "code": "200"},
        {"__name__": "http_requests_total", "code": "500"},
        {"__name__": "latency_bucket", "le": "1.0", "code": "200"},
    ]
    found = []
    for step in range(4):
        request = request_v1([(labels, [(now_ms + step * 1000, float(step))]) for labels in series])
        for i, one in enumerate(request.timeseries):
            for late in (0, 0, 700, 400):
                made = one.exemplars.add(
                    value=[0.1, 1e21, float("inf")][i] + step, timestamp=now_ms + step * 1000 + late
                )
                made.labels.add(name=b"trace_id", value=f"{step}{i}é".encode())
                made.labels.add(name=b"a_first", value=b'quote"\n')
        one.exemplars.add(value=1.0, timestamp=now_ms + 9000).labels.add(name=b"trace_id", value=b"x" * 200)
        found.append(request)
    return found


def post(url: str, request: Any) -> int:
    made = urllib.request.Request(url, packed(request), HEADERS)
    with urllib.request.urlopen(made, timeout=30) as answer:
        return int(answer.status)


def ask(base: str, query: str, start: float, end: float) -> tuple[int, Any]:
    form = urllib.parse.urlencode({"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}"})
    with urllib.request.urlopen(f"{base}/api/v1/query_exemplars", form.encode(), timeout=30) as answer:
        body = answer.read()
        return answer.status, json.loads(body) if body else None


def test_answers_are_prometheus_own(peers: Path, programs: Programs, tmp_path: Path) -> None:
    """Series in the same order, exemplars too, for the whole time and for parts of it, after a restart as well."""
    port, own = free_port(), free_port()
    theirs, ours = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{own}"
    config = tmp_path / "prometheus.yml"
    config.write_text("storage: {exemplars: {max_exemplars: 1000}}\n")
    program = programs.start(
        "prometheus",
        [
            peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
            "--enable-feature=exemplar-storage",
        ],
    )  # fmt: skip
    command: list[str | Path] = [HEADRACE, "serve", "--data-dir", tmp_path / "headrace", "--listen", f"127.0.0.1:{own}"]
    daemon = programs.start("headrace", command)
    program.wait_http(f"{theirs}/-/ready")
    daemon.wait_http(f"{ours}/-/ready", 120)
    now_ms = int(time.time() * 1000) - 10_000
    for request in requests(now_ms):
        assert post(f"{theirs}/api/v1/write", request) == post(f"{ours}/api/v1/write", request) == 204
    for again in (False, True):
        if again:
            daemon.stop()
            daemon = programs.start("headrace", command)
            daemon.wait_http(f"{ours}/-/ready", 120)
        compared = 0
        for query in QUERIES:
            for start, end in ((-1000, 20_000), (1000, 2000), (1000, 1000), (0, 999)):
                when = ((now_ms + start) / 1000, (now_ms + end) / 1000)
                expected = ask(theirs, query, *when)
                assert ask(ours, query, *when) == expected, query
                compared += len((expected[1] or {}).get("data", []))
        assert compared > 30
