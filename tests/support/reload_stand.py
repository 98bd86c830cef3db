"""A daemon between writers that repeat what is refused and a sink that keeps every sample, for tests of reloads.

Two writers send gauges, one OTLP deltas, which the daemon adds up, one counters, which it aggregates into their total,
and one more series than a limit lets pass.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

import cramjam
import psutil

from remote_write_messages import WriteRequest, packed, request_v1
from running import HEADRACE, Programs, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

SERIES = 20
LIMIT = 12
"""Series of `many` that the daemon lets pass."""
_RETRIES_S = 0.01


class Sink:
    """Takes remote write and keeps what came, by series."""

    def __init__(self) -> None:
        self.samples: dict[str, list[tuple[int, float]]] = {}
        self.lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sink.take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/v1/write"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, body: bytes) -> None:
        """Decode a request."""
        request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
        with self.lock:
            for one in request.timeseries:
                labels = {label.name.decode(): label.value.decode() for label in one.labels}
                key = labels.get("writer", "") + labels["__name__"] + labels.get("n", "")
                key += f"|{labels.get('reload', '')}"  # what a rule adds makes another series of it
                found = self.samples.setdefault(key, [])
                found += [(sample.timestamp, sample.value) for sample in one.samples]

    def of(self, prefix: str) -> dict[str, list[tuple[int, float]]]:
        """Return the samples of the series whose key begins so."""
        with self.lock:
            return {key: list(found) for key, found in self.samples.items() if key.startswith(prefix)}


@dataclass
class Writer:
    """Sends batches one after the other; each again until it is taken.

    Attributes:
        url: Where.
        body: Makes the body of a batch by its number.
        headers: Of the requests.
        accepted: Batches that were taken.
        repeated: Requests that were refused or broke off.
        shut_out: Connections that were refused.
        wrong: Answers that say never to send a batch again.
    """

    url: str
    body: Any
    headers: dict[str, str]
    pause_s: float = 0.005
    accepted: int = 0
    repeated: int = 0
    shut_out: int = 0
    wrong: list[str] = field(default_factory=list)
    _stop: bool = False

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the batch under way has been taken."""
        self._stop = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop and not self.wrong:
            body = self.body(self.accepted)
            while not self._sent(body):
                self.repeated += 1
                time.sleep(_RETRIES_S)
            self.accepted += 1
            time.sleep(self.pause_s)

    def _sent(self, body: bytes) -> bool:
        try:
            urllib.request.urlopen(urllib.request.Request(self.url, body, self.headers), timeout=30).close()
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in {429, 502, 503, 504}:
                    self.wrong.append(f"{error.code}: {error.read().decode()}")
                    return True
            return False
        except OSError as error:
            self.shut_out += isinstance(getattr(error, "reason", error), ConnectionRefusedError)
            return False
        return True


def remote_write_body(writer: str, start_ms: int) -> Any:
    """Return what makes bodies of SERIES samples each, a millisecond apart."""

    def make(number: int) -> bytes:
        return packed(
            request_v1(
                [
                    ({"__name__": "gauge", "n": str(n), "writer": writer}, [(start_ms + number, float(number))])
                    for n in range(SERIES)
                ]
            )
        )

    return make


def counter_body() -> Any:
    """Return what makes bodies of SERIES counters that each grow by 1, at the present time."""

    def make(number: int) -> bytes:
        now_ms = int(time.time() * 1000)
        labels = [{"__name__": "clicks_total", "n": str(n)} for n in range(SERIES)]
        return packed(request_v1([(one, [(now_ms, float(number))]) for one in labels]))

    return make


def many_body(start_ms: int) -> Any:
    """Return what makes bodies of more series than may pass, in an order that changes."""

    def make(number: int) -> bytes:
        labels = [{"__name__": "many", "n": str((number + n) % SERIES)} for n in range(SERIES)]
        return packed(request_v1([(one, [(start_ms + number, 1.0)]) for one in labels]))

    return make


def delta_body(start_ms: int) -> Any:
    """Return what makes OTLP requests that each add 1 to a counter."""

    def make(number: int) -> bytes:
        start, end = (str((start_ms + number + i) * 1_000_000) for i in (0, 1))
        point = {"startTimeUnixNano": start, "timeUnixNano": end, "asDouble": 1.0}
        total = {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [point]}
        metrics = [{"name": "deltas", "sum": total}]
        return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).encode()

    return make


