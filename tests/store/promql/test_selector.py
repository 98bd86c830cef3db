"""What ``match[]`` takes: a series selector and nothing around it."""

from __future__ import annotations

import pytest

from headrace.store.matchers import Matcher, MatchType
from headrace.store.promql.errors import ParseError
from headrace.store.promql.language.parser import parse_selector


@pytest.mark.parametrize("text", ["up", '{"up"}', '{__name__="up"}', "up # a comment"])
def test_the_same_metric_in_four_ways(text: str) -> None:
    """Names may stand before the braces or in them."""
    assert parse_selector(text) == (Matcher("__name__", MatchType.EQUAL, "up"),)


def test_everything_is_a_selector() -> None:
    """Whether that is too much is for who asked for the selector to say."""
    assert parse_selector("{}") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("up[5m]", '1:3: parse error: unexpected "["'),
        ("sum(up)", '1:4: parse error: unexpected "("'),
        ("-up", "1:1: parse error: unexpected <op:->"),
        ("up == 1", "1:4: parse error: unexpected <op:==>"),
        ("1", '1:1: parse error: unexpected number "1"'),
        ('"up"', r'1:1: parse error: unexpected string "\"up\""'),
        ("up up", '1:4: parse error: unexpected identifier "up"'),
        ("up{", "1:4: parse error: unexpected end of input inside braces"),
    ],
)
def test_anything_else_is_an_error(text: str, why: str) -> None:
    """The first token that no selector has is named, with its place."""
    with pytest.raises(ParseError) as caught:
        parse_selector(text)
    assert str(caught.value) == why
