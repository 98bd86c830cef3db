"""The program itself: started, asked, written to, stopped."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from remote_write_messages import packed, request_v1, request_v2
from running import HEADRACE, free_port, wait_until

if TYPE_CHECKING:
    from running import Programs

ROOT = Path(__file__).parents[2]
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


def query(base: str, text: str, **more: str) -> list[Any]:
    url = f"{base}/api/v1/query?" + urllib.parse.urlencode({"query": text, **more})
    with urllib.request.urlopen(url, timeout=30) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
    return found


def write(url: str, body: bytes, content_type: str = "application/x-protobuf") -> tuple[int, dict[str, str], str]:
    headers = {"Content-Type": content_type, "Content-Encoding": "snappy"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def test_quickstart_answers_rate(programs: Programs, tmp_path: Path) -> None:
    """The first thing a newcomer does; then an orderly stop, and the data are still there."""
    port, own = free_port(), free_port()
    base = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [
        HEADRACE, "run", "--config", ROOT / "configs" / "quickstart.yaml",
        "--set", f"exporters.store.endpoint=127.0.0.1:{port}",
        "--set", f"service.telemetry.metrics.readers=[{{pull: {{exporter: {{prometheus: {{port: {own}}}}}}}}}]",
        "--set", "receivers.hostmetrics.collection_interval=200ms",
    ]  # fmt: skip
    env = {**os.environ, "HEADRACE_DATA_DIR": str(tmp_path / "data")}
    daemon = programs.start("headrace", command, env=env)
    daemon.wait_http(f"{base}/-/ready", timeout_s=120)
    wait_until(lambda: bool(query(base, "rate(system_cpu_time_seconds_total[1m])")), "a rate", 30)
    series = query(base, "count(system_cpu_time_seconds_total)")[0]["value"][1]
    assert int(series) == 8 * (os.cpu_count() or 1)
    with urllib.request.urlopen(f"http://127.0.0.1:{own}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    assert 'otelcol_receiver_accepted_metric_points_total{receiver="hostmetrics"' in metrics
    assert 'otelcol_exporter_sent_metric_points_total{exporter="store"}' in metrics
    with urllib.request.urlopen(f"{base}/", timeout=10) as answer:
        assert "/api/v1/query" in answer.read().decode()
    stopped_at = time.time()
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(30) == 0
    again = programs.start("again", command, env=env)
    again.wait_http(f"{base}/-/ready", timeout_s=60)
    assert query(base, "count(system_cpu_time_seconds_total)", time=str(stopped_at))[0]["value"][1] == series


def test_serve_takes_both_versions_of_remote_write(programs: Programs, tmp_path: Path) -> None:
    """One port for writing and asking; workspaces are apart; killed, it loses nothing it acknowledged."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [HEADRACE, "serve", "--data-dir", tmp_path / "data", "--listen", f"127.0.0.1:{port}"]
    command += ["--workspace", "default", "--workspace", "ws-1"]
    daemon = programs.start("headrace", command)
    daemon.wait_http(f"{base}/-/ready", timeout_s=120)
    now = int(time.time() * 1000)
    series = [({"__name__": "up", "job": f"j{i}"}, [(now - 1000, 1.0), (now, 2.0)]) for i in range(100)]
    status, _, _ = write(f"{base}/api/v1/write", packed(request_v1(series[:50])))
    assert status == 204
    status, headers, _ = write(f"{base}/api/v1/write", packed(request_v2(series[50:])), V2)
    assert status == 204
    assert headers["X-Prometheus-Remote-Write-Samples-Written"] == "100"
    assert headers["X-Prometheus-Remote-Write-Histograms-Written"] == "0"
    assert headers["X-Prometheus-Remote-Write-Exemplars-Written"] == "0"
    status, _, _ = write(f"{base}/workspaces/ws-1/api/v1/remote_write", packed(request_v1(series[:1])))
    assert status == 204
    daemon.process.kill()
    daemon.process.wait(30)
    again = programs.start("again", command)
    again.wait_http(f"{base}/-/ready", timeout_s=60)
    assert query(base, "sum(up)", time=str(now / 1000))[0]["value"][1] == "200"
    assert query(f"{base}/workspaces/ws-1", "sum(up)", time=str(now / 1000))[0]["value"][1] == "2"


