"""Pass on the newest point of each stream once in a while, instead of every point.

Waiting are cumulative monotonic sums, cumulative histograms, native histograms, gauges and summaries, each with its
newest exemplar; series of Prometheus sources wait as what their names say: counters by the endings ``_total``,
``_count``, ``_sum`` and ``_bucket``, summaries by the label ``quantile``, all else as gauges. Deltas and sums that are
not monotonic pass at once. A point keeps its own time; one that is older than the one that waits is dropped, and so is
one that a newer one takes the place of, which is what this processor is for: neither is counted as a drop. A stale
marker waits as any point does. What waits is passed on when the daemon stops, and survives a crash where
``service.state_directory`` is set, as of the last save.
"""

from __future__ import annotations

import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field

from headrace.kernels.growth import grown
from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, PositiveDuration
from headrace.pipeline.identity import Form, MetricType, Temporality
from headrace.pipeline.native_histograms import ResetHint
from headrace.pipeline.streams.pending import Pending
from headrace.pipeline.streams.snapshots import Part, decode, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext, MetricBatch
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable

_COUNTER_ENDINGS = ("_total", "_count", "_sum", "_bucket")
_TOUCH_NS = 60_000_000_000
_UNDECIDED, _PASSES, _WAITS = 0, 1, 2
_STATE_VERSION: Final = 1


class PassThrough(ComponentConfig):
    """What does not wait."""

    gauge: bool = False
    """Pass gauges on at once."""

    summary: bool = False
    """Pass summaries on at once."""


class IntervalConfig(ComponentConfig):
    """Settings of the ``interval`` processor."""

    interval: PositiveDuration = timedelta(seconds=60)
    """How often what waits is passed on."""

    pass_through: PassThrough = Field(default_factory=PassThrough)
    """What does not wait."""


class Interval:
    """Keeps the newest point of each stream until it is due."""

    def __init__(self, settings: Settings, config: IntervalConfig) -> None:
        self._settings = settings
        self._config = config
        self._interval_ns = config.interval // timedelta(microseconds=1) * 1000
        self._passed_ns = self._touched_ns = settings.clock_ns()
        self._views: weakref.WeakKeyDictionary[SeriesTable, _View] = weakref.WeakKeyDictionary()
        self._restored: dict[str, Part] = {}

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the ids that nobody has decided about."""
        verdict = self._view(batch).verdict
        beside = [rows.series for rows in (batch.histograms, batch.exemplars) if rows is not None]
        ids = np.concatenate([batch.series, *beside])
        return np.unique(ids[verdict[ids] == _UNDECIDED])

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Have some series wait, or not."""
        verdict = self._view(batch).verdict
        for one in ids.tolist():
            verdict[one] = _WAITS if self._waits(batch.table.series(one)) else _PASSES

    def _waits(self, series: Series) -> bool:
        kind, passes = series.kind, self._config.pass_through
        if series.form is Form.PROMETHEUS:
            if series.name.endswith(_COUNTER_ENDINGS):
                return True
            return not (passes.summary if "quantile" in series else passes.gauge)
        if kind.type is MetricType.SUMMARY:
            return not passes.summary
        if kind.type is MetricType.GAUGE:
            return not (kind.is_sum or passes.gauge)
        return kind.temporality is Temporality.CUMULATIVE

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return what does not wait."""
        ids = self.undecided(batch)
        if len(ids):
            self.decide(batch, ids)
        view = self._view(batch)
        waiting, passing = _split(batch, view.verdict, passes_gauges=self._config.pass_through.gauge)
        view.pending.add(waiting)
        return passing

    def tick(self, now_ns: int) -> list[MetricBatch]:
        """Return what waits, once it is due."""
        if now_ns - self._touched_ns >= _TOUCH_NS:
            self._touched_ns = now_ns
            for _table, view in list(self._views.items()):
                view.pending.touch()
        self._passed_ns = min(self._passed_ns, now_ns)  # The clock may be set back.
        if now_ns - self._passed_ns < self._interval_ns:
            return []
        # Keeps the pace, unless the clock has jumped.
        late = (now_ns - self._passed_ns) % self._interval_ns
        self._passed_ns = now_ns - late
        return self.drain(now_ns)

    def drain(self, now_ns: int) -> list[MetricBatch]:
        """Return all that waits."""
        del now_ns
        found = [view.pending.take() for _table, view in list(self._views.items())]
        return [batch for batch in found if not batch.is_empty]

    def snapshot(self) -> bytes:
        """Return what waits, by identity."""
        parts = {view.context.workspace: view.pending.state() for _table, view in list(self._views.items())}
        return encode("interval", _STATE_VERSION, {**self._restored, **parts})

    def restore(self, state: bytes) -> None:
        """Take over what waited; it is passed on once its workspace is seen.

        Raises:
            ValueError: It is damaged, or of another type or version.
        """
        self._restored = decode("interval", _STATE_VERSION, state)

    def _view(self, batch: MetricBatch) -> _View:
        view = self._views.get(batch.table)
        if view is None:
            view = self._views[batch.table] = _View(batch.table, batch.context)
            part = self._restored.pop(batch.context.workspace, None)
            if part is not None:
                try:
                    view.pending.restore(part)
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    self._settings.logger.error(  # noqa: TRY400 -- the file is at fault, not the code
                        "the saved points of workspace %s do not fit and are left out: %s",
                        view.context.workspace,
                        error,
                    )
        view.fit(batch.table.capacity)
        return view


class _View:
    """What is known of one workspace."""

    def __init__(self, table: SeriesTable, context: BatchContext) -> None:
        self.context = context
        self.pending = Pending(table, context)
        self.verdict = np.zeros(1024, np.uint8)
        table.register(self)

    def fit(self, capacity: int) -> None:
        """Make room for ids below `capacity`."""
        self.verdict = grown(self.verdict, capacity)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Forget the verdicts of freed series."""
        self.verdict[ids[ids < len(self.verdict)]] = _UNDECIDED


def _split(batch: MetricBatch, verdict: NDArray[np.uint8], *, passes_gauges: bool) -> tuple[MetricBatch, MetricBatch]:
    """Return the rows that wait and those that pass; exemplars go with their series, metadata passes."""
    waits = verdict[batch.series] == _WAITS
    waiting: dict[str, Any] = {"metadata": ()}
    passing: dict[str, Any] = {}
    native_ids = np.empty(0, np.int32)
    if batch.native is not None:
        held = np.ones(len(batch.native), np.bool_)
        if passes_gauges:
            held = batch.native.hint != ResetHint.GAUGE
        native_ids = batch.native.series[held]
        waiting["native"], passing["native"] = batch.native.select(held), batch.native.select(~held)
    for name in ("histograms", "exemplars"):
        rows = getattr(batch, name)
        if rows is not None:
            held = verdict[rows.series] == _WAITS
            if name == "exemplars":
                held |= np.isin(rows.series, native_ids)
            waiting[name], passing[name] = rows.select(held), rows.select(~held)
    for part in (waiting, passing):
        part.update({name: None for name, rows in part.items() if name != "metadata" and not len(rows)})
    return batch.select(waits).with_columns(**waiting), batch.select(~waits).with_columns(**passing)


FACTORY = ProcessorFactory(name="interval", config=IntervalConfig, create=Interval)
