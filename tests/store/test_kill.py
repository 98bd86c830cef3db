"""kill -9 at any moment: nothing that was acknowledged is missing or there twice, and nothing deleted comes back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import kill_writer
from headrace.store.matchers import Matcher, MatchType

if TYPE_CHECKING:
    from headrace.store.store import Store

ROUNDS = int(os.environ.get("HEADRACE_KILL_ROUNDS", "5"))
SERIES = 20
PROGRAM = Path(kill_writer.__file__)


class Told:
    """What the killed programs have said."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self.deleted: set[int] = set()
        self.doubtful: set[int] = set()
        """Numbers in deletions that began and were not acknowledged, and may have happened."""

    def learn(self, lines: list[str]) -> None:
        """Read the lines of one program, cut off at any place."""
        for line in lines:
            kind, *numbers = line.split()
            first, last = int(numbers[0]), int(numbers[-1])
            into = {"+": self.acknowledged, "?": self.doubtful, "-": self.deleted}[kind]
            into.update(range(first, last + 1))

    def check(self, store: Store) -> dict[str, int]:
        """Compare with what the store answers; return how many samples were found."""
        late = {one for number in self.acknowledged for one in kill_writer.late_numbers(number)}
        wanted = {"n": self.acknowledged, "d": self.acknowledged - self.doubtful, "l": late}
        counts = {}
        for name, expected in wanted.items():
            found = store.engine("default").select((Matcher("__name__", MatchType.EQUAL, name),), 0, 1 << 60)
            assert len(found) == SERIES
            for i in range(SERIES):
                rows = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
                numbers = (found.times_ms[rows] - kill_writer.START_MS) // kill_writer.STEP_MS
                assert len(np.unique(numbers)) == len(numbers), f"a sample of {name} is there twice"
                there = set(numbers.tolist())
                assert not expected - there, f"acknowledged samples of {name} are missing"
                assert name != "d" or not there & self.deleted, "a deleted sample is back"
                assert (found.values[rows] == numbers).all()
            counts[name] = len(found.times_ms)
        return counts


@pytest.mark.timeout(3600)
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Over rounds on one directory: writes, flushes, merges, deletions and trims are cut off wherever they are.

    ``HEADRACE_KILL_ROUNDS`` is how many rounds.
    """
    generator = random.Random()
    told = Told()
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
        told.learn(lines)
    counts = told.check(kill_writer.opened(tmp_path / "data"))
    print(  # noqa: T201 -- what a run with -s shows
        f"{ROUNDS} rounds, {len(told.acknowledged) * SERIES * 2} samples acknowledged in order, {len(told.deleted)} "
        f"numbers deleted, found {counts}: 0 missing, 0 twice, 0 back"
    )
