"""Change series and values of points by statements in OTTL.

What depends on the identity of a series is decided once for it; values are set on columns. Two series that become one
by it stay points of one series: their values are not added up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import field_validator, model_validator

from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.compiler import compile_condition
from headrace.pipeline.ottl.faults import ErrorMode, Faults
from headrace.pipeline.ottl.paths import Context
from headrace.pipeline.ottl.points import NumberPoints
from headrace.pipeline.ottl.program import Block, PointEdit, apply, run
from headrace.pipeline.ottl.statements import compile_statement
from headrace.pipeline.verdicts import UNDECIDED, Verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.identity import Series

FAULT = "expression_failed"
"""Reason of series that a statement had no value for, with the error mode ``propagate``."""

MAX_PLANS = 1000
"""Different sets of edits of points that one processor keeps."""

_REFUSED = {
    **dict.fromkeys(("log_statements", "trace_statements", "profile_statements"), "there are metrics alone"),
    "flatten_data": "it is about logs",
}
_CONTEXTS = {context.name.lower(): context for context in Context}
_NO_EDITS = UNDECIDED


class StatementGroup(ComponentConfig):
    """Statements of one context."""

    context: str = ""
    """``resource``, ``scope``, ``metric`` or ``datapoint``: what paths without a prefix belong to. Where it is left
    out, all paths have their prefix."""

    conditions: tuple[str, ...] = ()
    """Conditions, one of which has to hold for the statements to run; they may not be on values."""

    error_mode: ErrorMode | None = None
    """As `error_mode` of the processor, for these statements."""

    statements: tuple[str, ...]
    """Statements, run in order."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.context and self.context not in _CONTEXTS:
            raise ValueError(f"there is no context {self.context!r} (there: {', '.join(_CONTEXTS)})")
        try:
            block_of(self, ErrorMode.IGNORE)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        return self


