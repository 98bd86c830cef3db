"""Aggregation operators over vectors of all steps."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.api.quoting import go_quote
from headrace.store.promql import aggregate_kernels as kernels
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.language.numbers import valid_label
from headrace.store.promql.natives.aggregation import folded_natives, remark_on_ignored
from headrace.store.promql.natives.text import text_of
from headrace.store.promql.notes import brief
from headrace.store.promql.values import METADATA, Vector, empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.labels import LabelTable
    from headrace.store.promql.language.ast import Aggregate
    from headrace.store.promql.notes import Notes

_INT64_MIN = -float(1 << 63)
_INT64_MAX = 9223372036854774784.0
"""Largest double that is an int64."""

_LONG = 255
"""In place of a length of one byte: three bytes follow."""


class Groups:
    """Rows by group.

    Args:
        vector: What is aggregated; without rows that are present nowhere.
        grouping: Labels of ``by`` or ``without``.
        without: Which of the two.
        names: Whether ``without`` keeps the metric name.
    """

    def __init__(self, vector: Vector, grouping: tuple[str, ...], *, without: bool, names: bool = False) -> None:
        table = vector.labels
        unwanted = grouping if names else (METRIC_NAME, *grouping)
        self.kept = table.drop(unwanted) if without else table.keep(grouping)
        numbers, first = self.kept.groups()
        self.of = numbers.astype(np.int64)
        self.labels = self.kept.take(first)
        self.shape = (len(first), vector.steps)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows sorted by group, and where each group starts among them."""
        rows = np.argsort(self.of, kind="stable").astype(np.int64)
        starts = np.searchsorted(self.of[rows], np.arange(len(self) + 1)).astype(np.int64)
        return rows, starts


def aggregate(
    node: Aggregate,
    vector: Vector,
    param: NDArray[np.float64] | str | None,
    notes: Notes,
    limit: Callable[[int], None],
) -> Vector:
    """Apply the operator of `node`.

    Args:
        node: The expression.
        vector: Its operand.
        param: (steps,) float64, or the label of ``count_values``.
        notes: Takes annotations.
        limit: Refuses too many points.
    """
    vector = vector.compact()
    if isinstance(param, str) and not valid_label(param):
        raise ExecutionError(f"invalid label name {go_quote(param)}")
    _check_param(node, param, notes)
    if not len(vector):
        return empty(vector.labels, vector.steps)
    groups = Groups(vector, node.grouping, without=node.without)
    remark_on_ignored(node, vector, param, notes)
    if node.op in _FOLDS:
        found = _fold(node.op, vector, groups)
        if node.op in {"sum", "avg"}:
            found = replace(found, natives=folded_natives(node, vector, groups, found.present, notes))
        return _marked(found, vector, groups)
    if isinstance(param, str):
        # The label is there before series are grouped, so it may be left out again.
        gone = node.without and param in {METRIC_NAME, *node.grouping}
        return _count_values(vector, groups, None if gone else param, limit)
    if param is None:
        raise AssertionError(f"bug: {node.op} without a parameter")
    if node.op == "quantile":
        out, there = np.zeros(groups.shape), np.zeros(groups.shape, np.bool_)
        kernels.quantiles(param, vector.values, vector.present, *groups.rows(), out, there)
        return _marked(Vector(groups.labels, out, there), vector, groups)
    if node.op == "limit_ratio":
        return _limit_ratio(vector, groups, param)
    return _choose(node.op, vector, groups, np.maximum(param, 0.0).astype(np.int64))


_FOLDS = frozenset({"sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"})


def _fold(op: str, vector: Vector, groups: Groups) -> Vector:
    out = np.zeros(groups.shape)
    n = np.zeros(groups.shape, np.int64)
    columns = (vector.values, vector.present, groups.of, out)
    if op == "sum":
        c = np.zeros(groups.shape)
        kernels.sums(*columns, c, n)
        np.add(out, c, out=out, where=np.isfinite(out))
    elif op == "avg":
        kernels.means(*columns, np.zeros(groups.shape), n, np.zeros(groups.shape, np.bool_))
    elif op in {"min", "max"}:
        kernels.extremes(*columns[:3], 1.0 if op == "max" else -1.0, out, n)
    elif op in {"stddev", "stdvar"}:
        kernels.variances(*columns, np.zeros(groups.shape), n)
        if op == "stddev":
            np.sqrt(out, out=out)
    else:
        np.add.at(n, groups.of, vector.everywhere)
        out = n.astype(np.float64) if op == "count" else np.ones(groups.shape)
    return Vector(groups.labels, out, n > 0)


def _marked(out: Vector, vector: Vector, groups: Groups) -> Vector:
    """Mark the groups which have a row with a name to be dropped, at the last step where they have any."""
    if vector.drop_name is None or not set(groups.labels.names).intersection(METADATA):
        return out
    marked = np.zeros(groups.shape, np.bool_)
    kernels.any_of(vector.everywhere & vector.drop_name[:, None], groups.of, marked)
    last = vector.steps - 1 - out.everywhere[:, ::-1].argmax(axis=1)
    return replace(out, drop_name=marked[np.arange(len(out)), last])


def _check_param(node: Aggregate, param: NDArray[np.float64] | str | None, notes: Notes) -> None:
    if param is None or isinstance(param, str) or not len(param):
        return
    if node.op == "quantile":
        _check_quantiles(param, node, notes)
    elif node.op == "limit_ratio":
        if np.isnan(param).any():
            raise ExecutionError("Ratio value is NaN")
        notes.check_ratios(param, node.param or node)
    elif not param.max() < 1:
        _check_counts(param)


