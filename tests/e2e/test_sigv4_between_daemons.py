"""One daemon signs what it sends to the workspaces of another, with and without the permission to write."""

from __future__ import annotations

import os
import time
import urllib.request
from functools import partial
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.sigv4.sign import Credentials
from lab_daemon import REGION, LabDaemon, allow, arn, policy, query_request
from remote_write_messages import packed, request_v1
from running import HEADRACE, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Programs

pytestmark = pytest.mark.slow

_CONFIG = """
extensions:
  sigv4_auth:
    region: {region}
    service: aps
    profile: writer
receivers:
  prometheus_remote_write:
    endpoint: 127.0.0.1:{port}
exporters:
  prometheus_remote_write:
    endpoint: {endpoint}
    auth: {{authenticator: sigv4_auth}}
service:
  extensions: [sigv4_auth]
  telemetry:
    metrics:
      readers: [{{pull: {{exporter: {{prometheus: {{port: {metrics}}}}}}}}}]
  pipelines:
    metrics:
      receivers: [prometheus_remote_write]
      exporters: [prometheus_remote_write]
"""


class Sending:
    """The daemon that sends, with credentials of a profile."""

    def __init__(self, programs: Programs, folder: Path, endpoint: str, credentials: Credentials) -> None:
        self.port, self._metrics = free_port(), free_port()
        self._profile = folder / "credentials"
        self.take(credentials)
        path = folder / "sending.yaml"
        path.write_text(_CONFIG.format(region=REGION, port=self.port, metrics=self._metrics, endpoint=endpoint))
        env = {"AWS_SHARED_CREDENTIALS_FILE": str(self._profile), "AWS_CONFIG_FILE": os.devnull}
        program = programs.start("sending", [HEADRACE, "run", "--config", path], env=env)
        program.wait_http(f"http://127.0.0.1:{self._metrics}/metrics", 120)

    def take(self, credentials: Credentials) -> None:
        """Write other credentials into the profile."""
        lines = [f"aws_access_key_id = {credentials.access_key}", f"aws_secret_access_key = {credentials.secret}"]
        if credentials.session_token:
            lines.append(f"aws_session_token = {credentials.session_token}")
        self._profile.write_text("\n".join(["[writer]", *lines, ""]))

    def give(self, value: float) -> None:
        """Hand it a sample."""
        rows = [({"__name__": "lab_sample"}, [(int(time.time() * 1000), value)])]
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        url = f"http://127.0.0.1:{self.port}/api/v1/write"
        with urllib.request.urlopen(
            urllib.request.Request(url, packed(request_v1(rows)), headers), timeout=30
        ) as answer:
            assert answer.status == 204

    def dropped(self) -> float:
        """Return how many samples the server has refused."""
        return self.count("headrace_dropped_points_total", "rejected_by_server")

    def count(self, name: str, reason: str = "") -> float:
        """Return the sum of a metric's series that have `reason`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and reason in line)


@pytest.fixture
def lab(tmp_path: Path, programs: Programs) -> LabDaemon:
    (tmp_path / "lab").mkdir()
    return LabDaemon(programs, tmp_path / "lab").start()


def _is(value: Callable[[], float], wanted: float) -> bool:
    return value() == wanted


def test_what_is_signed_arrives(tmp_path: Path, programs: Programs, lab: LabDaemon) -> None:
    """Under keys of a profile, and others that it is given later; what may not be written is dropped and counted."""
    workspace = lab.create_workspace("two")
    writer = lab.user("writer", policy(allow("aps:RemoteWrite", arn(workspace))))
    temporary = lab.user("writer", duration_s=600)
    reader = lab.user("reader", policy(allow("aps:QueryMetrics", arn(workspace))))
    lab.settle()
    endpoint = f"{lab.url}/workspaces/{workspace}/api/v1/remote_write"
    sending = Sending(programs, tmp_path, endpoint, writer)

    def stored() -> float:
        found = lab.ask(query_request(workspace), reader).json["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    for number, credentials in enumerate([writer, temporary], 1):
        sending.take(credentials)
        time.sleep(1.1)
        sending.give(number)
        wait_until(partial(_is, stored, number), "the sample")
    for number, credentials in enumerate([reader, Credentials(writer.access_key, "x" * 40)], 1):
        sending.take(credentials)
        time.sleep(1.1)
        sending.give(9.0)
        wait_until(partial(_is, sending.dropped, number), "the drop")
        assert stored() == 2.0
    assert sending.count("otelcol_exporter_sent_metric_points_total") == 2
    assert sending.count("otelcol_exporter_send_failed_metric_points_total") == 2
