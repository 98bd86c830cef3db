"""The log of changes against a plain list of all of them."""

from __future__ import annotations

import random

import pytest

from headrace.store import changes
from headrace.store.changes import ChangeLog
from headrace.store.head import FOREVER


@pytest.mark.parametrize("seed", range(20))
def test_the_oldest_time_since_any_version(seed: int) -> None:
    """It is that of all changes since, whatever their order."""
    pick = random.Random(seed)
    log, noted = ChangeLog(), [0]
    for _ in range(200):
        noted.append(len(noted) * pick.choice([0, 10]) + pick.randint(0, 100))
        log.note(noted[-1])
        version = pick.randint(0, len(noted) - 1)
        assert log.version == len(noted) - 1
        assert log.since(version) == min(noted[version + 1 :], default=FOREVER)


def test_old_changes_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a time is no later than it should be, and what is recent stays exact."""
    monkeypatch.setattr(changes, "_MAX_KEPT", 16)
    log = ChangeLog()
    for i in range(1000):
        log.note(i * 10)
    for version in range(1000):
        assert log.since(version) <= version * 10
    assert [log.since(version) for version in range(995, 1000)] == [9950, 9960, 9970, 9980, 9990]
    assert log.since(0) == 0


def test_nothing_is_no_change() -> None:
    """The time of no sample at all changes nothing."""
    log = ChangeLog()
    log.note(FOREVER)
    assert (log.version, log.since(0)) == (0, FOREVER)
