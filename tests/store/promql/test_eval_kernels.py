"""The kernels of windows and groups against plain Python on random series with NaN, infinities and gaps."""

from __future__ import annotations

import math
import random
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.store.promql import aggregate_kernels, window_kernels
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions
from headrace.store.promql.language.parser import ParserOptions
from headrace.store.promql.values import Vector
from headrace.testing.promql_script_values import STALE
from headrace.testing.store_fakes import MemoryQueryable

if TYPE_CHECKING:
    from collections.abc import Callable

Samples = list[tuple[int, float]]

NAN = math.nan
WINDOW_MS = 50_000
START, END, STEP = 0, 300_000, 7_000


def random_series(rng: random.Random, odd: bool) -> Samples:
    """Make samples 1 to 15 s apart; the odd ones may be NaN or infinite."""
    time, out = rng.randrange(-60_000, 60_000), []
    while time < END:
        special = odd and rng.random() < 0.1
        out.append((time, rng.choice([math.nan, math.inf, -math.inf]) if special else float(rng.randrange(-20, 20))))
        time += rng.randrange(1_000, 15_000)
    return out


def quantile(q: float, values: list[float]) -> float:
    """Interpolate linearly between the two nearest ranks; NaN counts as the lowest."""
    ordered = sorted(values, key=lambda x: (not math.isnan(x), x))
    rank = q * (len(values) - 1)
    low = ordered[math.floor(rank)]
    high = ordered[min(len(values) - 1, math.floor(rank) + 1)]
    weight = rank - math.floor(rank)
    return low * (1 - weight) + high * weight


def total(values: list[float]) -> float:
    """Add up; NaN where infinities of both signs meet, which the precise sum would refuse."""
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


def mean(values: list[float]) -> float:
    """Average."""
    return total(values) / len(values)


def variance(values: list[float]) -> float:
    """Compute the population variance, NaN where a value is not finite."""
    return statistics.pvariance(values) if all(map(math.isfinite, values)) else math.nan


def extreme(choose: Callable[..., float]) -> Callable[[list[float]], float]:
    """Choose among what is not NaN."""
    return lambda values: choose([x for x in values if not math.isnan(x)] or [math.nan])


def mad(values: list[float]) -> float:
    """Compute the median distance from the median, NaN where a value is NaN."""
    if any(map(math.isnan, values)):
        return math.nan
    middle = quantile(0.5, values)
    return quantile(0.5, [abs(x - middle) for x in values])


def changes(values: list[float]) -> float:
    """Count where neighbours differ; NaN does not differ from NaN."""
    pairs = pairwise(values)
    return float(sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairs))


def resets(values: list[float]) -> float:
    """Count where a value is below the one before."""
    return float(sum(b < a for a, b in pairwise(values)))


OVER_TIME: dict[str, Callable[[list[float]], float]] = {
    "sum_over_time(m[50s])": total,
    "avg_over_time(m[50s])": mean,
    "min_over_time(m[50s])": extreme(min),
    "max_over_time(m[50s])": extreme(max),
    "count_over_time(m[50s])": lambda v: float(len(v)),
    "present_over_time(m[50s])": lambda _: 1.0,
    "first_over_time(m[50s])": lambda v: v[0],
    "last_over_time(m[50s])": lambda v: v[-1],
    "stdvar_over_time(m[50s])": variance,
    "stddev_over_time(m[50s])": lambda v: math.sqrt(variance(v)),
    "quantile_over_time(0.3, m[50s])": lambda v: quantile(0.3, v),
    "mad_over_time(m[50s])": mad,
    "changes(m[50s])": changes,
    "resets(m[50s])": resets,
}


def evaluator(series: list[Samples]) -> Evaluator:
    store = MemoryQueryable()
    for i, samples in enumerate(series):
        store.add({"__name__": "m", "i": f"{i:02}", "g": str(i % 3)}, [t for t, _ in samples], [v for _, v in samples])
    return Evaluator(store, EvaluatorOptions(parser=ParserOptions(experimental_functions=True)))


