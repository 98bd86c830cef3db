"""Limit how many series there are: in total, of a metric, and of values of a label within a metric.

Series are admitted in the order in which they are first seen. One that would pass a limit is dropped, or folded into
the overflow series of its metric, whose sums stay right: a folded counter grows by what its members grow by, through
their resets, and through a restart of the daemon where ``service.state_directory`` is set.

Source:
    OpenTelemetry metrics SDK specification, "Cardinality limits", for the overflow attribute.
"""

from __future__ import annotations

import json
import weakref
from collections import Counter as Tally
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from headrace.kernels.growth import grown
from headrace.pipeline.batch import MetricBatch
from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, PositiveDuration
from headrace.pipeline.identity import METRIC_NAME, Form, Kind, MetricType, Series, Temporality
from headrace.pipeline.offenders import REPORTED, Offenders, ShownOffenders
from headrace.processors import cardinality_limit_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext
    from headrace.pipeline.series import SeriesTable

OVERFLOW = {Form.OTLP: "otel.metric.overflow", Form.PROMETHEUS: "otel_metric_overflow"}
"""Label of overflow series; its value is ``true``. The second is the first in Prometheus' characters."""

_UNDECIDED, _KEEP, _DROP, _FOLD = 0, 1, 2, 3
_COUNTER_ENDINGS = ("_total", "_count", "_sum", "_bucket")
_KEPT_LABELS = ("le", "quantile")
_STATE_VERSION = 1


class Action(StrEnum):
    """What happens to series beyond a limit."""

    DROP = "drop"
    OVERFLOW = "overflow"


Limit = Annotated[int, Field(ge=0)]


