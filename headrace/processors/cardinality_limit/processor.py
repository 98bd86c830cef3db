"""The processor: verdicts on new series, and what becomes of their points."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

import numpy as np

from headrace.pipeline.batch import MetricBatch
from headrace.pipeline.component import ProcessorFactory
from headrace.pipeline.offenders import REPORTED, Offenders, ShownOffenders
from headrace.pipeline.streams.snapshots import decode, encode
from headrace.processors.cardinality_limit import fold_kernels as kernels
from headrace.processors.cardinality_limit.config import CardinalityLimitConfig
from headrace.processors.cardinality_limit.state import Saved
from headrace.processors.cardinality_limit.view import DROP, FOLD, KEEP, UNDECIDED, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext
    from headrace.pipeline.component import Settings
    from headrace.pipeline.series import SeriesTable
    from headrace.processors.cardinality_limit.folding import Points

_KIND: Final = "cardinality_limit"
_STATE_VERSION: Final = 2
_LOOK_S: Final = 60.0
"""How often to look for what can be forgotten."""

_FIRST_VERSION = b'{"version": 1,'
"""How states of version 1 begin, which were JSON and had every series that was ever seen."""


class CardinalityLimiter:
    """Decides once about each new series, and folds points by a kernel."""

    def __init__(self, settings: Settings, config: CardinalityLimitConfig) -> None:
        self._settings = settings
        self._config = config
        self._views: weakref.WeakKeyDictionary[SeriesTable, View] = weakref.WeakKeyDictionary()
        self._restored: dict[str, Saved] = {}
        self._restored_s = settings.monotonic_s()
        self._looked_s = self._reported_s = settings.monotonic_s()
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
        new = ids[view.verdict[ids] == UNDECIDED]
        firsts: NDArray[np.intp] = np.unique(new, return_index=True)[1]
        out: NDArray[np.int32] = new[np.sort(firsts)]
        return out

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Admit some series, or not."""
        view, now_s = self._view(batch.table, batch.context), self._settings.monotonic_s()
        for one in ids.tolist():
            series = batch.table.series(one)
            if not view.decide(one, series, now_s):
                self._over.add()
                self.offenders.add(series)

    def _view(self, table: SeriesTable, context: BatchContext) -> View:
        view = self._views.get(table)
        if view is None:
            view = self._views[table] = View(self._config, table, context)
            now_s = self._settings.monotonic_s()
            saved = self._restored.pop(context.workspace, None)
            if saved is not None:
                view.restore(saved.older(now_s - self._restored_s), now_s)
                view.expire(now_s)
        view.fit(table.capacity)
        return view

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
        if (verdict == KEEP).all() and not beside:
            return batch
        dropped = verdict == DROP
        self._settings.drops.count("cardinality_limit", batch, dropped)
        folded = np.flatnonzero(verdict == FOLD)
        points = view.fold(batch, folded, self._settings.monotonic_s()) if len(folded) else None
        self._folded.add(len(folded))
        out = self._narrowed(batch, view).select(verdict == KEEP)
        return out if points is None else _appended(out, *self._with_ids(points))

    def _with_ids(self, points: Points) -> Points:
        """Leave out the points of overflow series that the table has no room for."""
        series, times, values = points
        has_id = series >= 0
        self._settings.drops.add("series_limit", int((~has_id).sum()))
        return series[has_id], times[has_id], values[has_id]

    def _narrowed(self, batch: MetricBatch, view: View) -> MetricBatch:
        """Leave out the histograms and exemplars beyond the limits: they are not folded."""
        histograms, native, exemplars = batch.histograms, batch.native, batch.exemplars
        for rows in (histograms, native):
            beyond = 0 if rows is None else int((view.verdict[rows.series] != KEEP).sum())
            if beyond:
                self._settings.drops.add("cardinality_limit", beyond)
        return batch.with_columns(
            histograms=None if histograms is None else histograms.select(view.verdict[histograms.series] == KEEP),
            native=None if native is None else native.select(view.verdict[native.series] == KEEP),
            exemplars=None if exemplars is None else exemplars.select(view.verdict[exemplars.series] == KEEP),
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
        self._let_go(now_s)
        before_s = now_s - self._config.flush_after.total_seconds()
        found = []
        for table, view in list(self._views.items()):
            series, times, values = self._with_ids(view.flushed(table, before_s))
            if len(series):
                found.append(MetricBatch.of(table, series, times, values, context=view.context))
        return found

    def _let_go(self, now_s: float) -> None:
        """Forget what earlier runs knew, once it has not come again for long enough."""
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        for _table, view in list(self._views.items()):
            view.expire(now_s)
        self._restored = {name: saved for name, saved in self._waiting(now_s).items() if not saved.is_over}
        self._restored_s = now_s

    def _waiting(self, now_s: float) -> dict[str, Saved]:
        """Return what was restored of workspaces that were not seen yet, as old as it is now."""
        return {name: saved.older(now_s - self._restored_s) for name, saved in self._restored.items()}

    def _report(self) -> None:
        if self.offenders.series:
            top = ", ".join(map(str, self.offenders.top(REPORTED)))
            self._settings.logger.warning("series beyond the limits, by metric: %s", top)

    def snapshot(self) -> bytes:
        """Return who is admitted, how many, and the sums of what is folded, by identity."""
        now_s = self._settings.monotonic_s()
        states = {view.context.workspace: view.state(now_s) for _table, view in list(self._views.items())}
        found = {**self._waiting(now_s), **states}
        return encode(_KIND, _STATE_VERSION, {name: saved.part() for name, saved in found.items()})

    def restore(self, state: bytes) -> None:
        """Take over a state; the sums go on, and places are reserved, once their workspace is seen.

        A state of version 1 is left out, and all series are judged anew.

        Raises:
            ValueError: It is damaged, or of another type or version.
        """
        if state.startswith(_FIRST_VERSION):
            self._settings.logger.warning("the saved state is of version 1 and is left out: series are judged anew")
            return
        self._restored = {name: Saved.of(part) for name, part in decode(_KIND, _STATE_VERSION, state).items()}
        self._restored_s = self._settings.monotonic_s()


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


def warm_up() -> None:
    """Run the kernel on one point."""
    ones, ids, yes = np.ones(1, np.int64), np.zeros(1, np.int32), np.zeros(1, np.bool_)
    never, value = np.full(1, kernels.NEVER), np.ones(1)
    kernels.fold(
        np.zeros(1, np.int64), ids, ones, value, ids, value.copy(), yes, yes.copy(), value.copy(), never, yes.copy(),
        ids.copy(), ones.copy(), value.copy(),
    )  # fmt: skip


FACTORY = ProcessorFactory(
    name="cardinality_limit", config=CardinalityLimitConfig, create=CardinalityLimiter, warm_up=warm_up
)