def same(got: float, wanted: float) -> bool:
    return (math.isnan(got) and math.isnan(wanted)) or math.isclose(got, wanted, rel_tol=1e-11, abs_tol=1e-9)


def points(evaluator: Evaluator, query: str) -> dict[tuple[str, int], float]:
    """Return values by label ``i`` or ``g`` and step."""
    found = evaluator.range(query, START, END, STEP)
    assert isinstance(found.value, Vector)
    out = {}
    for row in range(len(found.value)):
        labels = found.value.labels.labels(row)
        for step, there in enumerate(found.value.present[row].tolist()):
            if there:
                out[labels.get("i", labels.get("g", "")), step] = float(found.value.values[row, step])
    return out


def check(got: dict[tuple[str, int], float], wanted: dict[tuple[str, int], float]) -> None:
    assert set(got) == set(wanted)
    assert wanted
    wrong = {key: (got[key], wanted[key]) for key in wanted if not same(got[key], wanted[key])}
    assert not wrong


@pytest.mark.parametrize("odd", [False, True], ids=["finite", "odd"])
@pytest.mark.parametrize("query", OVER_TIME)
def test_windows_match_plain_python(query: str, odd: bool) -> None:
    """Each function sees exactly the samples after the beginning of the window and not after its end."""
    rng = random.Random(query)
    series = [random_series(rng, odd) for _ in range(8)]
    wanted = {}
    for i, samples in enumerate(series):
        for step, time in enumerate(range(START, END + 1, STEP)):
            window = [v for t, v in samples if time - WINDOW_MS < t <= time]
            if window:
                wanted[f"{i:02}", step] = OVER_TIME[query](window)
    check(points(evaluator(series), query), wanted)


AGGREGATIONS: dict[str, Callable[[list[float]], float]] = {
    "sum by (g) (m)": total,
    "avg by (g) (m)": mean,
    "min by (g) (m)": extreme(min),
    "max by (g) (m)": extreme(max),
    "count by (g) (m)": lambda v: float(len(v)),
    "group by (g) (m)": lambda _: 1.0,
    "stdvar by (g) (m)": variance,
    "stddev by (g) (m)": lambda v: math.sqrt(variance(v)),
    "quantile by (g) (0.7, m)": lambda v: quantile(0.7, v),
    "sum by (g) (topk by (g) (2, m))": lambda v: total(sorted(v, key=lambda x: (math.isnan(x), -x))[:2]),
    "sum by (g) (bottomk by (g) (2, m))": lambda v: total(sorted(v, key=lambda x: (math.isnan(x), x))[:2]),
}


@pytest.mark.parametrize("odd", [False, True], ids=["finite", "odd"])
@pytest.mark.parametrize("query", AGGREGATIONS)
def test_groups_match_plain_python(query: str, odd: bool) -> None:
    """Each group has at each step the values of its series that are there; a stale marker ends a series."""
    rng = random.Random(query)
    series = [random_series(rng, odd) for _ in range(12)]
    for samples in series:
        at = rng.randrange(len(samples))
        samples[at] = (samples[at][0], STALE)
    groups: dict[tuple[str, int], list[float]] = {}
    for i, samples in enumerate(series):
        for step, time in enumerate(range(START, END + 1, STEP)):
            seen = [v for t, v in samples if time - 300_000 < t <= time]
            if seen and np.float64(seen[-1]).view(np.uint64) != np.float64(STALE).view(np.uint64):
                groups.setdefault((str(i % 3), step), []).append(seen[-1])
    check(points(evaluator(series), query), {key: AGGREGATIONS[query](v) for key, v in groups.items()})


def test_sums_are_compensated() -> None:
    """What plain addition loses comes back."""
    out, there = np.zeros((1, 1)), np.zeros((1, 1), np.bool_)
    values = np.array([1e100, 1.0, -1e100, 1.0])
    window_kernels.sums(values, np.zeros((1, 1), np.int64), np.full((1, 1), 4, np.int64), out, there)
    assert out[0, 0] == 2.0


