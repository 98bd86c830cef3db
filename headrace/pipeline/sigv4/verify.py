"""Checking that a request was signed with a secret that is known here."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from headrace.pipeline.sigv4 import canonical, errors
from headrace.pipeline.sigv4.keys import DerivedKeys, sign, string_to_sign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.sigv4.canonical import Head
    from headrace.pipeline.sigv4.claim import Claim

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"


class Verifier:
    """Computes signatures and compares them.

    Args:
        lenient: Also accept forms that AWS refuses: query strings signed as sent or encoded twice, paths signed as
            sent, bodies not signed at all.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self._lenient = lenient
        self._keys = DerivedKeys()

    def verify(self, head: Head, claim: Claim, secret: str, body: bytes) -> None:
        """Return if `claim` is the signature of the request under `secret`.

        Args:
            head: The request.
            claim: What `read_claim` found in it.
            secret: Secret access key of ``claim.access_key``.
            body: As sent, compressed if it is.

        Raises:
            SignatureRefused: It is not.
        """
        digest = self._body_digest(head, body)
        key = self._keys.get(secret, claim.scope)
        names = ";".join(claim.signed_headers)
        headers = canonical.headers_of(head.headers, claim.signed_headers)
        first: tuple[str, str] | None = None
        for path, query in self._forms(head, claim):
            request = canonical.request_of(head.method, path, query, headers, names, digest)
            text = string_to_sign(claim.timestamp, claim.scope, request)
            if hmac.compare_digest(sign(key, text), claim.signature):
                return
            first = first or (request, text)
        if first is None:
            raise AssertionError("bug: a request without a canonical form")
        raise errors.mismatch(*first)

    def _forms(self, head: Head, claim: Claim) -> Iterator[tuple[str, str]]:
        paths = dict.fromkeys([canonical.path_of(head.path), *([head.path] if self._lenient else ())])
        for query in canonical.queries(claim.query, lenient=self._lenient):
            for path in paths:
                yield path, query

    def _body_digest(self, head: Head, body: bytes) -> str:
        """Return the hash that stands in the canonical request: of what came, not of what the sender says came."""
        digest = hashlib.sha256(body).hexdigest()
        said = head.headers.getall("x-amz-content-sha256", ())
        if not said or hmac.compare_digest(said[0].strip().lower(), digest):
            return digest
        if said[0].strip() == UNSIGNED_PAYLOAD and self._lenient:
            return UNSIGNED_PAYLOAD
        raise errors.invalid("The provided 'x-amz-content-sha256' header does not match what was computed.", "body")
