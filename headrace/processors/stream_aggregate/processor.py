"""The processor: rules beside each other."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.component import ProcessorFactory
from headrace.pipeline.identity import MetricType, Temporality
from headrace.pipeline.streams.slots import NEW
from headrace.pipeline.streams.snapshots import Part, decode, encode
from headrace.pipeline.streams.tables import OfTable
from headrace.processors.stream_aggregate import sample_kernels as kernels
from headrace.processors.stream_aggregate.config import StreamAggregateConfig
from headrace.processors.stream_aggregate.rule import Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext, MetricBatch
    from headrace.pipeline.component import Settings
    from headrace.pipeline.series import SeriesTable
    from headrace.processors.stream_aggregate.state import RuleState

_TOUCH_NS = 60_000_000_000
_UNDECIDED, _UNMATCHED, _MATCHED = 0, 1, 2
_KIND: Final = "stream_aggregate"
_STATE_VERSION: Final = 1
_BESIDE = ("histograms", "native", "exemplars")


class StreamAggregate:
    """Aggregates samples as they come."""

    def __init__(self, settings: Settings, config: StreamAggregateConfig) -> None:
        self._settings = settings
        self._config = config
        attributes = {"processor": settings.id}
        late = settings.counters.counter(
            "headrace_stream_aggregate_late_samples",
            "Samples older than one of their series before, which say nothing of its growth.",
            attributes,
            "{datapoint}",
        )
        settings.counters.observe(
            "headrace_stream_aggregate_series", "Series that are aggregated.", self._series, attributes, "{series}"
        )
        self._rules = [Rule(one, settings.drops, late) for one in config.rules]
        self._views: weakref.WeakKeyDictionary[SeriesTable, _View] = weakref.WeakKeyDictionary()
        self._restored: dict[str, Part] = {}
        self._ready: list[MetricBatch] = []
        self._touched_ns = settings.clock_ns()

    def _series(self) -> float:
        return sum(len(state.inputs.slots) for view in self._views.values() for state in view.states)

    # -- decisions -----------------------------------------------------------------------------------------

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the ids that nobody has decided about."""
        view = self._view(batch)
        beside = [rows.series for rows in (batch.histograms, batch.native, batch.exemplars) if rows is not None]
        ids = np.concatenate([batch.series, *beside])
        return np.unique(ids[view.undecided(ids)])

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Find the rules that are about some series."""
        view = self._view(batch)
        for one in ids.tolist():
            series = batch.table.series(one)
            kind = series.kind
            is_delta = kind.type is MetricType.COUNTER and kind.temporality is Temporality.DELTA
            found = [state.decide(one, series, is_delta=is_delta) for state in view.states]
            view.matched[one] = _MATCHED if any(found) else _UNMATCHED
        view.fit()

    # -- samples -------------------------------------------------------------------------------------------

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Add the samples of a batch; return what is passed on of it."""
        now_ns = self._settings.clock_ns()
        self._collect(self._view(batch), now_ns)
        ids = self.undecided(batch)
        if len(ids):
            self.decide(batch, ids)
        view = self._view(batch)
        for rule, state in zip(self._rules, view.states, strict=True):
            rule.add(state, batch, now_ns)
        return batch if self._config.keep_input else self._passed(view, batch)

    def _passed(self, view: _View, batch: MetricBatch) -> MetricBatch:
        """Return what is not aggregated; histograms of series that are have no aggregates and are counted."""
        if self._config.drop_input:
            left = len(batch) - int((view.matched[batch.series] == _MATCHED).sum())
            self._settings.drops.add("drop_input", left)
            nothing = dict.fromkeys(_BESIDE)
            return batch.select(np.zeros(len(batch.series), np.bool_)).with_columns(**nothing)
        passes = view.matched[batch.series] != _MATCHED
        changes = {}
        for name in _BESIDE:
            rows = getattr(batch, name)
            if rows is not None:
                kept = view.matched[rows.series] != _MATCHED
                changes[name] = rows.select(kept) if kept.any() else None
                dropped = int((~kept).sum())
                if name != "exemplars" and dropped:
                    example = str(batch.table.series(int(rows.series[(~kept).argmax()])))
                    self._settings.drops.add("histogram_not_aggregated", dropped, example)
        if passes.all() and not changes:
            return batch
        return batch.select(passes).with_columns(**changes)

    # -- time and state ------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[MetricBatch]:
        """Return the aggregates of intervals that are over."""
        for _table, view in list(self._views.items()):
            self._collect(view, now_ns)
            if now_ns - self._touched_ns >= _TOUCH_NS:
                for state in view.states:
                    state.touch()
        if now_ns - self._touched_ns >= _TOUCH_NS:
            self._touched_ns = now_ns
        found, self._ready = self._ready, []
        return found

    def drain(self, now_ns: int) -> list[MetricBatch]:
        """Return the aggregates of intervals that are cut off, of rules that want them."""
        found = self.tick(now_ns)
        for _table, view in list(self._views.items()):
            made = [rule.last(state, now_ns) for rule, state in zip(self._rules, view.states, strict=True)]
            found += [batch for batch in made if batch is not None]
        return found

    def _collect(self, view: _View, now_ns: int) -> None:
        """Keep the aggregates of intervals that are over for the next tick."""
        for rule, state in zip(self._rules, view.states, strict=True):
            batch = rule.due(state, now_ns)
            if batch is not None:
                self._ready.append(batch)

    def snapshot(self) -> bytes:
        """Return the state of all rules and workspaces, by identity."""
        parts = dict(self._restored)
        for _table, view in list(self._views.items()):
            for rule, state in zip(self._rules, view.states, strict=True):
                parts[f"{rule.key}/{view.context.workspace}"] = state.state(self._settings.clock_ns())
        return encode(_KIND, _STATE_VERSION, parts)

    def restore(self, state: bytes) -> None:
        """Take over a state; rules that it does not know, or knows otherwise, begin anew.

        Raises:
            ValueError: It is damaged, or of another type or version.
        """
        keys = {rule.key for rule in self._rules}
        found = decode(_KIND, _STATE_VERSION, state)
        self._restored = {key: part for key, part in found.items() if key.partition("/")[0] in keys}

    def _view(self, batch: MetricBatch) -> _View:
        table, context = batch.table, batch.context
        view = self._views.get(table)
        if view is None:
            now_ns = self._settings.clock_ns()
            states = [self._begin(rule, table, context, now_ns) for rule in self._rules]
            view = self._views[table] = _View(table, context, states)
        view.fit()
        return view

    def _begin(self, rule: Rule, table: SeriesTable, context: BatchContext, now_ns: int) -> RuleState:
        state = rule.begin(table, context, now_ns)
        part = self._restored.pop(f"{rule.key}/{context.workspace}", None)
        if part is not None:
            try:
                state.restore(part, now_ns)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                self._settings.logger.error(  # noqa: TRY400 -- the file is at fault, not the code
                    "the saved state of a rule in workspace %s does not fit and is left out: %s",
                    context.workspace,
                    error,
                )
                return rule.begin(table, context, now_ns)
        return state


