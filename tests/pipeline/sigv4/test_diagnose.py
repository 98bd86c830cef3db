"""For every usual way in which a signature breaks, the field is named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from multidict import CIMultiDict

from headrace.pipeline.sigv4.canonical import Head
from headrace.pipeline.sigv4.claim import read_claim
from headrace.pipeline.sigv4.diagnose import diagnose
from headrace.pipeline.sigv4.errors import SignatureRefused
from headrace.pipeline.sigv4.sign import Credentials, Signer
from headrace.pipeline.sigv4.verify import Verifier

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SIGNED: dict[str, Any] = {
    "method": "POST",
    "path": "/workspaces/ws-1/api/v1/query",
    "query": "query=up",
    "host": "127.0.0.1:9009",
    "content-type": "application/x-protobuf",
    "body": b"body",
    "secret": SECRET,
}


@pytest.mark.parametrize(
    ("signed", "came", "field", "why"),
    [
        ({}, {"method": "GET"}, "method", "signed as POST and came as GET"),
        ({"body": b""}, {"body": b"x"}, "body", "signed with an empty body"),
        ({}, {"host": "gateway:80"}, "host", "signed for host 127.0.0.1:9009 and came with Host gateway:80"),
        ({"host": "aps-workspaces.us-east-1.amazonaws.com"}, {"host": "x"}, "host", "signed for host aps-workspaces"),
        ({}, {"path": "/workspaces/ws-2/api/v1/query"}, "path", "signed for workspace ws-1 and came for ws-2"),
        ({"path": "/api/v1/query"}, {}, "path", "a prefix was added on the way"),
        ({}, {"path": "/workspaces/ws-1/api/v1/query/"}, "path", "signed for /workspaces/ws-1/api/v1/query"),
        ({}, {"query": "query=up&cluster=a"}, "query", "parameter cluster was added"),
        ({"query": ""}, {"query": "query=up&a=b"}, "query", "signed without its query string"),
        ({}, {"content-type": "application/json"}, "content-type", "came as 'application/json'"),
        ({"secret": "another key's"}, {}, "access key", "signed with the secret of AKIAOTHER"),
        ({"secret": "unknown"}, {}, "unknown", "the secret access key is not the one"),
        ({}, {"body": b"tampered"}, "unknown", "the body was changed on the way"),
    ],
)
def test_the_field_is_named(signed: dict[str, Any], came: dict[str, Any], field: str, why: str) -> None:
    one = {**SIGNED, **signed}
    other = {**SIGNED, **{k: v for k, v in signed.items() if k in {"host", "query"} and k not in came}, **came}
    credentials = Credentials("AKIAKNOWN", one["secret"])
    headers = {"host": one["host"], "content-type": one["content-type"]}
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    added = Signer("us-east-1", "aps").sign(
        one["method"], one["path"], one["query"], headers, one["body"], credentials, now
    )
    sent = CIMultiDict({"Host": other["host"], "Content-Type": other["content-type"], **added})
    head = Head(other["method"], other["path"], other["query"], sent)
    claim = read_claim(head)
    with pytest.raises(SignatureRefused, match="does not match"):
        Verifier().verify(head, claim, SECRET, other["body"])

    found = diagnose(
        head,
        claim,
        SECRET,
        other["body"],
        hosts=["127.0.0.1:9009"],
        workspaces=["ws-0", "ws-1", "ws-2"],
        other_secrets=[("AKIAKNOWN", SECRET), ("AKIAOTHER", "another key's")],
    )

    assert (found.field, why in found.why) == (field, True), found
    assert SECRET not in found.why
