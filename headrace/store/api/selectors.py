"""What ``match[]`` selects, over several selectors."""

from __future__ import annotations

import re
from heapq import merge
from typing import TYPE_CHECKING

from headrace.pipeline.errors import HeadraceError
from headrace.store.api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.store.api.backend import SelectorParser
    from headrace.store.matchers import Matcher

_ESCAPED = re.compile(r"_(?:(_)|([0-9a-fA-F]{1,6})_)")
_WHOLE = re.compile(r"(?:[^_]|__|_[0-9a-fA-F]{1,6}_)*")


def parse_selectors(texts: Sequence[str], parse: SelectorParser) -> list[Sequence[Matcher]]:
    """Parse the values of ``match[]``.

    Raises:
        ApiError: One does not parse, or would select everything.
    """
    selectors = []
    for text in texts:
        try:
            selectors.append(parse(text))
        except HeadraceError as error:
            raise ApiError("bad_data", str(error)) from None
    if any(all(matcher.matches_empty for matcher in matchers) for matchers in selectors):
        raise ApiError("bad_data", "match[] must contain at least one non-empty matcher")
    return selectors


def union(lists: Sequence[Sequence[str]]) -> list[str]:
    """Merge sorted lists without repeats into one without repeats."""
    if len(lists) == 1:
        return list(lists[0])
    return list(dict.fromkeys(merge(*lists)))


def unescape_name(name: str) -> str:
    """Decode ``U__http_2e_status``, the form in which names beyond the classic alphabet fit into paths.

    What is no such form is returned as it is.
    """
    if not name.startswith("U__") or not _WHOLE.fullmatch(name, 3):
        return name
    try:
        return _ESCAPED.sub(lambda found: "_" if found[1] else _character(found[2]), name[3:])
    except ValueError:
        return name


def _character(digits: str) -> str:
    code = int(digits, 16)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError("a surrogate is no character")
    return chr(code)
