"""Many reloads under load: is all that was accepted delivered, do states go on, do memory and files stay level?

Five writers send gauges, counters and deltas to a daemon whose configuration changes again and again, broken ones in
between; a sink counts what comes. ``python -m bench.reloads --reloads 1000`` prints a line for each tenth and writes
all figures to ``build/reloads.json``; the exit code is 1 where anything is lost, repeated, interrupted or left open.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from reload_run import run as reload_often
from reload_stand import Stand
from running import Programs

_OUTPUT = Path("build/reloads.json")


def main() -> int:
    """Run, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=1000, help="configurations that are taken")
    parser.add_argument("--pause", type=float, default=0.02, metavar="SECONDS", help="between two batches of a writer")
    parser.add_argument("--output", type=Path, default=_OUTPUT, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-reloads-") as folder, Programs(Path(folder)) as programs:
        stand = Stand(programs, Path(folder))
        stand.start(stand.document())
        outcome = reload_often(stand, options.reloads, options.pause, lambda text: print(text, flush=True))
    faults = outcome.faults()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({**asdict(outcome), "faults": faults}, indent=2) + "\n")
    print("\n".join(faults or [f"no faults: {outcome.accepted} samples delivered through {outcome.reloads} reloads"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
