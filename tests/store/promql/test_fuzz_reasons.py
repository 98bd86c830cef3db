"""Differences from Prometheus are excused only for reasons that are written down."""

from __future__ import annotations

from promql_fuzz.drift import KINDS
from promql_fuzz.otherwise import NAMES
from promql_fuzz.reasons import DIGITS, PEER, REASONS, VERSION


def test_each_change_has_a_reason() -> None:
    """Every name that the comparison gives to a difference is explained, and nothing else is."""
    assert KINDS.keys() | NAMES == REASONS.keys()


def test_reasons_are_of_a_group() -> None:
    assert {group for group, _ in REASONS.values()} == {VERSION, PEER, DIGITS}
    assert all(why for _, why in REASONS.values())
