"""Which points go where: a plan for each series, and masks of rows where conditions are on values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.columns import Column
from headrace.pipeline.ottl.conditions import computed
from headrace.pipeline.ottl.faults import ErrorMode, Faults
from headrace.pipeline.ottl.points import families, ids, points
from headrace.pipeline.series_view import SeriesView
from headrace.pipeline.verdicts import UNDECIDED, Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Settings
    from headrace.pipeline.identity import Series

MAX_PLANS = 1000
"""Different plans that one connector keeps: conditions that compare values with attributes make any number."""

_Plan = tuple["bool | Column", ...]
"""Answer of each rule; nothing for series that are dropped."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition and what it does.

    Attributes:
        value: Answers for a series, see `Compiled.value`.
        moves: Whether later rules do not see what it matches.
    """

    value: Callable[[SeriesView], Any]
    moves: bool


class Splitter:
    """Splits batches into a part for each rule, and one for the rest.

    Args:
        settings: Of the connector.
        rules: In order.
        mode: What happens to series for which a rule has no value.
    """

    def __init__(self, settings: Settings, rules: Sequence[Rule], mode: ErrorMode) -> None:
        self._settings = settings
        self._rules = tuple(rules)
        self._mode = mode
        self._faults = Faults(settings)
        self._plans: list[_Plan] = [(), ()]  # undecided, and dropped
        self._numbers: dict[tuple[object, ...], int] = {("dropped",): 1}
        self._told_full = False
        self._verdicts = Verdicts()

    def split(self, batch: MetricBatch) -> Iterator[tuple[int, MetricBatch]]:
        """Yield (rule, its part of `batch`) for parts with something in them; the rest has the last number."""
        plans = self._decided(batch)
        parts = {family: self._masks(batch, family, plans) for family in families(batch)}
        for number in range(len(self._rules) + 1):
            part = batch
            for family, masks in parts.items():
                part = _narrowed(part, family, masks[number])
            part = self._exemplars(part, number, plans)
            if not part.is_empty:
                yield number, part

    def _decided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the plan of each series of the table, after deciding about new ones."""
        plans = self._verdicts.of(batch.table)
        found = [ids(batch, family) for family in families(batch)]
        if batch.exemplars is not None:
            found.append(batch.exemplars.series)
        every = np.concatenate(found)
        new: NDArray[np.int32] = np.unique(every[plans[every] == UNDECIDED])
        for one in new.tolist():
            plans[one] = self._number(batch.table.series(one))
        return plans

    def _number(self, series: Series) -> int:
        view = SeriesView.of(series)
        answers: list[bool | Column] = []
        for rule in self._rules:
            try:
                answers.append(rule.value(view))
            except InvalidInput as error:
                self._faults.note(error, series, self._mode)
                if self._mode is ErrorMode.PROPAGATE:
                    return 1
                answers.append(False)
        return self._number_of(tuple(answers))

    def _number_of(self, plan: _Plan) -> int:
        key = tuple(one.key if isinstance(one, Column) else one for one in plan)
        number = self._numbers.get(key)
        if number is None:
            if len(self._plans) >= MAX_PLANS and any(isinstance(one, Column) for one in plan):
                self._tell_full()
                return self._number_of(tuple(one is True for one in plan))
            number = self._numbers[key] = len(self._plans)
            self._plans.append(plan)
        return number

    def _tell_full(self) -> None:
        if not self._told_full:
            self._told_full = True
            self._settings.logger.warning(
                "more than %d different conditions on values: they do not hold for further series", MAX_PLANS
            )

    def _masks(self, batch: MetricBatch, family: str, plans: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return (rules + 1, n) bool: which rows go to which rule's pipelines."""
        series = ids(batch, family)
        numbers = plans[series]
        out = np.zeros((len(self._rules) + 1, len(series)), np.bool_)
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            plan = self._plans[number]
            if not plan:
                self._settings.drops.add("expression_failed", len(rows), str(batch.table.series(int(series[rows[0]]))))
                continue
            left = np.ones(len(rows), np.bool_)
            for at, (rule, answer) in enumerate(zip(self._rules, plan, strict=True)):
                hit = left & (computed(answer, points(batch, family, rows)) if isinstance(answer, Column) else answer)
                out[at, rows] = hit
                left = left & ~hit if rule.moves else left
            out[-1, rows] = left
        return out

    def _exemplars(self, part: MetricBatch, number: int, plans: NDArray[np.int32]) -> MetricBatch:
        """Leave out exemplars that belong elsewhere: they go where points of their series go."""
        exemplars = part.exemplars
        if exemplars is None:
            return part
        keep = np.isin(exemplars.series, np.concatenate([ids(part, family) for family in families(part)]))
        for plan in np.unique(plans[exemplars.series[~keep]]).tolist():
            if self._whole(self._plans[plan], number):
                keep |= plans[exemplars.series] == plan
        if keep.all():
            return part
        return part.with_columns(exemplars=exemplars.select(keep) if keep.any() else None)

    def _whole(self, plan: _Plan, number: int) -> bool:
        """Return whether every point of a series with this plan would go to a rule's pipelines."""
        for at, (rule, answer) in enumerate(zip(self._rules, plan, strict=False)):
            if at == number:
                return answer is True
            if answer is not False and rule.moves:
                return False
        return bool(plan)


def _narrowed(batch: MetricBatch, family: str, keep: NDArray[np.bool_]) -> MetricBatch:
    if keep.all():
        return batch
    if not family:
        return batch.select(keep)
    rows = getattr(batch, family)
    return batch.with_columns(**{family: rows.select(keep) if keep.any() else None})
