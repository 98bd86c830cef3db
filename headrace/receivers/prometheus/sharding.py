"""Targets shared out over several daemons by rendezvous hashing.

Each daemon reads the same configuration and finds the same targets. For every target all members have a number, and
the member with the largest scrapes it: nobody has to ask anybody, and where a member comes or goes only the targets
that it gets or had move.

Source:
    Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from headrace.pipeline.config import ComponentConfig

if TYPE_CHECKING:
    from collections.abc import Iterable


class ShardingConfig(ComponentConfig):
    """Which daemons scrape together."""

    members: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of all daemons that share the targets; the same list for each of them, in any order."""

    member: str
    """Which of them this one is, such as ``${env:HOSTNAME}``."""

    copies: Annotated[int, Field(ge=1)] = 1
    """How many of them scrape each target."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.members)) < len(self.members):
            raise ValueError("members: a name occurs twice")
        if self.member not in self.members:
            raise ValueError(f"member: {self.member!r} is not among the members {', '.join(self.members)}")
        if self.copies > len(self.members):
            raise ValueError(f"copies: there are only {len(self.members)} members")
        return self

    def owns(self, key: str) -> bool:
        """Return whether this daemon scrapes the target with `key`, which is its URL."""
        return self.member in owners(key, self.members, self.copies)


def owners(key: str, members: Iterable[str], copies: int = 1) -> list[str]:
    """Return the members that a key belongs to, the first one first.

    >>> owners("http://a:9100/metrics", ["x", "y", "z"]) == owners("http://a:9100/metrics", ["z", "y", "x"])
    True
    """
    return sorted(members, key=lambda member: (_weight(key, member), member), reverse=True)[:copies]


def _weight(key: str, member: str) -> bytes:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16)
    digest.update(b"\0" + member.encode())
    return digest.digest()
