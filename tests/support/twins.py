"""The daemon and a real Prometheus with the same samples, both over HTTP."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from remote_write_messages import packed
from running import HEADRACE, Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
FEATURES = "native-histograms,promql-experimental-functions"

_DAEMON = """
receivers:
  prometheus_remote_write:
    endpoint: 127.0.0.1:{port}
exporters:
  store:
    endpoint: 127.0.0.1:{port}
    directory: {directory}
    out_of_order_time_window: 100d
    external_labels: {external}
    query:
      enable_features: [promql-experimental-functions]
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    metrics:
      receivers: [prometheus_remote_write]
      exporters: [store]
"""

_PROMETHEUS = """
global:
  external_labels: {external}
storage:
  tsdb:
    out_of_order_time_window: 100y
{more}
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of them answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str, form: Sequence[tuple[str, str]] = (), *, post: bool = False, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send a request; errors are answers like others."""
    encoded = urllib.parse.urlencode(form)
    target = f"{url}?{encoded}" if encoded and not post else url
    request = urllib.request.Request(target, encoded.encode() if post else None, dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return Answer(reply.status, dict(reply.headers), reply.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, dict(error.headers), error.read())


class Twins:
    """Both programs, ended with the block.

    Args:
        folder: Where their files lie.
        peers: The folder of the programs.
        external: External labels of both.
    """

    def __init__(self, folder: Path, peers: Path, external: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._peers = peers
        self._external = json.dumps(dict(external or {}))
        self.programs = Programs(folder)
        self.ours = f"http://127.0.0.1:{free_port()}"
        self.theirs = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        self.programs.__enter__()
        config = self._folder / "headrace.yaml"
        config.write_text(
            _DAEMON.format(port=self.ours.rpartition(":")[2], directory=self._folder / "store", external=self._external)
        )
        daemon = self.programs.start("headrace", [HEADRACE, "run", "--config", config])
        self.prometheus(self.theirs)
        daemon.wait_http(f"{self.ours}/-/ready", 180)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.programs.__exit__(kind, error, trace)

    def prometheus(self, url: str, more: str = "", name: str = "prometheus") -> None:
        """Start a Prometheus that listens at `url`."""
        config = self._folder / f"{name}.yml"
        config.write_text(_PROMETHEUS.format(external=self._external, more=more))
        command: list[str | Path] = [
            self._peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self._folder / name}",
            "--storage.tsdb.retention.time=200y", f"--web.listen-address={url.removeprefix('http://')}",
            "--web.enable-remote-write-receiver", f"--enable-feature={FEATURES}",
        ]  # fmt: skip
        self.programs.start(name, command).wait_http(f"{url}/-/ready")

    def write(self, request: Any) -> None:
        """Send the same remote write request to both."""
        body = packed(request)
        for url in (self.ours, self.theirs):
            target = urllib.request.Request(f"{url}/api/v1/write", body, _HEADERS)
            urllib.request.urlopen(target, timeout=60).close()

    def both(self, path: str, *form: tuple[str, str], post: bool = False) -> tuple[Answer, Answer]:
        """Ask both the same; return our answer and theirs."""
        return ask(self.ours + path, form, post=post), ask(self.theirs + path, form, post=post)


def recent_ms(minutes: int) -> int:
    """Return a whole minute of so many minutes ago."""
    return (int(time.time()) // 60 - minutes) * 60_000
