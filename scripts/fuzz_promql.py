"""Compare PromQL with a real Prometheus on random expressions and series: `make fuzz-promql`.

The report says how many cases were equal, how many differ because the followed version is newer than the peer, by
kind, and what else differs, each as a test script. The exit code is 1 if anything else differs.

Usage: ``python scripts/fuzz_promql.py --cases 200000 --seed 1 --processes 2 --output build/fuzz_promql.json``
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from promql_fuzz.reasons import DIGITS, PEER, REASONS, VERSION, group  # noqa: E402 -- found by the path above
from promql_fuzz.run import Job, Report, run  # noqa: E402 -- found by the path above

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Run the cases; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=200_000, help="how many expressions")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same cases")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--per-set", type=int, default=2500, help="cases of a data set")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    began = time.monotonic()
    report = Report()
    found = list(jobs(options.cases, options.seed, options.per_set))
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for number, part in enumerate(pool.imap_unordered(run, found), 1):
            report.add(part)
            print_found(part)
            print(f"{number}/{len(found)} data sets, {report.cases} cases, {sum(report.differences.values())} differ")
    write(options.output, options.seed, report, time.monotonic() - began)
    print_summary(report)
    return 1 if report.differences else 0


def jobs(cases: int, seed: int, per_set: int) -> Iterator[Job]:
    """Yield the data sets with their cases."""
    for number, first in enumerate(range(0, cases, per_set)):
        yield Job(seed, number, min(per_set, cases - first))


def print_found(report: Report) -> None:
    """Print the differences that were shrunk."""
    for one in report.found:
        mode = "names removed at the end" if one["delayed"] else "names removed at once"
        print(f"# case {one['case']}, {mode}: {one['kind']}: {one['detail']}\n{one['script']}")


def print_summary(report: Report) -> None:
    """Print the counts."""
    print(f"{report.cases} cases, {report.answers} with points, {report.refused} refused by both sides")
    for title, reasons in by_group(report).items():
        print(f"{title}:")
        for name, count in reasons.items():
            print(f"  {count:6} {name}: {REASONS[name][1]}")
    print("faults:")
    for name, count in sorted(report.differences.items()):
        print(f"  {count:6} differ: {name}")


def by_group(report: Report) -> dict[str, dict[str, int]]:
    """Return how many differences are explained, by group and reason."""
    return {
        title: {name: count for name, count in sorted(report.drift.items()) if group(name) == title}
        for title in (VERSION, PEER, DIGITS)
    }


def write(output: Path, seed: int, report: Report, seconds: float) -> None:
    """Write the report."""
    output.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "seed": seed,
        "seconds": round(seconds, 1),
        "cases": report.cases,
        "with_points": report.answers,
        "refused_by_both": report.refused,
        "explained": by_group(report),
        "differences": dict(sorted(report.differences.items())),
        "found": report.found,
    }
    output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
