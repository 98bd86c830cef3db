"""Power loss at any file operation: what was acknowledged is there, once, and what was deleted is not."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from power_lab import PowerLab

if TYPE_CHECKING:
    from pathlib import Path

LOSSES = int(os.environ.get("HEADRACE_POWER_LOSSES", "20"))
IN_A_ROW = 5
SEED = int(os.environ.get("HEADRACE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


@pytest.mark.timeout(3600)
def test_power_losses(tmp_path: Path) -> None:
    """Under load of all kinds at once; after every few losses the store is killed and begins anew elsewhere.

    ``HEADRACE_POWER_LOSSES`` is how many; ``HEADRACE_SEED`` repeats a run, but for what its threads do to each other.
    """
    figures: Counter[str] = Counter()
    for number in range(-(-LOSSES // IN_A_ROW)):
        seed = SEED + number
        folder = tmp_path / str(seed)
        folder.mkdir()
        lab = PowerLab(folder, seed)
        try:
            for _ in range(IN_A_ROW):
                asyncio.run(lab.until_loss())
                if lab.random.random() < 0.3:
                    asyncio.run(lab.kill())
        except AssertionError as error:
            raise AssertionError(f"HEADRACE_SEED={seed}, loss {lab.life}, in {lab.directory}: {error}") from error
        lab.abandon()
        figures += lab.figures
        figures["losses"] += lab.life
        shutil.rmtree(folder)
    print(f"seed {SEED}: {dict(figures)}; 0 missing, 0 twice, 0 back from deletion")  # noqa: T201 -- for -s
