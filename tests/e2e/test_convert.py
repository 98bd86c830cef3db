"""A Prometheus, and Headrace on its converted configuration, send the same series."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import cramjam
import pytest

from remote_write_messages import WriteRequest
from running import HEADRACE, Programs, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.peer, pytest.mark.slow]

PAGE = b"""# TYPE http_requests_total counter
http_requests_total{code="200",pod="a"} 1027
http_requests_total{code="500",pod="b"} 3
# TYPE go_threads gauge
go_threads 7
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.1"} 4
latency_seconds_bucket{le="+Inf"} 5
latency_seconds_sum 1.5
latency_seconds_count 5
secret_value{token="x"} 1
"""

CONFIG = """
global:
  scrape_interval: 1s
  scrape_timeout: 500ms
  external_labels: {{cluster: "c$$1", site: eu}}
scrape_configs:
  - job_name: app
    params: {{module: [a]}}
    static_configs:
      - targets: ["{target}"]
        labels: {{env: prod, cluster: own}}
    relabel_configs:
      - {{source_labels: [__address__], regex: "(.*):(.*)", replacement: "${{1}}-port-$2", target_label: instance}}
    metric_relabel_configs:
      - {{source_labels: [__name__], regex: "secret_.*", action: drop}}
      - {{source_labels: [code], regex: "5..", target_label: class, replacement: bad}}
remote_write:
  - url: http://{sink}/write
    name: main
    write_relabel_configs:
      - {{regex: pod, action: labeldrop}}
      - {{source_labels: [__name__], regex: "go_.*", action: drop}}
"""

Found = dict[tuple[tuple[str, str], ...], float]


class Server:
    """The target, and the destinations that both programs write to, by path."""

    def __init__(self) -> None:
        self.found: dict[str, Found] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(PAGE)

            def do_POST(self) -> None:
                server.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def take(self, path: str, body: bytes) -> None:
        """Keep the last value of each series."""
        for one in WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body))).timeseries:
            labels = tuple(sorted((label.name.decode(), label.value.decode()) for label in one.labels))
            for sample in one.samples:
                self.found.setdefault(path, {})[labels] = sample.value

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def test_the_same_series_arrive(programs: Programs, peers: Path, server: Server, tmp_path: Path) -> None:
    """With the same labels and values, those about the scrape itself among them."""
    theirs = tmp_path / "prometheus.yml"
    theirs.write_text(CONFIG.format(target=server.address, sink=server.address))
    convert = programs.start("convert", [HEADRACE, "convert", "prometheus", theirs])
    assert convert.wait_exit(60) == 0, convert.log_tail()
    ours = tmp_path / "headrace.yaml"
    ours.write_text(convert.log_text().replace("/write", "/ours"))
    programs.start(
        "prometheus",
        [
            peers / "prometheus", f"--config.file={theirs}", f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{free_port()}",
        ],
    )  # fmt: skip
    quiet = "service.telemetry.metrics.level=none"
    daemon = programs.start("headrace", [HEADRACE, "run", "--config", ours, "--set", quiet])
    daemon.wait_log("ready in", 180)
    wait_until(lambda: {"/write", "/ours"} <= set(server.found), "samples of both", 60)
    wait_until(lambda: set(server.found["/write"]) == set(server.found["/ours"]), "the same series", 20)
    expected, found = (named(server.found[path]) for path in ("/write", "/ours"))
    assert found == expected
    assert len(expected) >= 9


def named(found: Found) -> Found:
    """Return the series but for those whose values are times that a scrape took."""
    return {labels: value for labels, value in found.items() if ("__name__", "scrape_duration_seconds") not in labels}
