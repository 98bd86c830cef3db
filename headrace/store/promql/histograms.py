"""Functions of classic histograms: quantiles and fractions out of cumulative buckets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.promql import aggregate_kernels as kernels
from headrace.store.promql.aggregation import Groups
from headrace.store.promql.notes import Repair, brief, for_metric
from headrace.store.promql.values import METADATA, Vector, joined
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.store.labels import LabelTable
    from headrace.store.promql.language.ast import Expr
    from headrace.store.promql.notes import Notes

BUCKET_LABEL = "le"

_MONOTONIC = (
    "input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)


class Buckets:
    """The histograms of a vector: its rows by labels without ``le``, each ascending by bound.

    Args:
        vector: Buckets; a row whose ``le`` is no number is left out, with a warning.
        node: The expression they come from.
        notes: Takes annotations.
        named: Whether they tell the metric name, as they do where names are dropped at the end of the query.
    """

    def __init__(self, vector: Vector, node: Expr, notes: Notes, *, named: bool = False) -> None:
        vector = vector.compact()
        bounds = _bounds(vector, node, notes, named=named)
        usable = ~np.isnan(bounds)
        self._node = node
        self._notes = notes
        self._named = named
        self._vector = vector.take(usable)
        self._bounds = bounds[usable]
        # Two metrics of the same labels are two histograms; that they collide is seen once the name is gone.
        groups = Groups(self._vector, (BUCKET_LABEL,), without=True, names=True)
        self._labels = groups.labels
        self._shape = groups.shape
        self._rows = np.lexsort((self._bounds, groups.of)).astype(np.int64)
        self._starts = np.searchsorted(groups.of[self._rows], np.arange(len(groups) + 1)).astype(np.int64)

    def quantile(self, q: NDArray[np.float64], times_ms: NDArray[np.int64]) -> Vector:
        """Compute the quantile `q`, (steps,); `times_ms` of the steps are for the annotation."""
        return self._quantile(q, times_ms).without_name()

    def quantiles(self, label: str, wanted: Sequence[NDArray[np.float64]], times_ms: NDArray[np.int64]) -> Vector:
        """Compute several quantiles, told apart by `label`.

        Raises:
            ExecutionError: `label` hides what told two histograms apart.
        """
        return joined_quantiles(
            label, wanted, [self._quantile(q, times_ms) for q in wanted], named=self._named
        ).without_name()

    def fraction(self, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Vector:
        """Compute which share of the observations lies between `lower` and `upper`, (steps,) each."""
        out, there = np.zeros(self._shape), np.zeros(self._shape, np.bool_)
        kernels.bucket_fractions(lower, upper, *self._columns(), out, there)
        return Vector(self._labels, out, there).without_name()

    def _columns(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        return self._vector.values, self._vector.present, self._bounds, self._rows, self._starts

    def _quantile(self, q: NDArray[np.float64], times_ms: NDArray[np.int64]) -> Vector:
        out, there = np.zeros(self._shape), np.zeros(self._shape, np.bool_)
        fixed = np.zeros((*self._shape, 3))
        kernels.bucket_quantiles(q, *self._columns(), out, there, fixed)
        self._remark_on_repairs(fixed, times_ms)
        return Vector(self._labels, out, there)

    def _remark_on_repairs(self, fixed: NDArray[np.float64], times_ms: NDArray[np.int64]) -> None:
        """Tell of the histograms that were made monotonic, (histograms, steps, 3) as the kernel leaves them."""
        repaired = fixed[:, :, 2] > 0
        for name, rows in _by_name(self._labels, named=self._named):
            histograms, steps = np.nonzero(repaired & rows[:, None])
            if len(steps):
                low, high, most = fixed[histograms, steps].T
                times = int(times_ms[steps.min()]), int(times_ms[steps.max()])
                repair = Repair(low.min(), high.max(), most.max(), len(steps), *times)
                self._notes.repaired(_MONOTONIC + for_metric(name), repair, self._node)


def joined_quantiles(
    label: str, wanted: Sequence[NDArray[np.float64]], found: Sequence[Vector], *, named: bool
) -> Vector:
    """Put several quantiles together, told apart by `label`; `named` tells whether metric names stay for now.

    Raises:
        ExecutionError: `label` hides what told two histograms apart.
    """
    parts = [_labelled(label, q, vector, named=named) for q, vector in zip(wanted, found, strict=True)]
    out = parts[0]
    for part in parts[1:]:
        out = joined(out, part)
    return out


def _labelled(label: str, q: NDArray[np.float64], vector: Vector, *, named: bool) -> Vector:
    """Set `label` to the quantile, one row for each value that it has at some step."""
    parts = []
    for bits in np.unique(q.view(np.uint64)):
        here = q.view(np.uint64) == bits
        symbol = vector.labels.symbols.intern(with_point(float(q[here][0])))
        column = np.full(len(vector), symbol, np.int32)
        labels = vector.labels.with_column(label, column)
        if not named:
            labels = labels.drop(METADATA)
        parts.append(Vector(labels, vector.values, vector.present & here).with_labels(labels))
    out = parts[0]
    for part in parts[1:]:
        out = joined(out, part)
    return out


def usable_buckets(vector: Vector) -> NDArray[np.bool_]:
    """Return (n,) which rows have a number in the label ``le``."""
    column = vector.labels.column(BUCKET_LABEL)
    usable = [
        symbol for symbol in np.unique(column).tolist() if not math.isnan(parse_bound(vector.labels.text(symbol)))
    ]
    return np.isin(column, usable)


def _bounds(vector: Vector, node: Expr, notes: Notes, *, named: bool) -> NDArray[np.float64]:
    """Read the label ``le`` of each row; NaN where it is missing or no number."""
    column = vector.labels.column(BUCKET_LABEL)
    out = np.full(len(column), np.nan)
    for symbol in np.unique(column).tolist():
        rows = column == symbol
        text = "" if symbol == ABSENT else vector.labels.text(symbol)
        out[rows] = bound = parse_bound(text)
        if math.isnan(bound):
            for name, _ in _by_name(vector.labels.take(rows), named=named):
                why = f'bucket label "le" is missing or has a malformed value of "{text}"'
                notes.warn(why + for_metric(name), node)
    return out


def _by_name(labels: LabelTable, *, named: bool) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield metric names, each with the rows, (n,) bool, that have it; unless `named`, no name with all rows."""
    if not named:
        yield "", np.ones(len(labels), np.bool_)
        return
    column = labels.column(METRIC_NAME)
    for symbol in np.unique(column).tolist():
        yield labels.text(symbol), column == symbol


def parse_bound(text: str) -> float:
    """Read a bucket's upper bound; NaN where it is none."""
    if text.strip() != text or "_" in text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan


def with_point(value: float) -> str:
    """Print a number as OpenMetrics does: the shortest digits, never without a point or an exponent.

    >>> with_point(1.0), with_point(0.95), with_point(1e21)
    ('1.0', '0.95', '1e+21')
    """
    text = brief(value)
    return text if not math.isfinite(value) or "." in text or "e" in text else f"{text}.0"
