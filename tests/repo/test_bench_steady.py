"""What an hour of `bench.steady` is made of."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.steady import Look, curves, growth, is_good, summary, total

KEPT = 4495
"""With the five samples that a scrape brings about itself, nine tenths of what is served."""


def looks(grow_mib: float = 0.0, failed: int = 0, grow_s: float = 0.0) -> list[Look]:
    """An hour, a look every ten seconds."""
    return [
        Look(
            seconds=10.0 * i,
            rss_mib=500 + grow_mib * i / 6,
            cpu_s=2.0 * i + grow_s * i * i,
            served=1_000_000 * i,
            accepted=900_000 * i,
            sent=900_000 * i,
            failed=failed * i,
            received_bytes=10**6 * i,
        )
        for i in range(361)
    ]


def found(of: list[Look]) -> dict[str, Any]:
    return summary(of, KEPT)


def test_a_steady_run_is_flat() -> None:
    """Amounts are those between the first look and the last."""
    hour = found(looks())
    assert hour["samples_served_per_s"] == 100_000
    assert hour["samples_to_accept"] == hour["samples_accepted"] == hour["samples_sent"] == 324_000_000
    assert (hour["cpu_us_per_sample"], hour["cores_mean"]) == (2.0, 0.2)
    assert (hour["rss_growth"], hour["cpu_growth"]) == (0, 0)
    assert is_good(hour)


@pytest.mark.parametrize(("mib_a_minute", "is_flat"), [(0.15, True), (0.25, False), (-1, True)])
def test_memory_that_grows_is_not_flat(mib_a_minute: float, is_flat: bool) -> None:
    """By more than a fiftieth in the fifty minutes after the first ten, even if slowly all the time."""
    hour = found(looks(grow_mib=mib_a_minute))
    assert hour["is_flat"] is is_flat
    assert is_good(hour) is is_flat


def test_cpu_that_grows_is_not_flat() -> None:
    """By more than a tenth."""
    assert found(looks(grow_s=0.0001))["is_flat"]
    assert not found(looks(grow_s=0.001))["is_flat"]


def test_the_beginning_does_not_count() -> None:
    """What grows in the first ten minutes and then no more has grown once; waves do not grow."""
    early = [(10.0 * i, 300.0 + min(i, 60)) for i in range(361)]
    assert growth(early) == pytest.approx(0, abs=1e-4)
    waves = [(10.0 * i, 500 + 20 * math.sin(i / 5)) for i in range(361)]
    assert abs(growth(waves)) < 0.01
    assert growth([(10.0 * i, 100.0 + i) for i in range(7)]) == pytest.approx(4 / 104)


def test_what_could_not_be_sent_is_lost() -> None:
    """Even where nothing grows."""
    assert not is_good(found(looks(failed=1)))


def test_samples_that_did_not_come_in_are_lost() -> None:
    """Apart from those of a second, which are under way; the same of what goes out."""
    for name, missing, is_fine in (
        ("accepted", 90_000, True), ("accepted", 110_000, False), ("sent", 90_000, True), ("sent", 110_000, False),
    ):  # fmt: skip
        short = looks()
        lost = {name: getattr(short[-1], name) - missing}
        if name == "accepted":
            lost["sent"] = lost["accepted"]
        short[-1] = short[-1]._replace(**lost)
        assert is_good(found(short)) is is_fine, (name, missing)


def test_a_metric_is_added_up() -> None:
    """Over its labels; others that begin alike are others."""
    text = '# TYPE a_total counter\na_total{b="c"} 2.0\na_total{b="d"} 3e0\na_total_more 9.0\n'
    assert total(text, "a_total") == 5
    assert total("a_total 7\n", "a_total") == 7


def test_the_picture_has_a_panel_for_each_quantity() -> None:
    """Memory, CPU, samples in and out."""
    assert curves(looks()).count("<polyline") == 4
