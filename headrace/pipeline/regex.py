r"""Regular expressions with RE2 syntax, matched as Prometheus does: anchored, and the dot matches newlines.

RE2 has no backtracking, so a pattern from a user or a query cannot stall the daemon. Python's ``re`` differs in
syntax (``\pN``, ``\z``, mid-pattern flags) and in cost, and is not used for anything that comes from outside.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import re2

from headrace.pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

_LITERAL = re.compile(r"[^\\.+*?()|\[\]{}^$]*")
_MAX_MEMORY = 8 << 20
"""Bytes that one compiled pattern may take."""

_GO_FAULTS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "trailing \\": "trailing backslash at end of expression",
}
"""What Go's library says for what the C++ library says, where they differ."""


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    return options


class Regex:
    """An anchored pattern.

    Args:
        pattern: RE2 syntax, as written by the user; anchored on both sides by this class.

    Raises:
        InvalidInput: RE2 does not take the pattern; the message is that of Go's library.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        try:
            if ")" in pattern:
                # Alone too: what surrounds it would close and open again the groups of ``a)|(b``.
                re2.compile(pattern, _options())
            self._compiled = re2.compile(f"^(?s:{pattern})$", _options())
        except re2.error as error:
            raise InvalidInput(f"error parsing regexp: {_fault(pattern, error)}") from None
        except UnicodeEncodeError:
            raise InvalidInput(f"error parsing regexp: invalid UTF-8: `{pattern}`") from None
        self.literals = _alternation(pattern)
        """The strings the pattern stands for, where it is a plain alternation; else None."""
        self.fullmatch: Callable[[str], bool] = self._matcher()
        """Whether a string matches as a whole."""

    def _matcher(self) -> Callable[[str], bool]:
        if self.literals is not None:
            return self.literals.__contains__
        if self.pattern == ".*":
            return lambda _text: True
        if self.pattern == ".+":
            return bool
        search = self._compiled.search
        return lambda text: search(text) is not None

    @cached_property
    def matches_bytes(self) -> Callable[[bytes], object]:
        """Return something true for UTF-8 bytes that match as a whole; the quickest way for many of them."""
        found = re2.Set.FullMatchSet(_options())
        found.Add(f"(?s:{self.pattern})")
        try:
            found.Compile()
        except re2.error:
            # A set takes more memory than the pattern alone.
            search = self._compiled.search
            return lambda text: search(text) is not None
        match: Callable[[bytes], object] = found.Match
        return match

    def groups(self, text: str) -> tuple[str | None, ...] | None:
        """Return the whole match and its groups by number, or None where `text` does not match."""
        match = self._compiled.search(text)
        return None if match is None else (match.group(0), *match.groups())

    @property
    def group_index(self) -> dict[str, int]:
        """Numbers of the named groups."""
        return dict(self._compiled.groupindex)

    def expand(self, template: str, text: str) -> str | None:
        """Fill Go's ``$1`` and ``${name}`` in `template` from the match of `text`; None without a match.

        As in Go's ``regexp.Expand``, ``$1a`` names the group ``1a``, an unknown group is empty, and ``$$`` is a
        dollar sign.
        """
        groups = self.groups(text)
        if groups is None:
            return None
        if "$" not in template:
            return template
        names = self.group_index

        def value(name: str) -> str:
            index = int(name) if name.isdecimal() and name.isascii() else names.get(name, len(groups))
            return (groups[index] or "") if index < len(groups) else ""

        return _expand(template, value)


def _fault(pattern: str, error: re2.error) -> str:
    """Return what Go's library says about a wrong pattern: the fault, and in backquotes the part that has it."""
    try:
        # Without what was put around it, which would be quoted as a part of it.
        re2.compile(pattern, _options())
    except re2.error as own:
        error = own
    why = error.args[0] if error.args else "invalid pattern"
    text = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
    fault, _, part = text.partition(": ")
    return f"{_GO_FAULTS.get(fault, fault)}: `{part}`"


@lru_cache(maxsize=4096)
def regex(pattern: str) -> Regex:
    """Return the compiled form of `pattern`, shared among its users."""
    return Regex(pattern)


@lru_cache(maxsize=4096)
def searching(pattern: str) -> Regex:
    """Return `pattern` as one that fits wherever it is found in a string, as Go's ``MatchString`` has it.

    Groups keep their numbers and names.

    Raises:
        InvalidInput: RE2 does not take the pattern.
    """
    Regex(pattern)  # Names the fault in the pattern as it was written.
    return Regex(f".*?(?:{pattern}).*")


@lru_cache(maxsize=4096)
def unanchored(pattern: str) -> re2._Regexp:
    """Return `pattern` as Go's ``regexp.MustCompile`` reads it: it may match anywhere, and dots match no newline.

    Raises:
        InvalidInput: RE2 does not take the pattern.
    """
    try:
        return re2.compile(pattern, _options())
    except re2.error as error:
        raise InvalidInput(f"error parsing regexp: {_fault(pattern, error)}") from None
    except UnicodeEncodeError:
        raise InvalidInput(f"error parsing regexp: invalid UTF-8: `{pattern}`") from None


def replace_all(pattern: re2._Regexp, template: str, text: str) -> str:
    """Replace every match in `text` by Go's `template`, in which ``$1`` and ``${name}`` are groups."""
    names = pattern.groupindex

    def replacement(match: re2._Match) -> str:
        groups = (match.group(0), *match.groups())

        def value(name: str) -> str:
            index = int(name) if name.isdecimal() and name.isascii() else names.get(name, len(groups))
            return (groups[index] or "") if index < len(groups) else ""

        return _expand(template, value)

    replaced: str = pattern.sub(replacement, text)
    return replaced


def _alternation(pattern: str) -> frozenset[str] | None:
    """Split ``a|b|c`` and ``(a|b|c)`` of literals; None where anything else is in it."""
    body = pattern[1:-1] if pattern[:1] == "(" and pattern[-1:] == ")" else pattern
    parts = body.split("|")
    return frozenset(parts) if all(_LITERAL.fullmatch(part) for part in parts) else None


_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def _expand(template: str, value: Callable[[str], str]) -> str:
    return _REFERENCE.sub(lambda m: "$" if m.group(1) else value(m.group(2) or m.group(3)), template)
