"""Label and field selectors: checked here, evaluated by the API server.

Source:
    Kubernetes, "Labels and Selectors" and "Field Selectors".
"""

from __future__ import annotations

import re

_KEY = r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_REQUIREMENT = re.compile(
    rf"\s*(?:!\s*{_KEY}|{_KEY}(?:\s*(?:==?|!=)\s*{_VALUE}|\s*[<>]\s*-?\d+"
    rf"|\s+(?:in|notin)\s*\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\))?)\s*"
)
_TERM = re.compile(r"[^=!,]+(?:==?|!=)(?:[^,=\\]|\\[,=\\])*")


def check_label_selector(selector: str) -> str:
    """Return a label selector.

    Raises:
        ValueError: It is none.

    >>> check_label_selector("app=web, tier in (a, b), !old")
    'app=web, tier in (a, b), !old'
    """
    pos = 0
    while pos < len(selector):
        match = _REQUIREMENT.match(selector, pos)
        if match is None or (match.end() < len(selector) and selector[match.end()] != ","):
            raise ValueError(f"invalid selector: {selector!r}; can't understand {selector[pos:]!r}")
        pos = match.end() + 1
    if selector.endswith(","):
        raise ValueError(f"invalid selector: {selector!r} ends with a comma")
    return selector


def check_field_selector(selector: str) -> str:
    """Return a field selector.

    Raises:
        ValueError: It is none.

    >>> check_field_selector("spec.nodeName=here,status.phase!=Failed")
    'spec.nodeName=here,status.phase!=Failed'
    """
    for term in re.split(r"(?<!\\),", selector) if selector else ():
        if term and not _TERM.fullmatch(term):
            raise ValueError(f"invalid selector: {selector!r}; can't understand {term!r}")
    return selector
