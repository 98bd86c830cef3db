"""What is run beside other collectors loads, and what is made of the runs is right."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from bench.collectors_results import lines, rows, slow_downs
from bench.collectors_rules import more_rules, with_rules
from bench.harness import ENTRIES
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.load import load_files

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.pipeline.config.load import LoadedConfig

RULES = "- {source_labels: [__name__], regex: 'debug_.*', action: drop}"
SCRAPE = (
    "scrape_configs:\n- job_name: bench\n  static_configs:\n  - targets: ['127.0.0.1:9']\n  metric_relabel_configs:\n  "
    + RULES
)
HEADRACE = json.loads(ENTRIES.read_text())["headrace"]


def load(spec: dict[str, Any], folder: Path) -> LoadedConfig:
    """Fill the templates of a scenario in as the harness does, and load the configuration."""
    values = {"DIR": str(folder), "SCRAPE_CONFIGS": SCRAPE, "RELABEL": RULES, "INTERVAL": "5"}
    values |= {"SINK": "127.0.0.1:9001", "SINKGRPC": "127.0.0.1:9002", "HTTP": "9003", "GRPC": "9004", "ADMIN": "9005"}
    for name, text in spec["files"].items():
        filled = re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], text)
        (folder / name).write_text(filled)
    assert spec["cmd"] == "headrace run --config @DIR@/c.yaml"
    return load_files([str(folder / "c.yaml")], ComponentRegistry())


@pytest.mark.parametrize("scenario", HEADRACE["scenarios"])
def test_its_configurations_load(scenario: str, tmp_path: Path) -> None:
    """Without a warning."""
    loaded = load(HEADRACE["scenarios"][scenario], tmp_path)
    assert not loaded.warnings


def test_more_rules_are_in_the_scrape(tmp_path: Path) -> None:
    """So many, behind those that are there; entries that do not scrape are left out."""
    entries = {"headrace": HEADRACE, "other": {"scenarios": {"rw": {}}}}
    (name,) = made = with_rules(entries, 50)
    assert name == "headrace+rules50"
    loaded = load(made[name]["scenarios"]["scrape_100k"], tmp_path)
    (job,) = loaded.components["receivers"]["prometheus"].config.config.scrape_configs
    assert len(job.metric_relabel_configs) == 1 + 45
    assert more_rules(45).count("action:") == 27  # of the five kinds two have the default action


def run(entry: str, scenario: str, cpu_us: float, **more: Any) -> dict[str, Any]:
    base = {"items": 1000, "items_s": 100, "rss_peak": 50, "other_cores": 0.1}
    return {"entry": entry, "scenario": scenario, "cpu_us": cpu_us, **base, **more}


def test_a_row_is_the_median_of_its_runs() -> None:
    """Failures are kept beside it, and what came to the sink is added up."""
    runs = [run("headrace", "rw", cost, total_delivered=90, deliver_ratio=0.9) for cost in (3.0, 1.0, 2.0)]
    runs.append({"entry": "headrace", "scenario": "rw", "error": "it broke"})
    (row,) = rows(runs)
    assert (row.cpu_us, row.cpu_us_least, row.cpu_us_most) == (2.0, 1.0, 3.0)
    assert (row.runs, row.failures, row.expected, row.arrived) == (3, ["it broke"], 300, 270)
    assert "| 2.00 [1.00 to 3.00] |" in lines([row])[2]


def test_the_slow_down_is_between_the_two_scrapes_of_a_program() -> None:
    """What the usual rules drop is not expected at the sink."""
    made = rows(
        [
            run("a", "scrape_100k", 1.0, delivered=900),
            run("a+rules50", "scrape_100k", 1.5, delivered=890),
            run("b", "scrape_100k", 2.0, delivered=900),
            run("a", "rw", 9.0),
        ]
    )
    assert slow_downs(made) == {"a": 1.5}
    assert [(row.program, row.expected, row.arrived) for row in made[:2]] == [("a", 900, 900), ("a", 900, 890)]
    assert "50 relabel rules" in made[1].work


def test_a_row_that_failed_says_why() -> None:
    """Instead of numbers."""
    (row,) = rows([{"entry": "a", "scenario": "rw", "error": "no such program"}])
    assert "failed: no such program" in lines([row])[2]
