"""Prometheus' own pairs of written and formatted expressions, where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.store.promql.language.parser import ALL_FEATURES, parse
from headrace.store.promql.language.printer import pretty, printed

DIRECTORY = Path(__file__).parents[4] / "shared" / "conformance" / "format_query"
WIDTH = 10
"""Width of a line in Prometheus' own cases of the long form."""

pytestmark = [
    pytest.mark.conformance("format_query"),
    pytest.mark.skipif(not DIRECTORY.is_dir(), reason="no conformance cases here"),
]


def cases(name: str) -> list[tuple[str, str]]:
    """Read pairs of input and output."""
    path = DIRECTORY / name
    return [(c["input"], c["output"]) for c in json.loads(path.read_text())] if path.is_file() else []


@pytest.mark.parametrize(("query", "wanted"), cases("printer_cases.json"))
def test_one_line(query: str, wanted: str) -> None:
    """An expression on one line reads as Prometheus prints it."""
    assert printed(parse(query, ALL_FEATURES)) == wanted


@pytest.mark.parametrize(("query", "wanted"), cases("prettier_cases.json"))
def test_many_lines(query: str, wanted: str) -> None:
    """An expression over several lines reads as Prometheus lays it out."""
    assert pretty(parse(query, ALL_FEATURES), WIDTH) == wanted
