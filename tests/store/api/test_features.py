"""The list of features: of the names that Prometheus has, and of what is on here."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.store.api.features import features
from headrace.store.promql.features import FEATURES
from headrace.store.promql.language.parser import ParserOptions

if TYPE_CHECKING:
    from api_lab import ApiLab

GOLDEN = Path(__file__).parents[4] / "shared" / "conformance" / "promtool" / "prometheus-features.json"


def theirs() -> dict[str, dict[str, bool]]:
    found: dict[str, dict[str, bool]] = json.loads(GOLDEN.read_text())
    return found


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs the list in ../shared/conformance")
def test_names_are_prometheus_own() -> None:
    """The same categories with the same names; of the language, what needs a switch there needs it here."""
    ours, other = features(ParserOptions(duration_expressions=True), frozenset()), theirs()

    assert {kind: sorted(found) for kind, found in ours.items()} == {
        kind: sorted(found) for kind, found in other.items()
    }
    for kind in ("promql", "promql_functions", "promql_operators"):
        assert ours[kind] == other[kind]


def test_switches_turn_their_features_on() -> None:
    """Everything of the language is on where all switches are, and receivers where they are served."""
    everything = ParserOptions(**{one.name: True for one in fields(ParserOptions)})
    found = features(everything, frozenset({*FEATURES, "admin", "remote_write_receiver"}))

    for kind in ("promql", "promql_functions", "promql_operators"):
        assert all(found[kind].values())
    switched = [found["api"][name] for name in ("admin", "remote_write_receiver", "lifecycle", "otlp_write_receiver")]
    assert switched == [True, True, False, False]


async def test_the_endpoint(api: ApiLab) -> None:
    """Categories of names, each on or off."""
    data: Any = (await api.get("/api/v1/features")).json["data"]

    assert data["promql_functions"]["rate"] is True
    assert data["promql_functions"]["mad_over_time"] is False
