"""Metrics with too many series are named, in bounded memory."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from headrace.pipeline.identity import Series
from headrace.pipeline.offenders import MAX_METRICS, Distinct, Offenders


@pytest.mark.parametrize("n", [0, 1, 10, 100, 1000, 100_000])
def test_distinct_texts_are_estimated(n: int) -> None:
    """To a quarter, which is four times the usual error; repeats say nothing."""
    sketch = Distinct()
    for _ in range(2):
        for i in range(n):
            sketch.add(f"value {i}")
    assert abs(sketch.estimate() - n) <= max(n / 4, 1)


def test_metric_and_label_are_named() -> None:
    """Among others, in any order: the label with the most values of the metric with the most series."""
    found = Offenders()
    series = [Series.of(__name__="bad", user=f"u{i}", path=f"/{i % 50}", job="j") for i in range(20_000)]
    series += [Series.of(__name__=f"m{i % 200}", i=str(i)) for i in range(10_000)]
    random.Random(1).shuffle(series)
    for one in series:
        found.add(one)
    worst = found.top(3)[0]
    assert (worst.metric, worst.label) == ("bad", "user")
    assert 20_000 <= worst.series <= 20_000 + 10_000 / MAX_METRICS
    assert 15_000 < worst.values < 25_000
    assert str(worst).startswith(f"bad ({worst.series}; ")
    assert found.series == 30_000


def test_invented_names_are_recognised() -> None:
    """Where each series is a metric of its own, it is the names that are too many."""
    found = Offenders()
    for i in range(5000):
        found.add(Series.of(__name__=f"m{i}", job="j"))
    [worst] = found.top(10)
    assert (worst.label, worst.series) == ("__name__", 5000)
    assert 3700 < worst.values < 6300


def test_labels_that_are_many_are_not_all_looked_at() -> None:
    """Memory is bounded whatever is invented: metrics, labels or values."""
    found = Offenders()
    tracemalloc.start()
    for i in range(20_000):
        found.add(Series.of({"__name__": f"m{i % 100}", f"l{i}": "x" * 10, f"k{i}": str(i)}))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 2_000_000
    assert found.top(1)[0].metric.startswith("m")


def test_nothing() -> None:
    """No offenders, and a metric without labels."""
    found = Offenders()
    assert found.top(5) == []
    found.add(Series.of(__name__="a"))
    assert [str(one) for one in found.top(5)] == ["a (1)"]
