"""A million series that nobody has seen: created through remote write, then queried; beside VictoriaMetrics.

Each request of 2,000 series brings 40 pods with 50 metrics each, one sample a series, from two connections. The server
is a program of its own: its CPU time and memory are those of its process. Where the peers are missing
(`make peers`), only ours is measured.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from peer_programs import directory, missing
from remote_write_messages import packed, request_v1
from running import HEADRACE, Program, Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SERIES = 1_000_000
A_REQUEST = 2000
_METRICS = 50
_CONNECTIONS = 2
_ROUNDS = 5
_HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}

_CONFIG = """
receivers:
  prometheus_remote_write:
    endpoint: 127.0.0.1:{port}
exporters:
  store:
    endpoint: 127.0.0.1:{port}
    directory: {data}
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    metrics:
      receivers: [prometheus_remote_write]
      exporters: [store]
"""


class Server(NamedTuple):
    """A running server.

    Attributes:
        name: In the results.
        program: Its process.
        port: Where it listens.
        settle: Path that makes what was written visible; empty where it is at once.
    """

    name: str
    program: Program
    port: int
    settle: str = ""

    def ask(self, path: str, **query: str) -> bytes:
        """Return the body of a GET that is answered 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", f"{path}?{urllib.parse.urlencode(query)}")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status >= 300:
            raise AssertionError(f"{self.name}: GET {path} {query}: {answer.status} {body[:300]!r}")
        return body

    def cpu_s(self) -> float:
        """Return the CPU time that the process has used."""
        fields = Path(f"/proc/{self.program.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> float:
        """Return the memory of the process."""
        return float(Path(f"/proc/{self.program.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _labels(pod: int) -> dict[str, str]:
    app = pod % 40
    return {
        "cluster": "eu-1",
        "container": f"app-{app}",
        "instance": f"10.{pod >> 14}.{pod >> 7 & 127}.{pod & 127}:8080",
        "job": "kubelet",
        "namespace": f"team-{pod % 60}",
        "node": f"node-{pod % 500}.internal",
        "pod": f"app-{app}-{pod * 89:08x}-{pod:05d}",
        "zone": f"eu-1{'abc'[pod % 3]}",
    }


def _requests(time_ms: int) -> Iterator[bytes]:
    pods = A_REQUEST // _METRICS
    for first in range(0, SERIES // _METRICS, pods):
        rows = []
        for pod in range(first, first + pods):
            labels = _labels(pod)
            rows += [
                ({"__name__": f"container_metric_{metric}_total", **labels}, [(time_ms, 1.5 * metric)])
                for metric in range(_METRICS)
            ]
        yield packed(request_v1(rows))


def send(port: int, bodies: Iterable[bytes], failures: list[str]) -> None:
    """Send remote write requests on one connection; the first that is refused ends it and goes into `failures`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for body in bodies:
        connection.request("POST", "/api/v1/write", body, _HEADERS)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            failures.append(f"{answer.status} {text[:300]!r}")
            return
    connection.close()


def _create(server: Server, bodies: Sequence[bytes], out: dict[str, float]) -> None:
    failures: list[str] = []
    threads = [
        threading.Thread(target=send, args=(server.port, bodies[i::_CONNECTIONS], failures))
        for i in range(_CONNECTIONS)
    ]
    before, cpu, began = server.resident_bytes(), server.cpu_s(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - began
    if failures:
        raise AssertionError(f"{server.name}: {failures[0]}")
    if server.settle:
        server.ask(server.settle)
    out[f"{server.name}_series_per_s"] = SERIES / spent
    out[f"{server.name}_cpu_us_per_series"] = (server.cpu_s() - cpu) / SERIES * 1e6
    out[f"{server.name}_bytes_per_series"] = (server.resident_bytes() - before) / SERIES


_POD = _labels(777)["pod"]

_QUERIES: dict[str, tuple[str, dict[str, str], int]] = {
    "one_pod": ("query", {"query": f'{{pod="{_POD}"}}'}, _METRICS),
    "one_series": ("query", {"query": f'container_metric_7_total{{pod="{_POD}"}}'}, 1),
    "metric_and_namespace": ("query", {"query": 'container_metric_7_total{namespace="team-7"}'}, 334),
    "metric_and_regex": ("query", {"query": 'container_metric_7_total{pod=~"app-(3|4)-.*"}'}, 1000),
    "regex_contains": ("query", {"query": '{pod=~".*-0077[0-9]", __name__="container_metric_7_total"}'}, 10),
    "not_equal": ("query", {"query": 'container_metric_7_total{zone!="eu-1a",namespace=~"team-1.*"}'}, 2672),
    "count_of_20000": ("query", {"query": "count(container_metric_7_total)"}, 1),
    "values_of_pod": ("label/pod/values", {}, SERIES // _METRICS),
    "values_of_pod_matching": ("label/pod/values", {"match[]": '{namespace="team-7"}'}, 334),
    "names": ("labels", {}, 9),
    "series_of_one_pod": ("series", {"match[]": f'{{pod="{_POD}"}}'}, _METRICS),
    "series_matching_regex": ("series", {"match[]": 'container_metric_7_total{pod=~"app-3-.*"}'}, 500),
}
"""Path, parameters and number of rows of the answer; without a time, which is added."""


def _query(server: Server, time_s: int, out: dict[str, float]) -> None:
    for name, (path, query, expected) in _QUERIES.items():
        times = {"time": str(time_s)} if path == "query" else {"start": str(time_s - 300), "end": str(time_s + 60)}
        best = float("inf")
        for n in range(_ROUNDS):
            began = time.perf_counter()
            body = server.ask(f"/api/v1/{path}", **query, **times)
            spent = (time.perf_counter() - began) * 1e3
            best = min(best, spent)
            if n == 0:
                out[f"{server.name}_{name}_first_ms"] = spent
        data = json.loads(body)["data"]
        rows = data["result"] if isinstance(data, dict) else data
        if len(rows) != expected:
            raise AssertionError(f"{server.name}: {name}: {len(rows)} rows instead of {expected}")
        out[f"{server.name}_{name}_ms"] = best


def _headrace(programs: Programs, folder: Path) -> Server:
    port = free_port()
    config = folder / "headrace.yaml"
    config.write_text(_CONFIG.format(port=port, data=folder / "headrace"))
    program = programs.start("headrace", [HEADRACE, "run", "--config", config])
    program.wait_http(f"http://127.0.0.1:{port}/-/ready", 300)
    return Server("headrace", program, port)


def _victoria_metrics(programs: Programs, folder: Path) -> Server:
    port = free_port()
    command: list[str | Path] = [
        directory() / "victoria-metrics", f"-storageDataPath={folder / 'victoria'}",
        f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=1", "-loggerLevel=WARN", "-search.disableCache",
    ]  # fmt: skip
    program = programs.start("victoriametrics", command)
    program.wait_http(f"http://127.0.0.1:{port}/health")
    return Server("victoriametrics", program, port, "/internal/force_flush")


SERVERS = (_headrace, _victoria_metrics)
"""What starts each server: ours, then the peer."""


def run() -> dict[str, float]:
    """Measure; series each second, CPU time and resident bytes of a series, wall time of queries in milliseconds."""
    out: dict[str, float] = {}
    time_s = int(time.time())
    bodies = list(_requests(time_s * 1000))
    for start in SERVERS[: 1 if missing(directory()) else 2]:
        with tempfile.TemporaryDirectory(prefix="headrace-churn-") as name, Programs(Path(name)) as programs:
            server = start(programs, Path(name))
            _create(server, bodies, out)
            _query(server, time_s, out)
            server.program.stop(120)
    return out
