"""The function ``info``: labels of info metrics put on other series, by ``instance`` and ``job``.

Source:
    Prometheus 3.14, ``info``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.labels import LabelTable
from headrace.store.matchers import Matcher, MatchType
from headrace.store.promql import aggregate_kernels as kernels
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.language.ast import Subquery, VectorSelector
from headrace.store.promql.statistics import in_vector
from headrace.store.promql.values import Vector, shown, stacked
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import At, Expr

IDENTIFYING = ("instance", "job")
"""Labels by which series and info series belong together."""

_TARGET_INFO = Matcher(METRIC_NAME, MatchType.EQUAL, "target_info")
_ANY_INFO = Matcher(METRIC_NAME, MatchType.REGEX, ".+_info")
_POSITIVE = frozenset({MatchType.EQUAL, MatchType.REGEX})


def selector(base: Expr, given: Sequence[Matcher]) -> VectorSelector:
    """Return the selector of the info series for a call.

    Args:
        base: First argument; what its first selector says about time holds for the info series too.
        given: Matchers of the second argument.
    """
    data = [matcher for matcher in given if matcher.name != METRIC_NAME]
    at, offset_ms = _reference(base, 0) or (None, 0)
    matchers = (*_names(given), *data)
    return VectorSelector(start=base.start, end=base.end, name="", matchers=matchers, offset_ms=offset_ms, at=at)


def _names(given: Sequence[Matcher]) -> list[Matcher]:
    names = [matcher for matcher in given if matcher.name == METRIC_NAME]
    if not names:
        return [_TARGET_INFO]
    return names if any(matcher.type in _POSITIVE for matcher in names) else [_ANY_INFO, *names]


def _reference(expr: Expr, offset_ms: int) -> tuple[int | At | None, int] | None:
    """Find the time that the first selector looks at; subqueries around it shift it unless it is pinned inside."""
    if isinstance(expr, VectorSelector):
        return expr.at, expr.offset_ms
    for child in expr.children():
        found = _reference(child, offset_ms)
        if found is not None:
            at, offset = found
            return (expr.at, offset + expr.offset_ms) if isinstance(expr, Subquery) and at is None else found
    return None


def enriched(
    run: Evaluation, base: Vector, found: Vector, times_ms: NDArray[np.int64], given: Sequence[Matcher]
) -> Vector:
    """Put the labels of info series on `base`.

    Args:
        run: The query; the info series that any of `base` may belong to are counted as looked at.
        base: Series.
        found: Info series.
        times_ms: (info series, steps) times of their samples; of several for the same series the newest counts.
        given: Matchers of the second argument: which labels are taken, and whether a series without is left out.

    Raises:
        ExecutionError: Two info series are equally new, or say different things, or labels become equal.
    """
    base = base.compact()
    plain = _matching(base.labels, _names(given))
    kept = _of_the_same(base.labels.take(~plain), found.labels)
    _check_kind(found.take(kept))
    run.count.add(in_vector(found.take(kept)))
    chosen = _chosen(base, plain, found.take(kept), times_ms[kept], run.limit)
    wanted = {matcher.name for matcher in given if matcher.name != METRIC_NAME}
    present = base.everywhere
    if any(not matcher.matches_empty for matcher in given if matcher.name != METRIC_NAME):
        present = present & (plain[:, None] | (chosen >= 0).any(axis=0))
    rows, steps = np.nonzero(present)
    pairs, place = np.unique(np.column_stack([rows, *chosen[:, rows, steps]]), axis=0, return_inverse=True)
    run.limit(len(pairs) * base.steps)
    there = np.zeros((len(pairs), base.steps), np.bool_)
    there[place.ravel(), steps] = True
    labels = _labels(base.labels.take(pairs[:, 0]), found.labels.take(np.flatnonzero(kept)), pairs[:, 1:], wanted)
    return base.take(pairs[:, 0]).where(there).with_labels(labels)


def _check_kind(found: Vector) -> None:
    """Refuse histograms."""
    if found.natives is not None and found.natives.present.any():
        row = int(found.natives.present.any(axis=1).argmax())
        raise ExecutionError(f"this should be an info metric, with float samples: {shown(found.labels, row)}")


def _matching(table: LabelTable, names: Sequence[Matcher]) -> NDArray[np.bool_]:
    """Return which rows have a metric name that all of `names` want: they are info series themselves."""
    column = table.column(METRIC_NAME)
    out = np.zeros(len(table), np.bool_)
    for symbol in np.unique(column).tolist():
        out[column == symbol] = all(matcher.matches(table.text(symbol)) for matcher in names)
    return out


def _of_the_same(base: LabelTable, found: LabelTable) -> NDArray[np.bool_]:
    """Return the info series whose identifying labels some series has."""
    kept = np.zeros(len(found), np.bool_)
    for i, name in enumerate(name for name in IDENTIFYING if (base.column(name) != ABSENT).any()):
        values = base.column(name)
        same = np.isin(found.column(name), values[values != ABSENT])
        kept = same if i == 0 else kept & same
    return kept


def _chosen(
    base: Vector, plain: NDArray[np.bool_], found: Vector, times_ms: NDArray[np.int64], limit: Callable[[int], None]
) -> NDArray[np.int64]:
    """Return for each info metric, series and step the row of `found` that belongs to it, or -1."""
    keys = LabelTable(IDENTIFYING, stacked([base.labels, found.labels], IDENTIFYING), base.labels.symbols)
    of, first = keys.groups()
    names = found.labels.column(METRIC_NAME)
    metrics = np.unique(names)
    limit((len(metrics) + 1) * len(base) * base.steps)
    out = np.full((len(metrics), len(base), base.steps), -1, np.int64)
    for m, metric in enumerate(metrics):
        rows = np.flatnonzero(names == metric).astype(np.int64)
        newest = np.full((len(first), base.steps), -1, np.int64)
        group = of[len(base) :][rows].astype(np.int64)
        one, other = kernels.newest_rows(times_ms[rows], found.present[rows], group, newest)
        if one >= 0:
            raise ExecutionError(_duplicate(found, times_ms, int(rows[one]), int(rows[other])))
        chosen = np.where(newest >= 0, rows[newest], -1) if len(rows) else newest
        out[m] = np.where(plain[:, None], -1, chosen[of[: len(base)]])
    return out


def _duplicate(found: Vector, times_ms: NDArray[np.int64], one: int, other: int) -> str:
    both = found.present[one] & found.present[other] & (times_ms[one] == times_ms[other])
    time = times_ms[one, both.argmax()]
    existing, new = (f"{shown(found.labels, row)} @ {time}" for row in (one, other))
    return f"found duplicate series for info metric: existing {existing}, new {new}"


def _labels(base: LabelTable, found: LabelTable, rows: NDArray[np.int64], wanted: set[str]) -> LabelTable:
    """Put the labels of the info series `rows`, (series, info metrics), on the series that do not have them."""
    out = base
    for name in found.names:
        if name == METRIC_NAME or (wanted and name not in wanted):
            continue
        own, source = base.column(name), found.column(name)
        taken = np.full(len(base), ABSENT, np.int32)
        for row in rows.T:
            value = np.where(row >= 0, source[row], np.int32(ABSENT))
            if ((taken != ABSENT) & (value != ABSENT) & (taken != value)).any():
                raise ExecutionError(f"conflicting label: {name}")
            taken = np.where((own == ABSENT) & (value != ABSENT), value, taken)
        out = out.with_column(name, np.where(own == ABSENT, taken, own))
    return out
