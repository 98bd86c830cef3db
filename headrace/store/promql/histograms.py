"""Functions of classic histograms: quantiles and fractions out of cumulative buckets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.promql import aggregate_kernels as kernels
from headrace.store.promql.aggregation import Groups
from headrace.store.promql.notes import brief
from headrace.store.promql.values import Vector, joined
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.promql.ast import Expr
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
    """

    def __init__(self, vector: Vector, node: Expr, notes: Notes) -> None:
        vector = vector.compact()
        bounds = _bounds(vector, node, notes)
        usable = ~np.isnan(bounds)
        self._node = node
        self._notes = notes
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
        return joined_quantiles(label, wanted, [self._quantile(q, times_ms) for q in wanted])

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
        repaired = fixed[:, :, 2] > 0
        if repaired.any():
            steps = np.nonzero(repaired.any(axis=0))[0]
            low, high = fixed[repaired, 0].min(), fixed[repaired, 1].max()
            self._notes.repaired(
                _MONOTONIC,
                (low, high, fixed[repaired, 2].max()),
                int(repaired.sum()),
                (int(times_ms[steps[0]]), int(times_ms[steps[-1]])),
                self._node,
            )
        return Vector(self._labels, out, there)


def joined_quantiles(label: str, wanted: Sequence[NDArray[np.float64]], found: Sequence[Vector]) -> Vector:
    """Put several quantiles together, told apart by `label`.

    Raises:
        ExecutionError: `label` hides what told two histograms apart.
    """
    parts = [_labelled(label, q, vector) for q, vector in zip(wanted, found, strict=True)]
    out = parts[0]
    for part in parts[1:]:
        out = joined(out, part)
    return out


def _labelled(label: str, q: NDArray[np.float64], vector: Vector) -> Vector:
    """Set `label` to the quantile, one row for each value that it has at some step."""
    parts = []
    for bits in np.unique(q.view(np.uint64)):
        here = q.view(np.uint64) == bits
        symbol = vector.labels.symbols.intern(with_point(float(q[here][0])))
        column = np.full(len(vector), symbol, np.int32)
        labels = vector.labels.drop([METRIC_NAME]).with_column(label, column)
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


def _bounds(vector: Vector, node: Expr, notes: Notes) -> NDArray[np.float64]:
    """Read the label ``le`` of each row; NaN where it is missing or no number."""
    column = vector.labels.column(BUCKET_LABEL)
    out = np.full(len(column), np.nan)
    for symbol in np.unique(column).tolist():
        text = "" if symbol == ABSENT else vector.labels.text(symbol)
        bound = parse_bound(text)
        out[column == symbol] = bound
        if math.isnan(bound):
            notes.warn(f'bucket label "le" is missing or has a malformed value of "{text}"', node)
    return out


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