def test_averages_do_not_overflow() -> None:
    """The mean of numbers near the largest one is finite."""
    assert window_kernels.mean(np.array([1.7e308, 1.7e308, 1.7e308])) == pytest.approx(1.7e308)


@pytest.mark.parametrize("k", [1, 2, 5, 50, 60])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_are_kept(k: int, sign: float) -> None:
    """As many as asked for, NaN only where nothing else is left."""
    rng = random.Random(k)
    values = np.array([[rng.choice([math.nan, float(rng.randrange(20))])] for _ in range(50)])
    keep = np.zeros(values.shape, np.bool_)
    present = np.ones(values.shape, np.bool_)
    rows = np.arange(50)
    aggregate_kernels.largest(np.array([k]), sign, values, present, rows, np.array([0, 50]), keep)
    ranked = sorted(values[:, 0].tolist(), key=lambda x: (math.isnan(x), -sign * x))
    kept = sorted(values[keep[:, 0], 0].tolist(), key=lambda x: (math.isnan(x), -sign * x))
    assert np.array_equal(kept, ranked[:k], equal_nan=True)


@pytest.mark.parametrize(
    ("q", "wanted"),
    [
        (0.0, 0.0),
        (0.25, 0.5),
        (0.5, 1.0),
        (0.75, 3.0),
        (1.0, 5.0),
        (-1, -math.inf),
        (2, math.inf),
        (math.nan, math.nan),
    ],
)
def test_quantiles_of_buckets_are_interpolated(q: float, wanted: float) -> None:
    """Two observations up to 1, one up to 5, one beyond: the last bucket answers with its lower bound."""
    bound, count = np.array([1.0, 5.0, np.inf]), np.array([2.0, 4.0, 4.0])
    assert same(aggregate_kernels.bucket_quantile(q, bound, count, np.zeros(3)), wanted)


def test_buckets_that_decrease_are_raised_and_told() -> None:
    """The lowest and the highest repaired bound, and the largest step."""
    bound, count, fixed = np.array([1.0, 2.0, 3.0, 4.0, np.inf]), np.array([5.0, 3.0, 6.0, 2.0, 8.0]), np.zeros(3)
    aggregate_kernels.bucket_quantile(0.5, bound, count, fixed)
    assert count.tolist() == [5.0, 5.0, 6.0, 6.0, 8.0]
    assert fixed.tolist() == [2.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("lower", "upper", "wanted"),
    [
        (0.0, 1.0, 0.5),
        (0.0, 0.5, 0.25),
        (1.0, 3.0, 0.125),
        (-math.inf, math.inf, 1.0),
        (5.0, 100.0, 0.0),
        (5.0, math.inf, 0.25),
        (3.0, 3.0, 0.0),
        (math.nan, 1.0, math.nan),
    ],
)
def test_fractions_of_buckets_are_interpolated(lower: float, upper: float, wanted: float) -> None:
    """Four observations up to 1, two up to 5, two beyond, where nothing is known of their place."""
    bound, count = np.array([1.0, 5.0, np.inf]), np.array([4.0, 6.0, 8.0])
    assert same(aggregate_kernels.bucket_fraction(lower, upper, bound, count), wanted)


def test_rows_that_meet_at_a_step_are_not_merged() -> None:
    """Rows of one group may follow each other but not be there together."""
    values, group = np.array([[1.0, 0.0], [0.0, 2.0]]), np.zeros(2, np.int64)
    apart, together = np.array([[True, False], [False, True]]), np.ones((2, 2), np.bool_)
    out, there = np.zeros((1, 2)), np.zeros((1, 2), np.bool_)
    assert aggregate_kernels.merge(values, apart, group, out, there)
    assert out.tolist() == [[1.0, 2.0]]
    assert not aggregate_kernels.merge(values, together, group, np.zeros((1, 2)), np.zeros((1, 2), np.bool_))
