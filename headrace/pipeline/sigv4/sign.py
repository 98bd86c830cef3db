"""Signing the requests that this process sends."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.pipeline.sigv4 import canonical
from headrace.pipeline.sigv4.claim import format_time
from headrace.pipeline.sigv4.keys import ALGORITHM, DerivedKeys, Scope, sign, string_to_sign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests are signed with.

    Attributes:
        access_key: Id of the access key.
        secret: Secret access key.
        session_token: Token of temporary credentials, empty for none.
    """

    access_key: str
    secret: str = field(repr=False)
    session_token: str = field(default="", repr=False)


class _Dict(dict[str, str]):
    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]:
        return (self[key],) if key in self else default


class Signer:
    """Signs requests for one region and service.

    Args:
        region: Such as ``us-east-1``.
        service: Such as ``aps``.
    """

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._keys = DerivedKeys()

    def sign(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        credentials: Credentials,
        now: datetime,
    ) -> dict[str, str]:
        """Return the headers to add to a request.

        Args:
            method: Upper case.
            path: As it will be on the wire, percent-encoded.
            query: As it will be on the wire.
            headers: Those to sign; ``host`` has to be among them.
            body: As it will be sent.
            credentials: The sender's.
            now: The present time.
        """
        timestamp = format_time(now)
        added = {"X-Amz-Date": timestamp}
        if credentials.session_token:
            added["X-Amz-Security-Token"] = credentials.session_token
        signed = _Dict({name.lower(): value for name, value in (*headers.items(), *added.items())})
        names = sorted(signed)
        scope = Scope(timestamp[:8], self._region, self._service)
        form = next(iter(canonical.queries(query, lenient=False)))
        digest = hashlib.sha256(body).hexdigest()
        lines = canonical.headers_of(signed, names)
        request = canonical.request_of(method, canonical.path_of(path), form, lines, ";".join(names), digest)
        key = self._keys.get(credentials.secret, scope)
        signature = sign(key, string_to_sign(timestamp, scope, request))
        added["Authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={';'.join(names)}, "
            f"Signature={signature}"
        )
        return added
