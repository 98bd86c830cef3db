"""Users with their keys and parsed policies, from the configuration and from the keyring, answered from memory."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.errors import HeadraceError
from headrace.store.access.managed import MANAGED
from headrace.store.access.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.store.access.keyring import Keyring
    from headrace.store.access.policy import Policy
    from headrace.store.access.principals import AccessKey, User

_log = logging.getLogger("headrace.access")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, with what it may do.

    Attributes:
        user: The user.
        arn: Its ARN.
        policies: Those attached to it.
    """

    user: User
    arn: str
    policies: tuple[Policy, ...]


class Identities:
    """All users of an account.

    Args:
        account: Twelve digits.
        users: Those of the configuration; they come before those of the keyring with the same name.
        keys: Access keys of the configuration.
        policies: Policies of the configuration; managed ones need not be among them.
        keyring: Opened; None where there is none.
    """

    def __init__(
        self,
        account: str,
        users: Mapping[str, User],
        keys: Mapping[str, AccessKey],
        policies: Mapping[str, Policy],
        keyring: Keyring | None = None,
    ) -> None:
        self._account = account
        self._users = users
        self._keys = keys
        self._policies = {**{name: parse_policy(text, name) for name, text in MANAGED.items()}, **policies}
        self._keyring = keyring
        self._revision = -1
        self._found: dict[str, Identity] = {}

    def key(self, key_id: str) -> AccessKey | None:
        """Return an access key; None without one."""
        found = self._keys.get(key_id)
        if found is None and self._keyring is not None:
            found = self._keyring.keys.get(key_id)
        return found

    def find(self, name: str) -> Identity | None:
        """Return a user with its policies; None without one."""
        revision = self._keyring.revision if self._keyring is not None else 0
        if revision != self._revision:
            self._found.clear()
            self._revision = revision
        identity = self._found.get(name)
        if identity is None:
            user = self._users.get(name) or (self._keyring.users.get(name) if self._keyring is not None else None)
            if user is None:
                return None
            identity = self._found[name] = Identity(user, user.arn(self._account), tuple(self._attached(user)))
        return identity

    def all(self) -> list[Identity]:
        """Return all users, by name."""
        names = {*self._users, *(self._keyring.users if self._keyring is not None else ())}
        return [identity for name in sorted(names) if (identity := self.find(name)) is not None]

    def secrets(self) -> list[tuple[str, str]]:
        """Return ids and secrets of all access keys, to find out which were mixed up."""
        theirs = self._keyring.keys if self._keyring is not None else {}
        return [(key.id, key.secret) for key in (*self._keys.values(), *theirs.values())]

    def _attached(self, user: User) -> Iterator[Policy]:
        documents = self._keyring.policies if self._keyring is not None else {}
        for name in user.policies:
            known = self._policies.get(name)
            if known is not None:
                yield known
                continue
            try:
                yield parse_policy(documents[name], name)
            except (KeyError, HeadraceError) as error:
                # It was parsed when it was stored: a later release may be stricter. Without it less is allowed, and
                # what it denies must stay denied.
                _log.error("policy %s of user %s cannot be read, the user may do nothing: %s", name, user.name, error)
                yield parse_policy(_NOTHING, name)


_NOTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "PolicyCannotBeRead", "Effect": "Deny", "Action": "*", "Resource": "*"}],
}
