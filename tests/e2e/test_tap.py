"""Taps on a running daemon, and plans from what passes by there."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from reload_stand import SERIES, Stand
from running import HEADRACE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from running import Programs


@pytest.fixture
def stand(programs: Programs, tmp_path: Path) -> Iterator[Stand]:
    """A daemon under load, with two processors in front of its exporter."""
    stand = Stand(programs, tmp_path)
    document = stand.document()
    document["processors"] |= {
        "filter": {"metrics": {"datapoint": ['attributes["n"] == "1"']}},
        "relabel": {"relabel_configs": [{"target_label": "api_key", "replacement": "k3y"}]},
    }
    document["service"]["pipelines"]["metrics/write"]["processors"] = ["filter", "relabel"]
    stand.start(document)
    writers = stand.writers()
    yield stand
    for writer in writers:
        writer.stop()
        assert writer.wrong == []


def tap(stand: Stand, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = f"http://127.0.0.1:{stand.own_port}"
    command = [str(HEADRACE), "tap", "--url", url, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def shown(stand: Stand, *arguments: str) -> list[dict[str, Any]]:
    result = tap(stand, "--json", *arguments)
    assert result.returncode == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [one for one in found if "edge" in one]


def test_edges_samples_and_limits(stand: Stand) -> None:
    """Every edge has a name; samples are shown by edge and selector, no more than asked for, secrets never."""
    edges = tap(stand, "--list").stdout.split()
    assert set(edges) == {
        "receivers.prometheus_remote_write",
        "receivers.otlp",
        "metrics/write",
        "metrics/write.filter",
        "metrics/write.relabel",
        "metrics/otlp",
        "metrics/otlp.deltatocumulative",
        "exporters.prometheus_remote_write",
    }
    received = shown(
        stand, "receivers.prometheus_remote_write", "--match", 'gauge{n=~"[12]",writer="x"}', "--count", "6"
    )
    assert {one["labels"]["n"] for one in received} == {"1", "2"}
    between = shown(stand, "metrics/write.filter", "--count", "40")
    assert len({one["labels"]["n"] for one in between}) == SERIES - 1
    assert all("api_key" not in one["labels"] for one in between)
    sent = shown(stand, "exporters.*", "--match", 'gauge{writer="y"}', "--count", "3")
    assert {one["labels"]["api_key"] for one in sent} == {"[REDACTED]"}
    few = tap(stand, "--limit", "5", "--for", "2s", "metrics/write")
    lines = few.stdout.splitlines()
    assert 5 <= len([line for line in lines if not line.startswith("#")]) <= 15
    assert any("more were not shown" in line for line in lines)
    assert "k3y" not in few.stdout


def test_a_tap_outlives_a_reload(stand: Stand) -> None:
    """It goes on with the new graph."""
    found: list[dict[str, Any]] = []
    listener = threading.Thread(
        target=lambda: found.extend(
            shown(stand, "--match", 'gauge{n="3",writer="x"}', "--for", "8s", "metrics/write.*")
        )
    )
    listener.start()
    document = stand.document()
    document["processors"]["relabel/other"] = {"relabel_configs": [{"target_label": "added", "replacement": "1"}]}
    document["service"]["pipelines"]["metrics/write"]["processors"] = ["relabel/other"]
    assert stand.reload(document)
    listener.join(60)
    assert any("added" in one["labels"] for one in found)


def test_recordings_and_plans(stand: Stand, tmp_path: Path) -> None:
    """A plan from a recording, and one from what passes by; the daemon goes on as before."""
    recorded = tap(stand, "--record", str(tmp_path / "traffic"), "--for", "2s")
    assert recorded.returncode == 0, recorded.stderr
    assert (tmp_path / "traffic").stat().st_mode & 0o077 == 0
    document = stand.document()
    document["processors"]["filter"] = {"metrics": {"datapoint": ['attributes["n"] == "2"']}}
    document["service"]["pipelines"]["metrics/write"]["processors"] = ["filter"]
    new = tmp_path / "new.yaml"
    new.write_text(json.dumps(document))
    live = ["--url", f"http://127.0.0.1:{stand.own_port}", "--for", "2s"]
    for more in (["--traffic", str(tmp_path / "traffic")], live):
        command = [str(HEADRACE), "plan", "--against", str(new), "--config", str(stand.file), "--json", *more]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        fates = json.loads(result.stdout)["exporters"]["exporters.prometheus_remote_write"]["fates"]
        # Gauges of two writers, counters, and those that a limit knows: of each one is dropped.
        assert {name: one["series"] for name, one in fates.items()} == {
            "kept": 1, "renamed": 4 * (SERIES - 2), "dropped": 4, "added": 4,
        }  # fmt: skip
    assert stand.reloads() == {"success": 0, "failure": 0}


def test_what_a_tap_refuses(stand: Stand) -> None:
    """A selector that is none, and pages that a browser opens under another name."""
    result = tap(stand, "--match", "{", "--for", "1s")
    assert (result.returncode, "400" in result.stderr) == (1, True)
    request = urllib.request.Request(f"http://127.0.0.1:{stand.own_port}/tap", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as answer:
        assert answer.code in {400, 403, 421}