def test_what_serve_refuses(programs: Programs, tmp_path: Path) -> None:
    """Wrong types, corrupt bodies, conflicts, unknown workspaces: each has its answer."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    daemon = programs.start("headrace", [HEADRACE, "serve", "--data-dir", tmp_path, "--listen", f"127.0.0.1:{port}"])
    daemon.wait_http(f"{base}/-/ready", timeout_s=120)
    url = f"{base}/api/v1/write"
    now = int(time.time() * 1000)
    good = packed(request_v1([({"__name__": "up"}, [(now, 1.0)])]))
    assert write(url, good, "text/plain")[0] == 415
    assert write(url, b"\x05nonsense")[0] == 400
    assert write(url, b"\xff\xff\xff\xff\x0f" + b"x" * 100)[0] == 413
    assert write(f"{base}/workspaces/nobody/api/v1/remote_write", good)[0] == 404
    assert write(url, good)[0] == 204
    assert write(url, good)[0] == 204
    other = packed(request_v1([({"__name__": "up"}, [(now, 2.0)]), ({"__name__": "down"}, [(now, 3.0)])]))
    status, _, text = write(url, other)
    assert (status, "duplicate sample for timestamp" in text) == (400, True)
    status, headers, text = write(
        url, packed(request_v2([({"__name__": "up"}, [(now, 9.0)]), ({"__name__": "x"}, [(now, 3.0)])])), V2
    )
    assert status == 400
    assert headers["X-Prometheus-Remote-Write-Samples-Written"] == "1"
    assert query(base, "down + up", time=str(now / 1000))[0]["value"][1] == "4"


@pytest.mark.parametrize("listen", ["0.0.0.0:9009", "[::]:9009"])
def test_serve_refuses_to_be_exposed(programs: Programs, tmp_path: Path, listen: str) -> None:
    """An address that other machines reach needs credentials."""
    daemon = programs.start("headrace", [HEADRACE, "serve", "--data-dir", tmp_path, "--listen", listen])
    assert daemon.process.wait(60) == 2
    assert "can be reached from other machines and nobody is asked for credentials" in daemon.log_text()


def test_a_foreign_host_header_is_refused(programs: Programs, tmp_path: Path) -> None:
    """A page that a browser was lured to cannot reach the daemon by a name of its own."""
    port = free_port()
    daemon = programs.start("headrace", [HEADRACE, "serve", "--data-dir", tmp_path, "--listen", f"127.0.0.1:{port}"])
    daemon.wait_http(f"http://127.0.0.1:{port}/-/ready", timeout_s=120)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/labels", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as error:
        assert error.code in {403, 421}


@pytest.mark.parametrize("name", ["scrape", "gateway", "agent"])
def test_shipped_configurations_start(programs: Programs, tmp_path: Path, name: str) -> None:
    """On ports of the test's own; they say that they are ready, and stop when asked."""
    ports = {
        "exporters.store.endpoint": f"127.0.0.1:{free_port()}",
        "receivers.prometheus_remote_write.endpoint": f"127.0.0.1:{free_port()}",
        "receivers.otlp.protocols.grpc.endpoint": f"127.0.0.1:{free_port()}",
        "receivers.otlp.protocols.http.endpoint": f"127.0.0.1:{free_port()}",
    }
    config = ROOT / "configs" / f"{name}.yaml"
    document = yaml.safe_load(config.read_text())
    command: list[str | Path] = [HEADRACE, "run", "--config", config]
    for key, value in ports.items():
        section, component = key.split(".")[:2]
        if component in document[section]:
            command += ["--set", f"{key}={value}"]
    reader = f"[{{pull: {{exporter: {{prometheus: {{port: {free_port()}}}}}}}}}]"
    command += ["--set", f"service.telemetry.metrics.readers={reader}"]
    daemon = programs.start(name, command, env={**os.environ, "HEADRACE_DATA_DIR": str(tmp_path / "data")})
    daemon.wait_log("headrace: ready in", 120)
    assert daemon.stop() == 0


def test_credentials_on_every_listener(programs: Programs, tmp_path: Path) -> None:
    """The API, remote write, OTLP and the daemon's own metrics ask for them; health and readiness do not."""
    port, own = free_port(), free_port()
    (tmp_path / "token").write_text("s3cret\n")
    reader = {"pull": {"exporter": {"prometheus": {"port": own, "auth": {"authenticator": "bearer_token_auth"}}}}}
    auth = {"auth": {"authenticator": "bearer_token_auth"}}
    server = {"endpoint": f"127.0.0.1:{port}", **auth}
    document = {
        "extensions": {"bearer_token_auth": {"filename": str(tmp_path / "token")}},
        "receivers": {"prometheus_remote_write": server, "otlp": {"protocols": {"http": server}}},
        "exporters": {"store": {**server, "directory": str(tmp_path / "data")}},
        "service": {
            "extensions": ["bearer_token_auth"],
            "pipelines": {"metrics": {"receivers": ["prometheus_remote_write", "otlp"], "exporters": ["store"]}},
            "telemetry": {"metrics": {"readers": [reader]}},
        },
    }
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(document))
    daemon = programs.start("headrace", [HEADRACE, "run", "--config", config])
    base = f"http://127.0.0.1:{port}"
    daemon.wait_http(f"{base}/-/ready", timeout_s=120)
    paths = {
        f"{base}/api/v1/query?query=1": None,
        f"{base}/": None,
        f"{base}/api/v1/write": b"",
        f"{base}/v1/metrics": b"",
        f"http://127.0.0.1:{own}/metrics": None,
    }
    for url, body in paths.items():
        assert status_of(url, body, {}) == 401
        assert status_of(url, body, {"Authorization": "Bearer wrong"}) == 401
        assert status_of(url, body, {"Authorization": "Bearer s3cret"}) != 401
    assert "s3cret" not in daemon.log_text()


def status_of(url: str, body: bytes | None, headers: dict[str, str]) -> int:
    """Return the status of a GET, or with a body of a POST."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
