"""The helpers in tests/support do what tests rely on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import node_packages
import peer_programs
from running import NotReady, Programs, free_port

ROOT = Path(__file__).parents[2]

SUITE = """
import pytest

@pytest.mark.conformance("one")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_case(n):
    if n == 2:
        pytest.skip("not yet")
    assert n == 1

@pytest.mark.conformance("two")
def test_other():
    pass

def test_unmarked():
    pass
"""


def test_free_ports_are_free_and_differ() -> None:
    """Each port can be bound, and no call gives the same one again."""
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports[0]))


def test_a_program_is_ended_with_its_context(tmp_path: Path) -> None:
    """Leaving the context ends what still runs, and the log holds what it printed."""
    with Programs(tmp_path) as programs:
        program = programs.start("sleeper", [sys.executable, "-c", "print('up', flush=True); input(); 1/0"])
        assert program.wait_exit() == 1
        waiting = programs.start(
            "waiter", [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)"]
        )
        waiting.wait_log("on")
    assert waiting.process.returncode is not None
    assert "EOFError" in program.log_text()


def test_a_program_that_ends_early_quotes_its_log(tmp_path: Path) -> None:
    """Waiting for a program that fails raises at once and says what it printed."""
    with Programs(tmp_path) as programs:
        program = programs.start("broken", [sys.executable, "-c", "raise SystemExit('no such file')"])
        with pytest.raises(NotReady, match="broken ended with 1:\nno such file"):
            program.wait_http(f"http://127.0.0.1:{free_port()}/-/ready")


def test_a_program_is_stopped_politely(tmp_path: Path) -> None:
    """`stop` sends SIGTERM and reports how the program ended."""
    with Programs(tmp_path) as programs:
        program = programs.start(
            "polite", [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
        )
        program.wait_log("up")
        assert program.stop() == -15


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_absent_peers_fail_the_ci_and_skip_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: str, outcome: type[BaseException]
) -> None:
    """Without peers a test is skipped with the command that brings them; in the CI it fails."""
    monkeypatch.setenv("HEADRACE_PEERS", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=r"lacks prometheus, .*make peers"):
        peer_programs.require()


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_absent_node_packages_fail_the_ci_and_skip_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: str, outcome: type[BaseException]
) -> None:
    """Without node or its packages a test is skipped, and says what brings them; in the CI it fails."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(outcome, match=r"^node is missing; .*nodejs npm"):
        node_packages.require(tmp_path)
    (tmp_path / "node").write_text("#!/bin/sh")
    (tmp_path / "node").chmod(0o755)
    with pytest.raises(outcome, match=r"has no node_modules: `make npm`"):
        node_packages.require(tmp_path)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_conformance_cases_are_counted_by_suite(tmp_path: Path, workers: str) -> None:
    """Each marked case counts once under its suite, in one process and in several; others do not."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "test_three_conformance.py").write_text("def test_case():\n    pass\n")
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    output = tmp_path / "build" / "counts.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider", "-c", os.devnull),
            *("--rootdir", tmp_path, "-o", "markers=conformance(suite): counted"),
            *("-m", "conformance", "--conformance-json", output, tmp_path),
        ],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "support")},
        cwd=tmp_path,
        timeout=120,
    )
    assert json.loads(output.read_text())["suites"] == {
        "one": {"passed": 1, "failed": 1, "skipped": 1},
        "two": {"passed": 1, "failed": 0, "skipped": 0},
        "three": {"passed": 1, "failed": 0, "skipped": 0},
    }
