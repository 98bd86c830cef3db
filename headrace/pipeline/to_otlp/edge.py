"""Batches as OTLP points.

What came by OTLP passes as it is. Of samples of Prometheus sources it is decided once for each series what they are;
the samples of a histogram at one time become one point.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.identity import Form
from headrace.pipeline.native_histograms import CUSTOM_BUCKETS
from headrace.pipeline.streams.rows import joined_histograms
from headrace.pipeline.to_otlp import native as natives
from headrace.pipeline.to_otlp.assembling import assembled
from headrace.pipeline.to_otlp.roles import Decisions, Role, bucketed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import ExemplarColumns, HistogramColumns, MetricBatch
    from headrace.pipeline.component import Outcome
    from headrace.pipeline.counters import Drops
    from headrace.pipeline.series import SeriesTable

NO_COUNT = "histogram_without_count"
NO_FORM = "native_histogram_has_no_otlp_form"

_PLAIN = int(Form.PROMETHEUS)
"""Looked up once: members of enumerations cost as much as many points."""

_MESSAGES = {
    NO_COUNT: "a histogram or summary has neither a count nor a bucket without bound",
    NO_FORM: "gauge histograms, and native histograms whose counts are fractions, have no form in OTLP",
    "series_limit": "the limit of series in this workspace is reached",
}


@dataclass(frozen=True, slots=True)
class Converted:
    """A batch at the edge.

    Attributes:
        batch: Points of OTLP series only.
        rejected: Points that have no form in OTLP, by reason.
    """

    batch: MetricBatch
    rejected: dict[str, int] = field(default_factory=dict)

    def merged(self, points: int, outcome: Outcome) -> Outcome:
        """Return what became of the `points` of the batch before, given what became of `batch`."""
        message = next((_MESSAGES[reason] for reason in self.rejected), "")
        return replace(
            outcome, points=points, rejected={**self.rejected, **outcome.rejected}, message=message or outcome.message
        )


class OtlpEdge:
    """Converts batches.

    Args:
        drops: Where rejected points are counted.
    """

    def __init__(self, drops: Drops) -> None:
        self._drops = drops
        self._views: weakref.WeakKeyDictionary[SeriesTable, _View] = weakref.WeakKeyDictionary()

    def convert(self, batch: MetricBatch) -> Converted:
        """Return `batch` as OTLP points; the same batch where it is that already."""
        if batch.native is None and not batch.table.holds_form(batch.series, _PLAIN):
            return Converted(batch)
        plain = batch.table.head_column(batch.series, "form") == _PLAIN
        rejected: dict[str, int] = {}
        view = self._view(batch.table)
        parts = [] if batch.histograms is None else [batch.histograms]
        out = replace(batch, native=None, histograms=None)
        if plain.any():
            out, points = view.convert(out, plain, rejected)
            parts += [points] if points is not None else []
        if batch.native is not None:
            parts.append(view.native(batch, rejected))
        parts = [part for part in parts if len(part)]
        exemplars = view.moved(batch.exemplars) if batch.exemplars is not None else None
        for reason, amount in rejected.items():
            self._drops.add(reason, amount)
        return Converted(replace(out, histograms=joined_histograms(parts), exemplars=exemplars), rejected)

    def _view(self, table: SeriesTable) -> _View:
        view = self._views.get(table)
        if view is None:
            view = self._views[table] = _View(table)
            table.register(view)
        return view


class _View:
    """What is known about the series of one table."""

    def __init__(self, table: SeriesTable) -> None:
        self._table = weakref.ref(table)
        self._decisions = Decisions(table.families)
        self._told = table.families.version
        self._bucketed: set[str] = set()
        self._role = np.zeros(1024, np.uint8)
        self._target = np.zeros(1024, np.int32)
        self._bound = np.zeros(1024)
        self._provisional = np.zeros(1024, np.bool_)
        self._native: dict[tuple[int, bool], int] = {}

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop what leads from or to `ids`."""
        known = ids[ids < len(self._role)]
        self._role[known] = Role.UNKNOWN
        self._role[np.isin(self._target, ids)] = Role.UNKNOWN
        dead = set(ids.tolist())
        self._native = {key: to for key, to in self._native.items() if key[0] not in dead and to not in dead}

    @property
    def _owner(self) -> SeriesTable:
        table = self._table()
        if table is None:
            raise AssertionError("bug: the table is gone and its view is asked")
        return table

    def convert(
        self, batch: MetricBatch, plain: NDArray[np.bool_], rejected: dict[str, int]
    ) -> tuple[MetricBatch, HistogramColumns | None]:
        """Return the number points of a batch, and the histograms that the others are parts of."""
        self._decide(batch.series[plain])
        series, roles = batch.series.copy(), np.full(len(plain), Role.NUMBER, np.uint8)
        series[plain] = self._target[batch.series[plain]]
        roles[plain] = self._role[batch.series[plain]]
        known = series >= 0
        if not known.all():
            rejected["series_limit"] = int((~known).sum())
        self._owner.touch(series[known])
        is_part = (roles != Role.NUMBER) & known
        numbers = replace(batch, series=series).select((roles == Role.NUMBER) & known)
        if not is_part.any():
            return numbers, None
        points, lost = assembled(
            replace(batch, series=series).select(is_part), roles[is_part], self._bound[batch.series[is_part]]
        )
        if lost:
            rejected[NO_COUNT] = lost
        return numbers, points

    def native(self, batch: MetricBatch, rejected: dict[str, int]) -> HistogramColumns:
        """Return the native histograms of a batch."""
        found = batch.native
        if found is None:
            raise AssertionError("bug: there are no native histograms")
        bad = natives.unfit(found)
        if bad.any():
            rejected[NO_FORM] = int(bad.sum())
            found = found.select(~bad)
        exponential = found.schema != CUSTOM_BUCKETS
        pairs = zip(found.series.tolist(), exponential.tolist(), strict=True)
        ids = np.array([self._native_series(one, exponential=is_one) for one, is_one in pairs], np.int32)
        known = ids >= 0
        if not known.all():
            rejected["series_limit"] = rejected.get("series_limit", 0) + int((~known).sum())
            found, ids = found.select(known), ids[known]
        self._owner.touch(ids)
        return natives.histograms(found, ids)

    def moved(self, exemplars: ExemplarColumns) -> ExemplarColumns:
        """Return exemplars at the series that their samples belong to now."""
        table = self._owner
        series = exemplars.series.copy()
        plain = table.head_column(series, "form") == Form.PROMETHEUS
        native = {source: to for (source, _), to in self._native.items()}
        self._grow()
        moved = np.where(self._role[series] != Role.UNKNOWN, self._target[series], -1)
        pairs = zip(series.tolist(), moved.tolist(), strict=True)
        series[plain] = np.array([native.get(one, to) for one, to in pairs], np.int32)[plain]
        out = replace(exemplars, series=series)
        return out if (series >= 0).all() else out.select(series >= 0)

    def _native_series(self, series_id: int, *, exponential: bool) -> int:
        known = self._native.get((series_id, exponential))
        if known is None:
            made = self._decisions.of_native(self._owner.series(series_id), exponential=exponential)
            known = self._native[series_id, exponential] = int(self._owner.intern([made])[0])
        return known

    def _decide(self, ids: NDArray[np.int32]) -> None:
        """Decide about the series that are new, or of whose family more is known now."""
        self._grow()
        self._look_again()
        new = ids[self._role[ids] == Role.UNKNOWN]
        if not len(new):
            return
        new = np.unique(new)
        table = self._owner
        series = [table.series(one) for one in new.tolist()]
        self._bucketed |= bucketed(series)
        decisions = [self._decisions.of(one, self._bucketed) for one in series]
        self._target[new] = table.intern([one.series for one in decisions])
        self._role[new] = [one.role for one in decisions]
        self._bound[new] = [one.bound for one in decisions]
        self._provisional[new] = [not one.answered for one in decisions]
        self._grow()

    def _grow(self) -> None:
        capacity = self._owner.capacity
        for name in ("_role", "_target", "_bound", "_provisional"):
            setattr(self, name, grown(getattr(self, name), capacity))

    def _look_again(self) -> None:
        """Forget decisions that were made without knowing a family that is known now."""
        families = self._owner.families
        if families.version == self._told:
            return
        found = self._decisions.unanswered.intersection(families.changed(self._told))
        self._told = families.version
        if found:
            self._decisions.unanswered -= found
            self._role[self._provisional] = Role.UNKNOWN
            self._provisional[:] = False
