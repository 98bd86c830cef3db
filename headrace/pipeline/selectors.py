"""Series selectors as PromQL writes them, such as ``http_requests_total{code=~"5.."}``, for configurations."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import METRIC_NAME
from headrace.pipeline.regex import regex

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.identity import Series

_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:.]*)?\s*")
_MATCHER = re.compile(
    r"""\s*(?:([a-zA-Z_][a-zA-Z0-9_.]*)|("(?:[^"\\]|\\.)*"))\s*"""
    r"""(?:(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)\s*)?"""
)


def selector(text: str) -> Callable[[Series], bool]:
    """Compile a selector; an absent label has the empty value.

    Args:
        text: A metric name, matchers in braces, or both; a matcher that is a quoted text alone is the metric name.

    Raises:
        InvalidInput: It is none, or has a pattern that RE2 does not take.

    >>> from headrace.pipeline.identity import Series
    >>> selector('up{job!="node"}')(Series.of(__name__="up", job="api"))
    True
    """
    start = _NAME.match(text)
    tests: list[tuple[str, Callable[[str], bool]]] = []
    if start is None:
        raise AssertionError("bug: the pattern matches any text")
    if start.group(1):
        tests.append((METRIC_NAME, start.group(1).__eq__))
    rest = text[start.end() :].rstrip()
    if rest:
        tests += _matchers(text, rest)
    if not tests:
        raise InvalidInput(f"selector {text!r} selects nothing in particular")
    return lambda series: all(test(series[name]) for name, test in tests)


def _matchers(text: str, braces: str) -> list[tuple[str, Callable[[str], bool]]]:
    if not (braces.startswith("{") and braces.endswith("}")):
        raise InvalidInput(f"selector {text!r}: expected matchers in braces, got {braces!r}")
    found: list[tuple[str, Callable[[str], bool]]] = []
    position, inner = 0, braces[1:-1].strip().removesuffix(",")
    while position < len(inner):
        match = _MATCHER.match(inner, position)
        if match is None or (match.end() < len(inner) and inner[match.end()] != ","):
            raise InvalidInput(f"selector {text!r}: expected a matcher, got {inner[position:].strip()!r}")
        bare, quoted, operator, value = match.groups()
        if operator is None:
            if quoted is None:
                raise InvalidInput(f"selector {text!r}: label {bare!r} is compared with nothing")
            found.append((METRIC_NAME, _unquoted(quoted).__eq__))
        else:
            found.append((bare or _unquoted(quoted), _test(operator, _unquoted(value))))
        position = match.end() + 1
    return found


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    inner = text[1:-1].replace('\\"', '"').replace("\\'", "'").replace('"', '\\"')
    try:
        return str(json.loads(f'"{inner}"'))
    except ValueError:
        raise InvalidInput(f"text {text} has an escape that is not known") from None


def _test(operator: str, value: str) -> Callable[[str], bool]:
    if operator == "=":
        return value.__eq__
    if operator == "!=":
        return value.__ne__
    fits = regex(value).fullmatch
    return fits if operator == "=~" else lambda text: not fits(text)
