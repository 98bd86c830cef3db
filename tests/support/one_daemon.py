"""A daemon of its own for tests that ask it over HTTP: with a store, writers and, where wanted, administration."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from native_messages import request
from native_rows import Row, bits
from remote_write_messages import packed
from running import HEADRACE, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from running import Programs

_CONFIG = """
receivers:
  hostmetrics:
    collection_interval: 1s
    scrapers:
      memory:
  prometheus:
    config:
      global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
      scrape_configs:
        - job_name: self
          relabel_configs:
            - {{source_labels: [__address__], regex: ".*:1", action: drop}}
            - {{source_labels: [job], target_label: team}}
          static_configs: [{{targets: ["127.0.0.1:{metrics}", "127.0.0.1:1"]}}]
{writers}
exporters:
  store:
    endpoint: 127.0.0.1:{port}
    directory: {directory}
    enable_admin_api: {admin}
service:
  telemetry:
    metrics:
      readers: [{{pull: {{exporter: {{prometheus: {{port: {metrics}}}}}}}}}]
  pipelines:
    metrics:
      receivers: [{receivers}]
      exporters: [store]
"""

_WRITERS = """
  prometheus_remote_write:
    endpoint: 127.0.0.1:{port}
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:{port}
"""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class OneDaemon:
    """A running daemon.

    Args:
        programs: Ends it.
        folder: Where its files lie.
        full: With writers and administration, or without both.
    """

    def __init__(self, programs: Programs, folder: Path, *, full: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, metrics = free_port(), free_port()
        receivers = ["hostmetrics", "prometheus", *(["prometheus_remote_write", "otlp"] if full else [])]
        config = folder / "headrace.yaml"
        writers = _WRITERS.format(port=self.port) if full else ""
        text = _CONFIG.format(
            port=self.port, metrics=metrics, directory=folder / "data", admin=str(full).lower(), writers=writers,
            receivers=", ".join(receivers),
        )  # fmt: skip
        config.write_text(text)
        program = programs.start(f"headrace-{self.port}", [HEADRACE, "run", "--config", config])
        program.wait_http(f"http://127.0.0.1:{self.port}/-/ready", 240)
        wait_until(lambda: bool(self.ask("GET", "/api/v1/metadata").json["data"]), "the first samples")
        wait_until(lambda: b'"health":"up"' in self.ask("GET", "/api/v1/targets").body, "the first scrape")

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Told:
        """Send a request byte for byte."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, body, dict(headers or {}))
            reply = connection.getresponse()
            return Told(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def write(self, labels: Mapping[str, str], samples: list[tuple[int, float]], rows: list[tuple[int, Row]]) -> None:
        """Write a series by remote write."""
        body = packed(request([(dict(labels), samples, rows)]))
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        told = self.ask("POST", "/api/v1/write", body, headers)
        assert told.status == 204, told

    def write_some(self) -> None:
        """Write numbers, native histograms, and a series of both."""
        now = int(time.time() * 1000) - 60_000
        rows = [(now + 1000 * i, _histogram(i)) for i in range(30)]
        self.write({"__name__": "up", "job": "self", "instance": "127.0.0.1:1"}, [(now + i, 1.0) for i in range(9)], [])
        self.write({"__name__": "h"}, [], rows)
        self.write({"__name__": "both"}, [(now, 1.0), (now + 1, 2.5)], rows[1:4])


def _histogram(count: int) -> Row:
    return Row(
        schema=1, count=3 * count, sum_bits=bits(count / 2), positive=((0, 2),), negative=((1, 1),),
        buckets=(count, count, count), threshold_bits=bits(0.001),
    )  # fmt: skip
