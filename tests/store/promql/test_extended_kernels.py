"""Anchored and smoothed selectors and start timestamps against plain Python, on random series."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.store.promql import extended_kernels, start_kernels, statistics_kernels, window_kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

Points = list[tuple[int, float]]

STEPS, STEP, WINDOW, LOOKBACK = 40, 7_000, 50_000, 20_000


def random_series(rng: random.Random) -> list[Points]:
    """Make series of samples 1 to 40 s apart that fall now and then; the last one is empty."""
    out: list[Points] = []
    for _ in range(6):
        time, value, points = rng.randrange(-90_000, 60_000), 0.0, []
        while time < STEPS * STEP:
            value = value + rng.randrange(10) if rng.random() < 0.8 else float(rng.randrange(5))
            points.append((time, value))
            time += rng.choice([1_000, 7_000, rng.randrange(1_000, 40_000)])
        out.append(points)
    return [*out, []]


def columns(series: list[Points]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    offsets = np.cumsum([0, *map(len, series)]).astype(np.int64)
    times = np.array([t for points in series for t, _ in points], np.int64)
    return offsets, times, np.array([v for points in series for _, v in points], np.float64)


def edges(series: list[Points], before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    offsets, times, _ = columns(series)
    lo, hi = np.zeros((len(series), STEPS), np.int64), np.zeros((len(series), STEPS), np.int64)
    window_kernels.bounds(offsets, times, after, STEP, WINDOW + before + after, lo, hi)
    return lo, hi


def line(one: tuple[int, float], other: tuple[int, float], time: int, *, counter: bool) -> float:
    """Interpolate; a counter that falls began at zero."""
    begin = 0.0 if counter and other[1] < one[1] else one[1]
    return begin + (other[1] - begin) * (time - one[0]) / (other[0] - one[0])


def change(points: Points, end: int, *, smoothed: bool, counter: bool) -> float | None:
    """Compute the change over a window from the values at both its ends."""
    begin = end - WINDOW
    seen = [p for p in points if begin - LOOKBACK < p[0] <= end + (LOOKBACK if smoothed else 0)]
    before = [p for p in seen if p[0] <= begin]
    inside = [p for p in seen if begin < p[0] <= end]
    after = [p for p in seen if p[0] > end]
    if not inside and not (before and after):
        return None
    following = [*inside, *after]
    left = before[-1][1] if before else inside[0][1]
    if smoothed and before and before[-1][0] < begin:
        left = line(before[-1], following[0], begin, counter=counter)
    right = inside[-1][1] if inside else before[-1][1]
    if smoothed and after and not (inside and inside[-1][0] == end):
        right = line([*before, *inside][-1], after[0], end, counter=counter)
    missing = 0.0
    if counter:
        values = [left, *(v for t, v in inside if t < end), right]
        missing = sum(one for one, other in pairwise(values) if other < one)
    return right - left + missing


@pytest.mark.parametrize("smoothed", [False, True], ids=["anchored", "smoothed"])
@pytest.mark.parametrize("counter", [False, True], ids=["gauge", "counter"])
def test_changes_are_from_end_to_end(smoothed: bool, counter: bool) -> None:
    """Samples from beyond the window tell the values at its ends."""
    series = random_series(random.Random(3))
    _, times, values = columns(series)
    lo, hi = edges(series, LOOKBACK, LOOKBACK if smoothed else 0)
    out, there = np.zeros(lo.shape), np.zeros(lo.shape, np.bool_)
    extended_kernels.changes(times, values, lo, hi, 0, STEP, WINDOW, smoothed, counter, False, out, there)
    for i, points in enumerate(series):
        for t in range(STEPS):
            wanted = change(points, t * STEP, smoothed=smoothed, counter=counter)
            assert there[i, t] == (wanted is not None)
            assert wanted is None or math.isclose(out[i, t], wanted, rel_tol=1e-12, abs_tol=1e-12)
    assert there.any()
    assert not there.all()


def test_anchored_windows_begin_with_the_sample_before() -> None:
    """The last sample up to the beginning belongs to the window, where any follows."""
    series = random_series(random.Random(4))
    _, times, _ = columns(series)
    lo, hi = edges(series, LOOKBACK, 0)
    extended_kernels.anchor(times, lo, hi, 0, STEP, WINDOW)
    for i, points in enumerate(series):
        for t in range(STEPS):
            begin, end = t * STEP - WINDOW, t * STEP
            inside = [time for time, _ in points if begin < time <= end]
            before = [time for time, _ in points if begin - LOOKBACK < time <= begin][-1:]
            assert times[lo[i, t] : hi[i, t]].tolist() == ([*before, *inside] if inside else [])


def test_smoothed_values_lie_between_samples() -> None:
    """On the line between neighbours that are near enough, or as the last one."""
    series = random_series(random.Random(5))
    offsets, times, values = columns(series)
    out, there = np.zeros((len(series), STEPS)), np.zeros((len(series), STEPS), np.bool_)
    extended_kernels.smooth(offsets, times, values, 0, STEP, LOOKBACK, out, there)
    for i, points in enumerate(series):
        for t in range(STEPS):
            time = t * STEP
            before = [p for p in points if time - LOOKBACK < p[0] <= time]
            after = [p for p in points if time < p[0] <= time + LOOKBACK]
            assert there[i, t] == bool(before)
            if before:
                exact = before[-1][0] == time or not after
                wanted = before[-1][1] if exact else line(before[-1], after[0], time, counter=False)
                assert math.isclose(out[i, t], wanted, rel_tol=1e-12)


@pytest.mark.parametrize("smoothed", [False, True], ids=["anchored", "smoothed"])
def test_a_window_is_shown_with_both_its_ends(smoothed: bool) -> None:
    """Values at the ends come with the samples between them."""
    later = [(20, 9.0)] if smoothed else []
    series: list[Points] = [[(0, 1.0), (10, 3.0), *later], [(0, 1.0)], [], [(10, 2.0), (15, 4.0)]]
    offsets, times, values = columns(series)
    out = np.zeros(len(series) + 1, np.int64), np.zeros(20, np.int64), np.zeros(20)
    extended_kernels.extend(offsets, times, values, 5, 15, smoothed, *out)
    found = list(zip(out[1].tolist(), out[2].tolist(), strict=True))
    first = [(5, 2.0), (10, 3.0), (15, 6.0)] if smoothed else [(5, 1.0), (10, 3.0), (15, 3.0)]
    wanted = [first, [], [], [(5, 2.0), (10, 2.0), (15, 4.0)]]
    assert [found[a:b] for a, b in pairwise(out[0].tolist())] == wanted


def begins_anew(before: tuple[int, int], now: tuple[int, int]) -> bool:
    """Compare (start, time) of two samples."""
    if now[0] == 0 or now[0] >= now[1]:
        return False
    if now[0] == before[1]:
        return 0 != before[0] < before[1]
    return now[0] > before[1]


@pytest.mark.parametrize("rate", [False, True])
def test_counters_begin_where_they_say(rate: bool) -> None:
    """Starts make resets, and zero samples where they lie in the window."""
    rng = random.Random(6)
    series = random_series(rng)
    _, times, values = columns(series)
    starts = np.array([rng.choice([0, t, t + 5, t - rng.randrange(60_000)]) for t in times.tolist()], np.int64)
    lo, hi = edges(series, 0, 0)
    out, there, overlaps = np.zeros(lo.shape), np.zeros(lo.shape, np.bool_), np.zeros(len(series), np.bool_)
    start_kernels.extrapolated(times, values, starts, lo, hi, 0, STEP, WINDOW, rate, out, there, overlaps)
    resets, two = np.zeros((2, *lo.shape)), np.zeros((2, *lo.shape))
    some = np.zeros(lo.shape, np.bool_)
    start_kernels.resets(times, values, starts, lo, hi, resets[0], some)
    assert np.array_equal(some, hi > lo)
    start_kernels.last_two(times, values, starts, lo, hi, two[0], np.zeros(lo.shape, np.bool_))
    for i in range(len(series)):
        overlapping = False
        for t in range(STEPS):
            rows = range(lo[i, t], hi[i, t])
            anew = [
                j for j in rows[1:]
                if values[j] < values[j - 1] or begins_anew((starts[j - 1], times[j - 1]), (starts[j], times[j]))
            ]  # fmt: skip
            overlapping |= any(0 != starts[j] < times[j - 1] and starts[j] != starts[j - 1] for j in rows[1:])
            assert resets[0, i, t] == len(anew)
            if len(rows) > 1:
                j = rows[-1]
                gained = values[j] - (0.0 if j in anew else values[j - 1])
                assert math.isclose(two[0, i, t], gained / ((times[j] - times[j - 1]) / 1000), rel_tol=1e-12)
            begun = bool(rows) and starts[rows[0]] != 0 and t * STEP - WINDOW < starts[rows[0]] < times[rows[0]]
            assert there[i, t] == (len(rows) > 1 or begun)
            if begun:
                wanted = values[rows[-1]] + sum(values[j - 1] for j in anew)
                sampled = (times[rows[-1]] - starts[rows[0]]) / 1000
                gap = (times[rows[-1]] - times[rows[0]]) / 1000 / max(1, len(rows) - 1)
                left = (t * STEP - times[rows[-1]]) / 1000
                wanted *= (sampled + (gap / 2 if left >= 1.1 * gap else left)) / sampled
                assert math.isclose(out[i, t], wanted / (WINDOW / 1000 if rate else 1), rel_tol=1e-12)
        assert overlaps[i] == overlapping


def test_samples_in_windows_are_counted_by_step() -> None:
    """By their bounds, and by their times alone."""
    series = random_series(random.Random(7))
    lo, hi = edges(series, 0, 0)
    wanted = [sum(t * STEP - WINDOW < time <= t * STEP for p in series for time, _ in p) for t in range(STEPS)]
    by_bounds, by_times = np.zeros(STEPS, np.int64), np.zeros(STEPS, np.int64)
    statistics_kernels.sizes(lo, hi, by_bounds)
    statistics_kernels.changes(columns(series)[1], 0, STEP, WINDOW, by_times)
    assert by_bounds.tolist() == wanted
    assert np.cumsum(by_times).tolist() == wanted


def test_starts_are_looked_up_by_time() -> None:
    """In seconds, where there is a sample."""
    offsets, times = np.array([0, 3, 4], np.int64), np.array([0, 10, 20, 5], np.int64)
    at, there = np.array([[10, 10, 20], [0, 5, 5]], np.int64), np.array([[True] * 3, [False, True, True]])
    out = np.zeros(at.shape)
    extended_kernels.starts(offsets, times, np.array([1000, 2000, 3000, 4000], np.int64), at, there, out)
    assert np.array_equal(out, [[2.0, 2.0, 3.0], [0.0, 4.0, 4.0]])
