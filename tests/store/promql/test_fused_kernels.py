"""Kernels that walk series with common times once, against those that look at each window by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.store.promql import window_kernels
from headrace.store.promql.pushdown import fused
from headrace.store.promql.values import Grid
from headrace.store.runs import SeriesSamples

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

STALE = float(np.uint64(0x7FF0000000000002).view(np.float64))
N = 40
SAMPLES = 90
GRIDS = {
    "dense": (Grid(1_000_000, 15_000, 70), 120_000),
    "sparse": (Grid(900_000, 300_000, 6), 60_000),
    "one": (Grid(1_700_000, 1, 1), 700_000),
    "repeated": (Grid(1_500_000, 0, 4), 300_000),
    "before": (Grid(0, 15_000, 5), 60_000),
}


def series(seed: int, *, stale: bool = False) -> SeriesSamples:
    """Return counters, decimals, gauges and special numbers; each four series have their times in common."""
    rng = np.random.default_rng(seed)
    counts = np.repeat(rng.integers(0, SAMPLES, N // 4), 4)
    counts[::7] = rng.integers(0, 4)
    places = np.cumsum(counts) - counts
    total = int(counts.sum())
    times, time_places = np.zeros(total, np.int64), places.copy()
    values = np.empty(total)
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e308, -1e308, 1.0, 2.5])
    for i, (place, count) in enumerate(zip(places.tolist(), counts.tolist(), strict=True)):
        if i % 4 and count == counts[i - 1]:
            time_places[i] = time_places[i - 1]
        else:
            times[place : place + count] = 900_000 + np.cumsum(rng.integers(5_000, 30_000, count))
        steps = rng.poisson(3.0, count)
        kinds = (
            np.cumsum(steps) % 40.0, np.cumsum(steps).astype(float), np.round(rng.normal(0, 9, count), 2),
            rng.choice(special, count),
        )  # fmt: skip
        values[place : place + count] = kinds[i % 4 if i % 8 < 4 else 0]
    if stale:
        values[rng.random(total) < 0.05] = STALE
    return SeriesSamples(places, counts, time_places, times, values)


def by_itself(samples: SeriesSamples) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return offsets, times and values without anything in common and without stale markers."""
    times, values, offsets = [], [], [0]
    for place, count, where in zip(samples.places, samples.counts, samples.time_places, strict=True):
        own = samples.values[place : place + count]
        kept = own.view(np.uint64) != 0x7FF0000000000002
        times.append(samples.times_ms[where : where + count][kept])
        values.append(own[kept])
        offsets.append(offsets[-1] + int(kept.sum()))
    return np.array(offsets), np.concatenate(times), np.concatenate(values)


def bits(values: NDArray[np.float64]) -> list[Any]:
    """Return numbers as bits; a NaN is a NaN."""
    found: list[Any] = np.where(np.isnan(values), np.nan, values).view(np.uint64).tolist()
    return found


_Plain = tuple[Any, Any, Any, Any, Any, Any, Any]


def extrapolated(*, counter: bool, rate: bool) -> Callable[[_Plain, Grid, int, Any, Any], None]:
    def compute(plain: _Plain, grid: Grid, window: int, out: Any, there: Any) -> None:
        offsets, times, values, lo, hi, *_ = plain
        drops = np.empty(len(values) if counter else 0, np.int64)
        if counter:
            window_kernels.next_drops(offsets, values, drops)
        window_kernels.extrapolated(
            times, values, drops, lo, hi, grid.start_ms, grid.step_ms, window, counter, rate, out, there
        )

    return compute


def of_values(kernel: Callable[..., None], *more: Any) -> Callable[[_Plain, Grid, int, Any, Any], None]:
    return lambda plain, _grid, _window, out, there: kernel(plain[2], plain[3], plain[4], *more, out, there)


