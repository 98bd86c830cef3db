"""Headrace, Prometheus and VictoriaMetrics on the same remote write load, one after the other.

Runs the side-by-side harness (``../shared/bench``; another place with ``--harness``), prints tables with ratios, and
writes all figures to ``build/compare_stores.json``. Not a benchmark of ``make bench``: a run takes a quarter of an
hour.

    .venv/bin/python bench/compare_stores.py sizes     # 10,000 x 1,460 and 100,000 x 260
    .venv/bin/python bench/compare_stores.py classes   # bytes a sample, value class by value class
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from headrace.store.block import Block

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "compare"
OURS = "headrace"
SERVERS = (OURS, "victoriametrics", "prometheus")
_INDEX = {"series", "refs", "meta"}
CLASSES = (
    "constant", "status", "http_int_counter", "histogram", "cpu_centisec_counter", "decimal_gauge", "page_gauge",
    "net_int_counter", "cpu_nanosec_counter", "random_float",
)  # fmt: skip


def main() -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("sizes", "classes"))
    harness_option(parser)
    parser.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000], help="sizes to run")
    parser.add_argument("--no-queries", action="store_true", help="no restart and no queries")
    options = parser.parse_args()
    if not (options.harness / "bench.py").is_file():
        print(f"compare_stores: no harness in {options.harness}", file=sys.stderr)
        return 2
    found = sizes(options) if options.what == "sizes" else classes(options)
    output = ROOT / "build" / "compare_stores.json"
    known = json.loads(output.read_text()) if output.is_file() else {}
    output.write_text(json.dumps({**known, options.what: found}, indent=1) + "\n")
    return 0


def harness_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the harness lies."""
    parser.add_argument("--harness", type=Path, default=ROOT.parent / "shared" / "bench", help="folder of bench.py")


def measure(harness: Path, server: str, series: int, *more: str, tag: str) -> dict[str, Any]:
    """Run one server on one load; return the harness's report."""
    peer = "custom" if server == OURS else server
    command = [sys.executable, "bench.py", "--series", str(series), "--peer", peer, "--tag", tag]
    command += ["--work", str(BUILD), "--results", str(BUILD / "results"), *more]
    if server == OURS and "--url" not in more:
        setting = f"env HEADRACE_DATA_DIR={{data}} HEADRACE_PORT={{port}} {shlex.join(own_command())}"
        command += ["--cmd", setting, "--write", "/api/v1/write", "--ready", "/-/ready"]
    subprocess.run(command, cwd=harness, check=True)
    files = (BUILD / "results").glob(f"{peer}-{series}x*-{tag}.json")
    newest = max(files, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise SystemExit(f"compare_stores: {server} left no report")
    report: dict[str, Any] = json.loads(newest.read_text())
    return report


def sizes(options: argparse.Namespace) -> dict[str, Any]:
    """Measure ingest, memory, bytes and restart of all servers at each size."""
    found: dict[str, Any] = {}
    more = ["--no-queries"] if options.no_queries else []
    for series in options.series:
        rows = found[str(series)] = {
            server: figures(measure(options.harness, server, series, *more, tag=server)) for server in SERVERS
        }
        print(f"\n{series} series\n")
        table(rows)
    return found


def figures(report: dict[str, Any]) -> dict[str, float]:
    """Take what the tables show out of a report."""
    ingest, verify = report["ingest"], report["verify"]
    restart = report.get("queries", {}).get("_restart", {})
    series = report["dataset"]["series"]
    return {
        "cpu_us_per_sample": ingest["cpu_us_per_sample"],
        "cpu_us_per_sample_settled": ingest["cpu_us_per_sample_compacted"],
        "samples_per_s": ingest["samples_per_s"],
        "rss_peak_mib": ingest["rss_peak_mib"],
        "kib_per_series_above_empty": (ingest["rss_peak_mib"] - report["rss_empty_mib"]) * 1024 / series,
        "bytes_per_sample": data_bytes(report),
        "restart_ready_s": restart.get("ready_s", float("nan")),
        "restart_cpu_s": restart.get("cpu_s", float("nan")),
        "checked_samples": verify["checked_samples"],
        "missing_samples": verify["missing_samples"],
        "inexact_samples": verify["inexact_samples"],
    }


def data_bytes(report: dict[str, Any]) -> float:
    """Return bytes a sample after an orderly stop; of Prometheus those of a snapshot, which holds blocks only."""
    blocks = report["ingest"].get("bytes_per_sample_blocks")
    return float(blocks if blocks is not None else report["stopped"]["data_bytes_per_sample"])


def table(rows: dict[str, dict[str, float]]) -> None:
    """Print figures by server, with the ratios of ours to each other one's."""
    others = [server for server in rows if server != OURS]
    print("| | " + " | ".join([*rows, *(f"ratio to {other}" for other in others)]) + " |")
    print("|---|" + "---|" * (len(rows) + len(others)))
    for name in rows[OURS]:
        cells = [f"{row[name]:,.3f}" for row in rows.values()]
        cells += [f"{rows[OURS][name] / rows[other][name]:.2f}" if rows[other][name] else "" for other in others]
        print(f"| {name} | " + " | ".join(cells) + " |")


def classes(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the bytes a sample of each value class, without labels and index."""
    found: dict[str, Any] = {}
    for name in CLASSES:
        rows = found[name] = {OURS: own_class(options.harness, name)}
        for server in SERVERS[1:]:
            more = ("--no-queries", "--only", name)
            rows[server] = figures(measure(options.harness, server, 10_000, *more, tag=f"{server}-{name}"))
    print("\n| class | " + " | ".join(SERVERS) + " | samples of ours that differ |\n|---|---|---|---|---|")
    for name, rows in found.items():
        cells = [f"{rows[server]['bytes_per_sample']:.3f}" for server in SERVERS]
        wrong = rows[OURS]["missing_samples"] + rows[OURS]["inexact_samples"]
        print(f"| {name} | " + " | ".join(cells) + f" | {wrong:.0f} of {rows[OURS]['checked_samples']:.0f} |")
    return found


def own_class(harness: Path, name: str) -> dict[str, float]:
    """Measure one value class here; what labels and refs take in blocks is left out, as the index of the others is."""
    data = BUILD / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    port = free_port()
    daemon = subprocess.Popen(
        own_command(), env={**os.environ, "HEADRACE_DATA_DIR": str(data), "HEADRACE_PORT": str(port)}
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(f"{url}/-/ready")
        more = ("--no-queries", "--only", name, "--url", url, "--pid", str(daemon.pid), "--data-dir", str(data))
        report = measure(harness, OURS, 10_000, *more, tag=f"{OURS}-{name}")
    finally:
        daemon.terminate()
        daemon.wait(120)
    sizes_of_blocks = [Block(path).section_sizes() for path in sorted(data.rglob("*.block"))]
    stored = sum(size for block in sizes_of_blocks for section, size in block.items() if section not in _INDEX)
    return {**figures(report), "bytes_per_sample": stored / report["ingest"]["samples"]}


def own_command() -> list[str]:
    """Return the command that starts the daemon."""
    headrace = Path(sys.executable).with_name("headrace")
    return [str(headrace), "run", "--config", str(ROOT / "bench" / "compare_stores.yaml")]


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(url: str) -> None:
    """Wait until a daemon says that it is ready."""
    for _ in range(600):
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise SystemExit(f"compare_stores: {url} is not ready after two minutes")


if __name__ == "__main__":
    sys.exit(main())
