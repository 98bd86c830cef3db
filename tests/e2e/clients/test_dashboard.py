"""The dashboard of node-exporter: every query and variable gets from Headrace what it gets from Prometheus.

Headrace scrapes a real node-exporter, and writes to its store and, by remote write, to a real Prometheus.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dashboards import Dashboard, filled
from running import HEADRACE, Programs, free_port, wait_until
from two_servers import ask, data, start_prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.peer, pytest.mark.slow]

DASHBOARD = Dashboard(Path(__file__).parents[3] / "configs" / "dashboards" / "node-exporter.json")
SPAN_S = 10
BUILT_IN = {"__rate_interval": "4s", "__interval": "1s", "__range": f"{SPAN_S}s"}


class Machine:
    """This machine in both servers.

    Attributes:
        ours, theirs: Addresses of the servers.
        end_s: A time until which both have everything.
    """

    def __init__(self, programs: Programs, folder: Path, peers: Path) -> None:
        exporter = f"127.0.0.1:{free_port()}"
        options = [f"--web.listen-address={exporter}", "--collector.processes", "--log.level=error"]
        programs.start("node", [peers / "prometheus-node-exporter", *options])
        self.theirs = start_prometheus(programs, folder, peers / "prometheus", [])
        self.ours = self._headrace(programs, folder, exporter)
        wait_until(lambda: self._scrapes(self.ours) > SPAN_S + 2, "scrapes", 90)
        self.end_s = math.floor(time.time())
        wait_until(lambda: self._scrapes(self.theirs) > self._scrapes(self.ours, self.end_s), "all is written", 30)

    def _headrace(self, programs: Programs, folder: Path, exporter: str) -> str:
        address = f"127.0.0.1:{free_port()}"
        job = {"job_name": "node", "scrape_interval": "1s", "static_configs": [{"targets": [exporter]}]}
        document = {
            "receivers": {"prometheus": {"config": {"scrape_configs": [job]}}},
            "exporters": {
                "store": {"endpoint": address, "directory": str(folder / "headrace")},
                "prometheus_remote_write": {"endpoint": f"{self.theirs}/api/v1/write"},
            },
            "service": {
                "state_directory": str(folder / "state"),
                "pipelines": {
                    "metrics": {"receivers": ["prometheus"], "exporters": ["store", "prometheus_remote_write"]}
                },
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        config = folder / "headrace.yaml"
        config.write_text(json.dumps(document))
        programs.start("headrace", [HEADRACE, "run", "--config", config]).wait_http(f"http://{address}/-/ready", 120)
        return f"http://{address}"

    @staticmethod
    def _scrapes(base: str, at_s: float | None = None) -> int:
        """Count the scrapes of the last minutes up to a time."""
        form = {} if at_s is None else {"time": str(at_s)}
        found = data(base, "query", query="count_over_time(up[5m])", **form)["result"]
        return int(found[0]["value"][1]) if found else 0


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, peers: Path) -> Iterator[Machine]:
    """This machine, watched for some seconds."""
    folder = tmp_path_factory.mktemp("machine")
    with Programs(folder) as programs:
        yield Machine(programs, folder, peers)


@pytest.fixture(scope="module")
def values(machine: Machine) -> dict[str, str]:
    """What stands for the variables, each resolved as Grafana does; both servers have to give the same."""
    chosen = dict(BUILT_IN)
    window = {"start": str(machine.end_s - SPAN_S), "end": str(machine.end_s)}
    for variable in DASHBOARD.variables():
        form = {**window, "match[]": filled(variable.selector, chosen)}
        ours, theirs = (data(base, f"label/{variable.label}/values", **form) for base in (machine.ours, machine.theirs))
        assert ours == theirs
        assert ours, variable
        chosen[variable.name] = variable.chosen(ours)
    return chosen


def points(answer: dict[str, Any]) -> dict[tuple[Any, ...], float]:
    """Return the value of each point by labels and time."""
    found = {}
    for series in answer["result"]:
        for at, text in series.get("values") or [series["value"]]:
            found[(*sorted(series["metric"].items()), at)] = float(text)
    return found


def equal(ours: dict[tuple[Any, ...], float], theirs: dict[tuple[Any, ...], float]) -> bool:
    """Compare points; sums of series may be taken in another order."""
    return ours.keys() == theirs.keys() and all(
        math.isclose(value, theirs[key], rel_tol=1e-12) or (math.isnan(value) and math.isnan(theirs[key]))
        for key, value in ours.items()
    )


def answered(machine: Machine, path: str, texts: list[str], **form: str) -> int:
    """Send all queries to both and return to how many there were points, once these are found equal."""
    filled_in, unequal = 0, {}
    for text in texts:
        ours, theirs = (
            ask(base, path, {"query": text, **form}, method="POST").json for base in (machine.ours, machine.theirs)
        )
        assert (ours["status"], ours.get("error")) == ("success", None), text
        assert ours.get("warnings", []) == theirs.get("warnings", [])
        found, expected = points(ours["data"]), points(theirs["data"])
        if not equal(found, expected):
            unequal[text] = (found, expected)
        filled_in += bool(found)
    assert not unequal
    return filled_in


def test_instant_queries(machine: Machine, values: dict[str, str]) -> None:
    """Every query at a time that is none of a scrape."""
    texts = [filled(query.text, values) for query in DASHBOARD.queries()]
    assert answered(machine, "query", texts, time=f"{machine.end_s}.25") >= 100


@pytest.mark.parametrize("step", ["1", "2.5"])
def test_range_queries(machine: Machine, values: dict[str, str], step: str) -> None:
    """Every query over the time that was watched."""
    texts = [filled(query.text, values) for query in DASHBOARD.queries()]
    window = {"start": str(machine.end_s - SPAN_S), "end": str(machine.end_s), "step": step}
    assert answered(machine, "query_range", texts, **window) >= 100


def test_variables_as_older_versions_ask(machine: Machine, values: dict[str, str]) -> None:
    """Before it asked for the values of a label with selectors, Grafana asked for series."""
    window = {"start": str(machine.end_s - SPAN_S), "end": str(machine.end_s)}
    for variable in DASHBOARD.variables():
        form = {**window, "match[]": filled(variable.selector, values)}
        ours, theirs = (data(base, "series", **form) for base in (machine.ours, machine.theirs))
        assert ours == theirs
        assert ours