class Stand:
    """The daemon with writers and a sink.

    Args:
        programs: Starts the daemon.
        folder: Where its configuration lies.
    """

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.sink = Sink()
        self.write_port, self.otlp_port, self.grpc_port, self.own_port, self.other_port = (
            free_port() for _ in range(5)
        )
        self.file = folder / "config.yaml"
        self._programs = programs
        self._folder = folder

    def document(self) -> dict[str, Any]:
        """Return the configuration that the daemon starts with."""
        return {
            "receivers": {
                "prometheus_remote_write": {"endpoint": f"127.0.0.1:{self.write_port}"},
                "otlp": {
                    "protocols": {
                        "http": {"endpoint": f"127.0.0.1:{self.otlp_port}"},
                        "grpc": {"endpoint": f"127.0.0.1:{self.grpc_port}"},
                    }
                },
            },
            "processors": {
                "deltatocumulative": None,
                "stream_aggregate": {
                    "rules": [{"match": "clicks_total", "without": ["n"], "interval": "1s", "outputs": ["total"]}]
                },
                "cardinality_limit": {"metrics": {"many": LIMIT}},
            },
            "exporters": {"prometheus_remote_write": {"endpoint": self.sink.url}},
            "service": {
                "state_directory": str(self._folder / "state"),
                "pipelines": {
                    "metrics/write": {
                        "receivers": ["prometheus_remote_write"],
                        "processors": ["cardinality_limit", "stream_aggregate"],
                        "exporters": ["prometheus_remote_write"],
                    },
                    "metrics/otlp": {
                        "receivers": ["otlp"],
                        "processors": ["deltatocumulative"],
                        "exporters": ["prometheus_remote_write"],
                    },
                },
                "telemetry": {
                    "metrics": {"readers": [{"pull": {"exporter": {"prometheus": {"port": self.own_port}}}}]},
                },
            },
        }

    def start(self, document: dict[str, Any], *options: str) -> None:
        """Start the daemon and wait for it."""
        self.write(document)
        self.daemon = self._programs.start("headrace", [HEADRACE, "run", "--config", self.file, *options])
        self.daemon.wait_log("headrace: ready in", 180)

    def write(self, document: dict[str, Any] | str) -> None:
        """Replace the configuration file."""
        new = self.file.with_suffix(".new")
        new.write_text(document if isinstance(document, str) else json.dumps(document))
        new.replace(self.file)

    def reloads(self) -> dict[str, int]:
        """Return how many reloads succeeded and failed."""
        text = self.metrics()
        return {
            result: int(float(text.partition(f'headrace_config_reloads_total{{result="{result}"}} ')[2].split("\n")[0]))
            for result in ("success", "failure")
        }

    def metrics(self) -> str:
        """Return the daemon's own metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.own_port}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def reload(self, document: dict[str, Any] | str) -> bool:
        """Have the daemon take another configuration; return whether it did."""
        self.write(document)
        before = self.reloads()
        os.kill(self.daemon.pid, signal.SIGHUP)
        wait_until(lambda: self.reloads() != before, "a reload", 60)
        return self.reloads()["success"] > before["success"]

    def rss_mib(self) -> float:
        """Return the daemon's resident memory."""
        return float(psutil.Process(self.daemon.pid).memory_info().rss) / (1 << 20)

    def writers(self, pause_s: float = 0.005) -> Writers:
        """Return all writers; they have begun.

        Args:
            pause_s: Between two batches of a writer.
        """
        now_ms = int(time.time() * 1000)
        snappy = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        url = f"http://127.0.0.1:{self.write_port}/api/v1/write"
        bodies = [*(remote_write_body(name, now_ms) for name in ("x", "y")), counter_body(), many_body(now_ms)]
        x, y, counters, many = (Writer(url, body, snappy, pause_s) for body in bodies)
        otlp = f"http://127.0.0.1:{self.otlp_port}/v1/metrics"
        deltas = Writer(otlp, delta_body(now_ms), {"Content-Type": "application/json"}, pause_s)
        writers = Writers(x, y, counters, many, deltas)
        for writer in writers:
            writer.start()
        return writers


class Writers(NamedTuple):
    """All writers of a stand."""

    x: Writer
    y: Writer
    counters: Writer
    many: Writer
    deltas: Writer
