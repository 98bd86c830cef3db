"""Aggregation operators over native histograms, beside what `aggregation` makes of the numbers.

Source:
    Prometheus 3.14, aggregation operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.promql import aggregate_kernels
from headrace.store.promql.natives import total_kernels as sums
from headrace.store.promql.natives.columns import Natives
from headrace.store.promql.natives.math import folded
from headrace.store.promql.natives.windows import COLLISION, MIXED_SCHEMAS, RECONCILED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.promql.aggregation import Groups
    from headrace.store.promql.language.ast import Aggregate
    from headrace.store.promql.notes import Notes
    from headrace.store.promql.values import Vector

IGNORING = frozenset({"min", "max", "stddev", "stdvar", "quantile", "topk", "bottomk"})
"""Operators that know numbers alone."""

_CHOICES = frozenset({"topk", "bottomk"})
"""Operators whose remarks point to themselves, not to their operand."""


def remark_on_ignored(node: Aggregate, vector: Vector, param: NDArray[np.float64] | str | None, notes: Notes) -> None:
    """Say that an operator ignores histograms, where there are any at a step at which it looks."""
    if node.op not in IGNORING or vector.natives is None:
        return
    there = vector.natives.present.any(axis=0)
    if node.op in _CHOICES and isinstance(param, np.ndarray):
        there = there & (param >= 1)
    if there.any():
        where = node if node.op in _CHOICES else node.expr
        notes.info(f"ignored histogram in {node.op} aggregation", where)


def folded_natives(
    node: Aggregate, vector: Vector, groups: Groups, there: NDArray[np.bool_], notes: Notes
) -> Natives | None:
    """Add up or average the histograms of each group.

    Args:
        node: ``sum`` or ``avg``.
        vector: Its operand.
        groups: Rows by group.
        there: (groups, steps) where there are numbers; false afterwards where there were histograms, too.
        notes: Takes annotations.
    """
    natives, where = vector.natives, node.expr
    if natives is None:
        return None
    have = np.zeros(groups.shape, np.bool_)
    aggregate_kernels.any_of(natives.present, groups.of, have)
    both = have & there
    there &= ~both
    first_number = _first_rows(vector.present, groups)
    # Where a histogram comes first, they are added up for what there is to say, even if a number follows.
    have &= _first_rows(natives.present, groups) < np.where(both, first_number, len(vector))
    order, owners, first, last = _members(natives, groups, have)
    found = folded(natives.histograms, order, first, last, mean=node.op == "avg")
    misfits = owners[found.faults[found.faults >= 0]]
    for symbol in np.unique(vector.labels.column(METRIC_NAME)[misfits]).tolist():
        notes.warn(f'{MIXED_SCHEMAS} "{vector.labels.text(symbol)}"', where)
    if (found.notes & sums.COLLISION).any():
        notes.warn(f"{COLLISION} aggregation", where)
    if (found.notes & sums.RECONCILED).any():
        notes.info(f"{RECONCILED} aggregation", where)
    ended = np.full(groups.shape, len(vector))
    ended[have] = np.where(found.faults >= 0, owners[found.faults], len(vector))
    if (both & (first_number < ended)).any():
        notes.warn("encountered a mix of histograms and floats for aggregation", where)
    return Natives.placed(have, found.places, found.histograms).where(~both)


def _first_rows(present: NDArray[np.bool_], groups: Groups) -> NDArray[np.int64]:
    """Return (groups, steps) the first row that is there, or a number beyond all."""
    rows, steps = np.nonzero(present)
    found = np.full(groups.shape, len(present))
    np.minimum.at(found, (groups.of[rows], steps), rows)
    return found


def _members(
    natives: Natives, groups: Groups, have: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Return the histograms of each group and step of `have`, one after the other, whose they are, and their spans."""
    rows, steps = np.nonzero(natives.present & have[groups.of])
    keys = groups.of[rows] * have.shape[1] + steps
    order = np.argsort(keys, kind="stable")
    rows, steps = rows[order], steps[order]
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    last = np.append(first[1:], len(keys)).astype(np.int64)
    return natives.rows[rows, steps], rows, first, last
