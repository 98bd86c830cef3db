"""How long programs take to start, and what they need when idle: Headrace beside rotel, vmagent and Prometheus' agent.

Of those programs that are there. A start lasts from the command to the last port that is open. It is warm when the
program has run before; cold when its files are out of the kernel's page cache, and for Headrace when its kernels have
not been compiled either, as on a machine that never saw it. Idle memory is what is resident some seconds after a warm
start.

``python -m bench.start_up`` prints a table and writes ``build/start_up.json``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import headrace
from bench.compare_stores import free_port
from bench.harness import HARNESS, Scenario, known_entries, until
from bench.scrape_stand import Watched, report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCENARIOS = {"headrace": "otlp_grpc_full", "rotel": "otlp_grpc_full", "vmagent": "rw", "prom-agent": "rw"}


def main() -> int:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--harness", type=Path, default=HARNESS, help="folder of the harness")
    parser.add_argument("--repeats", type=int, default=5, help="warm starts of each program")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds until memory is looked at")
    parser.add_argument("--no-cold", action="store_true", help="leave out the cold starts")
    options = parser.parse_args()
    known = known_entries(options.harness)
    found = {
        name: _measured(known[name]["scenarios"][scenario], options)
        for name, scenario in SCENARIOS.items()
        if name in known
    }
    report("start_up", {"processors": os.cpu_count(), "programs": found})
    print(*_lines(found), sep="\n")
    return 0


def _measured(spec: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Start a program cold, then warm a few times."""
    cold = {} if options.no_cold else {"cold_s": round(_cold_start(spec), 3)}
    _start(spec, 0)
    runs = [_start(spec, options.idle if number == 0 else 0) for number in range(options.repeats)]
    times = [seconds for seconds, _ in runs]
    return {
        **cold,
        "warm_s": round(statistics.median(times), 3),
        "warm_s_most": round(max(times), 3),
        "idle_rss_mib": round(runs[0][1], 1),
    }


def _cold_start(spec: dict[str, Any]) -> float:
    """Return the seconds of a start without anything that is left from others."""
    with tempfile.TemporaryDirectory(prefix="headrace-cold-") as cache:
        own = spec["cmd"].startswith("headrace ")
        for path in _files(spec):
            _forget(path)
        seconds, _ = _start({**spec, "env": {"NUMBA_CACHE_DIR": cache}} if own else spec, 0)
    return seconds


def _start(spec: Mapping[str, Any], idle_s: float) -> tuple[float, float]:
    """Start a program and end it; return the seconds until it was ready, and its memory then in MiB."""
    with tempfile.TemporaryDirectory(prefix="headrace-start-") as name:
        folder = Path(name)
        nowhere = f"127.0.0.1:{free_port()}"
        rule = "- {regex: pod_uid, action: labeldrop}"
        values = {"SINK": nowhere, "SINKGRPC": nowhere, "RELABEL": rule, "RELABEL2": f"  {rule}"}
        scenario = Scenario(spec, folder, values)
        began_s = time.monotonic()
        program = Watched(scenario.command, folder / "program.log")
        try:
            until(scenario.is_ready, program, 900)
            seconds = time.monotonic() - began_s
            time.sleep(idle_s)
            return seconds, program.rss_mib()
        finally:
            program.end()


def _files(spec: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files that a program is read from: its own, and for Headrace those of Python's packages."""
    program = spec["cmd"].split()[0]
    if program == "headrace":
        packages = Path(headrace.__file__).parent, Path(sys.prefix) / "lib"
        yield from (path for folder in packages for path in folder.rglob("*") if path.is_file())
    else:
        yield Path(shutil.which(program) or program).resolve()


def _forget(path: Path) -> None:
    """Ask the system to drop a file from memory; what another program has mapped stays."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _lines(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| program | cold start | warm start | idle |\n|---|---:|---:|---:|"
    for name, one in found.items():
        cold = f"{one['cold_s']:.2f} s" if "cold_s" in one else ""
        yield f"| {name} | {cold} | {one['warm_s']:.2f} s | {one['idle_rss_mib']:.0f} MiB |"


if __name__ == "__main__":
    sys.exit(main())