def _check_quantiles(q: NDArray[np.float64], node: Aggregate, notes: Notes) -> None:
    """Warn about the largest and the smallest, each as Go has it: infinity before NaN before numbers."""
    bad = np.array([np.nan if np.isnan(q).any() else 0.0, _most(q), -_most(-q)])
    notes.check_quantiles(bad, node.param or node)


def _most(values: NDArray[np.float64]) -> float:
    return np.inf if np.isposinf(values).any() else float(values.max())


def _check_counts(k: NDArray[np.float64]) -> None:
    if np.isnan(k).any():
        raise ExecutionError("Parameter value is NaN")
    if k.min() <= _INT64_MIN:
        raise ExecutionError(f"Scalar value {brief(float(k.min()))} underflows int64")
    if k.max() >= _INT64_MAX:
        raise ExecutionError(f"Scalar value {brief(float(k.max()))} overflows int64")


def _choose(op: str, vector: Vector, groups: Groups, k: NDArray[np.int64]) -> Vector:
    """Keep so many rows of each group."""
    keep = np.zeros(vector.present.shape, np.bool_)
    if op == "limitk":
        kernels.first_ones(k, vector.everywhere, groups.of, np.zeros(groups.shape, np.int64), keep)
        return _heaped(vector.where(keep), groups)
    sign = 1.0 if op == "topk" else -1.0
    kernels.largest(k, sign, vector.values, vector.present, *groups.rows(), keep)
    chosen = vector.with_values(vector.values, keep)
    if vector.steps > 1:
        return chosen.compact()
    value = chosen.values[:, 0] * sign
    order = np.lexsort((-value, np.isnan(value), groups.of))
    return replace(chosen.take(order).compact(), ordered=True)


def _heaped(chosen: Vector, groups: Groups) -> Vector:
    """Order the rows of an only step by the heap of each group, as Prometheus does: other operators go by it."""
    if chosen.steps != 1:
        return chosen.compact()
    order = np.empty(len(chosen), np.int64)
    key = np.where(chosen.present, chosen.values, 0.0)[:, 0].copy()
    n = kernels.heap_order(key, chosen.everywhere[:, 0].copy(), *groups.rows(), order)
    return replace(chosen.take(order[:n]), ordered=True)


def _limit_ratio(vector: Vector, groups: Groups, ratio: NDArray[np.float64]) -> Vector:
    """Keep a share of the rows, chosen by a hash of their labels, so that r and r - 1 are complements."""
    place = np.array([_place(vector.labels, row) for row in range(len(vector))]).reshape(-1, 1)
    share = np.clip(ratio, -1.0, 1.0)
    keep = np.where(share >= 0, place < share, place >= 1.0 + share)
    return _heaped(vector.where(keep), groups)


def _place(table: LabelTable, row: int) -> float:
    """Return a number from 0 to 1 that the labels alone decide, the same as in Prometheus."""
    parts = (part.encode() for pair in table.labels(row).items() for part in pair)
    return xxhash.xxh64_intdigest(b"".join(_sized(part) for part in parts)) / 2.0**64


def _sized(part: bytes) -> bytes:
    size = len(part)
    return (bytes([size]) if size < _LONG else bytes([_LONG]) + size.to_bytes(3, "little")) + part


def _count_values(vector: Vector, groups: Groups, label: str | None, limit: Callable[[int], None]) -> Vector:
    """Count equal values; each becomes the value of `label`, if there is one."""
    rows, steps, texts = _value_texts(vector)
    limit(len(np.unique(texts)) * vector.steps)
    pairs, place = np.unique(np.stack([groups.of[rows], texts]), axis=1, return_inverse=True)
    limit(pairs.shape[1] * vector.steps)
    out = np.zeros((pairs.shape[1], vector.steps))
    np.add.at(out, (place, steps), 1.0)
    labels = groups.labels.take(pairs[0].astype(np.intp))
    if label is not None:
        labels = labels.with_column(label, pairs[1].astype(np.int32))
    merged, first = labels.groups()
    total = np.zeros((len(first), vector.steps))
    np.add.at(total, merged, out)
    return Vector(labels.take(first), total, total > 0)


def _value_texts(vector: Vector) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Return where there are values, rows and steps, and the symbols of their texts."""
    rows, steps = np.nonzero(vector.present)
    bits = vector.values[rows, steps].view(np.uint64).copy()
    found = bits.view(np.float64)
    bits[np.isnan(found)] = np.float64(np.nan).view(np.uint64)
    distinct, which = np.unique(bits, return_inverse=True)
    intern = vector.labels.symbols.intern
    texts = np.array([intern(plain(float(x))) for x in distinct.view(np.float64)], np.int64)[which]
    if vector.natives is None:
        return rows, steps, texts
    own, when = np.nonzero(vector.natives.present)
    places, which = np.unique(vector.natives.rows[own, when], return_inverse=True)
    more = np.array([intern(text_of(vector.natives.histograms, place)) for place in places.tolist()], np.int64)[which]
    return np.append(rows, own), np.append(steps, when), np.append(texts, more)


def plain(value: float) -> str:
    """Print a number without an exponent, the shortest way that reads back."""
    if value != value:  # noqa: PLR0124 -- NaN
        return "NaN"
    if value in {float("inf"), float("-inf")}:
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
