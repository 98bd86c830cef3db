"""Query strings and forms, split as Go does it."""

from __future__ import annotations

import pytest

from headrace.pipeline.http.form import parse_form, unescape_path


@pytest.mark.parametrize(
    ("encoded", "pairs"),
    [
        ("", ()),
        ("a=1&b=2&a=3", (("a", "1"), ("b", "2"), ("a", "3"))),
        ("a", (("a", ""),)),
        ("&&a=&", (("a", ""),)),
        ("a=b=c", (("a", "b=c"),)),
        ("match%5B%5D=a%2Bb+c", (("match[]", "a+b c"),)),
        ("q=%C3%A4%ff", (("q", "ä\udcff"),)),
        ("=x", (("", "x"),)),
    ],
)
def test_pairs(encoded: str, pairs: tuple[tuple[str, str], ...]) -> None:
    """Names and values are decoded in order; bytes that are not UTF-8 are kept as surrogates."""
    form = parse_form(encoded)

    assert form.pairs == pairs
    assert not form.error


@pytest.mark.parametrize(
    ("encoded", "pairs", "error"),
    [
        ("a=1;b=2&c=3", (("c", "3"),), "invalid semicolon separator in query"),
        ("a=%zz&c=3", (("c", "3"),), 'invalid URL escape "%zz"'),
        ("a=%f&c=3", (("c", "3"),), 'invalid URL escape "%f"'),
        ("a=%", (), 'invalid URL escape "%"'),
        ("a=%4&b=1;2", (), 'invalid URL escape "%4"'),
    ],
)
def test_malformed_pairs_are_left_out(encoded: str, pairs: tuple[tuple[str, str], ...], error: str) -> None:
    """A pair that does not decode is missing, the others count, and the first error is told."""
    form = parse_form(encoded)

    assert form.pairs == pairs
    assert form.error == error


def test_get_takes_the_first() -> None:
    """`get` returns the first value or the default, `all` every value."""
    form = parse_form("a=1&a=2")

    assert (form.get("a"), form.get("b", "?"), form.all("a"), form.all("b")) == ("1", "?", ["1", "2"], [])


def test_paths_keep_their_plus() -> None:
    """In a path, + is itself and % escapes are bytes."""
    assert unescape_path("a+b%2Fc%ff\udcfe") == "a+b/c\udcff\udcfe"
