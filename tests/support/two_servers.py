"""A Headrace daemon and a real Prometheus that hold the same series, for clients to be pointed at both.

Series come by remote write, the same bytes to both, and end about now, because some clients ask for the last
minutes unasked. Both also scrape one page, from which they have metadata, exemplars and a target.
"""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import twins
from native_messages import request
from native_rows import Row, bits
from remote_write_messages import packed
from running import HEADRACE, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from running import Programs
    from twins import Answer

STEP_MS = 15_000
SAMPLES = 240
"""An hour of samples."""

PAGE = """\
# HELP page_requests Requests, with "quotes" and a \\\\ backslash.
# TYPE page_requests counter
page_requests_total{path="/"} 17.0 # {trace_id="abc"} 1.0
# HELP page_temperature_celsius Of the room.
# TYPE page_temperature_celsius gauge
# UNIT page_temperature_celsius celsius
page_temperature_celsius 21.5
# HELP page_latency_seconds How long.
# TYPE page_latency_seconds histogram
page_latency_seconds_bucket{le="0.1"} 3 # {trace_id="d",span_id="é"} 0.05
page_latency_seconds_bucket{le="+Inf"} 4
page_latency_seconds_sum 0.7
page_latency_seconds_count 4
# TYPE page_size_bytes summary
# HELP page_size_bytes What was sent.
page_size_bytes{quantile="0.5"} 100
page_size_bytes_sum 300
page_size_bytes_count 3
# HELP page_build What it is.
# TYPE page_build info
page_build_info{version="1.2"} 1
# EOF
"""

_WRITE = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
_FEATURES = "native-histograms,exemplar-storage,promql-experimental-functions"


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the parameter of http.server
        """Say nothing."""


@dataclass
class TwoServers:
    """Both servers, started and filled.

    Attributes:
        ours, theirs: Addresses without a slash at the end, Headrace's and Prometheus'.
        end_s: Time of the newest sample that came by remote write, in whole seconds.
        target: Host and port of the page that both scrape.
    """

    ours: str
    theirs: str
    end_s: int
    target: str

    @property
    def start_s(self) -> int:
        """Time of the oldest sample that came by remote write."""
        return self.end_s - (SAMPLES - 1) * STEP_MS // 1000

    @property
    def both(self) -> tuple[str, str]:
        """The addresses, Headrace's first."""
        return self.ours, self.theirs