class CardinalityLimitConfig(ComponentConfig):
    """Settings of the ``cardinality_limit`` processor; 0 means no limit."""

    max_series: Limit = 0
    """Series in all."""

    max_series_per_metric: Limit = 0
    """Series of one metric."""

    metrics: dict[str, Limit] = Field(default_factory=dict)
    """`max_series_per_metric` of single metrics, by name."""

    max_values_per_label: Limit = 0
    """Values that one label may have within one metric."""

    labels: dict[str, Limit] = Field(default_factory=dict)
    """`max_values_per_label` of single labels, by name."""

    action: Action = Action.DROP
    """``drop`` drops series beyond a limit; ``overflow`` folds them into one series of the metric with the label
    ``otel.metric.overflow="true"`` (``otel_metric_overflow`` on series of Prometheus sources)."""

    dry_run: bool = False
    """Count and report, and let everything pass."""

    flush_after: PositiveDuration = timedelta(seconds=5)
    """A point of an overflow series waits for points of the same time, at most so long."""

    report_interval: PositiveDuration = timedelta(minutes=1)
    """How often the metrics with the most series beyond the limits are logged."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (
            self.max_series or self.max_series_per_metric or self.metrics or self.max_values_per_label or self.labels
        ):
            raise ValueError("at least one limit must be set")
        return self


class CardinalityLimiter:
    """Decides once about each new series, and folds points by a kernel."""

    def __init__(self, settings: Settings, config: CardinalityLimitConfig) -> None:
        self._settings = settings
        self._config = config
        self._views: weakref.WeakKeyDictionary[SeriesTable, _View] = weakref.WeakKeyDictionary()
        self._restored: dict[str, dict[str, Any]] = {}
        self._reported_s = settings.monotonic_s()
        self.offenders = Offenders()
        """Series beyond the limits."""
        attributes = {"processor": settings.id}
        self._shown = ShownOffenders(
            self.offenders, settings.counters, "headrace_cardinality_limit_offender_series", attributes
        )
        self._over = settings.counters.counter(
            "headrace_cardinality_limit_series", "Series beyond a limit.", attributes, "{series}"
        )
        self._folded = settings.counters.counter(
            "headrace_cardinality_limit_folded_points", "Points folded.", attributes, "{datapoint}"
        )

    # -- decisions -----------------------------------------------------------------------------------------

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the ids without a verdict, in the order in which they appear."""
        view = self._view(batch.table, batch.context)
        beside = (batch.histograms, batch.native, batch.exemplars)
        ids = np.concatenate([batch.series, *(rows.series for rows in beside if rows is not None)])
        new = ids[view.verdict[ids] == _UNDECIDED]
        firsts: NDArray[np.intp] = np.unique(new, return_index=True)[1]
        out: NDArray[np.int32] = new[np.sort(firsts)]
        return out

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Admit some series, or not."""
        view = self._view(batch.table, batch.context)
        for one in ids.tolist():
            view.decide(one, batch.table.series(one))

    def _view(self, table: SeriesTable, context: BatchContext) -> _View:
        view = self._views.get(table)
        if view is None:
            view = self._views[table] = _View(self, table, context)
            view.restore(self._restored.pop(context.workspace, None))
        view.grow(table.capacity)
        return view

    def note_over(self, series: Series) -> None:
        """Count a series beyond a limit."""
        self._over.add()
        self.offenders.add(series)

    # -- points --------------------------------------------------------------------------------------------

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return the batch without what is beyond the limits, with the overflow points that are complete."""
        ids = self.undecided(batch)
        if len(ids):
            self.decide(batch, ids)
        if self._config.dry_run:
            return batch
        view = self._view(batch.table, batch.context)
        verdict = view.verdict[batch.series]
        beside = batch.histograms or batch.native or batch.exemplars
        if (verdict == _KEEP).all() and not beside:
            return batch
        dropped = verdict == _DROP
        self._settings.drops.count("cardinality_limit", batch, dropped)
        folded = np.flatnonzero(verdict == _FOLD)
        points = view.fold(batch, folded, self._settings.monotonic_s()) if len(folded) else None
        self._folded.add(len(folded))
        out = self._narrowed(batch, view).select(verdict == _KEEP)
        return out if points is None else _appended(out, *points)

    def _narrowed(self, batch: MetricBatch, view: _View) -> MetricBatch:
        """Leave out the histograms and exemplars beyond the limits: they are not folded."""
        histograms, native, exemplars = batch.histograms, batch.native, batch.exemplars
        for rows in (histograms, native):
            beyond = 0 if rows is None else int((view.verdict[rows.series] != _KEEP).sum())
            if beyond:
                self._settings.drops.add("cardinality_limit", beyond)
        return batch.with_columns(
            histograms=None if histograms is None else histograms.select(view.verdict[histograms.series] == _KEEP),
            native=None if native is None else native.select(view.verdict[native.series] == _KEEP),
            exemplars=None if exemplars is None else exemplars.select(view.verdict[exemplars.series] == _KEEP),
        )

    # -- time and state ------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[MetricBatch]:
        """Return the overflow points that have waited long enough; report the offenders now and then."""
        del now_ns
        self._shown.update()
        now_s = self._settings.monotonic_s()
        if now_s - self._reported_s >= self._config.report_interval.total_seconds():
            self._reported_s = now_s
            self._report()
        before = now_s - self._config.flush_after.total_seconds()
        found = [view.flushed(table, before) for table, view in list(self._views.items())]
        return [batch for batch in found if batch is not None]

    def _report(self) -> None:
        if self.offenders.series:
            top = ", ".join(map(str, self.offenders.top(REPORTED)))
            self._settings.logger.warning("series beyond the limits, by metric: %s", top)

    def snapshot(self) -> bytes:
        """Return verdicts and totals, by identity."""
        states = {view.context.workspace: view.state(table) for table, view in self._views.items()}
        return json.dumps({"version": _STATE_VERSION, "workspaces": {**self._restored, **states}}).encode()

    def restore(self, state: bytes) -> None:
        """Take over verdicts and totals."""
        found = json.loads(state)
        if found.get("version") != _STATE_VERSION:
            raise ValueError(f"state of version {found.get('version')} is not known here")
        self._restored = found["workspaces"]

    @property
    def config(self) -> CardinalityLimitConfig:
        """The settings."""
        return self._config


