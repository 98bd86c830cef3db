"""States of aggregations: folded piece by piece, and merged, against all rows at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.store.promql import aggregate_kernels
from headrace.store.promql.pushdown.partial import CHOICES, FOLDS, PartialAggregate

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS, STEPS, GROUPS = 60, 7, 4
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e308, -1e308, 1.0, 2.5, 3.7])


def rows(seed: int, *, special: bool = True) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Return values, presence and groups; the last group has no row that is present."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1e3, (ROWS, STEPS))
    if special:
        values = np.where(rng.random(values.shape) < 0.2, rng.choice(SPECIAL, values.shape), values)
    group = rng.integers(0, GROUPS, ROWS)
    present = (rng.random(values.shape) < 0.7) & (group[:, None] < GROUPS - 1)
    return values, present, group


def folded(op: str, seed: int, cuts: tuple[int, ...], wanted: NDArray[np.int64] | None = None) -> PartialAggregate:
    """Fold all rows, cut into pieces at some rows."""
    values, present, group = rows(seed)
    state = PartialAggregate.begin(op, GROUPS, STEPS, wanted)
    for first, last in zip((0, *cuts), (*cuts, ROWS), strict=True):
        part = slice(first, last)
        state.fold(values[part], present[part], group[part], np.arange(first, last))
    return state


def reference(op: str, column: list[float]) -> float:
    """Aggregate some numbers in plain Python, where rounding does not matter."""
    if op == "count":
        return len(column)
    if op == "group":
        return 1.0
    if op in {"min", "max"}:
        return (min if op == "min" else max)(column)
    if op == "sum":
        return math.fsum(column)
    mean = math.fsum(column) / len(column)
    if op == "avg":
        return mean
    variance = math.fsum((x - mean) ** 2 for x in column) / len(column)
    return math.sqrt(variance) if op == "stddev" else variance


def same(one: Any, other: Any) -> bool:
    """Return whether arrays are equal to the bit; a NaN is a NaN."""
    return bool(np.array_equal(np.where(np.isnan(one), np.nan, one).view(np.uint64),
                               np.where(np.isnan(other), np.nan, other).view(np.uint64)))  # fmt: skip


@pytest.mark.parametrize("op", sorted(FOLDS))
def test_folds_are_what_plain_python_gives(op: str) -> None:
    """Groups and steps without rows are absent, others are right."""
    values, present, group = rows(1, special=False)
    state = PartialAggregate.begin(op, GROUPS, STEPS)
    state.fold(values, present, group, np.arange(ROWS))
    out, there = state.result()
    for g in range(GROUPS):
        for t in range(STEPS):
            column = values[(group == g) & present[:, t], t].tolist()
            assert there[g, t] == bool(column)
            if column:
                assert out[g, t] == pytest.approx(reference(op, column), rel=1e-12)


@pytest.mark.parametrize("op", sorted(FOLDS))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pieces_do_not_matter(op: str, seed: int) -> None:
    """Folding in pieces gives the bits of folding at once, with every kind of number."""
    whole = folded(op, seed, ())
    for cuts in ((1,), (20, 41), tuple(range(1, ROWS))):
        pieces = folded(op, seed, cuts)
        assert same(pieces.result()[0], whole.result()[0])
        assert pieces.n.tolist() == whole.n.tolist()
        assert pieces.first.tolist() == whole.first.tolist()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sums_are_those_of_gathered_rows(seed: int) -> None:
    """A sum has the bits of the kernel that gets all rows."""
    values, present, group = rows(seed)
    out, c, n = np.zeros((GROUPS, STEPS)), np.zeros((GROUPS, STEPS)), np.zeros((GROUPS, STEPS), np.int64)
    aggregate_kernels.sums(values, present, group, out, c, n)
    np.add(out, c, out=out, where=np.isfinite(out))
    found, there = folded("sum", seed, (11, 30)).result()
    assert same(np.where(there, found, 0.0), np.where(n > 0, out, 0.0))


@pytest.mark.parametrize("op", sorted(CHOICES))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_choices_are_those_of_gathered_rows(op: str, seed: int) -> None:
    """The same rows are kept as by the kernel that gets all of them, ties and NaN included."""
    values, present, group = rows(seed)
    wanted = np.array([1, 2, 3, 4, 5, 9, 100])
    state = folded(op, seed, (7, 33), wanted)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(GROUPS + 1))
    keep = np.zeros(values.shape, np.bool_)
    aggregate_kernels.largest(wanted, state.sign, values, present, order, starts, keep)
    kept, found, there = state.chosen()
    assert kept.tolist() == np.flatnonzero(keep.any(axis=1)).tolist()
    assert there.tolist() == keep[kept].tolist()
    assert same(np.where(there, found, 0.0), np.where(there, values[kept], 0.0))


@pytest.mark.parametrize("op", sorted(FOLDS))
def test_states_of_two_shards_are_merged(op: str) -> None:
    """What two shards have, whose groups have other numbers, is what one would have."""
    values, present, group = rows(5, special=False)
    half, places = ROWS // 2, np.array([2, 0, 3, 1])
    one, other = PartialAggregate.begin(op, GROUPS, STEPS), PartialAggregate.begin(op, GROUPS, STEPS)
    one.fold(values[:half], present[:half], group[:half], np.arange(half))
    other.fold(values[half:], present[half:], np.argsort(places)[group[half:]], np.arange(half))
    one.merge(other, places, half)
    whole = PartialAggregate.begin(op, GROUPS, STEPS)
    whole.fold(values, present, group, np.arange(ROWS))
    there = whole.result()[1]
    assert one.result()[1].tolist() == there.tolist()
    np.testing.assert_allclose(one.result()[0][there], whole.result()[0][there], rtol=1e-12)
    assert one.first.tolist() == whole.first.tolist()


def test_means_that_overflow_are_merged() -> None:
    """Sums beyond all doubles still have a mean."""
    large = np.full((4, 1), 1.5e308)
    parts = [PartialAggregate.begin("avg", 1, 1) for _ in range(2)]
    for part in parts:
        part.fold(large, np.ones((4, 1), np.bool_), np.zeros(4, np.int64), np.arange(4))
    parts[0].merge(parts[1], np.array([0]), 4)
    assert parts[0].result()[0][0, 0] == pytest.approx(1.5e308)


@pytest.mark.parametrize("op", sorted(CHOICES))
def test_choices_of_two_shards_are_merged(op: str) -> None:
    """The largest of both are the largest of all."""
    values, present, group = rows(6, special=False)
    half, wanted = ROWS // 2, np.full(STEPS, 3)
    one, other = (PartialAggregate.begin(op, GROUPS, STEPS, wanted) for _ in range(2))
    one.fold(values[:half], present[:half], group[:half], np.arange(half))
    other.fold(values[half:], present[half:], group[half:], np.arange(half))
    one.merge(other, np.arange(GROUPS), half)
    whole = PartialAggregate.begin(op, GROUPS, STEPS, wanted)
    whole.fold(values, present, group, np.arange(ROWS))
    for mine, expected in zip(one.chosen(), whole.chosen(), strict=True):
        assert mine.tolist() == expected.tolist()
