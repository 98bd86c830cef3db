"""One rule at work: samples in, aggregates out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import Flag
from headrace.pipeline.streams.rows import by_time
from headrace.processors.stream_aggregate import sample_kernels as kernels
from headrace.processors.stream_aggregate.config import ns
from headrace.processors.stream_aggregate.flush import clear, points
from headrace.processors.stream_aggregate.naming import Naming
from headrace.processors.stream_aggregate.outputs import Output
from headrace.processors.stream_aggregate.state import RuleState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext, MetricBatch
    from headrace.pipeline.counters import Counter, Drops
    from headrace.pipeline.series import SeriesTable
    from headrace.processors.stream_aggregate.config import RuleConfig

_NO_PART_OF_STATE = {
    "staleness_interval", "ignore_first_sample_interval", "ignore_old_samples", "ignore_first_intervals",
    "flush_on_shutdown", "max_quantile_samples",
}  # fmt: skip
"""Settings that may change without what is known losing its meaning."""


class Rule:
    """A rule of the configuration.

    Args:
        config: Its settings.
        drops: Where dropped samples are counted.
        late: Counts samples older than one of their series before.
    """

    def __init__(self, config: RuleConfig, drops: Drops, late: Counter) -> None:
        self.config = config
        self._drops = drops
        self._late = late
        self.outputs = tuple(Output.parse(text) for text in config.outputs)
        self._naming = Naming(config, self.outputs)
        self._interval_ns = ns(config.interval)
        self._dedup_ns = ns(config.dedup_interval)
        self._staleness_ns = ns(config.staleness_interval) or 2 * self._interval_ns
        first = config.ignore_first_sample_interval
        self._ignore_ns = self._staleness_ns if first is None else ns(first)
        bounds = [output.numbers for output in self.outputs if output.kind == "histogram_bucket"]
        self._bounds = np.array(bounds[0] if bounds else (), np.float64)
        self._has_quantiles = any(output.kind == "quantiles" for output in self.outputs)
        self.key = hashlib.sha256(config.model_dump_json(exclude=_NO_PART_OF_STATE).encode()).hexdigest()[:16]
        """Tells rules apart in saved states: one that means something else begins anew."""

    def begin(self, table: SeriesTable, context: BatchContext, now_ns: int) -> RuleState:
        """Return the state in which the rule begins."""
        width = sum(len(output.labels) for output in self.outputs)
        state = RuleState(table, context, self._naming, width, len(self._bounds) + 1, now_ns)
        if self.config.no_align_flush_to_interval:
            state.is_partial = False
        else:
            # The interval that runs began before the rule did.
            state.window_ns = now_ns - now_ns % self._interval_ns
            state.is_partial = state.window_ns != now_ns
        return state

    # -- samples in ----------------------------------------------------------------------------------------

    def add(self, state: RuleState, batch: MetricBatch, now_ns: int) -> None:
        """Add the samples of a batch that the rule is about; stale markers and NaN say nothing."""
        slots = state.slots_of(batch.series)
        rows = np.flatnonzero((slots >= 0) & (batch.flags & np.uint8(Flag.STALE) == 0) & ~np.isnan(batch.value))
        if self.config.ignore_old_samples:
            rows = self._without_old(state, batch, rows)
        if not len(rows):
            return
        rows = by_time(batch.time_ns, rows)
        slots, times, values = slots[rows], batch.time_ns[rows], batch.value[rows]
        state.inputs.slots.seen_ns[slots] = now_ns
        state.groups.slots.seen_ns[state.inputs.slots.columns["group"][slots]] = now_ns
        if self._dedup_ns:
            columns = state.inputs.slots.columns
            kernels.hold(slots, times, values, columns["held_at"], columns["held"])
        else:
            self._add(state, slots, times, values)

    def _without_old(self, state: RuleState, batch: MetricBatch, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        old = batch.time_ns[rows] < state.window_ns
        if old.any():
            dropped = np.zeros(len(batch.series), np.bool_)
            dropped[rows[old]] = True
            self._drops.count("old_sample", batch, dropped)
        return rows[~old]

    def _add(
        self, state: RuleState, slots: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        inputs, groups = state.inputs.slots.columns, state.groups.slots.columns
        first_counts = state.window_ns - state.begun_ns >= self._ignore_ns
        late = kernels.add(
            slots, times, values, first_counts, inputs["group"], inputs["is_delta"], inputs["marks"],
            inputs["floats"], groups["newest"], groups["aggregates"], self._bounds, groups["buckets"],
        )  # fmt: skip
        self._late.add(late)
        if self._has_quantiles:
            self._sample(state, inputs["group"][slots], values)

    def _sample(self, state: RuleState, groups: NDArray[np.int32], values: NDArray[np.float64]) -> None:
        """Keep values for quantiles: all, or, where they are too many, each with the same chance."""
        if state.keep_one_in > 1:
            kept = state.random.random(len(values)) * state.keep_one_in < 1
            groups, values = groups[kept], values[kept]
        state.sample_groups.append(groups)
        state.sample_values.append(values)
        state.sampled += len(values)
        while state.sampled > self.config.max_quantile_samples:
            every, of = np.concatenate(state.sample_values), np.concatenate(state.sample_groups)
            kept = state.random.random(len(every)) < 0.5
            state.sample_groups, state.sample_values = [of[kept]], [every[kept]]
            state.sampled = int(kept.sum())
            state.keep_one_in *= 2

    def _add_held(self, state: RuleState, now_ns: int, *, all_: bool) -> None:
        """Add the samples that deduplication holds: all, or once they are due."""
        if not self._dedup_ns or not (all_ or now_ns >= state.dedup_ns + self._dedup_ns):
            return
        state.dedup_ns = now_ns - now_ns % self._dedup_ns
        columns = state.inputs.slots.columns
        slots = np.flatnonzero((columns["held_at"] != 0) & (state.inputs.slots.ids >= 0)).astype(np.int32)
        if len(slots):
            self._add(state, slots, columns["held_at"][slots], columns["held"][slots])
            columns["held_at"][slots] = 0

    # -- aggregates out ------------------------------------------------------------------------------------

    def due(self, state: RuleState, now_ns: int) -> MetricBatch | None:
        """Return the aggregates of the interval that is over at `now_ns`; None while it runs."""
        if now_ns < state.window_ns - self._interval_ns:
            # The clock was set back: the interval must not run until it is there again.
            state.window_ns = now_ns - now_ns % self._interval_ns
            state.begun_ns = min(state.begun_ns, state.window_ns)
        end = state.window_ns + self._interval_ns
        # At the end of the interval all that is held is part of it.
        self._add_held(state, now_ns, all_=now_ns >= end)
        if now_ns < end:
            return None
        end += (now_ns - end) // self._interval_ns * self._interval_ns
        return self._flush(state, end, now_ns)

    def last(self, state: RuleState, now_ns: int) -> MetricBatch | None:
        """Return the aggregates of the interval that runs, where the configuration wants them at the end."""
        if not self.config.flush_on_shutdown:
            return None
        self._add_held(state, now_ns, all_=True)
        return self._flush(state, now_ns, now_ns)

    def _flush(self, state: RuleState, end: int, now_ns: int) -> MetricBatch | None:
        batch = None
        ignored = end - state.begun_ns <= self.config.ignore_first_intervals * self._interval_ns
        if not ignored and (self.config.flush_on_shutdown or not state.is_partial):
            batch = points(state, self.outputs, end)
        clear(state)
        state.window_ns, state.is_partial = end, False
        state.close_idle(now_ns - self._staleness_ns)
        return batch