class TransformConfig(ComponentConfig):
    """Settings of the ``transform`` processor."""

    metric_statements: tuple[str | StatementGroup, ...]
    """Statements in OTTL: texts whose paths have their prefixes, or groups of them."""

    error_mode: ErrorMode = ErrorMode.IGNORE
    """What a statement does that has no value for a series: ``ignore`` logs it and goes on to the next, ``silent``
    does not log, ``propagate`` drops the series."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _REFUSED)

    @field_validator("metric_statements")
    @classmethod
    def _compile(cls, statements: tuple[str | StatementGroup, ...]) -> tuple[str | StatementGroup, ...]:
        if not statements:
            raise ValueError("must have a statement")
        for one in statements:
            try:
                block_of(one, ErrorMode.IGNORE)
            except InvalidInput as error:
                raise ValueError(str(error)) from None
        return statements


def block_of(group: str | StatementGroup, mode: ErrorMode) -> Block:
    """Compile a statement or a group of them.

    Raises:
        InvalidInput: One of them is wrong.
    """
    if isinstance(group, str):
        return Block((), (compile_statement(group),), mode)
    context = _CONTEXTS.get(group.context)
    conditions = tuple(compile_condition(text, context) for text in group.conditions)
    if any(condition.valued for condition in conditions):
        raise InvalidInput("conditions of a group may not be on values: write them behind where")
    steps = tuple(compile_statement(text, context) for text in group.statements)
    return Block(conditions, steps, group.error_mode or mode)


class TransformProcessor:
    """Runs the statements once for each new series."""

    def __init__(self, settings: Settings, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        self.faults = Faults(settings)

    def admit(self, series: Series) -> Series | None:
        """Return what the statements make of a series; None where a fault drops it."""
        return run(self.blocks, series, self.faults.note).series


class _Noting(TransformProcessor):
    """Keeps the edits of points that statements make of each series, until they are taken."""

    def __init__(self, settings: Settings, blocks: Sequence[Block]) -> None:
        super().__init__(settings, blocks)
        self._edits: dict[Series, tuple[PointEdit, ...]] = {}

    def admit(self, series: Series) -> Series | None:
        """Return what the statements make of a series; None where a fault drops it."""
        outcome = run(self.blocks, series, self.faults.note)
        if outcome.edits:
            self._edits[series] = outcome.edits
        return outcome.series

    def taken_edits(self) -> dict[Series, tuple[PointEdit, ...]]:
        """Return the edits of the series admitted since the last call, of those that have any."""
        edits, self._edits = self._edits, {}
        return edits


class PointTransform:
    """Runs the statements once for each new series, and what they do to points on columns."""

    def __init__(self, settings: Settings, blocks: Sequence[Block]) -> None:
        self._series = _Noting(settings, blocks)
        self._chain = SeriesChain([Stage(self._series, settings.drops, FAULT)])
        self._plans: list[tuple[PointEdit, ...]] = [()]
        self._numbers: dict[str, int] = {"": _NO_EDITS}
        self._verdicts = Verdicts()

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the distinct ids of `batch` that have no verdict."""
        return self._chain.undecided(batch)

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Run the statements for (n,) int32 `ids`."""
        self._chain.decide(batch, ids)
        plans = self._verdicts.of(batch.table)
        edits = self._series.taken_edits()
        for one in ids.tolist():
            series = batch.table.series(one)
            plans[one] = self._number(edits.get(series, ()), series)

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return the batch with series and points changed; the same object where nothing changes."""
        new = self.undecided(batch)
        if len(new):
            self.decide(batch, new)
        return self._chain.process(self._edited(batch))

    def _edited(self, batch: MetricBatch) -> MetricBatch:
        plans = self._verdicts.of(batch.table)[batch.series]
        used = np.unique(plans[plans != _NO_EDITS]).tolist()
        if not used:
            return batch
        out = _copied(batch)
        for plan in used:
            rows = np.flatnonzero(plans == plan)
            points = NumberPoints(out, rows)
            for edit in self._plans[plan]:
                self._apply(edit, points)
            out = _put(out, rows, points)
        return out

    def _apply(self, edit: PointEdit, points: NumberPoints) -> None:
        try:
            apply(edit, points)
        except InvalidInput as error:
            self._series.faults.note(error, edit.key, ErrorMode.IGNORE)

    def _number(self, edits: tuple[PointEdit, ...], series: Series) -> int:
        key = "; ".join(edit.key for edit in edits)
        number = self._numbers.get(key)
        if number is None:
            if len(self._plans) > MAX_PLANS:
                why = InvalidInput(f"there are {MAX_PLANS} different edits of values already: it keeps its values")
                self._series.faults.note(why, series, ErrorMode.IGNORE)
                return _NO_EDITS
            number = self._numbers[key] = len(self._plans)
            self._plans.append(edits)
        return number


def _copied(batch: MetricBatch) -> MetricBatch:
    """Return `batch` with columns of its own."""
    return replace(
        batch,
        time_ns=batch.time_ns.copy(),
        start_ns=batch.start_ns.copy(),
        value=batch.value.copy(),
        flags=batch.flags.copy(),
        integers=None if batch.integers is None else batch.integers.copy(),
    )


def _put(batch: MetricBatch, rows: NDArray[np.int64], points: NumberPoints) -> MetricBatch:
    """Write points into the columns of `batch`, which are its own."""
    for column, values in (
        (batch.time_ns, points.time_ns),
        (batch.start_ns, points.start_ns),
        (batch.value, points.value),
        (batch.flags, points.flags),
    ):
        column[rows] = values
    if points.integers is None:
        return batch
    whole = NumberPoints(batch, np.arange(len(batch.series))).column("value_int")
    whole[rows] = points.integers
    return replace(batch, integers=whole)


def create(settings: Settings, config: TransformConfig) -> TransformProcessor | PointTransform:
    """Make a processor of the cheaper tier, where no statement changes points."""
    blocks = [block_of(one, config.error_mode) for one in config.metric_statements]
    # The reason of a series processor's drops is the chain's; a fault has one of its own.
    if any(block.mode is ErrorMode.PROPAGATE or any(step.column for step in block.steps) for block in blocks):
        return PointTransform(settings, blocks)
    return TransformProcessor(settings, blocks)


FACTORY = ProcessorFactory(name="transform", config=TransformConfig, create=create)
