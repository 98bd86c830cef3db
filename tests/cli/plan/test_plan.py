"""Trying another configuration out: what is counted, from which traffic, and that nothing is touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from headrace.cli.main import main
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.taps.frames import frame
from headrace.testing.batches import make_batch

if TYPE_CHECKING:
    from pathlib import Path

SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS


def write_traffic(path: Path, seconds: int = 10) -> None:
    """Record 4 series a second: two of `requests`, `up` and `noise`."""
    table = SeriesTable()
    labels = [
        {"__name__": "requests_total", "code": "200", "pod": "a"},
        {"__name__": "requests_total", "code": "200", "pod": "b"},
        {"__name__": "up", "job": "a"},
        {"__name__": "noise"},
    ]
    recording = b""
    for second in range(seconds):
        at = START_NS + second * SECOND_NS
        batch = make_batch(labels, table=table, time_ns=at, value=[1.0 * second, 2.0 * second, 1.0, 0.0])
        batch = batch.with_columns(context=BatchContext(received_ns=at))
        recording += frame("receivers.prometheus_remote_write", batch)
    path.write_bytes(recording + bytes(4))


def write_config(path: Path, processors: dict[str, Any], folder: Path, **more: Any) -> Path:
    """Write a configuration whose exporters would open a store and a connection."""
    document = {
        "receivers": {"prometheus_remote_write": {"endpoint": "127.0.0.1:1"}},
        "processors": processors,
        "exporters": {
            "store": {"directory": str(folder / "data"), "endpoint": "127.0.0.1:1"},
            "prometheus_remote_write": {"endpoint": "http://127.0.0.1:1/api/v1/write"},
        },
        "service": {
            "state_directory": str(folder / "state"),
            "pipelines": {
                "metrics": {
                    "receivers": ["prometheus_remote_write"],
                    "processors": list(processors),
                    "exporters": ["store"],
                },
                **more.pop("pipelines", {}),
            },
        },
        **more,
    }
    path.write_text(json.dumps(document))
    return path


def plan(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["plan", "--json", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def fates(found: dict[str, Any], exporter: str = "exporters.store") -> dict[str, tuple[int, int, int]]:
    return {
        fate: (one["series"], one["samples_before"], one["samples_after"])
        for fate, one in found["exporters"][exporter]["fates"].items()
    }


DROP = {"metrics": {"metric": ['name == "noise"']}}
RENAME = {"relabel_configs": [{"source_labels": ["__name__"], "regex": "up", "target_label": "__name__",
                               "replacement": "target_up"}]}  # fmt: skip


@pytest.fixture
def traffic(tmp_path: Path) -> Path:
    path = tmp_path / "traffic"
    write_traffic(path)
    return path


def test_series_are_kept_renamed_and_dropped(tmp_path: Path, traffic: Path) -> None:
    """Counted in series and samples, with examples, by metric, and with the reason; nothing is written."""
    new = write_config(tmp_path / "new.yaml", {"filter": DROP, "relabel": RENAME}, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    found = plan("--against", new, "--traffic", traffic)
    assert sorted(tmp_path.rglob("*")) == before
    assert fates(found) == {"kept": (2, 20, 20), "renamed": (1, 10, 10), "dropped": (1, 10, 0), "added": (0, 0, 0)}
    store = found["exporters"]["exporters.store"]
    assert (store["before"], store["after"]) == ([4, 40], [3, 30])
    assert store["metrics"] == {"noise": [1, 0], "requests_total": [2, 2], "target_up": [0, 1], "up": [1, 0]}
    assert store["fates"]["renamed"]["examples"] == [['up{job="a"}', 'target_up{job="a"}']]
    assert found["dropped"] == [{"component": "processors.filter", "reason": "dropped_by_rule", "samples": 10}]
    assert (found["batches"], found["samples"], found["lasted_s"]) == (10, 40, 9.0)


def test_it_is_compared_with_the_present_configuration(tmp_path: Path, traffic: Path) -> None:
    """What both drop is no change; settings that traffic cannot show are named."""
    old = write_config(tmp_path / "old.yaml", {"filter": DROP}, tmp_path)
    new = write_config(tmp_path / "new.yaml", {"filter": DROP, "relabel": RENAME}, tmp_path)
    document = json.loads(new.read_text())
    document["exporters"]["store"]["retention"] = "1d"
    new.write_text(json.dumps(document))
    found = plan("--against", new, "--config", old, "--traffic", traffic)
    assert fates(found) == {"kept": (2, 20, 20), "renamed": (1, 10, 10), "dropped": (0, 0, 0), "added": (0, 0, 0)}
    assert found["compared_with"] == "present"
    assert found["blind"] == ["exporters.store"]
    back = plan("--against", old, "--config", new, "--traffic", traffic)
    assert back["exporters"]["exporters.store"]["metrics"]["up"] == [0, 1]


def test_merged_series_and_aggregates(tmp_path: Path, traffic: Path) -> None:
    """Series that become one are renamed, and cardinality falls; sums come from no series in particular."""
    merge = {"relabel_configs": [{"regex": "pod", "action": "labeldrop"}]}
    found = plan(
        "--against", write_config(tmp_path / "a.yaml", {"relabel": merge}, tmp_path), "--traffic", traffic
    )  # fmt: skip
    assert fates(found)["renamed"] == (2, 20, 20)
    assert found["exporters"]["exporters.store"]["metrics"]["requests_total"] == [2, 1]
    rule = {"match": "requests_total", "by": ["code"], "outputs": ["last"], "interval": "2s"}
    sums = {"rules": [rule]}
    new = write_config(tmp_path / "b.yaml", {"stream_aggregate": sums}, tmp_path)
    found = plan("--against", new, "--traffic", traffic)
    assert fates(found)["dropped"][0] == 2
    assert fates(found)["added"][0] == 1
    assert fates(found)["kept"] == (2, 20, 20)


def test_what_is_held_back_is_the_same_series(tmp_path: Path, traffic: Path) -> None:
    """A processor that sends later, by the traffic's own clock, thins series out."""
    new = write_config(tmp_path / "new.yaml", {"interval": {"interval": "5s"}}, tmp_path)
    found = plan("--against", new, "--traffic", traffic)
    series, before, after = fates(found)["kept"]
    assert (series, before) == (4, 40)
    assert 4 <= after < 40


