"""IAM policies: read, checked and made ready to be evaluated.

Source:
    AWS IAM User Guide, "IAM JSON policy elements reference" and "Grammar of the IAM JSON policy language".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.store.access.conditions import Condition, parse_condition
from headrace.store.access.patterns import Context, Pattern, Variable, check_key, parse_pattern

MAX_BYTES = 20_480
"""Size of a document."""

_CURRENT = "2012-10-17"
_VERSIONS = (_CURRENT, "2008-10-17")
_POLICY_KEYS = ("Version", "Id", "Statement")
_STATEMENT_KEYS = (
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
)  # fmt: skip
_SID = re.compile(r"[ -~]{0,128}")
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_SESSION = re.compile(r"arn:([^:]*):sts::(\d{12}):assumed-role/([^/]+)/.+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Attributes:
        label: Its ``Sid``, else ``Statement[n]``.
        allow: Whether it allows; else it denies.
        actions: Patterns; case is ignored.
        not_actions: Whether `actions` are those that it does not speak of.
        resources: Patterns.
        not_resources: Whether `resources` are those that it does not speak of.
        principals: ARNs, account numbers or ``*``; empty in policies of principals.
        not_principals: Whether `principals` are those that it does not speak of.
        conditions: All of them have to hold.
        variables: Those in it without a default; without a value for one of them it does not apply.
    """

    label: str
    allow: bool
    actions: tuple[Pattern, ...]
    not_actions: bool
    resources: tuple[Pattern, ...]
    not_resources: bool
    principals: tuple[str, ...]
    not_principals: bool
    conditions: tuple[Condition, ...]
    variables: tuple[str, ...]

    def speaks_of(self, action: str) -> bool:
        """Return whether it is about an action."""
        return any(pattern.matches(action, {}) for pattern in self.actions) != self.not_actions

    def covers(self, resource: str, context: Context) -> bool:
        """Return whether it is about a resource."""
        return any(pattern.matches(resource, context) for pattern in self.resources) != self.not_resources

    def names(self, principal_arn: str, account: str) -> bool:
        """Return whether it is about a principal; policies of principals are about their own."""
        if not self.principals:
            return True
        return any(_is(wanted, principal_arn, account) for wanted in self.principals) != self.not_principals

    def resolved(self, context: Context) -> bool:
        """Return whether all variables have a value."""
        return all(isinstance(context.get(key), str) for key in self.variables)


@dataclass(frozen=True)
class Policy:
    """A document.

    Attributes:
        name: For explanations.
        statements: In order.
    """

    name: str
    statements: tuple[Statement, ...]

    @cached_property
    def ignores_context(self) -> bool:
        """Whether principal, action and resource alone decide: no statement has conditions or variables."""
        return not any(one.conditions or _has_variables(one) for one in self.statements)


def _has_variables(statement: Statement) -> bool:
    return any(isinstance(part, Variable) for pattern in statement.resources for part in pattern.parts)


def _is(wanted: str, principal_arn: str, account: str) -> bool:
    if wanted in ("*", principal_arn, account):
        return True
    if wanted.endswith(":root") and wanted.split(":")[4:5] == [account]:
        return True
    session = _SESSION.fullmatch(principal_arn)
    return session is not None and wanted == f"arn:{session[1]}:iam::{session[2]}:role/{session[3]}"


def parse_policy(document: str | Mapping[str, Any], name: str = "", *, resource_policy: bool = False) -> Policy:
    """Read a policy.

    Args:
        document: JSON, or what it decodes to.
        name: For explanations.
        resource_policy: Whether it is attached to a resource and therefore names principals.

    Raises:
        InvalidInput: A fault, with its path and the value.
    """
    data = _decoded(document) if isinstance(document, str) else document
    _only(data, _POLICY_KEYS, "")
    version = data.get("Version", "2008-10-17")
    if version not in _VERSIONS:
        raise InvalidInput(f"Version: must be {_CURRENT}, got {version!r}")
    if not isinstance(data.get("Id", ""), str):
        raise InvalidInput("Id: must be a text")
    found = data.get("Statement")
    found = [found] if isinstance(found, Mapping) else found
    if not isinstance(found, list) or not found:
        raise InvalidInput("Statement: must be a statement or a list of statements")
    reader = _Reader(version == _CURRENT, resource_policy)
    statements = tuple(reader.statement(one, n) for n, one in enumerate(found))
    labels = [one.label for one in statements]
    for label in labels:
        if labels.count(label) > 1:
            raise InvalidInput(f"Statement: the Sid {label!r} stands twice")
    return Policy(name, statements)


