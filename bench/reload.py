"""A dashboard that loads again: what the server takes for a query that it has answered before.

A daemon is asked over HTTP for the same range again and again: with its cache, and anew each time. Samples do not
change meanwhile.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from bench.compare_stores import free_port, own_command, wait_until_ready
from bench.hostile import STEP_S, fill

_SERIES = 10_000
_HOURS = 1.0
_QUERY = "sum by (job) (rate(requests_total[5m]))"
_RELOADS = 500
_ANEW = 10
_TICKS = os.sysconf("SC_CLK_TCK")


def run() -> dict[str, float]:
    """Measure what an answer takes: milliseconds for the client, of the server's processor."""
    with tempfile.TemporaryDirectory(prefix="headrace-reload-") as directory:
        end_s = asyncio.run(fill(Path(directory), _SERIES, _HOURS))
        port = free_port()
        environment = {**os.environ, "HEADRACE_PORT": str(port), "HEADRACE_DATA_DIR": directory}
        daemon = subprocess.Popen(own_command(), env=environment)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/-/ready")
            form = {"query": _QUERY, "start": end_s - 3600, "end": end_s, "step": STEP_S}
            anew = _measured(daemon.pid, port, {**form, "nocache": 1}, _ANEW)
            again = _measured(daemon.pid, port, form, _RELOADS)
        finally:
            daemon.terminate()
            daemon.wait(60)
    names = ("p50_ms", "p99_ms", "cpu_ms")
    pairs = (("anew", anew), ("reload", again))
    return {f"{kind}_{name}": value for kind, found in pairs for name, value in zip(names, found, strict=True)}


def _measured(pid: int, port: int, form: dict[str, object], times: int) -> tuple[float, float, float]:
    """Ask once, then so many times; return median and 99th percentile of the latter, and mean processor time, in ms."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    path = f"/api/v1/query_range?{urlencode(form)}"
    expected = _answer(connection, path)
    used_s, took = _used_s(pid), []
    for _ in range(times):
        began = time.perf_counter()
        found = _answer(connection, path)
        took.append(time.perf_counter() - began)
        if found != expected:
            raise AssertionError("bug: a reload has another answer")
    cpu_ms = (_used_s(pid) - used_s) / times * 1000
    connection.close()
    return float(np.median(took)) * 1000, float(np.quantile(took, 0.99)) * 1000, cpu_ms


def _answer(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    reply = connection.getresponse()
    body = reply.read()
    if reply.status != 200:
        raise AssertionError(f"bug: {body[:300]!r}")
    return body


def _used_s(pid: int) -> float:
    """Return the seconds that a process has used a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
