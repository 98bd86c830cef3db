"""Switches of the query language, named as Prometheus names its feature flags."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from headrace.store.promql.evaluate import EvaluatorOptions
    from headrace.store.promql.language.parser import ParserOptions

_PARSER: dict[str, Callable[[ParserOptions], ParserOptions]] = {
    "promql-experimental-functions": lambda on: replace(on, experimental_functions=True),
    "promql-extended-range-selectors": lambda on: replace(on, extended_range_selectors=True),
    "promql-binop-fill-modifiers": lambda on: replace(on, fill_modifiers=True),
    # No switch any more, but configurations still have it.
    "promql-duration-expr": lambda on: on,
}

_EVALUATOR: dict[str, Callable[[EvaluatorOptions], EvaluatorOptions]] = {
    "promql-delayed-name-removal": lambda on: replace(on, delayed_name_removal=True),
    "promql-per-step-stats": lambda on: replace(on, per_step_statistics=True),
    "type-and-unit-labels": lambda on: replace(on, type_and_unit_labels=True),
    "use-start-timestamps": lambda on: replace(on, start_timestamps=True),
}

FEATURES = frozenset({*_PARSER, *_EVALUATOR})
"""All names."""


def with_features(options: EvaluatorOptions, names: Collection[str]) -> EvaluatorOptions:
    """Return `options` with the features `names`, and those that are always on, turned on.

    Args:
        options: Limits and defaults.
        names: Some of FEATURES.
    """
    parser = replace(options.parser, duration_expressions=True)
    for name in names:
        if name in _PARSER:
            parser = _PARSER[name](parser)
        else:
            options = _EVALUATOR[name](options)
    return replace(options, parser=parser)
