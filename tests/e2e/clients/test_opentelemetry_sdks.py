"""OpenTelemetry's SDKs for Python and JavaScript export to Headrace by every protocol they have.

What they measured is read back through PromQL under the names that Prometheus gives OpenTelemetry's metrics.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import node_packages
from running import HEADRACE, Programs, free_port
from two_servers import data

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.peer, pytest.mark.slow]

FOLDER = Path(__file__).parent / "opentelemetry"

Labels = tuple[tuple[str, str], ...]

WAYS = [
    ("python", "grpc"), ("python", "protobuf"),
    ("javascript", "grpc"), ("javascript", "protobuf"), ("javascript", "json"),
]  # fmt: skip

GET = (("http_request_method", "GET"),)
NUMBERS: dict[tuple[str, Labels], float] = {
    ("http_requests_total", (*GET, ("ok", "true"), ("status", "200"))): 30,
    ("payload_bytes_total", ()): 37.5,
    ("jobs", (("kind", "mail"),)): 9,
    ("load_ratio", ()): 0.75,
    ("cpu_time_seconds_total", (("zone", "a"),)): 4.5,
    ("queue_length", (("zone", "a"),)): 3,
    ("queue_length", (("zone", "b"),)): -6,
    ("temperature_celsius", (("zone", "a"),)): 23.5,
    ("temperature_celsius", (("zone", "b"),)): -47,
    **{
        ("latency_seconds_bucket", (*GET, ("le", le))): count
        for le, count in {"0.25": 6, "0.5": 9, "1.0": 15, "5.0": 15, "+Inf": 15}.items()
    },
    ("latency_seconds_count", GET): 15,
    ("latency_seconds_sum", GET): 7.5,
}  # fmt: skip
"""What the applications measure, by name and labels without those of the target."""

RESOURCE = {"deployment_environment_name": "test", "host_cpu_count": "8", "host_names": '["a","b"]'}


@dataclass
class Server:
    """Where applications export to.

    Attributes:
        base: Address that answers queries.
        urls: Where it takes each protocol.
    """

    base: str
    urls: dict[str, str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Headrace with a store, which makes totals of deltas."""
    folder = tmp_path_factory.mktemp("sdks")
    port, grpc = free_port(), free_port()
    protocols = {"grpc": {"endpoint": f"127.0.0.1:{grpc}"}, "http": {"endpoint": f"127.0.0.1:{port}"}}
    document = {
        "receivers": {"otlp": {"protocols": protocols}},
        "processors": {"deltatocumulative": None},
        "exporters": {"store": {"endpoint": f"127.0.0.1:{port}", "directory": str(folder / "headrace")}},
        "service": {
            "pipelines": {
                "metrics": {"receivers": ["otlp"], "processors": ["deltatocumulative"], "exporters": ["store"]},
            },
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    config, base = folder / "headrace.yaml", f"http://127.0.0.1:{port}"
    config.write_text(json.dumps(document))
    with Programs(folder) as programs:
        programs.start("headrace", [HEADRACE, "run", "--config", config]).wait_http(f"{base}/-/ready", 120)
        http = f"{base}/v1/metrics"
        yield Server(base, {"grpc": f"http://127.0.0.1:{grpc}", "protobuf": http, "json": http})


def application(language: str, protocol: str, url: str, temporality: str, service: str) -> None:
    """Run an application to its end; all exports have to be answered with success."""
    settings = [protocol, url, temporality, service]
    if language == "python":
        command = [sys.executable, str(FOLDER / "measure.py"), *settings]
    else:
        command = [node_packages.require(FOLDER), str(FOLDER / "measure.mjs"), *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=FOLDER)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if language == "javascript":
        codes = [one["code"] for one in json.loads(done.stdout)]
        assert codes == [0] * len(codes)
        assert len(codes) >= 3


def read(base: str, service: str) -> tuple[dict[tuple[str, Labels], float], dict[tuple[str, Labels], Any]]:
    """Return the newest values, and the newest native histograms, of an application."""
    numbers, natives = {}, {}
    query = f'{{job="shop/{service}",instance="one"}}'
    for one in data(base, "query", query=query, time=f"{time.time() + 1:.3f}")["result"]:
        labels = {name: value for name, value in one["metric"].items() if name not in {"job", "instance", "__name__"}}
        key = (one["metric"]["__name__"], tuple(sorted(labels.items())))
        if "value" in one:
            numbers[key] = float(one["value"][1])
        else:
            natives[key] = one["histogram"][1]
    return numbers, natives


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize(("language", "protocol"), WAYS)
def test_what_was_measured_is_read_back(server: Server, language: str, protocol: str, temporality: str) -> None:
    """Every instrument, by Prometheus' names, with units, attributes and resource."""
    service = f"{language}.{protocol}.{temporality}"
    application(language, protocol, server.urls[protocol], temporality, service)
    numbers, natives = read(server.base, service)
    plain = {key: value for key, value in numbers.items() if key[0] != "target_info"}
    assert plain == NUMBERS
    ((key, size),) = natives.items()
    assert key == ("size_bytes", ())
    assert (size["count"], size["sum"]) == ("18", "93")
    zeros, *buckets = size["buckets"]
    assert zeros[3] == "3"
    assert [(upper, count) for _, _, upper, count in buckets] == [(str(2**i), "3") for i in range(5)]
    ((_, labels),) = [key for key in numbers if key[0] == "target_info"]
    assert dict(labels) == RESOURCE


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_metadata(server: Server, language: str) -> None:
    """Types, units and descriptions are asked for by Prometheus' names as well."""
    application(language, "protobuf", server.urls["protobuf"], "cumulative", "told")
    told = data(server.base, "metadata")
    assert told["http_requests_total"] == [{"type": "counter", "unit": "{request}", "help": "Requests."}]
    assert told["load_ratio"] == [{"type": "gauge", "unit": "1", "help": "How busy it is."}]
    assert {name: one[0]["type"] for name, one in told.items()} == {
        "http_requests_total": "counter", "payload_bytes_total": "counter", "jobs": "gauge", "load_ratio": "gauge",
        "cpu_time_seconds_total": "counter", "queue_length": "gauge", "temperature_celsius": "gauge",
        "latency_seconds": "histogram", "size_bytes": "histogram",
    }  # fmt: skip