REFERENCES: dict[str, Callable[[_Plain, Grid, int, Any, Any], None]] = {
    "rate": extrapolated(counter=True, rate=True),
    "increase": extrapolated(counter=True, rate=False),
    "delta": extrapolated(counter=False, rate=False),
    "sum_over_time": of_values(window_kernels.sums),
    "avg_over_time": of_values(window_kernels.means),
    "max_over_time": lambda p, _g, _w, out, there: window_kernels.extremes(
        p[1], p[2], p[3], p[4], 1.0, False, out, there
    ),
    "min_over_time": lambda p, _g, _w, out, there: window_kernels.extremes(
        p[1], p[2], p[3], p[4], -1.0, False, out, there
    ),
    "count_over_time": lambda p, _g, _w, out, there: window_kernels.counts(p[3], p[4], out, there),
    "last_over_time": of_values(window_kernels.picked, True),
    "first_over_time": of_values(window_kernels.picked, False),
}


def computed(function: str, samples: SeriesSamples, grid: Grid, window: int) -> fused.Found:
    found = fused.Found.of(N, grid.size)
    fused.FUNCTIONS[function](samples, grid, range_ms=window, found=found)
    return found


@pytest.mark.parametrize("stale", [False, True], ids=["numbers", "stale"])
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("function", REFERENCES)
def test_one_walk_gives_what_each_window_gives(function: str, name: str, *, stale: bool) -> None:
    """Values and presence are those of the kernel that gets one window, to the bit, and so is the count of samples."""
    grid, window = GRIDS[name]
    samples = series(3, stale=stale)
    offsets, times, values = by_itself(samples)
    shape = (N, grid.size)
    lo, hi = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    window_kernels.bounds(offsets, times, grid.start_ms, grid.step_ms, window, lo, hi)
    out, there = np.zeros(shape), np.zeros(shape, np.bool_)
    REFERENCES[function]((offsets, times, values, lo, hi, None, None), grid, window, out, there)
    found = computed(function, fused.without_stale(samples), grid, window)
    assert found.there.tolist() == there.tolist()
    assert bits(np.where(there, found.out, 0.0)) == bits(np.where(there, out, 0.0))
    assert found.looked.tolist() == (hi - lo).sum(axis=0).tolist()


def test_presence_is_one_wherever_there_is_a_sample() -> None:
    """What `present_over_time` gives is 1."""
    grid, window = GRIDS["dense"]
    samples = series(4)
    counts = computed("count_over_time", samples, grid, window)
    found = computed("present_over_time", samples, grid, window)
    assert found.there.tolist() == (counts.out > 0).tolist()
    assert set(found.out[found.there].tolist()) == {1.0}


@pytest.mark.parametrize("name", GRIDS)
def test_the_newest_sample_is_that_of_the_series_by_itself(name: str) -> None:
    """Stale markers end a series, also where its times are another's."""
    grid, lookback = GRIDS[name]
    samples = series(5, stale=True)
    whole = samples.places.tolist(), samples.counts.tolist(), samples.time_places.tolist()
    times = np.concatenate([samples.times_ms[w : w + c] for _, c, w in zip(*whole, strict=True)])
    values = np.concatenate([samples.values[p : p + c] for p, c, _ in zip(*whole, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(samples.counts)])
    shape = (N, grid.size)
    out, there, at = np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(shape, np.int64)
    window_kernels.newest(offsets, times, values, grid.start_ms, grid.step_ms, lookback, out, there, at)
    found = fused.Found.of(N, grid.size)
    fused.newest_of(samples, grid, lookback_ms=lookback, found=found)
    assert found.there.tolist() == there.tolist()
    assert bits(np.where(there, found.out, 0.0)) == bits(np.where(there, out, 0.0))


def test_series_without_stale_markers_stay_where_they_are() -> None:
    """Only what has markers is copied."""
    clean, marked = series(6), series(6, stale=True)
    assert fused.without_stale(clean) is clean
    moved = fused.without_stale(marked)
    same = moved.places == marked.places
    assert 0 < same.sum() < N
    assert (moved.counts[same] == marked.counts[same]).all()