def ask(
    base: str,
    path: str,
    form: Sequence[tuple[str, str]] | Mapping[str, str] = (),
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request to ``/api/v1/`` + `path`; return the answer, also that of an error, unpacked.

    Args:
        base: Address of a server.
        path: Below ``/api/v1/``, quoted.
        form: Goes into the query string of a GET and into the body of a POST.
        method: ``GET`` or ``POST``.
        headers: Further ones.
    """
    pairs = list(form.items()) if isinstance(form, Mapping) else list(form)
    found = twins.ask(f"{base}/api/v1/{path}", pairs, post=method == "POST", headers=headers)
    if found.headers.get("Content-Encoding") != "gzip":
        return found
    return replace(found, body=gzip.decompress(found.body))


def data(base: str, path: str, **form: str) -> Any:
    """Return the ``data`` of an answer that is a success."""
    answer = ask(base, path, form)
    assert answer.status == 200, answer.body
    return answer.json["data"]


@dataclass
class _Series:
    """Series with samples every STEP_MS up to a time, made from a fixed seed."""

    end_ms: int
    pick: random.Random = field(default_factory=lambda: random.Random(11))
    made: list[tuple[dict[str, str], list[tuple[int, float]], list[tuple[int, Row]]]] = field(default_factory=list)

    def times(self) -> list[int]:
        first = self.end_ms - (SAMPLES - 1) * STEP_MS
        gap = self.pick.randrange(SAMPLES - 40)
        return [first + i * STEP_MS for i in range(SAMPLES) if not gap <= i < gap + self.pick.randrange(20)]

    def counter(self, **labels: str) -> None:
        value, rows = 0.0, []
        for at in self.times():
            value = 0.0 if self.pick.random() < 0.02 else value + self.pick.choice([0, 1, self.pick.random() * 50])
            rows.append((at, value))
        self.made.append((labels, rows, []))

    def gauge(self, *odd: float, **labels: str) -> None:
        values = [
            self.pick.choice(odd) if odd and self.pick.random() < 0.3 else self.pick.gauss(0, 50) for _ in "x" * SAMPLES
        ]
        self.made.append((labels, list(zip(self.times(), values, strict=False)), []))

    def classic(self, **labels: str) -> None:
        name = labels.pop("__name__")
        times = self.times()
        counts = dict.fromkeys(("0.1", "1", "5", "+Inf"), 0)
        rows: dict[str, list[tuple[int, float]]] = {le: [] for le in counts}
        for at in times:
            total = 0
            for le in counts:
                counts[le] += self.pick.randrange(10)
                total += counts[le]
                rows[le].append((at, float(total)))
        for le, found in rows.items():
            self.made.append(({"__name__": f"{name}_bucket", **labels, "le": le}, found, []))
        self.made.append(({"__name__": f"{name}_count", **labels}, rows["+Inf"], []))
        self.made.append(({"__name__": f"{name}_sum", **labels}, [(t, n / 3) for t, n in rows["+Inf"]], []))

    def native(self, **labels: str) -> None:
        rows, counts = [], [0, 0, 0, 0, 0]
        for at in self.times():
            counts = [count + self.pick.randrange(5) for count in counts]
            rows.append((at, Row(schema=1, threshold_bits=bits(0.001), zero_count=counts[0], count=sum(counts),
                sum_bits=bits(sum(counts) / 7), positive=((-2, 2), (1, 2)), buckets=tuple(counts[1:]))))  # fmt: skip
        self.made.append((labels, [], rows))


def made_series(end_ms: int) -> Any:
    """Return a remote write request: counters with resets, odd gauges, both kinds of histograms, odd names."""
    series = _Series(end_ms)
    for job in ("api", "db"):
        for instance in ("a:1", "b:1", "c:1"):
            base = {"job": job, "instance": instance}
            for code in ("200", "404", "500"):
                series.counter(__name__="requests_total", code=code, **base)
            series.gauge(__name__="temperature", **base)
            series.classic(__name__="latency_seconds", **base)
        series.native(__name__="size_bytes", job=job)
    infinity, nan = float("inf"), float("nan")
    series.gauge(infinity, -infinity, nan, -0.0, 1e-7, 1e21, 5e-324, __name__="odd", kind="values")
    series.gauge(__name__="odd", kind='a "quote", a \\ and\na line')
    series.gauge(__name__="odd", kind="Größe 😀")
    series.gauge(**{"__name__": "a.name with/odd letters", "a label": "x", "job": "utf8"})
    return request(sorted(series.made, key=lambda one: sorted(one[0].items())))


def _headrace(programs: Programs, folder: Path, target: str) -> str:
    address = f"127.0.0.1:{free_port()}"
    scrape = {"global": _INTERVAL, "scrape_configs": _jobs(target)}
    document = {
        "receivers": {"prometheus_remote_write": {"endpoint": address}, "prometheus": {"config": scrape}},
        "exporters": {"store": {"endpoint": address, "directory": str(folder / "headrace")}},
        "service": {
            "pipelines": {
                "metrics": {"receivers": ["prometheus_remote_write", "prometheus"], "exporters": ["store"]},
            },
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    config = folder / "headrace.yaml"
    config.write_text(json.dumps(document))
    base = f"http://{address}"
    programs.start("headrace", [HEADRACE, "run", "--config", config]).wait_http(f"{base}/-/ready", 120)
    return base


_INTERVAL = {"scrape_interval": "1s"}


def _jobs(target: str) -> list[dict[str, Any]]:
    return [{"job_name": "page", "static_configs": [{"targets": [target]}]}]


def start_prometheus(programs: Programs, folder: Path, program: Path, scrape_configs: list[dict[str, Any]]) -> str:
    """Start a Prometheus that takes remote writes of any age, exemplars and native histograms; return its address."""
    config = folder / "prometheus.yml"
    storage = {"tsdb": {"out_of_order_time_window": "100y"}}
    config.write_text(json.dumps({"global": _INTERVAL, "scrape_configs": scrape_configs, "storage": storage}))
    address = f"127.0.0.1:{free_port()}"
    options = [
        f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}", "--storage.tsdb.retention.time=200y",
        f"--web.listen-address={address}", "--web.enable-remote-write-receiver", f"--enable-feature={_FEATURES}",
    ]  # fmt: skip
    base = f"http://{address}"
    programs.start("prometheus", [program, *options]).wait_http(f"{base}/-/ready")
    return base


def start_two_servers(programs: Programs, folder: Path, peers: Path) -> TwoServers:
    """Start and fill both; the page is served by this process until it ends."""
    page = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    page.daemon_threads = True
    threading.Thread(target=page.serve_forever, daemon=True).start()
    target = f"127.0.0.1:{page.server_port}"
    end_s = int(time.time()) // 15 * 15
    body = packed(made_series(end_s * 1000))
    ours = _headrace(programs, folder, target)
    theirs = start_prometheus(programs, folder, peers / "prometheus", _jobs(target))
    for base in (ours, theirs):
        answer = urllib.request.urlopen(urllib.request.Request(f"{base}/api/v1/write", body, _WRITE), timeout=60)
        with answer:
            assert answer.status == 204
    wait_until(lambda: all("page_build" in data(base, "metadata") for base in (ours, theirs)), "both have scraped")
    return TwoServers(ours, theirs, end_s, target)
