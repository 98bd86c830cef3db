"""kill -9 at any moment: nothing that was acknowledged is missing, nothing is there twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import kill_writer
from headrace.store.matchers import Matcher, MatchType

ROUNDS = int(os.environ.get("HEADRACE_KILL_ROUNDS", "5"))
SERIES = 50
PROGRAM = Path(kill_writer.__file__)


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Over rounds on one directory: writes, flushes and trims of the log are cut off wherever they are."""
    generator = random.Random()
    acknowledged: set[int] = set()
    for round_ in range(ROUNDS):
        output = tmp_path / f"acknowledged-{round_}"
        with output.open("wb") as file:
            writer = subprocess.Popen([sys.executable, PROGRAM, tmp_path / "data", str(SERIES)], stdout=file)
        deadline = time.monotonic() + 60
        while not output.stat().st_size and time.monotonic() < deadline:
            assert writer.poll() is None
            time.sleep(0.01)
        time.sleep(generator.uniform(0.05, 0.8))
        writer.kill()
        writer.wait()
        lines = output.read_text().split("\n")[:-1]
        assert lines, "nothing was acknowledged"
        acknowledged.update(map(int, lines))
    store = kill_writer.opened(tmp_path / "data")
    found = store.engine("default").select((Matcher("__name__", MatchType.EQUAL, "n"),), 0, 1 << 60)
    assert len(found) == SERIES
    for i in range(SERIES):
        rows = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
        numbers = (found.times_ms[rows] - kill_writer.START_MS) // kill_writer.STEP_MS
        assert len(np.unique(numbers)) == len(numbers), "a sample is there twice"
        assert acknowledged <= set(numbers.tolist()), "an acknowledged sample is missing"
        assert (found.values[rows] == numbers).all()
    print(  # noqa: T201 -- what a run with -s shows
        f"{ROUNDS} rounds, {len(acknowledged) * SERIES} samples acknowledged, 0 missing, 0 twice"
    )