def _decoded(document: str) -> Mapping[str, Any]:
    if len(document.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise TooLarge("policy document", len(document.encode("utf-8", "surrogatepass")), MAX_BYTES)
    try:
        data = json.loads(document, object_pairs_hook=_distinct)
    except RecursionError:
        raise InvalidInput("is nested too deeply") from None
    except ValueError as error:
        raise InvalidInput(f"is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidInput("must be a JSON object")
    return data


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise InvalidInput(f"{key[:80]}: stands twice")
        made[key] = value
    return made


def _only(data: Mapping[str, Any], known: Sequence[str], path: str) -> None:
    for key in data:
        if key not in known:
            close = get_close_matches(str(key), known, 1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise InvalidInput(f"{path}{str(key)[:80]}: unknown element{hint}")


@dataclass(frozen=True, slots=True)
class _Reader:
    variables: bool
    resource_policy: bool

    def statement(self, data: object, n: int) -> Statement:
        path = f"Statement[{n}]"
        if not isinstance(data, Mapping):
            raise InvalidInput(f"{path}: must be an object")
        _only(data, _STATEMENT_KEYS, f"{path}.")
        sid = data.get("Sid", "")
        if not isinstance(sid, str) or not _SID.fullmatch(sid):
            raise InvalidInput(f"{path}.Sid: must be a text of at most 128 characters, got {str(sid)[:80]!r}")
        effect = data.get("Effect")
        if effect not in ("Allow", "Deny"):
            raise InvalidInput(f"{path}.Effect: must be Allow or Deny, got {effect!r}")
        not_actions, actions = self._one_of(data, path, "Action", "NotAction")
        not_resources, resources = self._one_of(data, path, "Resource", "NotResource")
        not_principals, principals = self._principals(data, path)
        action_patterns = tuple(_action(text, f"{path}.{'NotAction' if not_actions else 'Action'}") for text in actions)
        resource_path = f"{path}.{'NotResource' if not_resources else 'Resource'}"
        resource_patterns = tuple(self._resource(text, resource_path) for text in resources)
        conditions = tuple(self._conditions(data.get("Condition", {}), f"{path}.Condition"))
        return Statement(
            sid or path,
            effect == "Allow",
            action_patterns,
            not_actions,
            resource_patterns,
            not_resources,
            principals,
            not_principals,
            conditions,
            self._unbound(resource_patterns, conditions),
        )

    def _one_of(self, data: Mapping[str, Any], path: str, name: str, negated: str) -> tuple[bool, tuple[str, ...]]:
        if (name in data) == (negated in data):
            raise InvalidInput(f"{path}: must have either {name} or {negated}")
        found = name if name in data else negated
        return found == negated, _texts(data[found], f"{path}.{found}")

    def _resource(self, text: str, path: str) -> Pattern:
        if text != "*" and not (text.startswith("arn:") and text.count(":") >= 5):
            raise InvalidInput(f"{path}: must be an ARN or *, got {text[:200]!r}")
        return parse_pattern(text, path, wild=True, variables=self.variables)

    def _principals(self, data: Mapping[str, Any], path: str) -> tuple[bool, tuple[str, ...]]:
        present = [name for name in ("Principal", "NotPrincipal") if name in data]
        if not self.resource_policy:
            if present:
                raise InvalidInput(f"{path}.{present[0]}: stands only in policies of resources")
            return False, ()
        if len(present) != 1:
            raise InvalidInput(f"{path}: must have either Principal or NotPrincipal")
        path = f"{path}.{present[0]}"
        value = data[present[0]]
        if value == "*":
            return present[0] == "NotPrincipal", ("*",)
        if not isinstance(value, Mapping) or list(value) != ["AWS"]:
            raise InvalidInput(f'{path}: must be "*" or an object with AWS')
        texts = _texts(value["AWS"], f"{path}.AWS")
        for text in texts:
            if text != "*" and not _ACCOUNT.fullmatch(text) and not text.startswith(("arn:aws:iam::", "arn:aws:sts::")):
                raise InvalidInput(f"{path}.AWS: must be *, an account or the ARN of a principal, got {text[:200]!r}")
            if "*" in text and text != "*":
                raise InvalidInput(f"{path}.AWS: wildcards within {text[:200]!r} are not allowed")
        return present[0] == "NotPrincipal", texts

    def _conditions(self, data: object, path: str) -> list[Condition]:
        if not isinstance(data, Mapping):
            raise InvalidInput(f"{path}: must be an object")
        made = []
        for operator, keys in data.items():
            if not isinstance(keys, Mapping) or not keys:
                raise InvalidInput(f"{path}.{operator}: must be an object of condition keys")
            for key, values in keys.items():
                check = _scalar_texts(values, f"{path}.{operator}.{key}")
                made.append(_condition(operator, key, check, path, variables=self.variables))
        return made

    def _unbound(self, resources: Sequence[Pattern], conditions: Sequence[Condition]) -> tuple[str, ...]:
        if not self.variables:
            return ()
        texts = [parse_pattern(text, "", wild=False, variables=True) for one in conditions for text in one.wanted]
        found = [part for pattern in (*resources, *texts) for part in pattern.parts]
        return tuple({part.key: None for part in found if isinstance(part, Variable) and part.default is None})


def _condition(operator: str, key: str, values: tuple[str, ...], path: str, *, variables: bool) -> Condition:
    check_key(key, f"{path}.{operator}")
    return parse_condition(operator, key, values, f"{path}.{operator}", variables=variables)


def _action(text: str, path: str) -> Pattern:
    service, colon, name = text.partition(":")
    if text != "*" and not (colon and service and name):
        raise InvalidInput(f"{path}: must be * or service:action such as aps:RemoteWrite, got {text[:100]!r}")
    return parse_pattern(text, path, wild=True, variables=False, ignore_case=True)


def _texts(value: object, path: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(one, str) and one for one in values):
        raise InvalidInput(f"{path}: must be a text or a list of texts, got {str(value)[:100]!r}")
    return tuple(values)


def _scalar_texts(value: object, path: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise InvalidInput(f"{path}: must have a value")
    made = []
    for one in values:
        if isinstance(one, bool):
            made.append("true" if one else "false")
        elif isinstance(one, str | int | float):
            made.append(str(one))
        else:
            raise InvalidInput(f"{path}: must be a text, a number, a truth value or a list of these, got {one!r}")
    return tuple(made)
