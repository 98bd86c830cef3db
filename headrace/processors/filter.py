"""Keep or drop series by metric name, labels and type, and points by conditions in OTTL.

A series passes where some ``include`` entry fits (or there is none), no ``exclude`` entry does and no condition holds.
An entry fits where all that it names fits. What depends on the identity of a series alone is decided once for it;
conditions on values are computed on columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.columns import Column, lifted
from headrace.pipeline.ottl.compiler import Compiled, compile_condition
from headrace.pipeline.ottl.conditions import PointFilter
from headrace.pipeline.ottl.faults import ErrorMode, Faults
from headrace.pipeline.ottl.paths import Context
from headrace.pipeline.ottl.values import text_of
from headrace.pipeline.regex import regex, unanchored
from headrace.pipeline.relabel import Memo
from headrace.pipeline.series_view import SeriesView
from headrace.processors.filter_config import (
    TYPES,
    CollectorEntry,
    Entry,
    FilterConfig,
    MatchType,
    context_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.identity import Series
    from headrace.pipeline.ottl.conditions import Verdict

RULE = "dropped_by_rule"
"""Reason of what a rule drops."""

FAULT = "expression_failed"
"""Reason of series for which a condition had no value, with the error mode ``propagate``."""


@dataclass(frozen=True, slots=True)
class _Condition:
    compiled: Compiled
    mode: ErrorMode


class Rules:
    """Decides about a series."""

    def __init__(self, settings: Settings, config: FilterConfig) -> None:
        self._include = [_test(entry) for entry in config.include]
        self._exclude = [_test(entry) for entry in config.exclude]
        if config.metrics.include is not None:
            self._include.append(_collector_test(config.metrics.include))
        if config.metrics.exclude is not None:
            self._exclude.append(_collector_test(config.metrics.exclude))
        self.conditions = _conditions(config)
        self._faults = Faults(settings)

    def decide(self, series: Series) -> Verdict:
        """Return None to keep a series, why it is dropped, or the condition on which its points are."""
        if self._include and not any(test(series) for test in self._include):
            return RULE
        if any(test(series) for test in self._exclude):
            return RULE
        return self._conditional(series) if self.conditions else None

    def _conditional(self, series: Series) -> Verdict:
        view = SeriesView.of(series)
        found: object = False
        for condition in self.conditions:
            try:
                found = lifted("or", found, condition.compiled.value(view))
            except InvalidInput as error:
                self._faults.note(error, series, condition.mode)
                if condition.mode is ErrorMode.PROPAGATE:
                    return FAULT
        if isinstance(found, Column):
            return found
        return RULE if found else None


class FilterProcessor:
    """Decides once about each new series."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def admit(self, series: Series) -> Series | None:
        """Return the series, or None where it does not pass."""
        return series if self._rules.decide(series) is None else None


def create(settings: Settings, config: FilterConfig) -> FilterProcessor | PointFilter:
    """Make a processor of the cheaper tier, where no condition is on values."""
    rules = Rules(settings, config)
    # The reason of a series processor's drops is the chain's; a fault has one of its own.
    if any(one.compiled.valued or one.mode is ErrorMode.PROPAGATE for one in rules.conditions):
        return PointFilter(settings, rules.decide, RULE)
    return FilterProcessor(rules)


def _conditions(config: FilterConfig) -> list[_Condition]:
    """Compile the conditions, those of outer contexts first."""
    found: list[_Condition] = []
    mode = config.error_mode
    for one in config.metric_conditions:
        if isinstance(one, str):
            found.append(_Condition(compile_condition(one), mode))
        else:
            context = context_of(one.context)
            found += [_Condition(compile_condition(text, context), one.error_mode or mode) for text in one.conditions]
    found += [_Condition(compile_condition(text, Context.METRIC), mode) for text in config.metrics.metric]
    found += [_Condition(compile_condition(text, Context.DATAPOINT), mode) for text in config.metrics.datapoint]
    return sorted(found, key=lambda condition: condition.compiled.context)


def _test(entry: Entry) -> Callable[[Series], bool]:
    """Compile an entry."""
    types = {TYPES[one] for one in entry.types}
    name_fits = _any_of(entry.metric_names, entry.match_type)
    labels = [(name, _any_of((value,), entry.match_type)) for name, value in entry.labels.items()]

    def fits(series: Series) -> bool:
        if types and series.kind.type not in types:
            return False
        if entry.metric_names and not name_fits(series.name):
            return False
        return all(value_fits(series[name]) for name, value_fits in labels)

    return fits


def _collector_test(entry: CollectorEntry) -> Callable[[Series], bool]:
    name_fits = _found_in(entry.metric_names, entry.match_type)
    wanted = [
        (one.key, None if one.value is None else _found_in((one.value,), entry.match_type))
        for one in entry.resource_attributes
    ]

    def fits(series: Series) -> bool:
        if entry.metric_names and not name_fits(series.name):
            return False
        resource = SeriesView.of(series).resource if wanted else {}
        return all(key in resource and (test is None or test(text_of(resource[key]))) for key, test in wanted)

    return fits


def _any_of(texts: tuple[str, ...], match_type: MatchType) -> Callable[[str], bool]:
    if match_type is MatchType.STRICT:
        return frozenset(texts).__contains__
    tests = [regex(text).fullmatch for text in texts]
    return Memo(lambda text: any(test(text) for test in tests)).__getitem__


def _found_in(texts: tuple[str, ...], match_type: MatchType) -> Callable[[str], bool]:
    """Compare as the Collector does: its patterns match anywhere."""
    if match_type is MatchType.STRICT:
        return frozenset(texts).__contains__
    patterns = [unanchored(text) for text in texts]
    return lambda text: any(pattern.search(text) is not None for pattern in patterns)


FACTORY = ProcessorFactory(name="filter", config=FilterConfig, create=create)
