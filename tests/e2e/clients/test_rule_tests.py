"""Expectations of ``promtool test rules``, replayed as queries: each test holds where promtool says that it does."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from rule_tests import Replay, RuleTest, read_tests
from running import HEADRACE, Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.peer

OWN = Path(__file__).parent / "rules"
PUBLISHED = Path(__file__).parents[4] / "shared" / "conformance" / "promtool"
FILES = [
    *sorted(OWN.glob("*-test.yml")),
    *sorted(path for path in PUBLISHED.glob("*.yml") if "\ntests:\n" in f"\n{path.read_text()}"),
]
TESTS = [test for file in FILES for test in read_tests(file)]
NEWER = {"start-time-test.yml"}
"""Written for a newer promtool; every test of them holds."""


@cache
def verdicts(promtool: Path, file: Path, folder: Path) -> list[bool]:
    """Return which tests of a file hold, in its order."""
    report = folder / f"{file.name}.xml"
    command: list[str | Path] = [promtool, "test", "rules", "--ignore-unknown-fields", f"--junit={report}", file]
    subprocess.run(command, capture_output=True, check=False, timeout=60)
    (suite,) = ET.parse(report).getroot()
    assert suite.get("errors") == "0", report.read_text()
    return [case.find("failure") is None for case in suite]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon with an empty workspace for each test, which takes samples of any time."""
    folder = tmp_path_factory.mktemp("rules")
    address = f"127.0.0.1:{free_port()}"
    ids = [f"test-{number}" for number in range(len(TESTS))]
    document = {
        "receivers": {"prometheus_remote_write": {"endpoint": address, "workspaces": ids}},
        "exporters": {
            "store": {
                "endpoint": address,
                "directory": str(folder / "store"),
                "workspaces": ids,
                "retention": "36500d",
                "out_of_order_time_window": "36500d",
                "max_future": "91250d",
            }
        },
        "service": {
            "pipelines": {"metrics": {"receivers": ["prometheus_remote_write"], "exporters": ["store"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    config = folder / "headrace.yaml"
    config.write_text(json.dumps(document))
    with Programs(folder) as programs:
        programs.start("headrace", [HEADRACE, "run", "--config", config]).wait_http(f"http://{address}/-/ready", 120)
        yield f"http://{address}"


@pytest.mark.parametrize("place", range(len(TESTS)), ids=[str(test) for test in TESTS])
def test_expectations(base: str, place: int, peers: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Queries find what promtool finds: all that a test expects, or that it expects what is not so."""
    test: RuleTest = TESTS[place]
    folder = tmp_path_factory.getbasetemp()
    holds = test.file.name in NEWER or verdicts(peers / "promtool", test.file, folder)[test.number]
    replay = Replay(f"{base}/workspaces/test-{place}", test)
    failures = replay.run()
    assert (not failures) == holds, failures
    assert replay.asked == len(test.expressions) + len(test.alerts) or not holds


def test_there_is_something_to_replay() -> None:
    """Tests that hold and tests that do not, numbers, histograms, alerts."""
    own = [test for test in TESTS if test.file.parent == OWN]
    assert sum(len(test.expressions) for test in own) >= 30
    assert sum(len(test.alerts) for test in own) >= 5
