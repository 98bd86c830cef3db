"""Set the start time of cumulative streams, which Prometheus sources as a rule do not send.

``true_reset_point`` lets the first point of a stream start at its own time, and the later ones there too; after a reset
the start is a millisecond before the point that shows it. Rates then come out right after the first point, whose value
is of unknown age.

``subtract_initial_point`` drops the first point, takes its value from all later ones, and gives them its time as start.
A point that shows a reset passes as it is, with a start a millisecond earlier.

``start_time_metric`` takes the start from a metric of the same target (``job`` and ``instance``) or resource, in
seconds since 1970; while there is none, it is the time at which the processor was made.

Cumulative are: sums that count up, histograms and summaries of OpenTelemetry sources; of Prometheus sources native
histograms, and series whose names end in ``_total``, ``_count``, ``_sum`` or ``_bucket``. Points that have a start keep
it. Native histograms and summaries keep their values under ``subtract_initial_point``, and get the starts of
``true_reset_point``. Points that are not newer than the one before pass with the start that their stream has; under
``subtract_initial_point`` they are dropped (``out_of_order``). A stale marker ends the stream. The state survives
reload and restart where ``service.state_directory`` is set.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import field_validator, model_validator

from headrace.kernels.growth import grown
from headrace.pipeline.batch import NS_PER_MS, Flag, HistogramKind
from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, PositiveDuration
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import Form, MetricType, Temporality
from headrace.pipeline.native_histograms import NativeFlag, ResetHint
from headrace.pipeline.regex import searching
from headrace.pipeline.streams import numbers_kernels as kernels
from headrace.pipeline.streams.layout import FIELDS, Verdict
from headrace.pipeline.streams.points import BucketView, count_drops, put_back, with_histograms
from headrace.pipeline.streams.processor import StreamProcessor
from headrace.pipeline.streams.rows import by_time
from headrace.pipeline.streams.slots import OTHER
from headrace.pipeline.streams.slots import Field as SlotField
from headrace.pipeline.streams.warm import warm_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext, HistogramColumns, MetricBatch
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.streams.snapshots import Part

_COUNTER_ENDINGS = ("_total", "_count", "_sum", "_bucket")
_START_NAMES = frozenset({"process_start_time", "process_start_time_seconds"})
_NS_PER_S = 1_000_000_000


class Strategy(StrEnum):
    """Where start times come from."""

    TRUE_RESET_POINT = "true_reset_point"
    SUBTRACT_INITIAL_POINT = "subtract_initial_point"
    START_TIME_METRIC = "start_time_metric"


class MetricStartTimeConfig(ComponentConfig):
    """Settings of the ``metricstarttime`` processor."""

    strategy: Strategy = Strategy.TRUE_RESET_POINT
    """``true_reset_point``, ``subtract_initial_point`` or ``start_time_metric``."""

    gc_interval: PositiveDuration = timedelta(minutes=10)
    """Streams without a point for so long are forgotten."""

    start_time_metric_regex: str = ""
    """RE2 pattern for the name of the metric that tells the start, looked for anywhere in it; for ``start_time_metric``
    only. Without it, ``process_start_time`` and ``process_start_time_seconds``."""

    @field_validator("start_time_metric_regex")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            searching(pattern)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        return pattern

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.start_time_metric_regex and self.strategy is not Strategy.START_TIME_METRIC:
            raise ValueError(f"start_time_metric_regex means nothing with the strategy {self.strategy}")
        return self


_ROLES = {"role": SlotField(np.uint8), "target": SlotField(np.int64)}
_COUNTS, _TELLS = np.uint8(1), np.uint8(2)


class _View(BucketView):
    """Streams, and what the metrics of start times have said about each target."""

    def __init__(self, table: SeriesTable, context: BatchContext) -> None:
        super().__init__(table, context, fields={**FIELDS, **_ROLES})
        self._targets: dict[str, int] = {}
        self.told_ns = np.zeros(16, np.int64)
        """Start by number of the target, 0 where none was told."""

    def number(self, target: str) -> int:
        """Return the number of a target."""
        number = self._targets.setdefault(target, len(self._targets))
        self.told_ns = grown(self.told_ns, number + 1)
        return number

    def drop_unused(self) -> None:
        """Forget the targets of which no stream is left, once they are the most."""
        live = self.slots.live()
        column = self.slots.columns["target"]
        used, column[live] = np.unique(column[live], return_inverse=True)
        names = list(self._targets)
        self._targets = {names[number]: i for i, number in enumerate(used.tolist())}
        self.told_ns = np.concatenate([self.told_ns[used], np.zeros(16, np.int64)])

    @property
    def is_wasteful(self) -> bool:
        """Whether there may be far more targets than streams have."""
        return len(self._targets) > 2 * len(self.slots) + 16

    def state(self) -> Part:
        """Return all that `restore` needs."""
        part = super().state()
        part.value["targets"] = list(self._targets)
        part.arrays["told_ns"] = self.told_ns[: len(self._targets)]
        return part

    def restore(self, part: Part) -> NDArray[np.int64]:
        """Follow the streams of a state again."""
        names, told = part.value["targets"], part.arrays["told_ns"]
        numbers = part.arrays["state.target"]
        if told.shape != (len(names),) or (numbers < 0).any() or numbers.max(initial=0) >= max(1, len(names)):
            raise ValueError("the targets do not hold together")
        self._targets = {str(name): i for i, name in enumerate(names)}
        self.told_ns = np.concatenate([told, np.zeros(16, np.int64)])
        return super().restore(part)


class MetricStartTime(StreamProcessor[_View]):
    """Keeps the start of each stream."""

    kind: ClassVar[str] = "metricstarttime"

    def __init__(self, settings: Settings, config: MetricStartTimeConfig) -> None:
        super().__init__(settings, config.gc_interval // timedelta(microseconds=1) * 1000)
        self._strategy = config.strategy
        self._begun_ns = settings.clock_ns()
        pattern = config.start_time_metric_regex
        self._tells_start = searching(pattern).fullmatch if pattern else _START_NAMES.__contains__
        self._follows_all = False
        self._asks = config.strategy is Strategy.START_TIME_METRIC

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the ids that nobody has decided about, as of what they are now."""
        found = super().undecided(batch)
        if batch.native is None:
            return found
        series = batch.native.series
        others = series[self._view(batch).slots.slot_of[series] == OTHER]
        return np.unique(np.concatenate([found, others]))

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Follow some series, or not; native histograms always, whatever their names."""
        native = np.empty(0, np.int32) if batch.native is None else batch.native.series
        is_native = np.isin(ids, native)
        for some, self._follows_all in ((ids[is_native], True), (ids[~is_native], False)):
            super().decide(batch, some)

    def target(self, series: Series) -> Series | None:
        """Follow what is cumulative, and the metrics of start times where they are asked."""
        return series if self._follows_all or self._role(series) else None

    def opened(self, view: _View, slot: int, series: Series) -> None:
        """Note what a stream is, and of which target."""
        view.slots.columns["role"][slot] = self._role(series)
        if self._asks:
            view.slots.columns["target"][slot] = view.number(_target_of(series))

    def _role(self, series: Series) -> int:
        tells = self._asks and self._tells_start(series.name)
        return int(_COUNTS) * _is_cumulative(series) | int(_TELLS) * bool(tells)

    def view(self, table: SeriesTable, context: BatchContext) -> _View:
        """Return a new view."""
        return _View(table, context)

    def tick(self, now_ns: int) -> list[MetricBatch]:
        """Forget idle streams and their targets; return nothing."""
        made = super().tick(now_ns)
        for _table, view in list(self._views.items()):
            if view.is_wasteful:
                view.drop_unused()
        return made

    def apply(self, view: _View, batch: MetricBatch) -> MetricBatch:
        """Return the batch with start times."""
        for rows in (batch, batch.histograms, batch.native):
            if rows is not None:
                view.mark_seen(rows.series, self.settings.clock_ns())
        if self._asks:
            return self._told(view, batch)
        batch = self._numbers(view, batch)
        batch = self._histograms(view, batch)
        return self._native(view, batch)

    # -- numbers -------------------------------------------------------------------------------------------

    def _numbers(self, view: _View, batch: MetricBatch) -> MetricBatch:
        slots = view.slots.slot_of[batch.series]
        counts = (slots >= 0) & (view.slots.columns["role"][slots] & _COUNTS != 0)
        ours = np.flatnonzero(counts & (batch.start_ns == 0))
        if not len(ours):
            return batch
        rows = by_time(batch.time_ns, ours)
        if self._strategy is Strategy.SUBTRACT_INITIAL_POINT:
            return self._subtracted(view, batch, rows)
        starts = batch.start_ns.copy()
        stale = batch.flags & np.uint8(Flag.STALE) != 0
        starts[rows] = _starts(view, rows, batch.series, batch.time_ns, stale, batch.value)
        return batch.with_columns(start_ns=starts)

    def _subtracted(self, view: _View, batch: MetricBatch, rows: NDArray[np.int64]) -> MetricBatch:
        n = len(rows)
        verdicts, starts, values = np.empty(n, np.uint8), np.zeros(n, np.int64), np.zeros(n)
        kernels.difference(
            rows, view.slots.slot_of, batch.series, batch.time_ns, batch.start_ns, batch.flags, batch.value,
            True, view.marks, view.sums, verdicts, starts, values,
        )  # fmt: skip
        verdicts[verdicts == Verdict.RESET] = Verdict.KEEP
        count_drops(self.drops, batch, rows, verdicts)
        return put_back(view, batch, rows, verdicts == Verdict.KEEP, values, starts)

    # -- histograms ----------------------------------------------------------------------------------------

    def _histograms(self, view: _View, batch: MetricBatch) -> MetricBatch:
        rows = batch.histograms
        if rows is None:
            return batch
        subtracts = self._strategy is Strategy.SUBTRACT_INITIAL_POINT
        unset, summary = rows.start_ns == 0, rows.kind == HistogramKind.SUMMARY
        batch = batch.with_columns(histograms=_with_starts(view, rows, unset & summary if subtracts else unset))
        if not subtracts:
            return batch
        return with_histograms(view, batch, lambda slots, taken: _differences(view, slots, taken), self.drops, unset)

    def _native(self, view: _View, batch: MetricBatch) -> MetricBatch:
        rows = batch.native
        if rows is None:
            return batch
        counts_up = (rows.start_ms == 0) & (rows.hint != ResetHint.GAUGE) & (view.slots.slot_of[rows.series] >= 0)
        index = by_time(rows.time_ms, np.flatnonzero(counts_up))
        starts = rows.start_ms.copy()
        stale = rows.flags & np.uint8(NativeFlag.STALE) != 0
        counts = np.where(rows.flags & np.uint8(NativeFlag.FLOAT_COUNTS) != 0, rows.count.view(np.float64), rows.count)
        times = rows.time_ms * NS_PER_MS
        starts[index] = _starts(view, index, rows.series, times, stale, counts.astype(np.float64)) // NS_PER_MS
        return batch.with_columns(native=replace(rows, start_ms=starts))

    # -- starts that a metric tells ------------------------------------------------------------------------

    def _told(self, view: _View, batch: MetricBatch) -> MetricBatch:
        role, target = view.slots.columns["role"], view.slots.columns["target"]
        slots = view.slots.slot_of[batch.series]
        tells = (slots >= 0) & (role[slots] & _TELLS != 0) & (batch.value > 0)
        seconds = batch.value[tells]
        view.told_ns[target[slots[tells]]] = np.rint(seconds * _NS_PER_S).astype(np.int64)
        changes: dict[str, Any] = {"start_ns": self._starts_told(view, batch.series, batch.start_ns, _COUNTS)}
        histograms, native = batch.histograms, batch.native
        if histograms is not None:
            starts = self._starts_told(view, histograms.series, histograms.start_ns, _COUNTS)
            changes["histograms"] = replace(histograms, start_ns=starts)
        if native is not None:
            starts = self._starts_told(view, native.series, native.start_ms * NS_PER_MS, np.uint8(0))
            starts = np.where(native.hint == ResetHint.GAUGE, native.start_ms, starts // NS_PER_MS)
            changes["native"] = replace(native, start_ms=starts)
        return batch.with_columns(**changes)

    def _starts_told(
        self, view: _View, series: NDArray[np.int32], starts: NDArray[np.int64], role: np.uint8
    ) -> NDArray[np.int64]:
        """Return the starts of rows, (k,) int64; of those that have none, of streams of this role, what was told."""
        slots = view.slots.slot_of[series]
        ours = (starts == 0) & (slots >= 0) & (view.slots.columns["role"][slots] & role == role)
        told = view.told_ns[view.slots.columns["target"][slots]]
        return np.where(ours, np.where(told > 0, told, self._begun_ns), starts)


def _starts(
    view: _View,
    rows: NDArray[np.int64],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    stale: NDArray[np.bool_],
    values: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return the starts, (k,) int64, of some rows under ``true_reset_point``."""
    starts = np.zeros(len(rows), np.int64)
    kernels.starts_of(rows, view.slots.slot_of, series, times, stale, values, view.marks, view.sums, starts)
    return starts


