"""Whether policies allow a request, and which statement decides.

Source:
    AWS IAM User Guide, "Policy evaluation logic".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.store.access.patterns import Context
    from headrace.store.access.policy import Policy, Statement


class Effect(Enum):
    """What policies say to a request."""

    ALLOW = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What is asked.

    Attributes:
        principal_arn: Who asks.
        account: Whose principal that is.
        action: Such as ``aps:RemoteWrite``.
        resource: ARN.
        context: Condition keys.
    """

    principal_arn: str
    account: str
    action: str
    resource: str
    context: Context


class Verdict(NamedTuple):
    """The decision.

    Attributes:
        effect: What it is.
        policy: Policy with the statement that decides; empty for an implicit denial.
        statement: Its label.
    """

    effect: Effect
    policy: str = ""
    statement: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""
        return self.effect is Effect.ALLOW


class Considered(NamedTuple):
    """A statement that speaks of the action.

    Attributes:
        policy: Its policy.
        statement: Its label.
        allow: Whether it allows; else it denies.
        why_not: Why it does not apply; empty where it does.
    """

    policy: str
    statement: str
    allow: bool
    why_not: str


IMPLICIT = Verdict(Effect.IMPLICIT_DENY)


def evaluate(
    identity: Sequence[Policy], resource_policy: Policy | None, request: AccessRequest, resource_account: str
) -> Verdict:
    """Decide about a request.

    A denial that applies anywhere wins. Else one allowance is enough, from the principal's policies or from the
    resource's; a principal of another account needs both.

    Args:
        identity: Policies of the principal.
        resource_policy: Policy of the resource, None without one.
        request: What is asked.
        resource_account: Whose resource it is.
    """
    own = _first_allowed(identity, request)
    if own is not None and own.effect is Effect.EXPLICIT_DENY:
        return own
    theirs = _first_allowed((resource_policy,), request) if resource_policy is not None else None
    if theirs is not None and theirs.effect is Effect.EXPLICIT_DENY:
        return theirs
    if request.account == resource_account:
        return own or theirs or IMPLICIT
    return own if own is not None and theirs is not None else IMPLICIT


def _first_allowed(policies: Sequence[Policy], request: AccessRequest) -> Verdict | None:
    """Return the first denial that applies, else the first allowance, else None."""
    allowed = None
    for policy in policies:
        for statement in policy.statements:
            if (statement.allow and allowed is not None) or not applies(statement, request):
                continue
            if not statement.allow:
                return Verdict(Effect.EXPLICIT_DENY, policy.name, statement.label)
            allowed = Verdict(Effect.ALLOW, policy.name, statement.label)
    return allowed


def applies(statement: Statement, request: AccessRequest) -> bool:
    """Return whether a statement is about a request."""
    context = request.context
    return (
        statement.speaks_of(request.action)
        and statement.names(request.principal_arn, request.account)
        and statement.resolved(context)
        and statement.covers(request.resource, context)
        and all(condition.holds(context) for condition in statement.conditions)
    )


def considered(policies: Sequence[Policy], request: AccessRequest) -> Iterator[Considered]:
    """Yield the statements that speak of the action, with what keeps them from applying."""
    for policy in policies:
        for statement in policy.statements:
            if statement.speaks_of(request.action):
                yield Considered(policy.name, statement.label, statement.allow, _why_not(statement, request))


def _why_not(statement: Statement, request: AccessRequest) -> str:
    context = request.context
    if not statement.names(request.principal_arn, request.account):
        return f"principal {request.principal_arn} is not among {', '.join(statement.principals)}"
    if not statement.resolved(context):
        missing = ", ".join(key for key in statement.variables if not isinstance(context.get(key), str))
        return f"variable {missing} has no value in the request"
    if not statement.covers(request.resource, context):
        relation = "is among" if statement.not_resources else "does not match"
        return f"resource {request.resource} {relation} {', '.join(pattern.text for pattern in statement.resources)}"
    failed = [condition.why_not(context) for condition in statement.conditions if not condition.holds(context)]
    return "; ".join(failed)