class _View(OfTable):
    """What is known of one workspace."""

    def __init__(self, table: SeriesTable, context: BatchContext, states: list[RuleState]) -> None:
        super().__init__(table)
        self.context = context
        self.states = states
        self.matched = np.zeros(1024, np.uint8)
        table.register(self)

    def fit(self) -> None:
        """Make room for all ids of the table."""
        self.matched = grown(self.matched, self.table.capacity)
        for state in self.states:
            state.fit()

    def undecided(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which ids nobody has decided about, or of which a rule has forgotten the input."""
        new: NDArray[np.bool_] = self.matched[ids] == _UNDECIDED
        for state in self.states:
            new |= state.input_of[ids] == NEW
        return new

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Forget the decisions about freed series."""
        self.matched[ids[ids < len(self.matched)]] = _UNDECIDED


def warm_up() -> None:
    """Run the kernels on one sample."""
    slots, times, values = np.zeros(1, np.int32), np.ones(1, np.int64), np.ones(1)
    marks, floats = np.zeros((1, kernels.MARKS), np.int64), np.zeros((1, kernels.FLOATS))
    aggregates, buckets = np.zeros((1, kernels.AGGREGATES)), np.zeros((1, 1))
    kernels.add(
        slots, times, values, True, slots, np.zeros(1, np.uint8), marks, floats, times, aggregates, np.zeros(0), buckets
    )
    kernels.hold(slots, times, values, times, values)


FACTORY = ProcessorFactory(
    name="stream_aggregate", config=StreamAggregateConfig, create=StreamAggregate, warm_up=warm_up
)
