"""From a signed request to the access key that signed it.

In two steps, since the body is large and the first step needs none: who is unknown, late or aims at another region is
turned away before the body is read.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from headrace.pipeline.sigv4 import errors
from headrace.pipeline.sigv4.claim import check_claim, read_claim
from headrace.pipeline.sigv4.verify import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.sigv4.canonical import Head
    from headrace.pipeline.sigv4.claim import Claim
    from headrace.store.access.principals import AccessKey


@dataclass(frozen=True, slots=True)
class SignatureOptions:
    """What signatures have to be made for.

    Attributes:
        region: Such as ``us-east-1``.
        service: ``aps`` for both planes.
        skew: How far the sender's clock may differ.
        lenient: See `Verifier`.
    """

    region: str
    service: str = "aps"
    skew: timedelta = timedelta(minutes=5)
    lenient: bool = False


class Attempt(NamedTuple):
    """A request whose head is in order.

    Attributes:
        claim: What it says about its signature.
        key: The access key that it names.
    """

    claim: Claim
    key: AccessKey


class Signatures:
    """Checks signatures.

    Args:
        find: Returns the access key with an id; None without one.
        options: What signatures have to be made for.
        clock_ns: Unix time.
    """

    def __init__(
        self, find: Callable[[str], AccessKey | None], options: SignatureOptions, clock_ns: Callable[[], int]
    ) -> None:
        self._find = find
        self._options = options
        self._clock_ns = clock_ns
        self._verifier = Verifier(lenient=options.lenient)

    def begin(self, head: Head) -> Attempt:
        """Check what can be checked without the body and without the secret.

        Raises:
            SignatureRefused: The request is not signed, not for here, not now, or by a key that is not known.
        """
        options = self._options
        claim = read_claim(head)
        now = datetime.fromtimestamp(self._clock_ns() / 1e9, UTC)
        check_claim(claim, options.region, options.service, now, options.skew)
        key = self._find(claim.access_key)
        if key is None or not key.active or not _same(key.session_token, claim.session_token or ""):
            raise errors.unknown_key()
        return Attempt(claim, key)

    def finish(self, attempt: Attempt, head: Head, body: bytes) -> AccessKey:
        """Check the signature; return the key that made it, which may be over: see `expired`.

        Raises:
            SignatureRefused: It is another one.
        """
        self._verifier.verify(head, attempt.claim, attempt.key.secret, body)
        return attempt.key

    def expired(self, key: AccessKey) -> bool:
        """Return whether temporary credentials are over.

        Asked after the signature is found good, so that only who holds the secret learns that they were good once.
        """
        return bool(key.expires_ns) and key.expires_ns <= self._clock_ns()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))