class _View:
    """What is known about one workspace's series."""

    def __init__(self, owner: CardinalityLimiter, table: SeriesTable, context: BatchContext) -> None:
        self._owner = weakref.ref(owner)
        self._config = owner.config
        self.context = context
        self.verdict = np.zeros(1024, np.uint8)
        self._slot_of = np.zeros(1024, np.int32)
        self._last = np.zeros(1024, np.float64)
        self._known = np.zeros(1024, np.bool_)
        self._slots: list[Series] = []
        self._slot_numbers: dict[Series, int] = {}
        self._counts_up = np.zeros(0, np.bool_)
        self._totals = np.zeros(0, np.float64)
        self._pending = np.zeros(0, np.int64)
        self._begun = np.zeros(0, np.bool_)
        self._touched_s = np.zeros(0, np.float64)
        self._kept: dict[int, Series] = {}
        self._per_metric: Tally[str] = Tally()
        self._values: dict[tuple[str, str], Tally[str]] = {}
        self._remembered: dict[str, list[Any]] = {}
        table.register(self)

    def grow(self, capacity: int) -> None:
        """Make room for ids below `capacity`."""
        if capacity > len(self.verdict):
            self.verdict = grown(self.verdict, capacity)
            self._slot_of = grown(self._slot_of, capacity)
            self._last = grown(self._last, capacity)
            self._known = grown(self._known, capacity)

    # -- decisions -----------------------------------------------------------------------------------------

    def decide(self, series_id: int, series: Series) -> None:
        """Give `series_id` a verdict."""
        owner = self._owner()
        before = self._remembered.pop(_key(series), None) if self._remembered else None
        over = before[0] != _KEEP if before else self._passes_a_limit(series)
        if not over:
            self.verdict[series_id] = _KEEP
            self._admit(series_id, series)
            return
        if owner is not None:
            owner.note_over(series)
        if self._config.action is Action.DROP or self._config.dry_run:
            self.verdict[series_id] = _DROP
            return
        self.verdict[series_id] = _FOLD
        self._slot_of[series_id] = self._slot(_overflow(series))
        self._known[series_id] = False
        if before and before[1] is not None:
            self._last[series_id], self._known[series_id] = before[1], True

    def _passes_a_limit(self, series: Series) -> bool:
        config, name = self._config, series.name
        if config.max_series and len(self._kept) >= config.max_series:
            return True
        limit = config.metrics.get(name, config.max_series_per_metric)
        if limit and self._per_metric[name] >= limit:
            return True
        for label, value in series.labels:
            limit = config.labels.get(label, config.max_values_per_label)
            if limit and label != METRIC_NAME:
                values = self._values.get((name, label))
                if values is not None and value not in values and len(values) >= limit:
                    return True
        return False

    def _limited(self, series: Series) -> Iterator[tuple[str, str]]:
        config = self._config
        for label, value in series.labels:
            if label != METRIC_NAME and config.labels.get(label, config.max_values_per_label):
                yield label, value

    def _admit(self, series_id: int, series: Series) -> None:
        name = series.name
        self._kept[series_id] = series
        self._per_metric[name] += 1
        for label, value in self._limited(series):
            self._values.setdefault((name, label), Tally())[value] += 1

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Give back what freed series took up."""
        ids = ids[ids < len(self.verdict)]
        for one in ids[self.verdict[ids] == _KEEP].tolist():
            series = self._kept.pop(one)
            self._per_metric[series.name] -= 1
            for label, value in self._limited(series):
                values = self._values[series.name, label]
                values[value] -= 1
                if not values[value]:
                    del values[value]
        gone = ids[(self.verdict[ids] == _FOLD) & self._known[ids]]
        falling = gone[~self._counts_up[self._slot_of[gone]]] if len(gone) else gone
        np.subtract.at(self._totals, self._slot_of[falling], self._last[falling])
        self._known[ids] = False
        self.verdict[ids] = _UNDECIDED

    # -- folding -------------------------------------------------------------------------------------------

    def _slot(self, series: Series) -> int:
        number = self._slot_numbers.get(series)
        if number is None:
            number = self._slot_numbers[series] = len(self._slots)
            self._slots.append(series)
            self._counts_up = np.append(self._counts_up, _counts_up(series))
            self._totals = np.append(self._totals, 0.0)
            self._pending = np.append(self._pending, kernels.NEVER)
            self._begun = np.append(self._begun, False)
            self._touched_s = np.append(self._touched_s, 0.0)
        return number

    def fold(
        self, batch: MetricBatch, rows: NDArray[np.intp], now_s: float
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
        """Add points; return series, time and value of the overflow points that are complete."""
        rows = rows[np.argsort(batch.time_ns[rows], kind="stable")].astype(np.int64)
        slots = np.empty(len(rows), np.int32)
        times = np.empty(len(rows), np.int64)
        values = np.empty(len(rows), np.float64)
        count = kernels.fold(
            rows, batch.series, batch.time_ns, batch.value, self._slot_of, self._last, self._known, self._counts_up,
            self._totals, self._pending, self._begun, slots, times, values,
        )  # fmt: skip
        self._touched_s[self._slot_of[batch.series[rows]]] = now_s
        return self._ids(batch.table, slots[:count]), times[:count], values[:count]

    def _ids(self, table: SeriesTable, slots: NDArray[np.int32]) -> NDArray[np.int32]:
        if not len(slots):
            return np.zeros(0, np.int32)
        used, inverse = np.unique(slots, return_inverse=True)
        ids = table.intern([self._slots[slot] for slot in used.tolist()])
        self.grow(table.capacity)
        self.verdict[ids] = np.where(self.verdict[ids] == _UNDECIDED, _DROP, self.verdict[ids])
        return ids[inverse.ravel()]

    def flushed(self, table: SeriesTable, before_s: float) -> MetricBatch | None:
        """Return the points that wait and were not added to since `before_s`."""
        due = np.flatnonzero((self._pending != kernels.NEVER) & (self._touched_s <= before_s)).astype(np.int32)
        if not len(due):
            return None
        ids = self._ids(table, due)
        batch = MetricBatch.of(table, ids, self._pending[due], self._totals[due], context=self.context)
        self._pending[due] = kernels.NEVER
        self._begun[due] = True
        return batch

    # -- state ---------------------------------------------------------------------------------------------

    def state(self, table: SeriesTable) -> dict[str, Any]:
        """Return what `restore` takes."""
        series: dict[str, list[Any]] = dict(self._remembered)
        for one in np.flatnonzero(self.verdict != _UNDECIDED).tolist():
            if not table.is_live(np.array([one]))[0]:
                continue
            identity = table.series(one)
            if identity in self._slot_numbers:
                continue
            known = self.verdict[one] == _FOLD and self._known[one]
            series[_key(identity)] = [int(self.verdict[one]), float(self._last[one]) if known else None]
        slots = [
            {
                "labels": list(slot.labels),
                "form": int(slot.form),
                "kind": slot.kind.pack(),
                "unit": slot.unit,
                "total": float(self._totals[i]),
                "pending": int(self._pending[i]),
                "begun": bool(self._begun[i]),
            }
            for i, slot in enumerate(self._slots)
        ]
        return {"series": series, "slots": slots}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Take over totals now, and verdicts when their series are seen."""
        if not state:
            return
        self._remembered = dict(state["series"])
        for slot in state["slots"]:
            labels = tuple((name, value) for name, value in slot["labels"])
            number = self._slot(Series(labels, Form(slot["form"]), Kind.unpack(slot["kind"]), slot["unit"]))
            self._totals[number] = slot["total"]
            self._pending[number] = slot["pending"]
            self._begun[number] = slot["begun"]


