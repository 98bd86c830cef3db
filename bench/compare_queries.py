"""Headrace, Prometheus and VictoriaMetrics answer the same queries, one after the other.

Runs the side-by-side harness (``../shared/bench``; another place with ``--harness``) with its query set and prints a
table for each size: median milliseconds of the engine without a result cache with, in brackets, the CPU time of the
server; the first touch after a restart without page cache; and the answer repeated, as the reload of a dashboard
asks for it. Answers are compared with those of Prometheus: series, points, and the sum of all values. All figures go
to ``build/compare_queries.json``. Not a benchmark of ``make bench``: a run takes twenty minutes.

    .venv/bin/python -m bench.compare_queries                   # 10,000 x 1,460 and 100,000 x 260
    .venv/bin/python -m bench.compare_queries --series 10000
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from bench.compare_stores import OURS, ROOT, SERVERS, harness_option, measure

REFERENCE = "prometheus"
PEERS = tuple(server for server in SERVERS if server != OURS)
TOLERANCE = 1e-9
"""How far sums of all values may lie apart, relatively."""


def main() -> int:
    """Run what the command line says; return the exit code: 1 where an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    harness_option(parser)
    parser.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000], help="sizes to run")
    options = parser.parse_args()
    output = ROOT / "build" / "compare_queries.json"
    found: dict[str, Any] = json.loads(output.read_text()) if output.is_file() else {}
    different: list[str] = []
    for series in options.series:
        rows = found[str(series)] = {
            server: measure(options.harness, server, series, tag=f"queries-{server}")["queries"] for server in SERVERS
        }
        print(f"\n{series} series; median ms [CPU ms]\n")
        print_table(rows)
        different += [f"{series}: {name}" for name in names(rows) if not equal(rows, name)]
        output.write_text(json.dumps(found, indent=1) + "\n")
    print("\nanswers that differ from Prometheus': " + (", ".join(different) or "none"))
    return 1 if different else 0


def names(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return the queries of a run."""
    return [name for name in rows[OURS] if not name.startswith("_")]


def equal(rows: dict[str, dict[str, Any]], name: str) -> bool:
    """Return whether our answer is Prometheus', as far as the harness keeps it."""
    ours, theirs = rows[OURS][name], rows[REFERENCE][name]
    same = all(ours[field] == theirs[field] for field in ("status", "series", "points"))
    return same and abs(ours["sum"] - theirs["sum"]) <= TOLERANCE * max(abs(ours["sum"]), abs(theirs["sum"]))


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """Print the queries of all servers at one size."""
    head = ["query", *SERVERS, "ratio of ms, CPU to the faster", "first touch", "repeated", "equal"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for name in names(rows):
        cells = [
            f"{rows[server][name]['nocache_ms']:.2f} [{rows[server][name]['nocache_cpu_ms']:.2f}]" for server in SERVERS
        ]
        cells.append(", ".join(f"{ratio(rows, name, field):.2f}" for field in ("nocache_ms", "nocache_cpu_ms")))
        cells += [
            " / ".join(f"{rows[server][name][field]:.2f}" for server in SERVERS) for field in ("cold_ms", "warm_ms")
        ]
        cells.append("yes" if equal(rows, name) else "NO")
        print(f"| {name} | " + " | ".join(cells) + " |")
    restarts = " / ".join(f"{rows[server]['_restart']['ready_s']:.2f}" for server in SERVERS)
    print(f"\nready after the restart, s: {restarts}; orders are {' / '.join(SERVERS)}")


def ratio(rows: dict[str, dict[str, Any]], name: str, field: str) -> float:
    """Return our figure by that of the faster peer."""
    fastest = min(PEERS, key=lambda server: float(rows[server][name]["nocache_ms"]))
    other = float(rows[fastest][name][field])
    return float(rows[OURS][name][field]) / other if other else float("nan")


if __name__ == "__main__":
    sys.exit(main())
