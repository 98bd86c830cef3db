"""The state of an aggregation over some of the series: what is left of rows once they are folded in.

Rows are folded in the order of the series, in as many calls as is convenient; the result does not depend on that to
the last bit. States of other series, from another shard, can be merged in; sums are then compensated sums of sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.promql.pushdown import fold_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FOLDS = frozenset({"sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"})
"""Operators whose state is some numbers for each group and step."""

CHOICES = frozenset({"topk", "bottomk"})
"""Operators whose state is the rows that are chosen so far."""


@dataclass(slots=True)
class PartialAggregate:
    """What has been folded so far.

    Attributes:
        op: The operator.
        n: (groups, steps) int64: rows that were present, of choices those that are kept.
        first: (groups,) int64: the first row of each group that was present anywhere, -1 for none.
        out: (groups, steps) float64: sum, mean, extreme, squared distances; nothing for counts.
        more: (groups, steps) float64: compensations of sums, means of variances; else nothing.
        incremental: (groups, steps) bool: where a mean would have overflown and is kept in `out`; else nothing.
        wanted: (steps,) int64: how many rows are chosen; else nothing.
        heap: (groups, steps, most wanted) int64: rows that are chosen; else nothing.
        key: Their values with the sign of the operator.
    """

    op: str
    n: NDArray[np.int64]
    first: NDArray[np.int64]
    out: NDArray[np.float64]
    more: NDArray[np.float64]
    incremental: NDArray[np.bool_]
    wanted: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    heap: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    key: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0, 0)))

    @classmethod
    def begin(cls, op: str, groups: int, steps: int, wanted: NDArray[np.int64] | None = None) -> PartialAggregate:
        """Return the state before any row."""
        shape, nothing = (groups, steps), (0, 0)
        # -0.0 and a number add up to that number, whatever it is.
        out = np.full(shape if op not in {"count", "group"} and wanted is None else nothing, -0.0)
        more = np.zeros(shape if op in {"sum", "avg", "stddev", "stdvar"} else nothing)
        incremental = np.zeros(shape if op == "avg" else nothing, np.bool_)
        state = cls(op, np.zeros(shape, np.int64), np.full(groups, -1, np.int64), out, more, incremental)
        if wanted is not None:
            most = (groups, steps, max(int(wanted.max(initial=0)), 1))
            state.wanted, state.heap, state.key = wanted, np.zeros(most, np.int64), np.zeros(most)
        return state

    @staticmethod
    def size_bytes(op: str, groups: int, steps: int, most: int) -> int:
        """Return about how much room a state takes; `most` is how many rows are chosen of each group."""
        return groups * steps * (16 * max(most, 1) + 8 if op in CHOICES else 25)

    @property
    def sign(self) -> float:
        """1 where the larger value is wanted, -1 where the smaller one is."""
        return -1.0 if self.op in {"min", "bottomk"} else 1.0

    def fold(
        self, values: NDArray[np.float64], present: NDArray[np.bool_], group: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> None:
        """Fold rows in.

        Args:
            values: (rows, steps) float64.
            present: (rows, steps) bool.
            group: (rows,) int64.
            rows: (rows,) int64 their numbers, ascending from call to call.
        """
        _FOLDING[self.op](self, values, present, group, rows)

    def result(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return (groups, steps) values and where there are any; not of choices."""
        there = self.n > 0
        count = np.maximum(self.n, 1)
        if self.op == "sum":
            return np.add(self.out, self.more, out=self.out.copy(), where=np.isfinite(self.out)), there
        if self.op == "avg":
            mean = self.out / count + self.more / count
            return np.where(self.incremental, self.out + self.more, mean), there
        if self.op in {"min", "max"}:
            return self.out, there
        if self.op in {"stddev", "stdvar"}:
            variance = self.out / count
            return np.sqrt(variance) if self.op == "stddev" else variance, there
        return self.n.astype(np.float64) if self.op == "count" else np.ones(self.n.shape), there

    def chosen(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Return the rows that are chosen at some step, ascending, with (rows, steps) values and where they are."""
        kept = np.arange(self.heap.shape[2]) < self.n[:, :, None]
        _, step, _ = np.nonzero(kept)
        rows, place = np.unique(self.heap[kept], return_inverse=True)
        values, present = np.zeros((len(rows), self.n.shape[1])), np.zeros((len(rows), self.n.shape[1]), np.bool_)
        values[place, step] = self.key[kept] * self.sign
        present[place, step] = True
        return rows, values, present

    def merge(self, other: PartialAggregate, group: NDArray[np.int64], base: int) -> None:
        """Merge the state of other series in.

        Args:
            other: Of the same operator and steps.
            group: (groups of the other,) int64: which groups here its groups are.
            base: What its numbers of rows count from here: they come after all that were folded here.
        """
        _MERGING[self.op](self, other, group, base)
        seen = other.first >= 0
        new = seen & (self.first[group] < 0)
        self.first[group[new]] = other.first[new] + base


def _fold_sum(state: PartialAggregate, values: _F, present: _B, group: _I, rows: _I) -> None:
    kernels.sums(values, present, group, rows, state.out, state.more, state.n, state.first)


def _fold_mean(state: PartialAggregate, values: _F, present: _B, group: _I, rows: _I) -> None:
    kernels.means(values, present, group, rows, state.out, state.more, state.n, state.first, state.incremental)


def _fold_extreme(state: PartialAggregate, values: _F, present: _B, group: _I, rows: _I) -> None:
    kernels.extremes(values, present, group, rows, state.sign, state.out, state.n, state.first)


def _fold_variance(state: PartialAggregate, values: _F, present: _B, group: _I, rows: _I) -> None:
    kernels.variances(values, present, group, rows, state.out, state.more, state.n, state.first)


def _fold_count(state: PartialAggregate, _values: _F, present: _B, group: _I, rows: _I) -> None:
    kernels.counts(present, group, rows, state.n, state.first)


def _fold_choice(state: PartialAggregate, values: _F, present: _B, group: _I, rows: _I) -> None:
    kernels.largest(values, present, group, rows, state.sign, state.wanted, state.n, state.heap, state.key, state.first)


def _merge_sum(state: PartialAggregate, other: PartialAggregate, group: _I, _base: int) -> None:
    one, two = state.out[group], other.out
    with np.errstate(all="ignore"):
        total = one + two
        lost = np.where(np.abs(one) >= np.abs(two), (one - total) + two, (two - total) + one)
        state.more[group] = np.where(np.isinf(total), 0.0, state.more[group] + other.more + lost)
    state.out[group] = total
    state.n[group] += other.n


def _merge_mean(state: PartialAggregate, other: PartialAggregate, group: _I, _base: int) -> None:
    count = state.n[group] + other.n
    share = other.n / np.maximum(count, 1)
    overflows = state.incremental[group] | other.incremental
    with np.errstate(all="ignore"):
        overflows |= np.isinf(state.out[group] + other.out) & (count > 0)
        own, others = _means_of(state, group), _means_of(other, np.arange(len(group)))
    mixed = np.where(other.n == 0, own, np.where(state.n[group] == 0, others, own * (1.0 - share) + others * share))
    _merge_sum(state, other, group, 0)
    state.out[group] = np.where(overflows, mixed, state.out[group])
    state.more[group] = np.where(overflows, 0.0, state.more[group])
    state.incremental[group] = overflows


def _means_of(state: PartialAggregate, group: _I) -> _F:
    count = np.maximum(state.n[group], 1)
    out, more = state.out[group], state.more[group]
    means: _F = np.where(state.incremental[group], out + more, out / count + more / count)
    return means


def _merge_extreme(state: PartialAggregate, other: PartialAggregate, group: _I, _base: int) -> None:
    own = state.out[group]
    better = (other.out * state.sign > own * state.sign) | np.isnan(own) | (state.n[group] == 0)
    state.out[group] = np.where((other.n > 0) & better, other.out, own)
    state.n[group] += other.n


def _merge_variance(state: PartialAggregate, other: PartialAggregate, group: _I, _base: int) -> None:
    """Put two sets together as Chan, Golub and LeVeque do ("Updating formulae", 1979)."""
    own, count = state.n[group], state.n[group] + other.n
    share = other.n / np.maximum(count, 1)
    with np.errstate(all="ignore"):
        delta = np.where((own > 0) & (other.n > 0), other.more - state.more[group], 0.0)
        squares = np.where(own > 0, state.out[group], 0.0) + np.where(other.n > 0, other.out, 0.0)
        state.out[group] = squares + delta * delta * own * share
        state.more[group] = np.where(own > 0, state.more[group] + delta * share, other.more)
    state.n[group] = count


def _merge_count(state: PartialAggregate, other: PartialAggregate, group: _I, _base: int) -> None:
    state.n[group] += other.n


def _merge_choice(state: PartialAggregate, other: PartialAggregate, group: _I, base: int) -> None:
    kernels.merge_largest(other.heap, other.key, other.n, group, base, state.wanted, state.n, state.heap, state.key)


if TYPE_CHECKING:
    _F = NDArray[np.float64]
    _B = NDArray[np.bool_]
    _I = NDArray[np.int64]
    _Fold = Callable[[PartialAggregate, _F, _B, _I, _I], None]
    _Merge = Callable[[PartialAggregate, PartialAggregate, _I, int], None]

_FOLDING: dict[str, _Fold] = {
    "sum": _fold_sum,
    "avg": _fold_mean,
    "min": _fold_extreme,
    "max": _fold_extreme,
    "stddev": _fold_variance,
    "stdvar": _fold_variance,
    "count": _fold_count,
    "group": _fold_count,
    "topk": _fold_choice,
    "bottomk": _fold_choice,
}

_MERGING: dict[str, _Merge] = {
    "sum": _merge_sum,
    "avg": _merge_mean,
    "min": _merge_extreme,
    "max": _merge_extreme,
    "stddev": _merge_variance,
    "stdvar": _merge_variance,
    "count": _merge_count,
    "group": _merge_count,
    "topk": _merge_choice,
    "bottomk": _merge_choice,
}
