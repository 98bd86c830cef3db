"""A signed request leads to its key; every other one is refused, and most of them before the body is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from multidict import CIMultiDict

from headrace.pipeline.sigv4.canonical import Head
from headrace.pipeline.sigv4.errors import SignatureRefused
from headrace.pipeline.sigv4.sign import Credentials, Signer
from headrace.store.access.principals import AccessKey
from headrace.store.access.signatures import SignatureOptions, Signatures

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000
KEYS = {
    key.id: key
    for key in (
        AccessKey("AKIALONG", "writer", "secret"),
        AccessKey("AKIAOFF", "writer", "secret", active=False),
        AccessKey("ASIATEMPORARY", "writer", "secret", "token", NOW_NS + 1),
        AccessKey("ASIAOVER", "writer", "secret", "token", NOW_NS),
    )
}


def checker() -> Signatures:
    return Signatures(KEYS.get, SignatureOptions("us-east-1"), lambda: NOW_NS)


def signed(key: str, secret: str = "secret", token: str = "", at: datetime = NOW, region: str = "us-east-1") -> Head:
    credentials = Credentials(key, secret, token)
    added = Signer(region, "aps").sign("POST", "/x", "a=b", {"host": "h"}, b"body", credentials, at)
    return Head("POST", "/x", "a=b", CIMultiDict({"Host": "h", **added}))


@pytest.mark.parametrize(("key", "token"), [("AKIALONG", ""), ("ASIATEMPORARY", "token"), ("ASIAOVER", "token")])
def test_the_key_is_found(key: str, token: str) -> None:
    head, check = signed(key, token=token), checker()
    found = check.finish(check.begin(head), head, b"body")
    assert found is KEYS[key]
    assert check.expired(found) == (key == "ASIAOVER")


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (Head("GET", "/", "", CIMultiDict()), "MissingAuthenticationTokenException"),
        (signed("AKIANOBODY"), "UnrecognizedClientException"),
        (signed("AKIAOFF"), "UnrecognizedClientException"),
        (signed("AKIALONG", token="token"), "UnrecognizedClientException"),
        (signed("ASIATEMPORARY"), "UnrecognizedClientException"),
        (signed("ASIATEMPORARY", token="other"), "UnrecognizedClientException"),
        (signed("AKIALONG", region="us-west-2"), "InvalidSignatureException"),
        (signed("AKIALONG", at=NOW - timedelta(minutes=20)), "InvalidSignatureException"),
        (signed("AKIALONG", at=NOW + timedelta(minutes=20)), "InvalidSignatureException"),
    ],
)
def test_refused_by_the_head_alone(head: Head, code: str) -> None:
    with pytest.raises(SignatureRefused) as caught:
        checker().begin(head)
    assert caught.value.code == code


@pytest.mark.parametrize("key", ["AKIALONG", "ASIAOVER"])
def test_a_wrong_secret_learns_nothing_about_expiry(key: str) -> None:
    head, check = signed(key, "wrong", KEYS[key].session_token), checker()
    attempt = check.begin(head)
    with pytest.raises(SignatureRefused, match="does not match"):
        check.finish(attempt, head, b"body")


def test_another_body() -> None:
    head, check = signed("AKIALONG"), checker()
    attempt = check.begin(head)
    with pytest.raises(SignatureRefused, match="does not match"):
        check.finish(attempt, head, b"tampered")
