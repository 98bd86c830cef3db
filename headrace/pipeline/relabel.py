"""Prometheus' relabelling: rules that keep, drop and rewrite label sets.

Source:
    Prometheus 3.5, "relabel_config".
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config.model import ComponentConfig
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.regex import Regex, regex
from headrace.pipeline.targets import RelabelStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Pairs = tuple[tuple[str, str], ...]
"""Labels: name and value, in ascending order of names, without empty values."""

_MEMO = 10_000
"""Results of one rule that are remembered, by the value it looks at: series share most of their values."""


class Action(StrEnum):
    """What a rule does."""

    REPLACE = "replace"
    KEEP = "keep"
    DROP = "drop"
    KEEPEQUAL = "keepequal"
    DROPEQUAL = "dropequal"
    HASHMOD = "hashmod"
    LABELMAP = "labelmap"
    LABELDROP = "labeldrop"
    LABELKEEP = "labelkeep"
    LOWERCASE = "lowercase"
    UPPERCASE = "uppercase"


_NEED_TARGET = {
    Action.REPLACE,
    Action.KEEPEQUAL,
    Action.DROPEQUAL,
    Action.HASHMOD,
    Action.LOWERCASE,
    Action.UPPERCASE,
}
_ONLY_REGEX = {Action.LABELDROP, Action.LABELKEEP}
_ONLY_LABELS = {Action.KEEPEQUAL, Action.DROPEQUAL}


class RelabelConfig(ComponentConfig):
    """One rule."""

    source_labels: tuple[str, ...] = ()
    """Labels whose values are joined with `separator` and matched with `regex`."""

    separator: str = ";"
    """Stands between the values."""

    target_label: str = ""
    """Label that is written by ``replace``, ``hashmod``, ``lowercase`` and ``uppercase``; compared by ``keepequal`` and
    ``dropequal``."""

    regex: str = "(.*)"
    """RE2 pattern, matched with the whole value."""

    modulus: int = Field(0, ge=0, le=2**64 - 1)
    """Of ``hashmod``."""

    replacement: str = "$1"
    """What is written, with ``$1`` or ``${name}`` for the groups of the match."""

    action: Action = Action.REPLACE
    """What the rule does."""

    @field_validator("action", mode="before")
    @classmethod
    def _lower(cls, action: Any) -> Any:
        return action.lower() if isinstance(action, str) else action

    @field_validator("source_labels", mode="before")
    @classmethod
    def _no_source_labels(cls, labels: Any) -> Any:
        return () if labels is None else labels

    @field_validator("regex", "replacement", "separator", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        # YAML reads `regex: 8080` as a number.
        return "" if value is None else str(value) if isinstance(value, int | float) else value

    @field_validator("regex")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            regex(pattern)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        return pattern

    @model_validator(mode="after")
    def _check(self) -> Self:
        action = self.action
        if action is Action.HASHMOD and not self.modulus:
            raise ValueError("relabel configuration for hashmod requires non-zero modulus")
        if action in _NEED_TARGET and not self.target_label:
            raise ValueError(f"relabel configuration for {action} action requires 'target_label' value")
        given = self.model_fields_set - {"action"}
        if action in {Action.LOWERCASE, Action.UPPERCASE} and self.replacement != "$1":
            raise ValueError(f"'replacement' can not be set for {action} action")
        if action in _ONLY_LABELS and given - {"source_labels", "target_label"}:
            raise ValueError(f"{action} action requires only 'source_labels' and 'target_label', and no other fields")
        if action in _ONLY_REGEX and given - {"regex"}:
            raise ValueError(f"{action} action requires only 'regex', and no other fields")
        return self


class Relabeler:
    """Applies rules to label sets.

    Args:
        rules: In order.
    """

    def __init__(self, rules: Sequence[RelabelConfig]) -> None:
        self._rules = [_RULES[rule.action](rule) for rule in rules]

    def apply(self, labels: Iterable[tuple[str, str]] | Mapping[str, str]) -> Pairs | None:
        """Return the labels after all rules, or None where a rule drops the set."""
        found = dict(labels)
        return None if self._run(found) == _DROP else _canonical(found)

    def rewrite(self, labels: Pairs) -> Pairs | None:
        """Do as `apply`, and return `labels` itself where no rule changes anything."""
        found = dict(labels)
        verdict = self._run(found)
        if verdict == _SAME:
            return labels
        return None if verdict == _DROP else _canonical(found)

    def change(self, labels: dict[str, str]) -> bool:
        """Apply the rules to a set without empty values in place; return False where a rule drops it."""
        return self._run(labels) != _DROP

    def _run(self, labels: dict[str, str]) -> int:
        verdict = _SAME
        for rule in self._rules:
            did = rule(labels)
            if did != _SAME:
                if did == _DROP:
                    return _DROP
                verdict = _CHANGED
        return verdict


def steps(rules: Sequence[RelabelConfig], labels: Mapping[str, str]) -> list[RelabelStep]:
    """Return what each rule makes of a label set, one after the other."""
    present: Mapping[str, str] | None = labels
    found = []
    for rule in rules:
        after = None if present is None else Relabeler([rule]).apply(present)
        present = None if after is None else dict(after)
        shown = rule.model_dump(mode="json", exclude_defaults=True) | {"action": rule.action.value}
        found.append(RelabelStep(rule=shown, output=dict(present or {}), keep=present is not None))
    return found


def _canonical(labels: Mapping[str, str]) -> Pairs:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


_DROP, _SAME, _CHANGED = 0, 1, 2
"""What a rule answers; a bool will do for those that change nothing."""

if TYPE_CHECKING:
    _Rule = Callable[[dict[str, str]], int]


def _joined(rule: RelabelConfig) -> Callable[[dict[str, str]], str]:
    """Return a function that joins the source labels."""
    names, separator = rule.source_labels, rule.separator
    if len(names) == 1:
        only = names[0]
        return lambda labels: labels.get(only, "")
    return lambda labels: separator.join([labels.get(name, "") for name in names])


class Memo(dict[str, Any]):
    """Results by value; forgets everything when it is full.

    Args:
        compute: Makes the result of a value that is new.
    """

    def __init__(self, compute: Callable[[str], Any]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, value: str) -> Any:
        if len(self) >= _MEMO:
            self.clear()
        result = self[value] = self._compute(value)
        return result


def _set(labels: dict[str, str], name: str, value: str) -> None:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def _replace(rule: RelabelConfig) -> _Rule:
    source, pattern = _joined(rule), regex(rule.regex)
    target, replacement = rule.target_label, rule.replacement

    def compute(value: str) -> tuple[str, str] | None:
        written = pattern.expand(replacement, value)
        if written is None:
            return None
        name = target if "$" not in target else pattern.expand(target, value)
        return (name, written) if name else None

    memo = Memo(compute)

    def apply(labels: dict[str, str]) -> int:
        result = memo[source(labels)]
        if result is None:
            return _SAME
        _set(labels, *result)
        return _CHANGED

    return apply


def _filter(rule: RelabelConfig) -> _Rule:
    source = _joined(rule)
    wanted = rule.action is Action.KEEP
    memo = Memo(regex(rule.regex).fullmatch)
    return lambda labels: memo[source(labels)] is wanted


def _equal(rule: RelabelConfig) -> _Rule:
    source, target = _joined(rule), rule.target_label
    wanted = rule.action is Action.KEEPEQUAL
    return lambda labels: (source(labels) == labels.get(target, "")) is wanted


def _hashmod(rule: RelabelConfig) -> _Rule:
    source, target, modulus = _joined(rule), rule.target_label, rule.modulus

    def compute(value: str) -> str:
        digest = hashlib.md5(value.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
        return str(int.from_bytes(digest[8:], "big") % modulus)

    memo = Memo(compute)

    def apply(labels: dict[str, str]) -> int:
        labels[target] = memo[source(labels)]
        return _CHANGED

    return apply


def _labelmap(rule: RelabelConfig) -> _Rule:
    pattern, replacement = regex(rule.regex), rule.replacement
    memo = Memo(lambda name: pattern.expand(replacement, name))

    def apply(labels: dict[str, str]) -> int:
        for name, value in list(labels.items()):
            renamed = memo[name]
            if renamed:
                labels[renamed] = value
        return _CHANGED

    return apply


def _by_name(rule: RelabelConfig) -> _Rule:
    unwanted = rule.action is Action.LABELDROP
    memo = Memo(_matcher(regex(rule.regex)))

    def apply(labels: dict[str, str]) -> int:
        gone = [name for name in labels if memo[name] is unwanted]
        for name in gone:
            del labels[name]
        return _CHANGED if gone else _SAME

    return apply


def _matcher(pattern: Regex) -> Callable[[str], bool]:
    return lambda name: bool(pattern.fullmatch(name))


def _case(rule: RelabelConfig) -> _Rule:
    source, target = _joined(rule), rule.target_label
    change = str.lower if rule.action is Action.LOWERCASE else str.upper

    def apply(labels: dict[str, str]) -> int:
        _set(labels, target, change(source(labels)))
        return _CHANGED

    return apply


_RULES: dict[Action, Callable[[RelabelConfig], _Rule]] = {
    Action.REPLACE: _replace,
    Action.KEEP: _filter,
    Action.DROP: _filter,
    Action.KEEPEQUAL: _equal,
    Action.DROPEQUAL: _equal,
    Action.HASHMOD: _hashmod,
    Action.LABELMAP: _labelmap,
    Action.LABELDROP: _by_name,
    Action.LABELKEEP: _by_name,
    Action.LOWERCASE: _case,
    Action.UPPERCASE: _case,
}
