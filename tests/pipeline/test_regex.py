"""What wrong patterns are answered, in the words of Go's library, which is that of Prometheus."""

from __future__ import annotations

import pytest

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.regex import Regex

FAULTS = {
    "(": "missing closing ): `(`",
    "a|(b": "missing closing ): `a|(b`",
    "a)": "unexpected ): `a)`",
    "a)|(b": "unexpected ): `a)|(b`",
    "a.\udcff": "invalid UTF-8: `a.\udcff`",
    "[a": "missing closing ]: `[a`",
    "[z-a]": "invalid character class range: `z-a`",
    r"\q": r"invalid escape sequence: `\q`",
    "a\\": "trailing backslash at end of expression: ``",
    "(?P<a-b>x)": "invalid named capture: `(?P<a-b>`",
    "*": "missing argument to repetition operator: `*`",
    "a**": "invalid nested repetition operator: `**`",
    "a{1001}": "invalid repeat count: `{1001}`",
    "(?=a)": "invalid or unsupported Perl syntax: `(?=`",
}


@pytest.mark.parametrize(("pattern", "fault"), FAULTS.items())
def test_a_wrong_pattern_is_explained_as_prometheus_does(pattern: str, fault: str) -> None:
    """The part that is quoted is the user's, without the anchors."""
    with pytest.raises(InvalidInput) as caught:
        Regex(pattern)
    assert str(caught.value) == f"error parsing regexp: {fault}"


def test_a_long_pattern_matches_bytes_too() -> None:
    """Where RE2 has no room for the quickest automaton, the answer comes from another one."""
    regex = Regex("|".join(f".*{i}.*" for i in range(10_000, 18_000)))
    assert regex.matches_bytes(b"x17999y")
    assert not regex.matches_bytes(b"x18000y")
