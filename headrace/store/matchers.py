"""Label matchers: what a selector asks of a series."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from headrace.pipeline.regex import regex


class MatchType(StrEnum):
    """The four operators of a label matcher."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; an absent label counts as empty.

    Attributes:
        name: Label name; ``__name__`` for the metric.
        type: Operator.
        value: Literal, or an RE2 pattern that the parser has already compiled once.
    """

    name: str
    type: MatchType
    value: str

    def matches(self, text: str) -> bool:
        """Return whether label value `text` fulfils the condition.

        Raises:
            InvalidInput: The pattern is not RE2.
        """
        if self.type is MatchType.EQUAL:
            return text == self.value
        if self.type is MatchType.NOT_EQUAL:
            return text != self.value
        found = regex(self.value).fullmatch(text)
        return found if self.type is MatchType.REGEX else not found

    @property
    def matches_empty(self) -> bool:
        """Whether a series without the label fulfils the condition."""
        return self.matches("")

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.type}"{escaped}"'
