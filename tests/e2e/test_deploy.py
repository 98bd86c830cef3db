"""The service as its files describe it: started, ready, reloaded, stopped; the steps of the image in a plain folder."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from container_steps import Steps, instructions
from headrace.cli.notify import tell_manager
from remote_write_messages import packed, request_v1
from running import HEADRACE, Program, Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What a service manager listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(180)
        yield listening


def moved(text: str, folder: Path, ports: dict[str, int]) -> str:
    """Put the paths of a file below a folder, and its ports where nobody listens."""
    for place in ("/var/lib/headrace", "/run/secrets", "/etc/headrace"):
        text = text.replace(place, f"{folder}{place}")
    for port, other in ports.items():
        text = text.replace(f":{port}", f":{other}")
    return text


def test_the_unit(programs: Programs, manager: socket.socket, tmp_path: Path) -> None:
    """It says when it is ready; a reload is what ExecReload does; SIGTERM ends it with 0."""
    unit = (DEPLOY / "headrace.service").read_text()
    commands = dict(line.partition("=")[::2] for line in unit.splitlines() if line.startswith("Exec"))
    config = tmp_path / "config.yaml"
    ports = {port: free_port() for port in ("13133", "9009", "4318", "4317")}
    telemetry = (
        f"  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{port: {free_port()}}}}}}}}}]}}}}\n"
    )
    config.write_text(moved((DEPLOY / "headrace.yaml").read_text(), tmp_path, ports) + telemetry)
    start = commands["ExecStart"].replace("/opt/headrace/bin/headrace", str(HEADRACE))
    start = start.replace("/etc/headrace/config.yaml", str(config))
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    daemon = Program("headrace", shlex.split(start), tmp_path / "log", env=env)
    try:
        assert manager.recv(100) == b"READY=1"
        daemon.wait_http(f"http://127.0.0.1:{ports['13133']}/", 30)
        reload = commands["ExecReload"].replace("$MAINPID", str(daemon.pid))
        subprocess.run(shlex.split(reload), check=True)
        daemon.wait_log("reloaded: kept", 30)
    finally:
        assert daemon.stop(60) == 0
    config.write_text("receivers: [")
    broken = programs.start("broken", shlex.split(start))
    assert broken.wait_exit(60) == 2


def test_nobody_to_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a manager, or with one that has gone, the daemon starts all the same; abstract names work."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not tell_manager()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    assert not tell_manager()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{tmp_path}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{tmp_path}")
        assert tell_manager()
        assert listening.recv(100) == b"READY=1"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_steps_of_the_image(programs: Programs, tmp_path: Path) -> None:
    """Every step runs, and what it makes runs, is well, and serves who knows the token.

    Kernels are not compiled: that step runs without the compiler, and the daemon takes those of the tests.
    """
    root = tmp_path / "image"
    steps = Steps(ROOT, root)
    without = {"NUMBA_DISABLE_JIT": "1", "PIP_NO_CACHE_DIR": ""}
    steps.run(instructions(DEPLOY / "Containerfile"), without)
    assert any("warmup" in text for text in steps.ran)
    ports = {port: free_port() for port in ("13133", "9009", "4317")}
    config = root / "etc/headrace/config.yaml"
    own = f"  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{port: {free_port()}}}}}}}}}]}}}}\n"
    config.write_text(moved(config.read_text(), root, ports) + own)
    (root / "run/secrets").mkdir(parents=True)
    (root / "run/secrets/headrace-token").write_text("s3cret\n")
    daemon = programs.start("headrace", steps.command, env={"NUMBA_DISABLE_JIT": "1"}, cwd=root)
    daemon.wait_log("headrace: ready in", 300)
    health = [word.replace(":13133", f":{ports['13133']}") for word in steps.health]
    subprocess.run(health, check=True, timeout=60)
    url = f"http://127.0.0.1:{ports['9009']}/api/v1/write"
    body = packed(request_v1([({"__name__": "up"}, [(1_700_000_000_000, 1.0)])]))
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60)
    with refused.value as answer:
        assert answer.code == 401
    allowed = {**headers, "Authorization": "Bearer s3cret"}
    with urllib.request.urlopen(urllib.request.Request(url, body, allowed), timeout=60) as answer:
        assert answer.status in {200, 204}
    assert daemon.stop(60) == 0
    assert steps.command[0].startswith(str(root))
    assert sys.prefix not in steps.command[0]
