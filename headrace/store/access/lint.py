"""Find grants that are wider than they need be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from headrace.store.access.managed import QUERY_ACTIONS, WRITE_ACTIONS
from headrace.store.workspaces.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.store.access.identities import Identity
    from headrace.store.access.policy import Statement

ACTIONS = (*WRITE_ACTIONS, *QUERY_ACTIONS, *(operation.action for operation in OPERATIONS))
"""Actions that there are."""

_SHOWN = 8
_NOWHERE = "arn:aws:aps:xx-nowhere-1:000000000000:workspace/ws-none"
_NO_ACTION = "aps:NoSuchAction"


class Finding(NamedTuple):
    """Something to look at.

    Attributes:
        rule: ``wide-grant``, ``reads-and-writes`` or ``unused-grant``.
        user: Whose policies it is about.
        text: What it is.
    """

    rule: str
    user: str
    text: str


def lint(identities: Sequence[Identity], used: set[tuple[str, str]], *, audited: bool) -> Iterator[Finding]:
    """Yield what is wider than it need be.

    Args:
        identities: Users with their policies.
        used: Pairs of a user's name and an action that it was allowed, from the audit log.
        audited: Whether there is an audit log; without one nothing is known about use.
    """
    for identity in identities:
        name = identity.user.name
        wide = [
            f"{policy.name}, {statement.label}"
            for policy in identity.policies
            for statement in policy.statements
            if _is_wide(statement)
        ]
        if wide:
            yield Finding("wide-grant", name, f"may do aps:* on every resource by {'; '.join(wide)}")
        granted = [action for action in ACTIONS if _granted(identity, action)]
        reads = [action for action in granted if action in QUERY_ACTIONS]
        if reads and set(granted) & set(WRITE_ACTIONS):
            text = f"both writes and reads samples ({reads[0]}): split it into a writer and a reader"
            yield Finding("reads-and-writes", name, text)
        unused = [action for action in granted if (name, action) not in used]
        if audited and unused:
            more = f" and {len(unused) - _SHOWN} more" if len(unused) > _SHOWN else ""
            text = f"was never used, as far as the audit log goes: {', '.join(unused[:_SHOWN])}{more}"
            yield Finding("unused-grant", name, text)


def _is_wide(statement: Statement) -> bool:
    """Return whether a statement allows an action and a resource that nobody can have meant."""
    return (
        statement.allow
        and not statement.conditions
        and statement.speaks_of(_NO_ACTION)
        and statement.covers(_NOWHERE, {})
    )


def _granted(identity: Identity, action: str) -> bool:
    return any(
        statement.allow and statement.speaks_of(action)
        for policy in identity.policies
        for statement in policy.statements
    )
