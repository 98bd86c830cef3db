"""What an hour of `bench.steady` is made of."""

from __future__ import annotations

from bench.steady import Look, curves, is_good, summary, total


def looks(grow_mib: float = 0.0, failed: int = 0) -> list[Look]:
    return [
        Look(10.0 * i, 500 + grow_mib * i, 2.0 * i, 1_000_000 * i, 1_000_000 * i, 900_000 * i, failed * i, 10**6 * i)
        for i in range(61)
    ]


def test_a_steady_run_is_flat() -> None:
    """Amounts are those between the first look and the last."""
    found = summary(looks())
    assert found["samples_served_per_s"] == 100_000
    assert (found["samples_sent"], found["cpu_us_per_sample"], found["cores_mean"]) == (54_000_000, 2.0, 0.2)
    assert is_good(found)


def test_memory_that_grows_is_not_flat() -> None:
    """By more than a fiftieth within the second half."""
    found = summary(looks(grow_mib=1.5))
    assert not found["is_flat"]
    assert not is_good(found)


def test_what_could_not_be_sent_is_lost() -> None:
    """Even where nothing grows."""
    assert not is_good(summary(looks(failed=1)))


def test_samples_that_did_not_come_in_are_lost() -> None:
    """Apart from those of one scrape of all targets."""
    short = [one._replace(accepted=one.accepted - 600_000 * (one.seconds > 300)) for one in looks()]
    assert not is_good(summary(short))


def test_a_metric_is_added_up() -> None:
    """Over its labels; others that begin alike are others."""
    text = '# TYPE a_total counter\na_total{b="c"} 2.0\na_total{b="d"} 3e0\na_total_more 9.0\n'
    assert total(text, "a_total") == 5
    assert total("a_total 7\n", "a_total") == 7


def test_the_picture_has_a_panel_for_each_quantity() -> None:
    """Memory, CPU, samples in and out."""
    assert curves(looks()).count("<polyline") == 4
