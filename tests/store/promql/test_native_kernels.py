"""The arithmetic of native histograms against plain Python, on random histograms of all kinds."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, ResetHint
from headrace.store.api.native_results import written
from headrace.store.promql.natives import math_kernels as codes
from headrace.store.promql.natives import quantile_kernels as native_quantile_kernels
from headrace.store.promql.natives import total_kernels as native_total_kernels
from headrace.store.promql.natives.float_histograms import FloatHistograms, sample_sizes
from headrace.store.promql.natives.math import changed, combined, equal, folded, resets_of, with_stored_hints
from headrace.store.promql.natives.text import text_of
from headrace.store.promql.natives.trimming import trimmed
from headrace.testing.promql_script_histograms import Histogram, Timed, as_columns, histogram_at

if TYPE_CHECKING:
    from collections.abc import Sequence

SEEDS = range(25)
BOUNDS = [(1.0, 2.0, 5.0), (1.0, 5.0), (2.0, 5.0, 9.0), (7.0,), ()]
Buckets = list[tuple[float, float, float]]


def rng(seed: int) -> random.Random:
    return random.Random(f"natives {seed}")


def exponential(pick: random.Random, schema: int | None = None) -> Histogram:
    """Make a histogram with exponential buckets; none lies within its zero bucket."""
    schema = pick.choice([-2, 0, 1, 3]) if schema is None else schema
    sides = [{pick.randrange(-6, 12): float(pick.randrange(1, 50)) for _ in range(pick.randrange(6))} for _ in "+-"]
    threshold = pick.choice([0.0, 1e-30, 2.0**-40])
    zero = float(pick.randrange(5))
    count = sum(sides[0].values()) + sum(sides[1].values()) + zero
    total_sum = pick.uniform(-9, 9)
    return Histogram(schema, count, total_sum, threshold, zero, sides[0], sides[1], hint=ResetHint.UNKNOWN)


def custom(pick: random.Random) -> Histogram:
    bounds = pick.choice(BOUNDS)
    counts = {i: float(pick.randrange(1, 50)) for i in range(len(bounds) + 1) if pick.random() < 0.7}
    return Histogram(
        CUSTOM_BUCKETS, sum(counts.values()), pick.uniform(0, 9), positive=counts, bounds=bounds, hint=ResetHint.UNKNOWN
    )


def table(*rows: Histogram) -> FloatHistograms:
    """Return histograms as columns."""
    stored = as_columns([(0, Timed(i, 0, row)) for i, row in enumerate(rows)])
    return FloatHistograms.of(stored, np.arange(len(rows)))


def rows_of(histograms: FloatHistograms) -> list[Histogram]:
    return [histogram_at(histograms, row) for row in range(len(histograms))]


# -- the plain reference ---------------------------------------------------------------------------------------


def bound(schema: int, index: int) -> float:
    return math.pow(2.0, index * 2.0**-schema)


def coarser(histogram: Histogram, schema: int) -> Histogram:
    sides: list[dict[int, float]] = [{}, {}]
    for merged, side in zip(sides, (histogram.positive, histogram.negative), strict=True):
        for index, count in side.items():
            target = ((index - 1) >> (histogram.schema - schema)) + 1
            merged[target] = merged.get(target, 0.0) + count
    return replace(histogram, schema=schema, positive=sides[0], negative=sides[1])


def widened(histogram: Histogram, threshold: float) -> Histogram:
    """Put the buckets that a zero bucket covers into it."""
    sides, zero = [], histogram.zero_count
    for side in (histogram.positive, histogram.negative):
        inside = {index for index in side if bound(histogram.schema, index - 1) < threshold}
        zero += sum(side[index] for index in inside)
        sides.append({index: count for index, count in side.items() if index not in inside})
    return replace(
        histogram, zero_threshold=threshold, zero_count=zero, positive=sides[0], negative=sides[1]
    )  # fmt: skip


def threshold_of(histograms: Sequence[Histogram]) -> float:
    """Return the least threshold that lies within no bucket with observations."""
    threshold = max(histogram.zero_threshold for histogram in histograms)
    while True:
        above = [
            bound(one.schema, index)
            for one in histograms
            for side in (one.positive, one.negative)
            for index, count in side.items()
            if count and bound(one.schema, index - 1) < threshold < bound(one.schema, index)
        ]
        if not above:
            return threshold
        threshold = max(above)


def common(histogram: Histogram, bounds: tuple[float, ...]) -> Histogram:
    """Leave the bounds that are among others."""
    kept = tuple(sorted({*histogram.bounds} & {*bounds}))
    merged: dict[int, float] = {}
    for index, count in histogram.positive.items():
        end = histogram.bounds[index] if index < len(histogram.bounds) else math.inf
        target = next((i for i, limit in enumerate(kept) if limit >= end), len(kept))
        merged[target] = merged.get(target, 0.0) + count
    return replace(histogram, bounds=kept, positive=merged)


def total(histograms: Sequence[Histogram], signs: Sequence[float]) -> Histogram:
    """Add histograms of one kind of buckets up."""
    rows = list(histograms)
    if rows[0].schema == CUSTOM_BUCKETS:
        kept = set(rows[0].bounds).intersection(*(row.bounds for row in rows))
        rows = [common(row, tuple(sorted(kept))) for row in rows]
    else:
        threshold, schema = threshold_of(rows), min(row.schema for row in rows)
        rows = [coarser(widened(row, threshold), schema) for row in rows]
    sides: list[dict[int, float]] = [{}, {}]
    for sign, row in zip(signs, rows, strict=True):
        for merged, side in zip(sides, (row.positive, row.negative), strict=True):
            for index, count in side.items():
                merged[index] = merged.get(index, 0.0) + sign * count
    pairs = list(zip(signs, rows, strict=True))
    return replace(
        rows[0],
        count=sum(sign * row.count for sign, row in pairs),
        sum=sum(sign * row.sum for sign, row in pairs),
        zero_count=sum(sign * row.zero_count for sign, row in pairs),
        positive={index: count for index, count in sides[0].items() if count},
        negative={index: count for index, count in sides[1].items() if count},
    )


def buckets_of(one: Histogram) -> Buckets:
    """Return (lower, upper, count) from the lowest bucket to the highest."""
    if one.schema == CUSTOM_BUCKETS:
        ends = (-math.inf, *one.bounds, math.inf)
        return [(ends[i], ends[i + 1], count) for i, count in sorted(one.positive.items())]
    below = [(-bound(one.schema, i), -bound(one.schema, i - 1), n) for i, n in sorted(one.negative.items())][::-1]
    above = [(bound(one.schema, i - 1), bound(one.schema, i), n) for i, n in sorted(one.positive.items())]
    zero = [(-one.zero_threshold, one.zero_threshold, one.zero_count)] if one.zero_count else []
    return [*below, *zero, *above]


def sided(one: Histogram, bucket: tuple[float, float, float]) -> tuple[float, float, float]:
    """Bound the zero bucket by zero where all other observations are on one side."""
    lower, upper, count = bucket
    if lower <= 0 <= upper and one.schema != CUSTOM_BUCKETS:
        lower, upper = (
            (0.0 if not one.negative and one.positive else lower),
            (0.0 if one.negative and not one.positive else upper),
        )
    return lower, upper, count


def place(one: Histogram, lower: float, upper: float, share: float) -> float:
    if one.schema == CUSTOM_BUCKETS or lower <= 0 <= upper:
        return lower + (upper - lower) * share
    if lower > 0:
        return lower * math.pow(upper / lower, share)
    return -place(one, -upper, -lower, 1 - share)


def quantile(one: Histogram, q: float) -> float:
    """Return the quantile of a histogram with observations; between two buckets, the lower half goes down."""
    rank, seen = q * one.count, 0.0
    for bucket in buckets_of(one):
        lower, upper, count = sided(one, bucket)
        if seen + count > rank or (q < 0.5 and seen + count == rank):
            if upper == math.inf:
                # Without any bound there is nothing to go by.
                return lower if lower > -math.inf else math.inf
            if lower == -math.inf:
                if upper <= 0:
                    return upper
                lower = 0.0
            return place(one, lower, upper, (rank - seen) / count)
        seen += count
    raise AssertionError("no bucket has it")


def same(got: Histogram, wanted: Histogram) -> bool:
    """Compare all that is there, hints aside, to a relative 1e-12."""

    def close(a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)

    sides = ((got.positive, wanted.positive), (got.negative, wanted.negative))
    return (
        (got.schema, got.bounds, got.zero_threshold) == (wanted.schema, wanted.bounds, wanted.zero_threshold)
        and close(got.count, wanted.count)
        and close(got.sum, wanted.sum)
        and close(got.zero_count, wanted.zero_count)
        and all(a.keys() == b.keys() and all(close(n, b[i]) for i, n in a.items()) for a, b in sides)
    )


# -- sums ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [exponential, custom])
@pytest.mark.parametrize("seed", SEEDS)
def test_sums_and_differences(seed: int, kind: object) -> None:
    """Schemas, zero buckets and custom bounds are made to agree; means are sums divided."""
    pick = rng(seed)
    rows = [kind(pick) for _ in range(6)]  # type: ignore[operator]
    columns, order = table(*rows), np.arange(6)
    first, last = np.array([0, 2, 5, 4]), np.array([2, 6, 6, 4])
    sums, means = (folded(columns, order, first, last, mean=mean) for mean in (False, True))
    assert sums.places.tolist() == means.places.tolist() == [0, 1, 2, -1]
    for task, (got, mean) in enumerate(zip(rows_of(sums.histograms), rows_of(means.histograms), strict=True)):
        some = rows[first[task] : last[task]]
        wanted = total(some, [1.0] * len(some))
        assert same(got, wanted)
        n = len(some)
        halves = [{index: count / n for index, count in side.items()} for side in (wanted.positive, wanted.negative)]
        assert same(mean, Histogram(
            wanted.schema, wanted.count / n, wanted.sum / n, wanted.zero_threshold, wanted.zero_count / n,
            halves[0], halves[1], wanted.bounds,
        ))  # fmt: skip
        if kind is custom:
            assert bool(sums.notes[task] & native_total_kernels.RECONCILED) == any(
                row.bounds != some[0].bounds for row in some
            )
    less = combined(columns, order[:5], columns, order[1:], -1.0)
    for row, got in enumerate(rows_of(less.histograms)):
        assert same(got, total(rows[row : row + 2], [1.0, -1.0]))
        assert got.hint is ResetHint.GAUGE


def test_kinds_of_buckets_do_not_mix() -> None:
    """Exponential and custom buckets yield nothing, and what did not fit is told."""
    columns = table(exponential(rng(0)), exponential(rng(1)), custom(rng(2)))
    found = folded(columns, np.arange(3), np.array([0, 0]), np.array([3, 2]), mean=False)
    assert found.places.tolist() == [-1, 0]
    assert found.faults.tolist() == [2, -1]
    assert found.notes.tolist() == [codes.MIXED, 0]


def test_means_beyond_the_largest_double() -> None:
    """Where the sum overflows, the mean does not."""
    large = Histogram(0, 1.5e308, 1.0, positive={1: 1.5e308})
    found = folded(table(large, large, large), np.arange(3), np.array([0]), np.array([3]), mean=True)
    assert rows_of(found.histograms)[0].positive[1] == pytest.approx(1.5e308)


def test_sums_are_compensated() -> None:
    """What a large count would swallow is not lost."""
    rows = [Histogram(0, n, n, positive={1: n}) for n in (1e16, 1.0, 1.0, -1e16)]
    found = folded(table(*rows), np.arange(4), np.array([0]), np.array([4]), mean=False)
    assert rows_of(found.histograms)[0].positive == {1: 2.0}


def test_hints_of_sums() -> None:
    """Gauges win, unknown comes next, and contradictions are noted."""
    row = exponential(rng(3), 0)
    hints = [ResetHint.RESET, ResetHint.NOT_RESET, ResetHint.GAUGE, ResetHint.UNKNOWN]
    columns = table(*(replace(row, hint=hint) for hint in hints))
    found = folded(columns, np.arange(4), np.array([0, 1, 2, 3]), np.array([2, 4, 4, 4]), mean=False)
    assert found.histograms.hint.tolist() == [0, 3, 3, 0]
    assert found.notes.tolist() == [native_total_kernels.COLLISION, 0, 0, 0]


def test_much_is_written() -> None:
    """Results take as much room as they need."""
    pick = rng(4)
    rows = [exponential(pick, 3) for _ in range(40)]
    n = 200
    first, last = np.zeros(n, np.int64), np.full(n, 40)
    found = folded(table(*rows), np.arange(40), first, last, mean=False)
    wanted = total(rows, [1.0] * 40)
    assert all(same(got, wanted) for got in rows_of(found.histograms))
    assert len(found.histograms) == n


# -- changes ---------------------------------------------------------------------------------------------------


def test_rate_makes_up_for_resets() -> None:
    """What was there before a reset is added; the window is filled up, but not beyond zero."""
    rows = [Histogram(0, n, n, positive={1: n}, hint=ResetHint.UNKNOWN) for n in (10.0, 30.0, 5.0, 25.0)]
    columns, times = table(*rows), np.array([1000, 2000, 3000, 4000])
    resets = resets_of(columns, np.arange(4), np.arange(-1, 3))
    assert resets.tolist() == [False, False, True, False]
    windows = (np.array([0, 2]), np.array([3, 3]), np.array([4000, 4000]))
    none = np.zeros(4, np.int64)
    found = changed(columns, times, none, resets, windows, 4000, counter=True, rate=False)
    # From 1 s on 45 in 3 s; zero is 10/45 of that before.
    assert found.histograms.count.tolist() == pytest.approx([45 * (3 + 3 * 10 / 45) / 3, 20 * (1 + 5 / 20) / 1])
    gauges = changed(columns, times, none, resets, windows, 4000, counter=False, rate=False)
    assert gauges.notes.tolist() == [codes.NOT_GAUGE] * 2
    assert gauges.histograms.count.tolist() == pytest.approx([15 * (3 + 1) / 3, 20 * (1 + 0.5) / 1])
    begun = np.array([500, 0, 0, 0])
    from_start = changed(columns, times, begun, resets, windows, 4000, counter=True, rate=False)
    assert from_start.histograms.count[0] == pytest.approx(55.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_resets(seed: int) -> None:
    """A counter was reset where some count is lower, once both are as coarse as the later one."""
    pick = rng(seed)
    old = exponential(pick, 1)
    new = total([old, exponential(pick, 1)], [1.0, 1.0])
    if pick.random() < 0.5:
        new = coarser(new, 0)
    lost = replace(new, positive={**new.positive, 40: 3.0}, count=new.count + 3.0)
    columns = table(old, new, lost, new)
    assert resets_of(columns, np.array([1, 2, 3]), np.array([0, 1, 2])).tolist() == [False, False, True]
    believed = columns.with_hints(np.array([0, 1, 2, 2], np.uint8))
    assert resets_of(believed, np.array([1, 2, 3]), np.array([0, 1, 2])).tolist() == [True, False, False]


def test_stored_hints() -> None:
    """Storage tells resets from their absence where the layout of buckets stays."""
    one = Histogram(1, 5.0, 1.0, positive={1: 5.0}, hint=ResetHint.UNKNOWN)
    rows = [
        one, replace(one, count=6.0, positive={1: 6.0}), replace(one, count=6.0, positive={2: 6.0}),
        replace(one, schema=0, count=7.0), replace(one, hint=ResetHint.GAUGE),
    ]  # fmt: skip
    found = with_stored_hints(table(*rows), np.arange(1, 5), np.arange(4))
    assert [ResetHint(hint).name for hint in found.hint] == ["UNKNOWN", "NOT_RESET", "RESET", "UNKNOWN", "GAUGE"]


def test_resets_of_custom_buckets() -> None:
    """Between the bounds that both have, there may not be fewer observations."""
    old = Histogram(CUSTOM_BUCKETS, 10.0, 0.0, positive={0: 4.0, 1: 3.0, 2: 3.0}, bounds=(1.0, 2.0))
    moved = Histogram(CUSTOM_BUCKETS, 12.0, 0.0, positive={0: 7.0, 1: 5.0}, bounds=(2.0,))
    fewer = Histogram(CUSTOM_BUCKETS, 12.0, 0.0, positive={0: 6.0, 1: 6.0}, bounds=(2.0,))
    columns = table(old, moved, fewer)
    assert resets_of(columns, np.array([1, 2]), np.array([0, 0])).tolist() == [False, True]


def test_equality_is_to_the_bit() -> None:
    """Hints do not count, NaN equals itself, and one bucket more is another histogram."""
    one = exponential(rng(5), 0)
    rows = [one, replace(one, hint=ResetHint.GAUGE), replace(one, sum=math.nan), replace(one, positive={99: 1.0})]
    columns = table(*rows)
    pairs = (np.array([0, 0, 2, 0]), np.array([1, 2, 2, 3]))
    assert equal(columns, pairs[0], columns, pairs[1]).tolist() == [True, False, True, False]


# -- quantiles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [exponential, custom])
@pytest.mark.parametrize("seed", SEEDS)
def test_quantiles_and_fractions(seed: int, kind: object) -> None:
    """Quantiles are where so many observations are below; fractions are their inverse within a bucket."""
    pick = rng(seed)
    one = kind(pick)  # type: ignore[operator]
    if not one.count:
        return
    wanted = [0.0, 0.1, 0.4999, 0.5, 0.9, 1.0]
    rows, q, out = np.zeros(6, np.int64), np.array(wanted), np.empty(6)
    notes = np.empty(6, np.uint8)
    columns = table(one).columns
    native_quantile_kernels.quantiles(columns, rows, q, out, notes)
    for share, found in zip(wanted[1:5], out.tolist()[1:5], strict=True):
        assert found == pytest.approx(quantile(one, share), rel=1e-9, abs=1e-12)
    assert not notes.any()
    inside = [(q, at) for q, at in zip(wanted[1:5], out.tolist()[1:5], strict=True) if is_inside(one, at)]
    if inside and kind is exponential:
        shares = np.empty(len(inside))
        limits = np.array([at for _, at in inside])
        low = np.full(len(inside), -np.inf)
        at_row = np.zeros(len(inside), np.int64)
        native_quantile_kernels.fractions(columns, at_row, low, limits, shares, notes[: len(inside)])
        assert shares.tolist() == pytest.approx([q for q, _ in inside], rel=1e-9)


def is_inside(one: Histogram, value: float) -> bool:
    """Return whether a value lies within a bucket, not at a bound of it."""
    return any(
        lower < value < upper and not math.isclose(value, lower) and not math.isclose(value, upper)
        for lower, upper, _ in (sided(one, bucket) for bucket in buckets_of(one))
    )


def test_quantiles_beside_observations_that_are_nan() -> None:
    """They count as above all others, which is said."""
    one = Histogram(0, 10.0, math.nan, positive={1: 8.0})
    out, notes = np.empty(4), np.empty(4, np.uint8)
    q = np.array([0.4, 0.9, -1.0, np.nan])
    native_quantile_kernels.quantiles(table(one).columns, np.zeros(4, np.int64), q, out, notes)
    assert out[0] == pytest.approx(math.sqrt(2))
    assert np.isnan(out[[1, 3]]).all()
    assert out[2] == -math.inf
    assert notes.tolist() == [native_quantile_kernels.IS_SKEWED, native_quantile_kernels.IS_NAN, 0, 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_variances(seed: int) -> None:
    """All observations of a bucket are in its middle: the geometric one of exponential buckets."""
    one = exponential(rng(seed))
    if not one.count:
        return
    out = np.empty(1)
    native_quantile_kernels.variances(table(one).columns, out)
    mean = one.sum / one.count
    middles = [
        (0.0 if lower <= 0 <= upper else math.copysign(math.sqrt(lower * upper), upper or lower), count)
        for lower, upper, count in buckets_of(one)
    ]
    wanted = sum(count * (value - mean) ** 2 for value, count in middles) / one.count
    assert out[0] == pytest.approx(wanted, rel=1e-12)


# -- trimming, sizes, texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_trimmed_from_either_side_is_all(seed: int) -> None:
    """What is below a number and what is above it add up, bucket by bucket."""
    pick = rng(seed)
    one = exponential(pick)
    limit = pick.choice([-3.0, -0.5, 0.0, 1e-31, 0.75, 1.0, 40.0])
    low, high = (rows_of(trimmed(table(one), np.array([limit]), upper=upper))[0] for upper in (True, False))
    both = total([low, high], [1.0, 1.0])
    assert both.count == pytest.approx(one.count)
    assert both.zero_count == pytest.approx(one.zero_count)
    assert both.positive == pytest.approx(one.positive)
    assert both.negative == pytest.approx(one.negative)
    assert all(bound(one.schema, index - 1) < limit for index in low.positive)
    assert all(bound(one.schema, index) > limit for index in high.positive)


def test_trimming_custom_buckets() -> None:
    """Counts within a bucket are divided evenly; what has no bound is kept or left whole."""
    one = Histogram(CUSTOM_BUCKETS, 9.0, 20.0, positive={0: 2.0, 1: 4.0, 2: 3.0}, bounds=(2.0, 6.0))
    columns = table(one)
    low = rows_of(trimmed(columns, np.array([3.0]), upper=True))[0]
    assert (low.positive, low.count, low.sum) == ({0: 2.0, 1: 1.0}, 3.0, 1.0 * 2 + 2.5 * 1)
    high = rows_of(trimmed(columns, np.array([3.0]), upper=False))[0]
    assert (high.positive, high.count, high.sum) == ({1: 3.0, 2: 3.0}, 6.0, 4.5 * 3 + 6.0 * 3)
    # How much of the first bucket lies below -1 is not known: all of it goes, and so does the last one above 7.
    assert rows_of(trimmed(columns, np.array([-1.0]), upper=False))[0].positive == {1: 4.0, 2: 3.0}
    assert rows_of(trimmed(columns, np.array([7.0]), upper=True))[0].positive == {0: 2.0, 1: 4.0}


def test_sizes() -> None:
    """A histogram counts as the memory that Prometheus needs for it holds samples."""
    rows = [
        Histogram(),
        Histogram(0, positive={0: 1.0, 1: 1.0, 5: 1.0}, negative={1: 1.0}),
        Histogram(CUSTOM_BUCKETS, positive={0: 1.0, 1: 2.0}, bounds=(1.0, 2.0)),
    ]
    assert sample_sizes(table(*rows)).tolist() == [11, (176 + 8 * 7) // 16, (176 + 8 * 5) // 16]


def test_texts() -> None:
    """Buckets stand from the lowest to the highest, empty ones left out."""
    one = Histogram(0, 20.0, 10.0, 0.001, 2.0, {0: 1.0, 1: 2.0, 2: 0.0}, {0: 1.0, 1: 2.0})
    other = Histogram(CUSTOM_BUCKETS, 3.0, 1.5, positive={0: 1.0, 2: 2.0}, bounds=(0.5, 1e6))
    columns = table(one, other)
    assert text_of(columns, 0) == "{count:20, sum:10, [-2,-1):2, [-1,-0.5):1, [-0.001,0.001]:2, (0.5,1]:1, (1,2]:2}"
    assert text_of(columns, 1) == "{count:3, sum:1.5, [-Inf,0.5]:1, (1e+06,+Inf]:2}"
    first, second = (json.loads(text) for text in written(columns))
    assert first == {
        "count": "20", "sum": "10",
        "buckets": [[1, "-2", "-1", "2"], [1, "-1", "-0.5", "1"], [3, "-0.001", "0.001", "2"], [0, "0.5", "1", "1"],
                    [0, "1", "2", "2"]],
    }  # fmt: skip
    assert second["buckets"] == [[3, "-Inf", "0.5", "1"], [0, "1000000", "+Inf", "2"]]


@pytest.mark.parametrize("schema", range(-4, 9))
def test_bounds(schema: int) -> None:
    """Bounds are powers of the base, the last one the largest double."""
    step = 1 << max(schema, 0)
    for index in (-1100 * step, -1074 * step, -5, 0, 1, 3, 1023 * step, 1024 * step, 1024 * step + 1):
        got = native_total_kernels.bound(schema, index >> max(-schema, 0))
        exponent = (index >> max(-schema, 0)) * 2.0**-schema
        wanted = math.inf if exponent > 1024 else 1.7976931348623157e308
        if exponent < 1024:
            wanted = 2.0**exponent
        assert got == pytest.approx(wanted, rel=1e-14)