def _key(series: Series) -> str:
    resource = series.resource.attributes if series.resource else ()
    return repr((series.labels, int(series.form), series.kind.pack(), series.unit, resource))


def _overflow(series: Series) -> Series:
    """Return the overflow series that `series` is folded into."""
    labels = [(METRIC_NAME, series.name), (OVERFLOW[series.form], "true")]
    labels += [(name, series[name]) for name in _KEPT_LABELS if name in series]
    return Series(tuple(sorted(labels)), series.form, series.kind, series.unit)


def _counts_up(series: Series) -> bool:
    """Return whether values of the series are those of a cumulative counter."""
    if series.form is Form.OTLP:
        return series.kind.type is MetricType.COUNTER and series.kind.temporality is Temporality.CUMULATIVE
    return series.name.endswith(_COUNTER_ENDINGS)


def _appended(
    batch: MetricBatch, series: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float64]
) -> MetricBatch:
    n = len(series)
    if not n:
        return batch
    integers = batch.integers
    return batch.with_columns(
        pin=batch.table.pin(),
        series=np.concatenate([batch.series, series]),
        time_ns=np.concatenate([batch.time_ns, times]),
        value=np.concatenate([batch.value, values]),
        flags=np.concatenate([batch.flags, np.zeros(n, np.uint8)]),
        start_ns=np.concatenate([batch.start_ns, np.zeros(n, np.int64)]),
        integers=None if integers is None else np.concatenate([integers, np.zeros(n, np.int64)]),
    )


FACTORY = ProcessorFactory(name="cardinality_limit", config=CardinalityLimitConfig, create=CardinalityLimiter)
