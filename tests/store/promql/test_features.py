"""Switches of the query language."""

from __future__ import annotations

import pytest

from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.store.promql.features import FEATURES, with_features
from headrace.store.promql.language.parser import ParserOptions


def test_all_is_off_but_arithmetic_in_durations() -> None:
    """Without names, everything is as Prometheus has it by default."""
    assert with_features(EvaluatorOptions(), ()) == EvaluatorOptions(parser=ParserOptions(duration_expressions=True))


@pytest.mark.parametrize("name", sorted(FEATURES - {"promql-duration-expr"}))
def test_each_feature_turns_something_on(name: str) -> None:
    """Each name makes a difference, and the limits stay as they are."""
    limits = EvaluatorOptions(max_samples=7)
    options = with_features(limits, (name,))
    assert options != with_features(limits, ())
    assert options.max_samples == 7
