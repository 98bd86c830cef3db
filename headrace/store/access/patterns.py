"""Texts of policies with wildcards and variables, made ready to be compared.

``*`` stands for any text, ``?`` for any one character, ``${key}`` for the value of a condition key of the request; the
value itself never acts as a wildcard. ``${key, 'default'}`` gives a value for requests without the key, and ``${*}``,
``${?}`` and ``${$}`` are the characters themselves.

Source:
    AWS IAM User Guide, "IAM policy elements: Variables and tags" and "Using wildcards in ARNs".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import re2

from headrace.pipeline.errors import InvalidInput

Value = str | tuple[str, ...]
"""Value of a condition key: one text, or several."""

Context = Mapping[str, Value]
"""Values of condition keys; keys in lower case."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULTED = re.compile(r"\s*([^,\s]+)\s*,\s*'([^']*)'\s*")
_NO_TEXT = re.compile("[\ud800-\udfff]")
_LITERALS = {"*": "*", "?": "?", "$": "$"}


@dataclass(frozen=True, slots=True)
class Variable:
    """A reference to a condition key.

    Attributes:
        key: Lower case.
        default: Value for requests without the key; None for none.
    """

    key: str
    default: str | None

    def value(self, context: Context) -> str | None:
        """Return the value; None where the request has none, or several."""
        found = context.get(self.key)
        return found if isinstance(found, str) else self.default if found is None else None


@dataclass(frozen=True)
class Pattern:
    """A text of a policy.

    Attributes:
        text: As it stands in the policy.
        parts: Literal texts (with wildcards) and variables, in turn.
        wild: Whether ``*`` and ``?`` are wildcards.
        ignore_case: Whether case matters.
    """

    text: str
    parts: tuple[str | Variable, ...]
    wild: bool
    ignore_case: bool

    @cached_property
    def _fixed(self) -> Any:
        """What to match where there are no variables."""
        if any(isinstance(part, Variable) for part in self.parts):
            return None
        return self._compiled([part for part in self.parts if isinstance(part, str)])

    def matches(self, value: str, context: Context) -> bool:
        """Return whether `value` is what the pattern says; False where a variable has no value."""
        fixed = self._fixed
        if fixed is not None:
            return fixed.fullmatch(_text(value)) is not None
        pieces: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                pieces.append(self._expression(part))
                continue
            found = part.value(context)
            if found is None:
                return False
            pieces.append(re2.escape(_text(found)))
        return re2.fullmatch(self._prefix + "".join(pieces), _text(value)) is not None

    def _compiled(self, parts: list[str]) -> Any:
        return re2.compile(self._prefix + "".join([self._expression(part) for part in parts]))

    @property
    def _prefix(self) -> str:
        return "(?si)" if self.ignore_case else "(?s)"

    def _expression(self, part: str) -> str:
        # A private-use character stands for what `${*}` and its like have made literal.
        out = []
        for piece in re.split(r"(\*+|\?|\ue000.)", part):
            if piece.startswith("\ue000"):
                out.append(re2.escape(piece[1:]))
            elif self.wild and piece.startswith("*"):
                out.append(".*")
            elif self.wild and piece == "?":
                out.append(".")
            else:
                out.append(re2.escape(piece))
        return "".join(out)


def _text(value: str) -> str:
    """Return `value` as RE2 takes it: bytes of a request that are no UTF-8 match nothing but a wildcard."""
    return value if value.isascii() else _NO_TEXT.sub("\ufffd", value)


def parse_pattern(text: str, path: str, *, wild: bool, variables: bool, ignore_case: bool = False) -> Pattern:
    """Read a text of a policy.

    Args:
        text: The text.
        path: Where it stands, for errors.
        wild: Whether ``*`` and ``?`` are wildcards.
        variables: Whether ``${…}`` is a variable; in policies of version 2008-10-17 it is not.
        ignore_case: Whether case is ignored.

    Raises:
        InvalidInput: A variable is malformed, or one that there is not.
    """
    if "\ue000" in text or _NO_TEXT.search(text):
        raise InvalidInput(f"{path}: must not hold U+E000 or surrogates")
    if not variables:
        return Pattern(text, (text,), wild, ignore_case)
    parts: list[str | Variable] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        parts.append(text[at : found.start()])
        at = found.end()
        literal = _LITERALS.get(found[1])
        parts.append(f"\ue000{literal}" if literal is not None else _variable(found[1], path))
    parts.append(text[at:])
    if "${" in text[at:]:
        raise InvalidInput(f"{path}: a variable in {text!r} is not closed")
    return Pattern(text, tuple(part for part in parts if part != ""), wild, ignore_case)


def _variable(text: str, path: str) -> Variable:
    defaulted = _DEFAULTED.fullmatch(text)
    key, default = (defaulted[1], defaulted[2]) if defaulted else (text.strip(), None)
    check_key(key, path)
    return Variable(key.lower(), default)


KEYS = frozenset(
    (
        "aws:sourceip", "aws:currenttime", "aws:epochtime", "aws:tagkeys", "aws:principalarn", "aws:principalaccount",
        "aws:principaltype", "aws:username", "aws:userid", "aws:securetransport", "aws:useragent",
        "aws:requestedregion", "aws:tokenissuetime",
    )
)  # fmt: skip
"""The condition keys that a request can have."""

TAG_KEYS = ("aws:resourcetag/", "aws:requesttag/", "aws:principaltag/")
"""Beginnings of those that name a tag."""


def check_key(key: str, path: str) -> None:
    """Accept a condition key.

    Raises:
        InvalidInput: No request has it, so that a policy could not mean anything by it.
    """
    lower = key.lower()
    if lower in KEYS or any(lower.startswith(prefix) and lower != prefix for prefix in TAG_KEYS):
        return
    known = "aws:SourceIp, aws:CurrentTime, aws:ResourceTag/…, aws:RequestTag/…, aws:TagKeys, aws:PrincipalArn"
    raise InvalidInput(f"{path}: condition key {key[:100]!r} is not supported; among those that are: {known}")
