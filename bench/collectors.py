"""Headrace beside other collectors in one run: one load, one sink, every point counted there.

The harness is a folder with ``bench.py``, ``peers.py`` and ``gen.py`` that takes custom entries as JSON; its README
says what it measures. Ours is ``collectors.json``; of the others, those are measured whose programs are there. Scraping
is measured twice, with the five rules of the harness and with fifty.

``python -m bench.collectors --repeats 3`` prints a table and writes ``build/collectors.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.collectors_results import Row, lines, rows, slow_downs
from bench.collectors_rules import USUAL_RULES, with_rules
from bench.harness import HARNESS, known_entries

SCENARIOS = ("otlp_grpc_nop", "otlp_http_nop", "otlp_grpc_full", "scrape_100k", "rw")


def main() -> int:
    """Measure, print and write; return the exit code."""
    options = _arguments()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="headrace-collectors-") as directory:
        custom = Path(directory) / "entries.json"
        chosen = entries(known_entries(options.harness), options)
        custom.write_text(json.dumps(chosen))
        runs = Path(directory) / "runs.jsonl"
        code = measure(options, custom, list(chosen), runs)
        found = [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []
    made = rows(found)
    print(*lines(made), *(f"{name}: {times:.2f} times" for name, times in slow_downs(made).items()), sep="\n")
    options.output.write_text(json.dumps(document(made, found, chosen), indent=1) + "\n")
    return code or any(row.failures for row in made)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--harness", type=Path, default=HARNESS, help="folder of the harness")
    parser.add_argument("--entries", type=_names, default=(), help="names, with commas between them; all without")
    parser.add_argument("--scenarios", type=_names, default=SCENARIOS, help="of the harness, with commas between them")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--window", type=float, default=12.0, help="seconds that a run is measured")
    parser.add_argument("--warm-up", type=float, default=4.0, help="seconds of load before")
    parser.add_argument("--rules", type=int, default=50, help="of the second scrape; 0 to leave it out")
    parser.add_argument("--output", type=Path, default=Path("build/collectors.json"))
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def entries(known: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return what is measured: the entries that were chosen, and those that scrape once more with more rules."""
    chosen = {name: entry for name, entry in known.items() if not options.entries or name in options.entries}
    if options.rules and "scrape_100k" in options.scenarios:
        chosen |= with_rules(chosen, options.rules)
    return {name: entry for name, entry in chosen.items() if set(options.scenarios) & set(entry["scenarios"])}


def measure(options: argparse.Namespace, custom: Path, names: list[str], runs: Path) -> int:
    """Run the harness, which writes a line of JSON to `runs` for each run; return its exit code."""
    window, scrape_window = str(options.window), str(max(options.window, 15))
    command = [sys.executable, "bench.py", "-n", str(options.repeats), "-d", window, "-w", str(options.warm_up)]
    command += ["--scrape-window", scrape_window, "--custom", str(custom), "-o", str(runs)]
    command += ["-e", ",".join(names), "-s", ",".join(options.scenarios)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(command, cwd=options.harness, env={**os.environ, "PATH": path}, check=False).returncode


def document(made: list[Row], runs: list[dict[str, Any]], chosen: dict[str, Any]) -> dict[str, Any]:
    """Return all that is known of a run: what the rows say, and what they are made of."""
    return {
        "processors": os.cpu_count(),
        "versions": {name: _version(entry) for name, entry in chosen.items()},
        "usual_rules": USUAL_RULES,
        "rows": [row._asdict() for row in made],
        "slow_down_with_more_rules": slow_downs(made),
        "runs": runs,
    }


def _version(entry: dict[str, Any]) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = ("bash", "-c", entry["version"])
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
    return (done.stdout + done.stderr).strip().partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
