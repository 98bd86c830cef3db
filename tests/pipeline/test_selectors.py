"""Selectors of series."""

from __future__ import annotations

import pytest

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import Series
from headrace.pipeline.selectors import selector

UP = Series.of({"__name__": "up", "job": "api", "code": "503", "service.name": "x"})


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("up", True),
        ("down", False),
        (' up { job = "api" , code =~ "5.." , } ', True),
        ("up{job='api'}", True),
        ("up{job=`api`}", True),
        ('{__name__=~"u.*"}', True),
        ('{"up"}', True),
        ('{"up", "service.name"="x"}', True),
        ('{service.name="x"}', True),
        ('up{job!="api"}', False),
        ('up{job!~"a|b"}', True),
        ('up{job=~"a"}', False),
        ('up{absent=""}', True),
        ('{job="a\\"b"}', False),
    ],
)
def test_selectors(text: str, fits: bool) -> None:
    """Names, matchers of every operator, quotes of every sort."""
    assert selector(text)(UP) is fits


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing in particular"),
        ("up{", "braces"),
        ("up[5m]", "braces"),
        ('{job "a"}', "expected a matcher"),
        ('{job="a" code="b"}', "expected a matcher"),
        ("{job}", "compared with nothing"),
        ('{job=~"("}', "missing closing"),
        ('{job="\\q"}', "escape"),
    ],
)
def test_faults(text: str, why: str) -> None:
    """They are named."""
    with pytest.raises(InvalidInput, match=why):
        selector(text)
