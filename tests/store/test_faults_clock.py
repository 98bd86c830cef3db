"""Clocks that step: what is taken, and what retention removes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.store.interfaces import Code
from store_lab import BLOCK_MS, StoreLab

if TYPE_CHECKING:
    from pathlib import Path

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def run(lab: StoreLab, seconds: float) -> None:
    """Let time pass."""
    lab.ms += int(seconds * 1000)


async def test_an_hour_back(tmp_path: Path) -> None:
    """Samples with the new time are late: taken within the window, refused as too old beyond; nothing is removed."""
    lab = StoreLab(tmp_path, retention_ms=3 * HOUR_MS)
    await lab.append("a", 1.0)
    true_ms = lab.ms
    lab.step(-HOUR_MS)
    assert await lab.append("a", 2.0) in {Code.TOO_OLD, Code.OUT_OF_ORDER}
    assert await lab.append("a", 3.0, true_ms - 60_000) is Code.TOO_FAR_AHEAD
    assert lab.engine.retain() == 0
    run(lab, 3100)
    assert await lab.append("a", 4.0) is Code.OUT_OF_ORDER_OK
    run(lab, 510)
    assert await lab.append("a", 5.0) is Code.OK
    lab.reopen()
    assert sorted(lab.contents()["a"].values()) == [1.0, 4.0, 5.0]
    lab.crash()


async def test_a_day_forward_removes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Though samples come with the new time; once the clock is right again, all is as before."""
    lab = StoreLab(tmp_path, retention_ms=3 * HOUR_MS)
    contents = await lab.three_blocks()
    assert lab.engine.retain() == 0
    lab.step(DAY_MS)
    for _ in range(30):
        run(lab, 60)
        assert await lab.append("b", 1.0) is Code.OK
        lab.store.flush(everything=True)
        assert lab.engine.retain() == 0
    assert lab.contents()["a"] == contents["a"]
    assert caplog.text.count("the clock is 86400 s ahead of what was expected") == 1
    lab.step(-DAY_MS)
    assert lab.engine.retain() == 0
    # In order for its own series, whatever others have.
    assert await lab.append("c", 1.0) is Code.OK
    lab.crash()


async def test_a_step_forward_that_stands_is_believed(tmp_path: Path) -> None:
    """After an hour of the steady clock; retention then removes what is too old."""
    lab = StoreLab(tmp_path, retention_ms=3 * HOUR_MS)
    await lab.three_blocks()
    assert lab.engine.retain() == 0
    lab.step(DAY_MS)
    removed = []
    for _ in range(62):
        run(lab, 60)
        removed.append(lab.engine.retain())
    assert sum(removed[:60]) == 0
    assert sum(removed) == 3
    lab.crash()


@pytest.mark.parametrize("days", [1, 400])
async def test_a_start_with_a_clock_that_is_ahead(tmp_path: Path, days: int) -> None:
    """Is the same: what was stored last says what time it was."""
    lab = StoreLab(tmp_path, retention_ms=3 * HOUR_MS)
    contents = await lab.three_blocks()
    lab.crash()
    lab.step(days * DAY_MS)
    lab.open()
    for _ in range(59):
        run(lab, 60)
        await lab.append("b", 1.0)
        assert lab.engine.retain() == 0
    assert lab.contents()["a"] == contents["a"]
    run(lab, 120)
    assert lab.engine.retain() == 3
    lab.crash()


async def test_time_that_passes_is_no_step(tmp_path: Path) -> None:
    """Nor is a sender that stays away: what gets old goes when it is old."""
    lab = StoreLab(tmp_path, retention_ms=3 * HOUR_MS)
    await lab.three_blocks()
    assert lab.engine.retain() == 0
    run(lab, 3 * 3600 - 600)
    assert lab.engine.retain() == 0
    run(lab, 600 - BLOCK_MS / 1000)
    assert lab.engine.retain() > 0
    run(lab, 3600)
    lab.engine.retain()
    assert lab.contents() == {}
    lab.crash()
