"""The completion of Prometheus' query editor (``@prometheus-io/codemirror-promql``) proposes the same from both."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import node_packages

if TYPE_CHECKING:
    from two_servers import TwoServers

pytestmark = pytest.mark.peer

FOLDER = Path(__file__).parent / "codemirror"

SELECTOR = {"selector": '{code!="404", job=~"a.*", instance!~"b:1|c:1"}'}
CALLS: tuple[list[Any], ...] = (
    ["labelNames"],
    ["labelNames", "requests_total"],
    ["labelNames", "nosuch"],
    ["labelValues", "job"],
    ["labelValues", "kind"],
    ["labelValues", "code", "requests_total"],
    ["labelValues", "instance", "requests_total", SELECTOR],
    ["labelValues", "nosuch"],
    ["metricNames"],
    ["metricMetadata"],
    ["series", "requests_total"],
    ["series", "requests_total", SELECTOR],
    ["series", "", {"selector": '{__name__=~"odd|temperature"}'}],
    ["series", "", SELECTOR, "code"],
    ["series", "nosuch"],
)
WRONG_CALLS: tuple[list[Any], ...] = (
    ["series", "requests_total{"],
    ["series", "requests_total", {"selector": '{code=~"("}'}],
    ["labelNames", "{}"],
)
TYPED = (
    "|",
    "re|",
    "sum by (|) (requests_total)",
    "rate(requests_total{|}[5m])",
    'requests_total{code="200", job="|"}',
    'requests_total{instance=~"|"}',
    'odd{kind="|"}',
    'histogram_quantile(0.9, sum by (le, |) (rate(latency_seconds_bucket{job="api"}[5m])))',
)


@pytest.fixture(scope="session")
def node() -> str:
    """The command of node, with the packages installed."""
    return node_packages.require(FOLDER)


def run(node: str, base: str, method: str, questions: list[dict[str, Any]]) -> dict[str, Any]:
    command = [node, str(FOLDER / "complete.mjs"), base, method]
    done = subprocess.run(command, input=json.dumps(questions), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_client(node: str, servers: TwoServers, method: str) -> None:
    """All questions of the client, right and wrong ones; errors are told in the same words."""
    questions = [{"call": call} for call in (*CALLS, *WRONG_CALLS)]
    ours, theirs = (run(node, base, method, questions) for base in servers.both)
    assert ours == theirs
    right = ours["answers"][: len(CALLS)]
    assert [call for call, found in zip(CALLS, right, strict=True) if not found and "nosuch" not in call] == []
    assert len(ours["errors"]) == len(WRONG_CALLS)
    assert f"{method} /api/v1/series 200" in ours["requests"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_completion(node: str, servers: TwoServers, method: str) -> None:
    """What the editor proposes at the cursor: names with their types and help, labels, values."""
    questions = [{"complete": text} for text in TYPED]
    ours, theirs = (run(node, base, method, questions) for base in servers.both)
    assert ours == theirs
    assert ours["errors"] == []
    proposed = [{option["label"]: option for option in options} for options in ours["answers"]]
    assert proposed[0]["page_temperature_celsius"]["detail"] == "gauge"
    assert {"code", "instance", "job"} <= proposed[2].keys()
    assert {"api", "db"} <= proposed[4].keys()


def test_flags(node: str, servers: TwoServers) -> None:
    """Flags are texts by name; each that Headrace has is one of Prometheus, with the same default."""
    ours, theirs = (run(node, base, "GET", [{"call": ["flags"]}])["answers"][0] for base in servers.both)
    assert ours.keys() <= theirs.keys()
    different = {name for name, text in ours.items() if text != theirs[name]}
    # What `start_prometheus` sets, and what is a matter of taste.
    assert different == {
        "enable-feature", "web.listen-address", "storage.tsdb.path", "storage.tsdb.retention.time",
    }  # fmt: skip
