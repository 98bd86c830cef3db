"""What processors with a state for each stream have in common: views of tables, decisions, expiry, snapshots."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from headrace.pipeline.streams.identities import packed, unpacked
from headrace.pipeline.streams.slots import NEW, OTHER, REFUSED, Field, Slots
from headrace.pipeline.streams.snapshots import Part, decode, encode
from headrace.pipeline.streams.tables import OfTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext, MetricBatch
    from headrace.pipeline.component import Settings
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable

_TOUCH_NS = 60_000_000_000
"""How often the table is told that streams are still followed, even if they are silent."""


class View(OfTable):
    """What a processor knows of one workspace: its streams and what they come to.

    Args:
        table: Whose ids.
        context: Of the first batch; what the processor makes itself carries it.
        fields: Columns of state.
        max_slots: Most streams.
    """

    def __init__(
        self, table: SeriesTable, context: BatchContext, fields: Mapping[str, Field], max_slots: int = 1 << 62
    ) -> None:
        super().__init__(table)
        self.context = context
        self.slots = Slots(table, fields, max_slots)

    def close(self, slots: NDArray[np.integer[Any]]) -> None:
        """Forget streams."""
        self.slots.close(slots)

    def mark_seen(self, series: NDArray[np.int32], now_ns: int) -> None:
        """Note that streams have points now."""
        slots = self.slots.slot_of[series]
        self.slots.seen_ns[slots[slots >= 0]] = now_ns

    def state(self) -> Part:
        """Return all that `restore` needs."""
        slots = self.slots
        live = slots.live()
        arrays: dict[str, NDArray[Any]] = {"seen_ns": slots.seen_ns[live]}
        value: dict[str, Any] = {}
        ends = {"from": slots.ids}
        if (slots.ids[live] != slots.out[live]).any():
            ends["to"] = slots.out
        for end, ids in ends.items():
            columns, value[end] = packed(self.table, ids[live])
            arrays |= {f"{end}.{name}": column for name, column in columns.items()}
        arrays |= {f"state.{name}": column[live] for name, column in slots.columns.items()}
        return Part(value, arrays)

    def restore(self, part: Part) -> NDArray[np.int64]:
        """Follow the streams of a state again; return their slots, -1 for those that the table refuses.

        Raises:
            ValueError: The state does not hold together.
        """
        arrays, slots = part.arrays, self.slots
        ends = {}
        for end in [end for end in ("from", "to") if end in part.value]:
            columns = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{end}.")}
            ends[end] = unpacked(self.table, columns, part.value[end])
        ids = ends["from"]
        out = ends.get("to", ids)
        if len(out) != len(ids):
            raise ValueError("the ends of streams do not fit")
        slots.fit()
        kept = np.flatnonzero((ids >= 0) & (out >= 0))
        slots.open(ids[kept], out[kept])
        found = np.full(len(ids), -1, np.int64)
        found[kept] = np.maximum(slots.slot_of[ids[kept]], -1)
        open_ = found >= 0
        slots.seen_ns[found[open_]] = arrays["seen_ns"][open_]
        for name, column in slots.columns.items():
            saved = arrays[f"state.{name}"]
            if saved.shape != (len(ids), *column.shape[1:]) or saved.dtype != column.dtype:
                raise ValueError(f"column {name} is {saved.dtype} of shape {saved.shape}")
            column[found[open_]] = saved[open_]
        return found


V = TypeVar("V", bound=View)


class StreamProcessor(ABC, Generic[V]):
    """A column processor that follows streams; its state survives reload and restart.

    A subclass says which series it follows (`target`), how a view is made (`view`), and what it does (`apply`).

    Args:
        settings: The component's.
        max_idle_ns: Streams without a point for so long are forgotten; 0 for never.
    """

    kind: ClassVar[str]
    """Type of the component, in its snapshots."""

    state_version: ClassVar[int] = 1
    """Of what its snapshots mean; another one is refused."""

    def __init__(self, settings: Settings, max_idle_ns: int = 0) -> None:
        self.settings = settings
        self.drops = settings.drops
        self._max_idle_ns = max_idle_ns
        self._views: weakref.WeakKeyDictionary[SeriesTable, V] = weakref.WeakKeyDictionary()
        self._restored: dict[str, Part] = {}
        self._touched_ns = settings.clock_ns()

    # -- what a subclass says ------------------------------------------------------------------------------

    @abstractmethod
    def target(self, series: Series) -> Series | None:
        """Return the series under which a stream is passed on; None for one that is not followed."""

    @abstractmethod
    def view(self, table: SeriesTable, context: BatchContext) -> V:
        """Return a new view."""

    def opened(self, view: V, slot: int, series: Series) -> None:
        """Take note of a stream that is followed from now on."""

    @abstractmethod
    def apply(self, view: V, batch: MetricBatch) -> MetricBatch:
        """Process a batch all of whose series are decided."""

    # -- decisions -----------------------------------------------------------------------------------------

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the ids that nobody has decided about."""
        slot_of = self._view(batch).slots.slot_of
        found = [
            rows.series[slot_of[rows.series] == NEW]
            for rows in (batch, batch.histograms, batch.native, batch.exemplars)
            if rows is not None
        ]
        return np.unique(np.concatenate(found)) if any(map(len, found)) else np.empty(0, np.int32)

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Follow some series, or not."""
        view, table = self._view(batch), batch.table
        followed: list[int] = []
        sources: list[Series] = []
        targets: list[Series] = []
        for one in ids.tolist():
            series = table.series(one)
            target = self.target(series)
            if target is not None:
                followed.append(one)
                sources.append(series)
                targets.append(target)
        view.slots.slot_of[ids] = OTHER
        if followed:
            made = table.intern(targets)
            view.slots.fit()
            taken = np.array(followed, np.int32)
            view.slots.slot_of[taken[made < 0]] = REFUSED
            view.slots.open(taken[made >= 0], made[made >= 0])
            for slot, series in zip(view.slots.slot_of[taken].tolist(), sources, strict=True):
                if slot >= 0:
                    self.opened(view, slot, series)

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return the batch to pass on."""
        ids = self.undecided(batch)
        if len(ids):
            self.decide(batch, ids)
        return self.apply(self._view(batch), batch)

    def _view(self, batch: MetricBatch) -> V:
        table = batch.table
        view = self._views.get(table)
        if view is None:
            view = self._views[table] = self.view(table, batch.context)
            part = self._restored.pop(batch.context.workspace, None)
            if part is not None:
                self._take_over(view, part)
        view.slots.fit()
        return view

    def _take_over(self, view: V, part: Part) -> None:
        try:
            view.restore(part)
            view.slots.resume(int(part.value["saved_ns"]), self.settings.clock_ns())
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self.settings.logger.error(  # noqa: TRY400 -- the file is at fault, not the code
                "the saved state of workspace %s does not fit and is left out: %s", view.context.workspace, error
            )
            view.close(view.slots.live())

    # -- time and state ------------------------------------------------------------------------------------

    def views(self) -> list[V]:
        """Return the views of all tables."""
        return list(self._views.values())

    def tick(self, now_ns: int) -> list[MetricBatch]:
        """Forget idle streams; return nothing."""
        for _table, view in list(self._views.items()):
            if self._max_idle_ns:
                view.close(view.slots.expired(now_ns - self._max_idle_ns))
            if now_ns - self._touched_ns >= _TOUCH_NS:
                view.slots.touch()
        if now_ns - self._touched_ns >= _TOUCH_NS:
            self._touched_ns = now_ns
        return []

    def snapshot(self) -> bytes:
        """Return the state of all workspaces, by identity."""
        parts = {view.context.workspace: view.state() for _table, view in list(self._views.items())}
        for part in parts.values():
            part.value["saved_ns"] = self.settings.clock_ns()
        return encode(self.kind, self.state_version, {**self._restored, **parts})

    def restore(self, state: bytes) -> None:
        """Take over a state; the streams are followed again once their workspace is seen.

        Raises:
            ValueError: It is damaged, or of another type or version.
        """
        self._restored = decode(self.kind, self.state_version, state)
