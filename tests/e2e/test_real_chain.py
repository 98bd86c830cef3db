"""node-exporter, scraped by a real Prometheus that writes to Headrace: both answer the same."""

from __future__ import annotations

import json
import math
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from running import HEADRACE, Programs, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.peer, pytest.mark.slow]

QUERIES = """
node_cpu_seconds_total
node_memory_MemTotal_bytes
node_load1
up
scrape_samples_scraped
rate(node_cpu_seconds_total[20s])
irate(node_cpu_seconds_total[20s])
increase(node_cpu_seconds_total{mode="idle"}[15s])
delta(node_memory_MemFree_bytes[20s])
idelta(node_memory_MemFree_bytes[20s])
deriv(node_memory_MemFree_bytes[20s])
predict_linear(node_memory_MemFree_bytes[20s], 3600)
sum(rate(node_cpu_seconds_total[20s]))
sum by (mode) (rate(node_cpu_seconds_total[20s]))
sum without (cpu) (rate(node_cpu_seconds_total[20s]))
avg by (mode) (node_cpu_seconds_total)
min by (mode) (node_cpu_seconds_total)
max by (mode) (node_cpu_seconds_total)
count by (mode) (node_cpu_seconds_total)
stddev by (mode) (node_cpu_seconds_total)
stdvar(node_cpu_seconds_total)
group by (job) (node_cpu_seconds_total)
quantile(0.9, node_cpu_seconds_total)
topk(3, node_cpu_seconds_total)
bottomk(2, node_cpu_seconds_total{mode="user"})
count_values("value", up)
node_memory_MemTotal_bytes - node_memory_MemFree_bytes
1 - node_memory_MemFree_bytes / node_memory_MemTotal_bytes
node_cpu_seconds_total / on (instance, job) group_left node_memory_MemTotal_bytes
node_cpu_seconds_total * ignoring (cpu, mode) group_left node_load1
node_cpu_seconds_total > 10
node_cpu_seconds_total > bool 10
node_load1 and node_load5
node_load1 or node_load5
node_cpu_seconds_total unless node_cpu_seconds_total{mode="idle"}
avg_over_time(node_load1[20s])
max_over_time(node_memory_MemFree_bytes[20s])
min_over_time(node_memory_MemFree_bytes[20s])
sum_over_time(up[20s])
count_over_time(up[20s])
stddev_over_time(node_memory_MemFree_bytes[20s])
quantile_over_time(0.5, node_memory_MemFree_bytes[20s])
last_over_time(node_load1[20s])
present_over_time(node_load1[20s])
changes(node_memory_MemFree_bytes[20s])
resets(node_cpu_seconds_total[20s])
absent(nonexistent{job="x"})
absent_over_time(nonexistent[5m])
label_replace(up, "host", "$1", "instance", "(.*):.*")
label_join(up, "all", "-", "job", "instance")
histogram_quantile(0.9, rate(prometheus_http_request_duration_seconds_bucket[20s]))
round(node_load1, 0.01)
clamp(node_load1, 0.1, 0.2)
abs(-node_load1)
ceil(node_load1) + floor(node_load1)
ln(node_memory_MemTotal_bytes) + log2(node_memory_MemTotal_bytes) + log10(node_memory_MemTotal_bytes)
sqrt(node_memory_MemTotal_bytes)
exp(node_load1)
timestamp(node_load1)
time() - node_boot_time_seconds
scalar(node_load1) + 1
vector(3)
hour() + minute()
day_of_week(node_boot_time_seconds)
node_load1 offset 10s
max_over_time(rate(node_cpu_seconds_total[10s])[20s:5s])
sort_desc(node_cpu_seconds_total)
{__name__=~"node_memory_.+_bytes", job="node"}
node_filesystem_avail_bytes{fstype!~"tmpfs|overlay"}
node_cpu_seconds_total{mode=~"user|system", cpu!="9"}
""".strip().splitlines()


class Chain:
    """All programs of the chain, and when everything had arrived."""

    def __init__(self, folder: Path, peers: Path, programs: Programs) -> None:
        self.node, self.prometheus, self.headrace = free_port(), free_port(), free_port()
        programs.start("node", [peers / "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{self.node}"])
        command: list[str | Path] = [HEADRACE, "serve", "--data-dir", folder / "headrace"]
        command += ["--listen", f"127.0.0.1:{self.headrace}"]
        for workspace in ("default", "ws-v1", "ws-v2", "own"):
            command += ["--workspace", workspace]
        programs.start("headrace", command).wait_http(f"{self.base}/-/ready", 120)
        config = folder / "prometheus.yml"
        config.write_text(self._config())
        options = [
            f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{self.prometheus}", "--storage.remote.flush-deadline=5s",
        ]  # fmt: skip
        program = programs.start("prometheus", [peers / "prometheus", *options])
        program.wait_http(f"{self.oracle}/-/ready")
        wait_until(lambda: self._samples() >= 12, "twelve scrapes", 90)
        self.time = math.floor(time.time()) - 4

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.headrace}"

    @property
    def oracle(self) -> str:
        return f"http://127.0.0.1:{self.prometheus}"

    def _config(self) -> str:
        v1, v2 = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"
        urls = (
            (f"{self.base}/api/v1/write", v1),
            (f"{self.base}/workspaces/ws-v1/api/v1/remote_write", v1),
            (f"{self.base}/workspaces/ws-v2/api/v1/remote_write", v2),
        )
        writes = "".join(
            f"  - url: {url}\n    protobuf_message: {message}\n    queue_config: {{batch_send_deadline: 1s}}\n"
            for url, message in urls
        )
        return (
            "global: {scrape_interval: 2s}\n"
            "scrape_configs:\n"
            f"  - job_name: node\n    static_configs: [{{targets: ['127.0.0.1:{self.node}']}}]\n"
            f"  - job_name: prometheus\n    static_configs: [{{targets: ['127.0.0.1:{self.prometheus}']}}]\n"
            f"remote_write:\n{writes}"
        )

    def _samples(self) -> int:
        counts = [
            ask(base, "query", query='min(count_over_time(up{job="node"}[5m]))')["result"]
            for base in (f"{self.base}/workspaces/ws-v2", f"{self.base}/workspaces/ws-v1", self.base)
        ]
        return min(int(found[0]["value"][1]) if found else 0 for found in counts)