def test_connectors_are_followed(tmp_path: Path, traffic: Path) -> None:
    """Through routing into pipelines of their own; exporters that a receiver does not reach have nothing before."""
    routing = {
        "table": [{"context": "metric", "condition": 'name == "up"', "pipelines": ["metrics/up"]}],
        "default_pipelines": ["metrics/rest"],
    }
    new = write_config(
        tmp_path / "new.yaml", {"filter": DROP, "relabel": RENAME}, tmp_path,
        connectors={"routing": routing},
        pipelines={
            "metrics": {"receivers": ["prometheus_remote_write"], "exporters": ["routing"]},
            "metrics/up": {"receivers": ["routing"], "processors": ["relabel"], "exporters": ["store"]},
            "metrics/rest": {
                "receivers": ["routing"], "processors": ["filter"], "exporters": ["prometheus_remote_write"],
            },
        },
    )  # fmt: skip
    found = plan("--against", new, "--traffic", traffic)
    assert fates(found) == {"kept": (0, 0, 0), "renamed": (1, 10, 10), "dropped": (3, 30, 0), "added": (0, 0, 0)}
    rest = fates(found, "exporters.prometheus_remote_write")
    assert rest == {"kept": (2, 20, 20), "renamed": (0, 0, 0), "dropped": (2, 20, 0), "added": (0, 0, 0)}


def test_files_of_requests(tmp_path: Path) -> None:
    """OTLP in JSON, a request a line, as exporters write it; the receiver is the only one, or has to be said."""
    point = {"timeUnixNano": str(START_NS), "asDouble": 1.0}
    metrics = [{"name": name, "gauge": {"dataPoints": [point]}} for name in ("a", "b")]
    line = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]})
    (tmp_path / "traffic.json").write_text(f"{line}\n{line}\n")
    new = write_config(tmp_path / "new.yaml", {"filter": {"metrics": {"metric": ['name == "b"']}}}, tmp_path)
    found = plan("--against", new, "--traffic", tmp_path / "traffic.json")
    assert fates(found)["kept"] == (1, 2, 2)
    assert fates(found)["dropped"] == (1, 2, 0)
    unheard = plan("--against", new, "--traffic", tmp_path / "traffic.json", "--receiver", "otlp")
    assert unheard["unheard"] == {"otlp": 4}


def test_it_is_told_in_words(tmp_path: Path, traffic: Path) -> None:
    """The most important first."""
    new = write_config(tmp_path / "new.yaml", {"filter": DROP}, tmp_path)
    result = CliRunner().invoke(
        main, ["plan", "--against", str(new), "--traffic", str(traffic), "--metrics", "1"], catch_exceptions=False
    )
    lines = result.stdout.splitlines()
    assert lines[0] == "traffic: 10 batches, 40 samples in 9 s, from receivers.prometheus_remote_write"
    assert "exporters.store: series 4 -> 3, samples 40 -> 30" in lines
    assert "          1 -> 0         noise" in lines
    assert "  and 2 metrics more" in lines
    assert "  processors.filter: dropped_by_rule: 10 samples" in lines


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"GET / HTTP/1.1\r\n", "neither a recording"), (b"\0\0\0\x09{", "cut off"), (b"{]\n", "JSON")],
)
def test_files_that_are_no_traffic(tmp_path: Path, content: bytes, why: str) -> None:
    """With the reason; as is a configuration that does not load, and a file that is not there."""
    new = write_config(tmp_path / "new.yaml", {}, tmp_path)
    (tmp_path / "traffic").write_bytes(content)
    for arguments, reason in (
        (["--against", str(new), "--traffic", str(tmp_path / "traffic")], why),
        (["--against", str(new), "--traffic", str(tmp_path / "none")], "No such file"),
        (["--against", str(tmp_path / "none")], "cannot be read"),
    ):
        result = CliRunner().invoke(main, ["plan", *arguments])
        assert result.exit_code == 2
        assert reason in result.stderr
