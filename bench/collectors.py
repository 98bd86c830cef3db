"""Headrace beside other collectors: one load, one sink, every point counted there.

The harness is a folder with ``bench.py``, ``peers.py`` and ``report.py`` that takes custom entries as JSON; its README
says what it measures. Ours is ``collectors.json``. Without ``--rules`` all rows are measured; ``--rules 50`` measures
scraping with so many rules for metric relabelling beside the usual five, and prints how much slower each program is.

``python -m bench.collectors --harness ../shared/bench/collectors --repeats 3``
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ENTRIES = Path(__file__).with_name("collectors.json")
_USUAL_RULES = 5
_RIVALS = ("vmagent", "vmagent-gogc200", "prom-agent")


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--harness", type=Path, required=True, help="folder of the harness")
    parser.add_argument("--entries", help="names, with commas between them; all without")
    parser.add_argument("--scenarios", help="rows, with commas between them; all without")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--window", type=float, default=12.0, help="seconds of a run")
    parser.add_argument("--rules", type=int, default=0, help="rules for metric relabelling, instead of all rows")
    parser.add_argument("--results", type=Path, default=Path("build/collectors.jsonl"))
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.unlink(missing_ok=True)
    if not options.rules:
        code = measure(options, [ENTRIES], options.entries, options.scenarios)
        return code or report(options)
    with tempfile.TemporaryDirectory(prefix="headrace-rules-") as directory:
        more = Path(directory) / "rules.json"
        entries = with_rules(known_entries(options.harness), options.rules)
        more.write_text(json.dumps(entries))
        names = ",".join(name for one in entries for name in (one.rpartition("-")[0], one))
        code = measure(options, [ENTRIES, more], options.entries or names, "scrape_100k")
    if not code:
        print(*slow_downs(options.results, options.rules), sep="\n")
    return code or report(options)


def measure(options: argparse.Namespace, custom: list[Path], entries: str | None, scenarios: str | None) -> int:
    """Run the harness; return its exit code."""
    command = [sys.executable, "bench.py", "-n", str(options.repeats), "-d", str(options.window)]
    command += ["-o", str(options.results.resolve()), "--scrape-window", str(max(options.window, 15))]
    for path in custom:
        command += ["--custom", str(path.resolve())]
    command += ["-e", entries] if entries else []
    command += ["-s", scenarios] if scenarios else []
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(command, cwd=options.harness, env={**os.environ, "PATH": path}, check=False).returncode


def report(options: argparse.Namespace) -> int:
    """Print the harness' table; return its exit code."""
    command = [sys.executable, "report.py", str(options.results.resolve())]
    return subprocess.run(command, cwd=options.harness, check=False).returncode


def known_entries(harness: Path) -> dict[str, Any]:
    """Return our entry, and those of the harness."""
    sys.path.insert(0, str(harness.resolve()))
    return {**importlib.import_module("peers").ENTRIES, **json.loads(ENTRIES.read_text())}


def with_rules(entries: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the entries that scrape, with `count` rules instead of five."""
    rules = more_rules(count - _USUAL_RULES)
    made = {}
    for name in (*_RIVALS, "headrace"):
        if name in entries:
            spec = entries[name]["scenarios"]["scrape_100k"]
            files = {
                file: text.replace("@SCRAPE_CONFIGS@\n", f"@SCRAPE_CONFIGS@\n{rules}")
                for file, text in spec["files"].items()
            }
            made[f"{name}-rules"] = {**entries[name], "scenarios": {"scrape_100k": {**spec, "files": files}}}
    return made


def more_rules(count: int) -> str:
    """Return rules of the five kinds that change nothing, so that all programs deliver the same as without them."""
    kinds = (
        "  - source_labels: [__name__]\n    regex: 'legacy{i}_.*|old{i}_.*'\n    action: drop\n",
        "  - source_labels: [__name__, code]\n    regex: 'http_requests_total;9{i}.'\n    action: drop\n",
        "  - regex: 'gone{i}_.*|uid{i}'\n    action: labeldrop\n",
        "  - source_labels: [path]\n    regex: '/api/v{j}/([^/]+)/.*'\n    target_label: api{i}\n    replacement: '$1'\n",
        "  - source_labels: [method, code]\n    separator: ':'\n    regex: '(.+):9{i}(.+)'\n    target_label: code{i}\n"
        "    replacement: '$1:$2'\n",
    )
    return "".join(kinds[i % len(kinds)].format(i=i, j=i + 2) for i in range(count))


def slow_downs(results: Path, count: int) -> list[str]:
    """Return a line for each program: its CPU for a sample with `count` rules, and with five."""
    costs: dict[str, list[float]] = {}
    for line in results.read_text().splitlines():
        run = json.loads(line)
        if "cpu_us" in run:
            costs.setdefault(run["entry"], []).append(run["cpu_us"])
    medians = {name: statistics.median(found) for name, found in costs.items()}
    pairs = {name.removesuffix("-rules"): cost for name, cost in medians.items() if name.endswith("-rules")}
    return [
        f"{name}: {medians[name]:.2f} us with {_USUAL_RULES} rules, {cost:.2f} us with {count}: {cost / medians[name]:.2f} times"
        for name, cost in pairs.items()
        if name in medians
    ]


if __name__ == "__main__":
    sys.exit(main())
