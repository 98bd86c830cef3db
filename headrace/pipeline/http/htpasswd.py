"""User names with hashed passwords, as Apache's ``htpasswd -B`` writes them.

Only bcrypt is taken. MD5, SHA-1 and crypt hashes can be guessed by the billion, so they are refused rather than
trusted.
"""

from __future__ import annotations

import re

_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
MAX_COST = 14
"""A check takes 2**cost rounds: about a second at 14."""


def parse_htpasswd(text: str) -> dict[str, bytes]:
    """Return the hash of each user in lines of ``user:hash``; blank lines and those with ``#`` in front are skipped.

    Raises:
        ValueError: A line is malformed, its hash is not bcrypt, or costs too much; the text names the line, not the
            hash.
    """
    users: dict[str, bytes] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        user, colon, hashed = line.partition(":")
        if not colon or not user:
            raise ValueError(f"line {number}: must be user:hash")
        if user in users:
            raise ValueError(f"line {number}: user {user!r} appears twice")
        users[user] = _checked(hashed, number)
    return users


def _checked(hashed: str, number: int) -> bytes:
    match = _BCRYPT.fullmatch(hashed)
    if match is None:
        raise ValueError(f"line {number}: the hash must be bcrypt, as `htpasswd -B` makes it")
    cost = int(match.group(1))
    if not 4 <= cost <= MAX_COST:
        raise ValueError(f"line {number}: the bcrypt cost must be 4 to {MAX_COST}, got {cost}")
    return hashed.encode("ascii")
