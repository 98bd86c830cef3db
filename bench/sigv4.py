"""CPU that signature, policies and audit log add to a remote write request of 2,000 samples.

Two daemons take the same requests in turns, one without authentication and one like ``configs/lab.yaml`` with a
least-privilege policy. The CPU time is the kernel's, of the daemon's threads.
"""

from __future__ import annotations

import http.client
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from lab_daemon import LabDaemon, Sent, allow, arn, policy
from remote_write_messages import packed, request_v1
from running import HEADRACE, Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

SERIES = 2000
WARM = 150
ROUNDS = 8
PER_ROUND = 120
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}

PLAIN = """
receivers: {{prometheus_remote_write: {{endpoint: "127.0.0.1:{port}", workspaces: [{workspace}]}}}}
exporters: {{store: {{endpoint: "127.0.0.1:{port}", workspaces: [{workspace}], directory: "{directory}"}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [prometheus_remote_write], exporters: [store]}}}}
"""


def _bodies(count: int) -> list[bytes]:
    first = int(time.time() * 1000) - count * 1000
    series = [
        {
            "__name__": "http_request_duration_seconds_bucket",
            "instance": f"10.0.{i % 50}.{i % 250}:9100",
            "job": "api",
            "le": str(i % 12),
            "path": f"/api/v1/{i}",
            "pod": f"api-{i % 40}-abcdef",
        }
        for i in range(SERIES)
    ]
    request = request_v1([(labels, [(first, float(i))]) for i, labels in enumerate(series)])
    out = []
    for n in range(count):
        for one in request.timeseries:
            one.samples[0].timestamp = first + n * 1000
        out.append(packed(request))
    return out


def _cpu_s(pid: int) -> float:
    """Return the seconds that the threads of a process were on a CPU."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int(task.joinpath("schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _send(port: int, requests: Sequence[Sent]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for one in requests:
        connection.request(one.method, one.path, one.body, dict(one.headers))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 204:
            raise AssertionError(f"{answer.status}: {text[:300]!r}")
    connection.close()


def run() -> dict[str, float]:
    """Measure; medians over the rounds, microseconds of CPU a request."""
    with tempfile.TemporaryDirectory() as name, Programs(Path(name)) as programs:
        folder = Path(name)
        lab = LabDaemon(programs, folder).start()
        workspace = lab.create_workspace("bench", env="lab")
        here = arn(workspace)
        document = policy(
            allow(["aps:RemoteWrite"], here, Sid="WriteToWorkspace"),
            allow(["aps:QueryMetrics", "aps:GetSeries", "aps:GetLabels"], here, Sid="QueryWorkspace"),
            allow(["aps:DescribeWorkspace"], here, Sid="DescribeWorkspace"),
        )
        role = lab.user("role", document, 3600)
        lab.settle()
        port = free_port()
        config = folder / "plain.yaml"
        config.write_text(PLAIN.format(port=port, workspace=workspace, directory=folder / "plain"))
        plain = programs.start("plain", [HEADRACE, "run", "--config", config])
        plain.wait_http(f"http://127.0.0.1:{port}/-/ready", 120)
        path = f"/workspaces/{workspace}/api/v1/remote_write"
        unsigned = [Sent("POST", path, "", HEADERS, body) for body in _bodies(WARM + ROUNDS * PER_ROUND)]
        assert lab.program is not None
        spent: dict[str, list[float]] = {"plain": [], "access": []}
        for n in range(ROUNDS + 1):
            part = unsigned[:WARM] if n == 0 else unsigned[WARM + (n - 1) * PER_ROUND : WARM + n * PER_ROUND]
            signed = [lab.sign(one, role) for one in part]
            turns = [("plain", plain.pid, port, part), ("access", lab.program.pid, lab.port, signed)]
            for which, pid, to, requests in turns if n % 2 else reversed(turns):
                before = _cpu_s(pid)
                _send(to, requests)
                if n:
                    spent[which].append((_cpu_s(pid) - before) / len(requests) * 1e6)
        more = [a - p for a, p in zip(spent["access"], spent["plain"], strict=True)]
        return {
            "plain_cpu_us_per_request": round(statistics.median(spent["plain"]), 1),
            "access_cpu_us_per_request": round(statistics.median(spent["access"]), 1),
            "more_cpu_us_per_request": round(statistics.median(more), 1),
            "ratio": round(statistics.median(spent["access"]) / statistics.median(spent["plain"]), 3),
        }
