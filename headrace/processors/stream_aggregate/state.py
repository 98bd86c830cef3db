"""What one rule knows of one workspace: its inputs, its aggregates, and the interval that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.streams.processor import View
from headrace.pipeline.streams.slots import NEW, OTHER, REFUSED, Field
from headrace.pipeline.streams.snapshots import Part
from headrace.pipeline.streams.tables import OfTable
from headrace.processors.stream_aggregate import sample_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable
    from headrace.processors.stream_aggregate.naming import Naming

_INPUTS = {
    "marks": Field(np.int64, kernels.MARKS),
    "floats": Field(np.float64, kernels.FLOATS),
    "group": Field(np.int32),
    "is_delta": Field(np.uint8),
    "held_at": Field(np.int64),
    "held": Field(np.float64),
}


class RuleState(OfTable):
    """Inputs and aggregates.

    Args:
        table: Whose ids.
        context: Of the first batch.
        naming: Of the rule.
        width: Series of one aggregate.
        buckets: Buckets of ``histogram_bucket``, with that of +Inf.
        now_ns: When the rule begins.
    """

    def __init__(
        self, table: SeriesTable, context: BatchContext, naming: Naming, width: int, buckets: int, now_ns: int
    ) -> None:
        super().__init__(table)
        self.context = context
        self._naming = naming
        self.inputs = View(table, context, _INPUTS)
        groups = {
            "newest": Field(np.int64),
            "since": Field(np.int64),
            "aggregates": Field(np.float64, kernels.AGGREGATES),
            "buckets": Field(np.float64, buckets),
            "outputs": Field(np.int32, width, NEW),
        }
        self.groups = View(table, context, groups)
        self.input_of = np.full(1024, NEW, np.int32)
        """Id under which a series is an input, by id; NEW, or OTHER where the rule is not about it."""
        self.begun_ns = self.window_ns = now_ns
        """When the rule began, and when the interval that runs did."""
        self.dedup_ns = now_ns
        """When held samples were last added."""
        self.is_partial = True
        """Whether the interval that runs began with the rule, not with its own time."""
        self.sample_groups: list[NDArray[np.int32]] = []
        self.sample_values: list[NDArray[np.float64]] = []
        self.sampled = 0
        self.keep_one_in = 1
        self.random = np.random.default_rng()
        self.groups.slots.on_close = self._close_inputs
        table.register(self)

    def fit(self) -> None:
        """Make room for all ids of the table."""
        self.input_of = grown(self.input_of, self.table.capacity, NEW)
        self.inputs.slots.fit()
        self.groups.slots.fit()

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Forget what leads to series that the table has freed."""
        gone = np.zeros(max(self.table.capacity, len(self.input_of)), np.bool_)
        gone[ids] = True
        leads = (self.input_of >= 0) & gone[np.maximum(self.input_of, 0)]
        self.input_of[leads | gone[: len(self.input_of)]] = NEW
        outputs = self.groups.slots.columns["outputs"]
        outputs[(outputs >= 0) & gone[np.maximum(outputs, 0)]] = NEW

    # -- decisions -----------------------------------------------------------------------------------------

    def decide(self, series_id: int, series: Series, *, is_delta: bool) -> bool:
        """Return whether the rule is about a series; follow it then."""
        if not self._naming.matches(series):
            self.input_of[series_id] = OTHER
            return False
        own = self._naming.input(series)
        if own is None:
            self.input_of[series_id] = REFUSED
            return True
        group = self._naming.group(own)
        input_id, group_id = self.table.intern([own, group]).tolist()
        self.fit()
        if input_id < 0 or group_id < 0:
            self.input_of[series_id] = REFUSED
            return True
        self.input_of[series_id] = input_id
        if self.inputs.slots.slot_of[input_id] < 0:
            self._open(input_id, group_id, is_delta=is_delta)
        return True

    def _open(self, input_id: int, group_id: int, *, is_delta: bool) -> None:
        groups, inputs = self.groups.slots, self.inputs.slots
        if groups.slot_of[group_id] < 0:
            one = np.array([group_id], np.int32)
            groups.open(one, one)
            groups.columns["since"][groups.slot_of[group_id]] = self.window_ns
            groups.seen_ns[groups.slot_of[group_id]] = self.window_ns
        one = np.array([input_id], np.int32)
        inputs.open(one, one)
        slot = inputs.slot_of[input_id]
        inputs.seen_ns[slot] = self.window_ns
        inputs.columns["group"][slot] = groups.slot_of[group_id]
        inputs.columns["is_delta"][slot] = is_delta

    def slots_of(self, series: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the inputs of series, (k,) int32; below 0 for those that are not aggregated."""
        ids = self.input_of[series]
        return np.where(ids >= 0, self.inputs.slots.slot_of[np.maximum(ids, 0)], ids)

    def close_idle(self, before_ns: int) -> None:
        """Forget inputs and aggregates without samples since `before_ns`."""
        self._close(self.inputs.slots.expired(before_ns))
        self.groups.close(self.groups.slots.expired(before_ns))

    def _close_inputs(self, groups: NDArray[np.integer[Any]]) -> None:
        """Forget the inputs of aggregates that are forgotten."""
        live = self.inputs.slots.live()
        self._close(live[np.isin(self.inputs.slots.columns["group"][live], groups)])

    def _close(self, slots: NDArray[np.int64]) -> None:
        ids = self.inputs.slots.ids[slots]
        self.inputs.close(slots)
        if len(ids):
            gone = np.isin(self.input_of, ids)
            self.input_of[gone] = NEW

    def touch(self) -> None:
        """Keep the series of inputs and aggregates alive in the table."""
        self.inputs.slots.touch()
        self.groups.slots.touch()

    # -- names of aggregates -------------------------------------------------------------------------------

    def outputs_of(self, groups: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the ids of the series of aggregates, (k, width) int32; below 0 for those that are dropped."""
        outputs = self.groups.slots.columns["outputs"]
        for group in groups[(outputs[groups] == NEW).any(axis=1)].tolist():
            named = self._naming.outputs(self.table.series(int(self.groups.slots.ids[group])))
            wanted = [one for one in named if one is not None]
            made = iter(self.table.intern(wanted).tolist())
            found = [OTHER if one is None else next(made) for one in named]
            outputs[group] = [one if one >= 0 else OTHER for one in found]
        self.fit()
        found_ids: NDArray[np.int32] = outputs[groups]
        self.table.touch(found_ids[found_ids >= 0])
        return found_ids

    # -- state ---------------------------------------------------------------------------------------------

    def state(self, now_ns: int) -> Part:
        """Return all that `restore` needs, as of `now_ns`."""
        live = self.groups.slots.live()
        arrays: dict[str, NDArray[Any]] = {}
        value: dict[str, Any] = {}
        for name, view in (("inputs", self.inputs), ("groups", self.groups)):
            part = view.state()
            value[name] = part.value
            arrays |= {f"{name}/{key}": array for key, array in part.arrays.items()}
        arrays["inputs/state.group"] = np.searchsorted(live, arrays["inputs/state.group"]).astype(np.int32)
        groups = np.concatenate([np.empty(0, np.int32), *self.sample_groups])
        arrays["samples/group"] = np.searchsorted(live, groups).astype(np.int32)
        arrays["samples/value"] = np.concatenate([np.empty(0), *self.sample_values])
        times = [now_ns, self.begun_ns, self.window_ns, self.dedup_ns, self.keep_one_in, int(self.is_partial)]
        return Part({**value, "times": times}, arrays)

    def restore(self, part: Part, now_ns: int) -> None:
        """Take over a state at `now_ns`.

        Raises:
            ValueError: It does not hold together.
        """
        found = {}
        for name, view in (("groups", self.groups), ("inputs", self.inputs)):
            arrays = {key.partition("/")[2]: array for key, array in part.arrays.items() if key.startswith(f"{name}/")}
            found[name] = view.restore(Part(part.value[name], arrays))
        self.fit()
        groups = found["groups"]
        self.groups.slots.columns["outputs"][:] = NEW
        column = self.inputs.slots.columns["group"]
        live = self.inputs.slots.live()
        numbers, sampled = column[live], part.arrays["samples/group"]
        if max(numbers.max(initial=-1), sampled.max(initial=-1)) >= len(groups):
            raise ValueError("an input is of no aggregate")
        column[live] = groups[numbers]
        self._close(live[groups[numbers] < 0])
        saved_ns, *times, partial = map(int, part.value["times"])
        self.begun_ns, self.window_ns, self.dedup_ns, self.keep_one_in = times
        for view in (self.inputs, self.groups):
            view.slots.resume(saved_ns, now_ns)
        self.is_partial = bool(partial)
        kept = groups[sampled] >= 0
        self.sample_groups = [groups[sampled][kept].astype(np.int32)]
        self.sample_values = [part.arrays["samples/value"][kept]]
        self.sampled = int(kept.sum())
