"""The destination is down, the daemon is killed again and again: what was accepted arrives, in order.

The run of ten minutes is ``python -m bench.destination_down --minutes 10 --kills 5``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from running import Programs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "options",
    [["--minutes", "0.2", "--kills", "3"], ["--minutes", "0.1", "--kills", "2", "--queue-bytes", "50KiB", "--fsync"]],
    ids=["in-memory-too", "disk-only-fsync"],
)
def test_outage(programs: Programs, tmp_path: Path, options: list[str]) -> None:
    """Every acknowledged sample arrives; a series never goes back but to repeat what came before; repeats are told."""
    output = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.destination_down", "--output", str(output), *options]
    bench = programs.start("bench", command, cwd=ROOT)
    try:
        code = bench.wait_exit(300)
    except subprocess.TimeoutExpired:
        pytest.fail(bench.log_tail())
    assert output.exists(), bench.log_tail()
    figures = json.loads(output.read_text())
    assert code == 0, figures
    assert figures["missing_samples"] == figures["out_of_order_or_skipped_samples"] == figures["wrong_values"] == 0
    assert figures["accepted_samples"] > 10_000
    assert figures["kills_while_down"] == int(options[3])
    assert figures["arrived_samples"] == figures["accepted_samples"] + figures["duplicate_samples"]
