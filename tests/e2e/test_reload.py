"""Reloads under load: what was accepted is delivered, sums go on, memory stays level.

``HEADRACE_RELOADS=1000`` reloads as often as that; ``-o log_cli=true -o log_cli_level=INFO`` shows the counts.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

import pytest

from reload_run import run
from reload_stand import Stand
from running import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from running import Programs

RELOADS = int(os.environ.get("HEADRACE_RELOADS", "20"))


def test_accepted_is_delivered(programs: Programs, tmp_path: Path) -> None:
    """Whatever changes, and however often a configuration is broken; states go on, and nothing piles up."""
    stand = Stand(programs, tmp_path)
    stand.start(stand.document())
    outcome = run(stand, RELOADS)
    logging.getLogger("reload").info("%s", outcome)
    assert outcome.faults() == []
    assert min(outcome.accepted, outcome.deltas_accepted, outcome.clicks_accepted) > 5
    assert stand.daemon.stop() == 0


def test_a_changed_file_is_noticed(programs: Programs, tmp_path: Path) -> None:
    """With ``--watch``; a broken one is told about, and the old configuration goes on."""
    stand = Stand(programs, tmp_path)
    document = stand.document()
    stand.start(document, "--watch")
    stand.write("receivers: [")
    wait_until(lambda: stand.reloads()["failure"] == 1, "a failure", 20)
    stand.daemon.wait_log("not reloaded: the old configuration goes on", 10)
    document["receivers"]["prometheus_remote_write"]["endpoint"] = f"127.0.0.1:{stand.other_port}"
    stand.write(document)
    wait_until(lambda: stand.reloads()["success"] == 1, "a reload", 20)
    with socket.create_connection(("127.0.0.1", stand.other_port), 5):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stand.write_port), 5).close()
    assert stand.daemon.stop() == 0


def test_what_needs_a_restart_is_refused(programs: Programs, tmp_path: Path) -> None:
    """By name and with the reason."""
    stand = Stand(programs, tmp_path)
    document = stand.document()
    document["exporters"]["store"] = {
        "endpoint": f"127.0.0.1:{stand.other_port}", "directory": str(tmp_path / "data"),
    }  # fmt: skip
    document["service"]["pipelines"]["metrics/otlp"]["exporters"].append("store")
    stand.start(document)
    document["exporters"]["store"]["retention"] = "1d"
    assert not stand.reload(document)
    assert (
        "exporters.store: cannot change while the daemon runs: the store has its directory" in stand.daemon.log_text()
    )
    assert stand.daemon.stop() == 0
