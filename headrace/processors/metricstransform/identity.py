"""What a transform makes of the identity of a series: decided once, however many points it has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.pipeline.identity import METRIC_NAME, Form, Resource, Series
from headrace.pipeline.regex import searching
from headrace.processors.metricstransform.config import (
    AGGREGATING,
    Action,
    Aggregation,
    MatchType,
    OperationAction,
    SubmatchCase,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.processors.metricstransform.config import Operation, Transform


@dataclass(frozen=True, slots=True)
class Stage:
    """Operations that need no other points, and what follows them.

    Attributes:
        operations: In order.
        aggregation: How points of one series and time are put together then; None for not at all.
    """

    operations: tuple[Operation, ...]
    aggregation: Aggregation | None


def stages(transform: Transform) -> tuple[Stage, ...]:
    """Cut the operations of a transform behind each one that aggregates."""
    found: list[Stage] = []
    run: list[Operation] = []
    if transform.action is Action.COMBINE:
        found.append(Stage((), transform.aggregation_type))
    for operation in transform.operations:
        run.append(operation)
        if operation.action in AGGREGATING:
            found.append(Stage(tuple(run), operation.aggregation_type))
            run = []
    if run or not found:
        found.append(Stage(tuple(run), None))
    return tuple(found)


class Matcher:
    """Tells whether a transform is about a series, and what it is called then.

    Args:
        transform: Its settings.
    """

    def __init__(self, transform: Transform) -> None:
        self._transform = transform
        self._pattern = searching(transform.include) if transform.match_type is MatchType.REGEXP else None
        self._labels = [(name, self._test(value)) for name, value in transform.experimental_match_labels.items()]

    def _test(self, value: str) -> Callable[[str], bool]:
        return value.__eq__ if self._pattern is None else searching(value).fullmatch

    def matches(self, series: Series) -> bool:
        """Return whether the transform is about a series."""
        name = series.name
        fits = name == self._transform.include if self._pattern is None else self._pattern.fullmatch(name)
        return bool(fits) and all(test(series[label]) for label, test in self._labels)

    def renamed(self, series: Series) -> Series:
        """Return a series that matches as the action has it, before operations."""
        transform = self._transform
        if transform.action is Action.GROUP:
            return _grouped(series, transform.group_resource_labels)
        if not transform.new_name:
            return series
        if transform.action is Action.COMBINE:
            return self._combined(series)
        name = transform.new_name
        if self._pattern is not None:
            name = self._pattern.expand(name, series.name) or ""
        return with_labels(series, {**dict(series.labels), METRIC_NAME: name})

    def _combined(self, series: Series) -> Series:
        pattern = self._pattern
        groups = pattern.groups(series.name) if pattern is not None else None
        if pattern is None or groups is None:
            raise AssertionError(f"bug: {series} is combined and does not match")
        names = {number: name for name, number in pattern.group_index.items()}
        labels = dict(series.labels)
        for number, value in enumerate(groups[1:], 1):
            labels[names.get(number, f"${number}")] = self._cased(value or "")
        return with_labels(series, {**labels, METRIC_NAME: self._transform.new_name})

    def _cased(self, value: str) -> str:
        match self._transform.submatch_case:
            case SubmatchCase.LOWER:
                return value.lower()
            case SubmatchCase.UPPER:
                return value.upper()
            case None:
                return value


def _grouped(series: Series, labels: dict[str, str]) -> Series:
    if series.form is Form.PROMETHEUS:
        return series.set(labels)
    resource = series.resource or Resource()
    attributes = {**dict(resource.attributes), **labels}
    return replace(series, resource=replace(resource, attributes=tuple(sorted(attributes.items()))))


def applied(operations: tuple[Operation, ...], series: Series) -> Series | None:
    """Return what operations make of a series; None where they drop its points."""
    for operation in operations:
        changed = _apply(operation, series)
        if changed is None:
            return None
        series = changed
    return series


def _apply(operation: Operation, series: Series) -> Series | None:
    labels = dict(series.labels)
    match operation.action:
        case OperationAction.ADD_LABEL:
            labels[operation.new_label] = operation.new_value
        case OperationAction.UPDATE_LABEL:
            if operation.label not in labels:
                return series
            value = labels.pop(operation.label)
            renamed = {one.value: one.new_value for one in operation.value_actions}
            labels[operation.new_label or operation.label] = renamed.get(value, value)
        case OperationAction.DELETE_LABEL_VALUE:
            return None if series[operation.label] == operation.label_value else series
        case OperationAction.AGGREGATE_LABELS:
            kept = {*operation.label_set, METRIC_NAME}
            labels = {name: value for name, value in labels.items() if name in kept}
        case OperationAction.AGGREGATE_LABEL_VALUES:
            if labels.get(operation.label) in operation.aggregated_values:
                labels[operation.label] = operation.new_value
        case _:
            return series
    return with_labels(series, labels)


def with_labels(series: Series, labels: dict[str, str]) -> Series:
    """Return the series with these labels, and what is said of the types of those whose values are as they were."""
    before = dict(series.labels)
    types = tuple(pair for pair in series.types if labels.get(pair[0]) == before.get(pair[0]))
    return replace(series.with_labels(labels.items()), types=types)