def _with_starts(view: _View, rows: HistogramColumns, which: NDArray[np.bool_]) -> HistogramColumns:
    index = by_time(rows.time_ns, np.flatnonzero(which & (view.slots.slot_of[rows.series] >= 0)))
    starts = rows.start_ns.copy()
    stale = rows.flags & np.uint8(Flag.STALE) != 0
    starts[index] = _starts(view, index, rows.series, rows.time_ns, stale, rows.count)
    return replace(rows, start_ns=starts)


def _differences(
    view: _View, slots: NDArray[np.int32], rows: HistogramColumns
) -> tuple[HistogramColumns, NDArray[np.uint8]]:
    made, verdicts = view.buckets.difference(slots, rows, keeps_reference=True)
    begun_anew = (verdicts == Verdict.RESET) | (verdicts == Verdict.MISMATCH)
    return made, np.where(begun_anew, np.uint8(Verdict.KEEP), verdicts)


def _target_of(series: Series) -> str:
    """Return what tells a target, or a resource, from another."""
    if series.form is Form.OTLP:
        return repr(series.resource.attributes if series.resource else ())
    return repr((series["job"], series["instance"]))


def _is_cumulative(series: Series) -> bool:
    """Return whether points of a series count from a start; native histograms of Prometheus sources do."""
    kind = series.kind
    if series.form is Form.OTLP:
        if kind.type is MetricType.SUMMARY:
            return True
        return kind.type in {MetricType.COUNTER, MetricType.HISTOGRAM} and kind.temporality is Temporality.CUMULATIVE
    return series.name.endswith(_COUNTER_ENDINGS)


FACTORY = ProcessorFactory(
    name="metricstarttime",
    config=MetricStartTimeConfig,
    create=MetricStartTime,
    aliases=("metric_start_time",),
    warm_up=warm_up,
)
