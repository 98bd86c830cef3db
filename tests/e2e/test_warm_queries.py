"""Once the daemon is ready, no query waits for the compiler: warm-up has met every kernel that it needs."""

from __future__ import annotations

import re
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from remote_write_messages import packed
from running import HEADRACE, free_port
from two_servers import SAMPLES, STEP_MS, ask, made_series

if TYPE_CHECKING:
    from pathlib import Path

    from running import Program, Programs

QUERIES = (
    "requests_total",
    'rate(requests_total{code!="404"}[5m])',
    "irate(requests_total[5m]) + increase(requests_total[5m])",
    "sum by (job) (rate(requests_total[5m]))",
    "avg without (code) (requests_total) / on (job, instance) group_left temperature",
    "histogram_quantile(0.9, sum by (le, job) (rate(latency_seconds_bucket[10m])))",
    "topk(3, temperature) or bottomk(1, temperature)",
    "quantile(0.5, temperature) + stddev(temperature)",
    "max_over_time(temperature[5m]) - min_over_time(temperature[5m])",
    "quantile_over_time(0.9, temperature[5m]) > avg_over_time(temperature[5m])",
    "deriv(temperature[5m]) + predict_linear(temperature[5m], 60)",
    "max_over_time(rate(requests_total[1m])[5m:30s])",
    "changes(temperature[5m]) + resets(requests_total[5m])",
    "temperature > 0 and on (instance) temperature unless temperature > 90",
    'label_replace(temperature, "new", "$1-x", "instance", "(.*):.*")',
    'count_values("value", round(temperature))',
    "absent(nosuch) + scalar(vector(1))",
    "sort_desc(temperature)",
    '{job="api", le!=""}',
    "size_bytes",
    "histogram_quantile(0.9, sum by (job) (rate(size_bytes[5m])))",
    "histogram_fraction(0, 1, size_bytes) + histogram_avg(increase(size_bytes[5m])) + histogram_stddev(size_bytes)",
    "avg(size_bytes) + size_bytes * 2 - size_bytes offset 1m",
    "irate(size_bytes[5m]) == delta(size_bytes[5m])",
    "sum_over_time(size_bytes[5m]) or avg_over_time(size_bytes[5m])",
    "changes(size_bytes[5m]) + resets(size_bytes[5m]) + count_over_time(size_bytes[5m:30s])",
    "size_bytes </ 1 or size_bytes >/ 1",
)
_USED = re.compile(r"\[cache\] data (?:loaded from|saved to) '[^']*?([\w.]+)-\d+\.py")


def used_since(daemon: Program, start: int) -> list[str]:
    """Return the kernels that were compiled, or loaded as compiled before, after byte `start` of the log."""
    return sorted(set(_USED.findall(daemon.log_text()[start:])))


@pytest.fixture
def daemon(programs: Programs, tmp_path: Path) -> tuple[Program, str, int]:
    """A daemon whose log names each kernel at its first use, with some series; its address, and the log's length."""
    address = f"127.0.0.1:{free_port()}"
    command: list[str | Path] = [HEADRACE, "serve", "--data-dir", tmp_path / "data", "--listen", address]
    started = programs.start("headrace", command, env={"NUMBA_DEBUG_CACHE": "1"})
    started.wait_http(f"http://{address}/-/ready", 200)
    return started, f"http://{address}", len(started.log_text())


def test_nothing_is_compiled_for_a_query(daemon: tuple[Program, str, int]) -> None:
    """Writes and queries, instant and over ranges, use only kernels that were there when it got ready."""
    started, base, before = daemon
    assert used_since(started, 0), "the log names no kernel: the test would pass whatever happens"
    end_s = int(time.time()) // 15 * 15
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    body = packed(made_series(end_s * 1000))
    urllib.request.urlopen(urllib.request.Request(f"{base}/api/v1/write", body, headers), timeout=60).close()
    window = {"start": str(end_s - SAMPLES * STEP_MS // 1000), "end": str(end_s), "step": "60"}
    for query in QUERIES:
        for path, form in (("query", {"time": str(end_s)}), ("query_range", window)):
            answer = ask(base, path, {"query": query, **form})
            assert answer.status == 200
    late = used_since(started, before)
    assert not late, ", ".join(late)
