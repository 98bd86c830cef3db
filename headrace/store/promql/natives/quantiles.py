"""Quantiles, fractions and variances of native histograms, beside those of classic ones in `histograms`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.labels import LabelTable
from headrace.store.promql import aggregate_kernels
from headrace.store.promql.histograms import BUCKET_LABEL, joined_quantiles, usable_buckets
from headrace.store.promql.natives import quantile_kernels as kernels
from headrace.store.promql.notes import for_metric
from headrace.store.promql.values import Vector, stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.promql.language.ast import Expr
    from headrace.store.promql.natives.columns import Natives
    from headrace.store.promql.notes import Notes

_MIXED = "vector contains a mix of classic and native histograms"

_REMARKS = {
    kernels.IS_NAN: "input to histogram_quantile has NaN observations, result is NaN",
    kernels.IS_SKEWED: "input to histogram_quantile has NaN observations, result is skewed higher",
    kernels.HAS_NAN: "input to histogram_fraction has NaN observations, which are excluded from all fractions",
}


def separated(vector: Vector, node: Expr, notes: Notes, *, named: bool) -> tuple[Vector, Vector | None]:
    """Return classic buckets and native histograms by themselves.

    Where the same metric has both, with the same labels but ``le``, neither is left.

    Args:
        vector: Both, as they come.
        node: The expression they come from.
        notes: Takes annotations.
        named: Whether these tell the metric name.
    """
    if vector.natives is None:
        return vector, None
    usable = usable_buckets(vector)[:, None]
    classic = vector.with_values(vector.values)
    unlike = vector.labels.drop([BUCKET_LABEL])
    names = vector.labels.names
    table = LabelTable(names, stacked([unlike, vector.labels], names), vector.labels.symbols)
    groups, first = table.groups()
    buckets, own = groups[: len(vector)].astype(np.int64), groups[len(vector) :].astype(np.int64)
    shape = (len(first), vector.steps)
    have_buckets, have_natives = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    aggregate_kernels.any_of(vector.present & usable, buckets, have_buckets)
    aggregate_kernels.any_of(vector.natives.present, own, have_natives)
    clash = have_buckets & have_natives
    if clash.any():
        for symbol in np.unique(vector.labels.column(METRIC_NAME)[np.any(clash, axis=1)[own]]).tolist():
            notes.warn(f"{_MIXED}{for_metric(vector.labels.text(symbol) if named else '')}", node)
        # What is no bucket stays: it has a warning of its own.
        classic = classic.where(~(clash[buckets] & usable))
        vector = vector.where(~clash[own])
    return classic, vector


def quantile(vector: Vector, q: NDArray[np.float64], node: Expr, notes: Notes) -> Vector:
    """Compute the quantile `q`, (steps,), of the native histograms of a vector."""
    return _computed(vector, kernels.quantiles, (q,), node, notes).without_name()


def quantiles(
    vector: Vector, label: str, wanted: Sequence[NDArray[np.float64]], node: Expr, notes: Notes, *, named: bool
) -> Vector:  # fmt: skip
    """Compute several quantiles, told apart by `label`; `named` tells whether metric names stay for now."""
    found = [_computed(vector, kernels.quantiles, (q,), node, notes) for q in wanted]
    return joined_quantiles(label, wanted, found, named=named).without_name()


def fraction(
    vector: Vector, lower: NDArray[np.float64], upper: NDArray[np.float64], node: Expr, notes: Notes
) -> Vector:  # fmt: skip
    """Compute which share of the observations lies between `lower` and `upper`, (steps,) each."""
    return _computed(vector, kernels.fractions, (lower, upper), node, notes).without_name()


def variances(natives: Natives) -> NDArray[np.float64]:
    """Return (n, steps) the variances of the observations; anything where there is none."""
    out = np.zeros(len(natives.histograms) + 1)
    kernels.variances(natives.histograms.columns, out[:-1])
    found: NDArray[np.float64] = out[natives.rows]
    return found


def _computed(
    vector: Vector, kernel: object, params: tuple[NDArray[np.float64], ...], node: Expr, notes: Notes
) -> Vector:
    """Run a kernel for every histogram with the parameters, (steps,) each, of its step."""
    natives = vector.natives
    if natives is None or not callable(kernel):
        raise AssertionError("bug: no native histograms")
    there = natives.present
    rows, steps = np.nonzero(there)
    found, remarks = np.empty(len(rows)), np.empty(len(rows), np.uint8)
    kernel(natives.histograms.columns, natives.rows[there], *(param[steps] for param in params), found, remarks)
    for code, text in _REMARKS.items():
        for symbol in np.unique(vector.labels.column(METRIC_NAME)[rows[remarks & code != 0]]).tolist():
            notes.info(f"{text}{for_metric(vector.labels.text(symbol))}", node)
    values = np.zeros(there.shape)
    values[there] = found
    return vector.with_values(values, there).compact()
