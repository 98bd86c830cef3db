"""Signing keys: derived from a secret for one day, region and service."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from typing import NamedTuple

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"


class Scope(NamedTuple):
    """What a signing key is good for.

    Attributes:
        date: ``YYYYMMDD``, UTC.
        region: Such as ``us-east-1``.
        service: Such as ``aps``.
    """

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


def derive(secret: str, scope: Scope) -> bytes:
    """Return the signing key of a secret access key: 32 bytes."""
    key = _bytes(f"AWS4{secret}")
    for part in (*scope, TERMINATOR):
        key = hmac.digest(key, _bytes(part), hashlib.sha256)
    return key


def string_to_sign(timestamp: str, scope: Scope, canonical: str) -> str:
    """Return what is signed: algorithm, time, scope and the hash of the canonical request."""
    digest = hashlib.sha256(_bytes(canonical)).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{scope.date}/{scope.region}/{scope.service}/{TERMINATOR}\n{digest}"


def sign(key: bytes, text: str) -> str:
    """Return the signature of `text`, in hexadecimal."""
    return hmac.digest(key, _bytes(text), hashlib.sha256).hex()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # bytes of a header that are no text stay what they were


class DerivedKeys:
    """The signing keys last used, so that a request costs one HMAC instead of five.

    Args:
        size: Keys that are kept.
    """

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._keys: OrderedDict[tuple[str, Scope], bytes] = OrderedDict()

    def get(self, secret: str, scope: Scope) -> bytes:
        """Return the signing key of `secret`; a changed secret is another entry, so none is ever stale."""
        entry = (secret, scope)
        key = self._keys.get(entry)
        if key is None:
            key = self._keys[entry] = derive(secret, scope)
            if len(self._keys) > self._size:
                self._keys.popitem(last=False)
        return key
