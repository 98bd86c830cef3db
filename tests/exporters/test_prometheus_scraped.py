"""A real Prometheus scrapes the exporter, in all formats, and has what was delivered."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otlp_batches import CUMULATIVE, DELTA, attributes, request
from running import HEADRACE, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from running import Program, Programs

pytestmark = pytest.mark.peer

PROTOCOLS = {
    "text": ["PrometheusText0.0.4"],
    "utf8": ["PrometheusText1.0.0"],
    "openmetrics": ["OpenMetricsText1.0.0"],
    "protobuf": ["PrometheusProto"],
}


def told() -> bytes:
    """Return a request with every kind of metric, all at the present time."""
    message, scope = request({"service__name": "shop", "service__instance__id": "i1", "cloud.region": "eu"}, "lib@2")
    now = time.time_ns()
    times = {"time_unix_nano": now, "start_time_unix_nano": now - 60_000_000_000}
    for name, temporality in (("requests", CUMULATIVE), ("deltas", DELTA)):
        sum_ = scope.metrics.add(name=name, unit="1", description=f"How many {name}.").sum
        sum_.aggregation_temporality, sum_.is_monotonic = temporality, True
        point = sum_.data_points.add(as_int=42, **times)
        attributes(point, http__route="/a/{b}", odd='q"\\\n')
        exemplar = point.exemplars.add(time_unix_nano=now, as_double=0.5, trace_id=b"\xab" * 16, span_id=b"\xcd" * 8)
        attributes(exemplar, user="u")
    histogram = scope.metrics.add(name="latency", unit="s", description="Took.").histogram
    histogram.aggregation_temporality = CUMULATIVE
    point = histogram.data_points.add(count=6, sum=7.5, bucket_counts=[1, 2, 3], explicit_bounds=[0.1, 1], **times)
    point.exemplars.add(time_unix_nano=now, as_double=0.05, trace_id=b"\x01" * 16, span_id=b"\x02" * 8)
    exponential = scope.metrics.add(name="size", unit="By").exponential_histogram
    exponential.aggregation_temporality = CUMULATIVE
    point = exponential.data_points.add(count=6, sum=9, scale=0, zero_count=1, **times)
    point.positive.bucket_counts.extend([2, 3])
    summary = scope.metrics.add(name="took").summary
    point = summary.data_points.add(count=4, sum=8, **times)
    point.quantile_values.add(quantile=0.5, value=1.5)
    point.quantile_values.add(quantile=0.99, value=3)
    scope.metrics.add(name="level.now").gauge.data_points.add(as_double=-0.25, **times)
    data: bytes = message.SerializeToString()
    return data


def ask(port: int, path: str, **params: str) -> Any:
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(params)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


def headrace(programs: Programs, folder: Path) -> int:
    """Start a daemon that takes OTLP and is scraped; return the port of both."""
    port = free_port()
    config = folder / "headrace.yaml"
    endpoint = f"127.0.0.1:{port}"
    config.write_text(yaml.safe_dump({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": endpoint}}}},
        "exporters": {"prometheus": {"endpoint": endpoint, "enable_open_metrics": True, "const_labels": {"zone": "z"}}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["prometheus"]}},
        },
    }))  # fmt: skip
    daemon = programs.start("headrace", [HEADRACE, "run", "--config", config])
    daemon.wait_http(f"http://{endpoint}/metrics", 240)
    headers = {"Content-Type": "application/x-protobuf"}
    post = urllib.request.Request(f"http://{endpoint}/v1/metrics", told(), headers)
    with urllib.request.urlopen(post, timeout=30) as answer:
        assert answer.read() == b""
    return port


def prometheus(programs: Programs, peers: Path, folder: Path, port: int) -> tuple[int, Program]:
    """Start a Prometheus that scrapes by each protocol."""
    jobs = [
        {
            "job_name": name, "scrape_interval": "1s", "honor_labels": True, "scrape_protocols": protocols,
            "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"via": name}}],
        }
        for name, protocols in PROTOCOLS.items()
    ]  # fmt: skip
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": jobs}))
    own = free_port()
    program = programs.start(
        "prometheus",
        [peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
         f"--web.listen-address=127.0.0.1:{own}",
         "--enable-feature=exemplar-storage,native-histograms,created-timestamp-zero-ingestion"],
    )  # fmt: skip
    program.wait_http(f"http://127.0.0.1:{own}/-/ready")
    return own, program


def test_a_real_prometheus_has_what_was_delivered(programs: Programs, peers: Path, tmp_path: Path) -> None:
    """The same series with the same values by every protocol; types, help, exemplars and native histograms too."""
    port = headrace(programs, tmp_path)
    own, program = prometheus(programs, peers, tmp_path, port)

    def healthy() -> bool:
        found = ask(own, "targets", state="active")["activeTargets"]
        assert all(one["health"] != "down" for one in found), [one["lastError"] for one in found]
        return len(found) == len(PROTOCOLS) and all(one["health"] == "up" for one in found)

    program.wait_until(healthy, "all targets are scraped")
    found: dict[str, dict[str, float]] = {name: {} for name in PROTOCOLS}
    for one in ask(own, "query", query='{__name__!~"up|scrape_.*", via!=""}')["result"]:
        labels = dict(one["metric"])
        via = labels.pop("via")
        key = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        found[via][key] = float(one["value"][1] if "value" in one else one["histogram"][1]["count"])
    route = 'instance=i1,job=shop,odd=q"\\\n,otel_scope_name=lib,otel_scope_version=2,zone=z'
    target = "instance=i1,job=shop,otel_scope_name=lib,otel_scope_version=2"
    text = found["text"]
    assert text[f"__name__=requests_total,http_route=/a/{{b}},{route}"] == 42
    assert text[f"__name__=deltas_total,http_route=/a/{{b}},{route}"] == 42
    assert text[f"__name__=latency_seconds_bucket,instance=i1,job=shop,le=0.1,{target[21:]},zone=z"] == 1
    assert text[f"__name__=latency_seconds_bucket,instance=i1,job=shop,le=+Inf,{target[21:]},zone=z"] == 6
    assert text[f"__name__=latency_seconds_sum,{target},zone=z"] == 7.5
    assert text[f"__name__=took,{target},quantile=0.99,zone=z"] == 3
    assert text[f"__name__=level_now,{target},zone=z"] == -0.25
    assert text["__name__=target_info,cloud_region=eu,instance=i1,job=shop,zone=z"] == 1
    assert text[f"__name__=size_bytes_count,{target},zone=z"] == 6
    assert found["utf8"] == text == found["openmetrics"]
    exponential = {key: value for key, value in text.items() if "size_bytes" in key}
    assert found["protobuf"].pop(f"__name__=size_bytes,{target},zone=z") == 6
    assert found["protobuf"] == {key: value for key, value in text.items() if key not in exponential}

    (native,) = ask(own, "query", query='size_bytes{via="protobuf"}')["result"]
    buckets = [(float(low), float(high), float(count)) for _, low, high, count in native["histogram"][1]["buckets"]]
    assert [bucket[2] for bucket in buckets] == [1, 2, 3]
    assert (buckets[1][:2], buckets[2][:2]) == ((1, 2), (2, 4))
    kinds = {name: one[0]["type"] for name, one in ask(own, "metadata").items()}
    assert kinds["latency_seconds"] == "histogram"
    assert kinds["took"] == "summary"
    assert "counter" in {kinds.get("requests_total"), kinds.get("requests")}
    helps = {one["help"] for several in ask(own, "metadata").values() for one in several}
    assert {"How many requests.", "Took."} <= helps
    for query in ("requests_total", "latency_seconds_bucket"):
        exemplars = ask(own, "query_exemplars", query=query, start=str(time.time() - 600), end=str(time.time() + 600))
        by = {one["seriesLabels"]["via"]: one["exemplars"][0]["labels"]["trace_id"] for one in exemplars}
        assert set(by) == {"openmetrics", "protobuf"}
        assert set(by.values()) == {"ab" * 16 if query == "requests_total" else "01" * 16}