def ask(base: str, what: str, **form: str) -> dict[str, Any]:
    url = f"{base}/api/v1/{what}?" + urllib.parse.urlencode(form)
    with urllib.request.urlopen(url, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)["data"]
    return found


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, peers: Path) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    with Programs(folder) as programs:
        yield Chain(folder, peers, programs)


def test_there_are_enough_queries() -> None:
    """Different ones."""
    assert len(set(QUERIES)) >= 40


@pytest.mark.parametrize("workspace", ["", "/workspaces/ws-v1", "/workspaces/ws-v2"])
@pytest.mark.parametrize("query", QUERIES)
def test_instant(chain: Chain, workspace: str, query: str) -> None:
    """At a time whose samples have all been delivered: labels exactly, values to 1e-9."""
    form = {"query": query, "time": str(chain.time)}
    expected, got = ask(chain.oracle, "query", **form), ask(chain.base + workspace, "query", **form)
    assert got["resultType"] == expected["resultType"]
    if expected["resultType"] == "scalar":
        assert close(got["result"][1], expected["result"][1])
        return
    assert keyed(got["result"], "value") == pytest.approx(keyed(expected["result"], "value"), rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("query", QUERIES[::3])
def test_range(chain: Chain, query: str) -> None:
    """Over steps, which need not fall on samples."""
    form = {"query": query, "start": str(chain.time - 15), "end": str(chain.time), "step": "3"}
    expected, got = ask(chain.oracle, "query_range", **form), ask(chain.base, "query_range", **form)
    ours, theirs = keyed(got["result"], "values"), keyed(expected["result"], "values")
    assert ours == pytest.approx(theirs, rel=1e-9, nan_ok=True)


def close(one: str, other: str) -> bool:
    return one == other or math.isclose(float(one), float(other), rel_tol=1e-9)


def keyed(result: list[dict[str, Any]], field: str) -> dict[tuple[Any, ...], float]:
    """Return value by labels and time."""
    out = {}
    for series in result:
        points = [series[field]] if field == "value" else series[field]
        for at, value in points:
            out[(*sorted(series["metric"].items()), at)] = float(value)
    return out


def test_own_scrape(chain: Chain, peers: Path, tmp_path: Path) -> None:
    """Headrace's scrape of the same target finds the same series, and counters equal within one interval."""
    del peers
    port, own = free_port(), free_port()
    config = tmp_path / "scrape.yaml"
    config.write_text(
        "receivers:\n  prometheus:\n    config:\n      global: {scrape_interval: 1s}\n      scrape_configs:\n"
        f"        - job_name: node\n          static_configs: [{{targets: ['127.0.0.1:{chain.node}']}}]\n"
        f"exporters: {{store: {{endpoint: '127.0.0.1:{port}', directory: '{tmp_path / 'data'}'}}}}\n"
        "service:\n  pipelines: {metrics: {receivers: [prometheus], exporters: [store]}}\n"
        f"  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{port: {own}}}}}}}}}]}}}}\n"
    )
    base = f"http://127.0.0.1:{port}"
    with Programs(tmp_path) as programs:
        programs.start("headrace", [HEADRACE, "run", "--config", config]).wait_http(f"{base}/-/ready", 120)
        query = 'count_over_time(up{job="node"}[5m])'
        wait_until(
            lambda: int((ask(base, "query", query=query)["result"] or [{"value": [0, "0"]}])[0]["value"][1]) >= 4,
            "four scrapes",
            60,
        )
        now = time.time()
        selector = '{__name__=~"node_.+|up|scrape_.+", job="node"}'
        ours = ask(base, "query", query=selector, time=f"{now:.3f}")["result"]
        before = keyed(ask(chain.oracle, "query", query=selector, time=f"{now - 4:.3f}")["result"], "value")
        wait_until(lambda: time.time() > now + 5, "the next scrape")
        after = keyed(ask(chain.oracle, "query", query=selector, time=f"{now + 5:.3f}")["result"], "value")
    names = {tuple(sorted(series["metric"].items())) for series in ours}
    assert {key[:-1] for key in before} == names == {key[:-1] for key in after}
    low = {key[:-1]: value for key, value in before.items()}
    high = {key[:-1]: value for key, value in after.items()}
    counters = 0
    for series in ours:
        key = tuple(sorted(series["metric"].items()))
        if series["metric"]["__name__"].endswith("_total") and low[key] <= high[key]:
            assert low[key] <= float(series["value"][1]) <= high[key]
            counters += 1
    assert counters > 50
