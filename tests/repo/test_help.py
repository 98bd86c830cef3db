"""The command line answers at once: help loads nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

# Prints the loaded modules last, whatever way the command ends.
SHOW_MODULES = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
sys.argv = ["headrace", "--help"]
from headrace.cli.main import main
main()
"""

HEAVY = {"numba", "llvmlite", "numpy", "re2", "grpc", "aiohttp", "opentelemetry"}
COMPONENTS = tuple(f"headrace.{kind}." for kind in ("receivers", "processors", "exporters", "connectors", "extensions"))


def test_help_loads_no_compiler_and_no_component() -> None:
    """``headrace --help`` prints the commands and imports neither Numba, RE2, servers nor any component."""
    done = subprocess.run([sys.executable, "-c", SHOW_MODULES], capture_output=True, text=True, check=True, timeout=60)
    text, _, modules = done.stdout.rstrip().rpartition("\n")
    assert "validate" in text
    loaded = json.loads(modules)
    heavy = [name for name in loaded if name.split(".")[0] in HEAVY or name.startswith(COMPONENTS)]
    assert heavy == []
