"""Who may be let in: users, their access keys and the policies attached to them.

The terms are IAM's. Users and policies come from the configuration or from the `Keyring`; either way a request is
decided about by an `Identity`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_POLICY_NAME = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
_KEY_ID = re.compile(r"\w{16,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A long-lived access key of a user, or temporary credentials.

    Attributes:
        id: Such as ``AKIA…``; ``ASIA…`` for temporary credentials.
        user: Name of its user.
        secret: Secret access key.
        session_token: What requests with temporary credentials carry as well; empty for long-lived keys.
        expires_ns: Unix time from which it is no longer good; 0 for never.
        active: Whether it is in use; an inactive key is answered as if it did not exist.
    """

    id: str
    user: str
    secret: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires_ns: int = 0
    active: bool = True


@dataclass(frozen=True, slots=True)
class User:
    """A principal of the account.

    Attributes:
        name: Unique in the account.
        tags: What ``aws:PrincipalTag/…`` reads.
        policies: Names of the policies attached, in order.
    """

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    policies: tuple[str, ...] = ()

    def arn(self, account: str) -> str:
        """Return ``arn:aws:iam::ACCOUNT:user/NAME``."""
        return f"arn:aws:iam::{account}:user/{self.name}"


def check_user_name(name: str) -> str:
    """Return `name`.

    Raises:
        InvalidInput: It is not one that IAM takes for a user.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"user name {name[:80]!r} must be 1 to 64 letters, digits or any of +=,.@_-")
    return name


def check_policy_name(name: str) -> str:
    """Return `name`.

    Raises:
        InvalidInput: It is not one that IAM takes for a policy.
    """
    if not _POLICY_NAME.fullmatch(name):
        raise InvalidInput(f"policy name {name[:140]!r} must be 1 to 128 letters, digits or any of +=,.@_-")
    return name


def check_key_id(key_id: str) -> str:
    """Return `key_id`.

    Raises:
        InvalidInput: It is not one that AWS' clients take.
    """
    if not _KEY_ID.fullmatch(key_id):
        raise InvalidInput(f"access key id {key_id[:80]!r} must be 16 to 128 letters, digits or underscores")
    return key_id
