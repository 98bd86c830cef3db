"""Run the benchmarks of the ``bench`` folder and write what they measured as one JSON file.

Every module ``bench/*.py`` with a function ``run`` is a benchmark: ``run()`` measures and returns numbers by
name, units in the names (``cpu_us_per_sample``). One that fails is reported and the others go on; the
exit code is then 1.

Usage: ``python scripts/run_benches.py --output build/bench.json [NAME …]``
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run the benchmarks; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; all without")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    results: dict[str, Any] = {}
    failed: list[str] = []
    for name in options.names or sorted(path.stem for path in (ROOT / "bench").glob("*.py")):
        try:
            measure(name, results)
        except Exception:  # noqa: BLE001 -- one that breaks must not hide what the others measured
            traceback.print_exc()
            failed.append(name)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "benches": results, "failed": failed}
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"bench: {len(results)} measured, {len(failed)} failed; {options.output}")
    return 1 if failed else 0


def measure(name: str, results: dict[str, Any]) -> None:
    """Run ``bench/name.py`` where it is a benchmark, and add what it returns to `results`."""
    run = getattr(importlib.import_module(f"bench.{name}"), "run", None)
    if run is None:
        return
    began = time.perf_counter()
    measured = run()
    print(f"bench: {name} in {time.perf_counter() - began:.1f} s: {json.dumps(measured)}", flush=True)
    results[name] = measured


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    packages = ("numba", "numpy", "headrace")
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        **{name: metadata.version(name) for name in packages},
    }


if __name__ == "__main__":
    sys.exit(main())
