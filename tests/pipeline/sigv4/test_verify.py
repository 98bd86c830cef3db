"""Signatures of botocore, of AWS' test suite and of our own signer are accepted; altered requests are not."""

from __future__ import annotations

import dataclasses
import os
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict

from headrace.pipeline.sigv4.canonical import Head, clean_path, path_of, queries
from headrace.pipeline.sigv4.claim import Claim, check_claim, is_signed, read_claim
from headrace.pipeline.sigv4.errors import SignatureRefused
from headrace.pipeline.sigv4.sign import Credentials, Signer
from headrace.pipeline.sigv4.verify import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "127.0.0.1:9009"
SKEW = timedelta(minutes=5)


@dataclasses.dataclass
class Wire:
    """A request as it reaches the server."""

    method: str
    url: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def head(self) -> Head:
        path, _, query = self.url.partition("?")
        return Head(self.method, path, query, self.headers)

    def verify(self, *, lenient: bool = False, secret: str = SECRET, now: datetime | None = None) -> Claim:
        claim = read_claim(self.head)
        check_claim(claim, "us-east-1", "aps", now or claim.time, SKEW)
        Verifier(lenient=lenient).verify(self.head, claim, secret, self.body)
        return claim


def botocore_signed(
    method: str = "POST",
    url: str = "/workspaces/ws-1/api/v1/remote_write",
    body: bytes = b"",
    params: dict[str, str] | None = None,
    *,
    presigned: bool = False,
    token: str | None = None,
    headers: dict[str, str] | None = None,
) -> Wire:
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as BotocoreCredentials

    credentials = BotocoreCredentials(KEY, SECRET, token)
    signer: Any = auth.SigV4QueryAuth if presigned else auth.SigV4Auth
    request = AWSRequest(method, f"http://{HOST}{url}", data=body, params=params or {}, headers=headers or {})
    signer(credentials, "aps", "us-east-1").add_auth(request)
    prepared = request.prepare()
    seen = CIMultiDict({"Host": HOST})
    for name, value in prepared.headers.items():
        seen[name] = value if isinstance(value, str) else value.decode()
    return Wire(method, prepared.url.removeprefix(f"http://{HOST}"), seen, body)


def own_signed(url: str = "/workspaces/ws-1/api/v1/query?query=up", body: bytes = b"") -> Wire:
    path, _, query = url.partition("?")
    headers = {"Host": HOST, "Content-Type": "text/plain"}
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    added = Signer("us-east-1", "aps").sign("POST", path, query, headers, body, Credentials(KEY, SECRET), now)
    return Wire("POST", url, CIMultiDict({**headers, **added}), body)


@pytest.mark.parametrize("presigned", [False, True])
@pytest.mark.parametrize("token", [None, "session/token+with=signs"])
@pytest.mark.parametrize(
    ("method", "url", "body", "params"),
    [
        ("POST", "/workspaces/ws-1/api/v1/remote_write", b"\x00\x01snappy", None),
        ("GET", "/workspaces", b"", None),
        ("GET", "/workspaces?maxResults=5&alias=a%20b", b"", None),
        ("GET", "/workspaces/ws-1/api/v1/query", b"", {"query": 'rate(x{a="b c"}[1m]) + 1', "time": "1.5"}),
        (
            "DELETE",
            "/tags/arn%3Aaws%3Aaps%3Aus-east-1%3A123456789012%3Aworkspace%2Fws-1?tagKeys=b&tagKeys=a",
            b"",
            None,
        ),
        ("GET", "/workspaces/ws-1/rulegroupsnamespaces/my%20rules", b"", None),
        ("GET", "/workspaces/ws-1/api/v1/query?query=%E2%98%83&empty=&flag", b"", None),
    ],
)
def test_botocore_is_accepted(
    method: str, url: str, body: bytes, params: dict[str, str] | None, token: str | None, *, presigned: bool
) -> None:
    if presigned and body:
        body = b""  # botocore makes such a body part of the query string
    claim = botocore_signed(method, url, body, params, presigned=presigned, token=token).verify()
    assert claim.access_key == KEY
    assert claim.session_token == token


def test_own_signature_is_botocores() -> None:
    wire = own_signed("/a//b/../c%20d/?z=%2Fq&a=1%20", b"body")
    wire.verify(now=datetime(2026, 11, 24, 12, 4, tzinfo=UTC))


@pytest.mark.parametrize(
    ("method", "url", "extra", "body", "signature"),
    [
        ("GET", "/", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "/?Param2=value2&Param1=value1", {}, b"",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("GET", "/?Param1=value1", {}, b"", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
        ("POST", "/", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, b"Param1=value1",
         "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        ("GET", "/", {"My-Header1": " value1", "My-Header2": ' "a   b   c"'}, b"",
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        ("GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", {}, b"",
         "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    ],
)  # fmt: skip
def test_vectors_of_aws(method: str, url: str, extra: dict[str, str], body: bytes, signature: str) -> None:
    headers = CIMultiDict({"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z", **extra})
    names = ";".join(sorted(name.lower() for name in headers))
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/service/aws4_request, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    wire = Wire(method, url, headers, body)
    Verifier().verify(wire.head, read_claim(wire.head), SECRET, body)


ALTERATIONS: dict[str, Callable[[Wire], Wire]] = {
    "method": lambda wire: dataclasses.replace(wire, method="PUT"),
    "path": lambda wire: dataclasses.replace(wire, url=wire.url.replace("ws-1", "ws-2")),
    "query": lambda wire: dataclasses.replace(wire, url=wire.url.replace("up", "down")),
    "query added": lambda wire: dataclasses.replace(wire, url=wire.url + "&a=b"),
    "body": lambda wire: dataclasses.replace(wire, body=b"other"),
    "signed header": lambda wire: _with(wire, "Content-Type", "text/html"),
    "host": lambda wire: _with(wire, "Host", "other"),
    "date": lambda wire: _with(wire, "X-Amz-Date", "20261124T120001Z"),
}


def _with(wire: Wire, name: str, value: str) -> Wire:
    headers = wire.headers.copy()
    headers[name] = value
    return dataclasses.replace(wire, headers=headers)


@pytest.mark.parametrize("what", ALTERATIONS)
@pytest.mark.parametrize("lenient", [False, True])
def test_altered_requests_are_refused(what: str, *, lenient: bool) -> None:
    wire = own_signed()
    wire.verify(lenient=lenient)
    with pytest.raises(SignatureRefused, match="does not match the signature you provided"):
        ALTERATIONS[what](wire).verify(lenient=lenient)


def test_wrong_secret_shows_the_canonical_request() -> None:
    with pytest.raises(SignatureRefused) as caught:
        own_signed().verify(secret="x" * 40)
    assert "should have been\n'POST\n/workspaces/ws-1/api/v1/query\nquery=up\n" in caught.value.message
    assert "AWS4-HMAC-SHA256\n20261124T120000Z\n20261124/us-east-1/aps/aws4_request\n" in caught.value.message


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"Authorization": None}, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        ({"Authorization": "Bearer x"}, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        ({"Authorization": "AWS4-HMAC-SHA256 Signature=aa"}, "IncompleteSignatureException", "requires 'Credential'"),
        ({"Authorization": "AWS3 x"}, "IncompleteSignatureException", "Unsupported AWS 'algorithm'"),
        ({"X-Amz-Date": None}, "IncompleteSignatureException", "either a 'X-Amz-Date' or a 'Date'"),
        ({"X-Amz-Date": "2026-11-24"}, "IncompleteSignatureException", "ISO-8601 'basic format'. Got '2026-11-24'"),
        ({"X-Amz-Date": "20261324T120000Z"}, "IncompleteSignatureException", "Got '20261324T120000Z'"),
        ({"X-Amz-Date": "20261123T120000Z"}, "InvalidSignatureException", "Date in Credential scope does not match"),
        ({"X-Amz-Security-Token": "t"}, "IncompleteSignatureException", "'X-Amz-Security-Token' must be a"),
        ({"X-Amz-Content-Sha256": "0" * 64}, "InvalidSignatureException", "'x-amz-content-sha256' header does not"),
        ({"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}, "InvalidSignatureException", "'x-amz-content-sha256' header"),
    ],
)
def test_incomplete_credentials(changes: dict[str, str | None], code: str, text: str) -> None:
    wire = own_signed()
    for name, value in changes.items():
        if value is None:
            del wire.headers[name]
        else:
            wire.headers[name] = value
    with pytest.raises(SignatureRefused) as caught:
        wire.verify(now=datetime(2026, 11, 24, 12, tzinfo=UTC))
    assert (caught.value.code, text in caught.value.message) == (code, True), caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "field", "text"),
    [
        ("us-east-1", "us-west-2", "region", "scoped to a valid region"),
        ("/aps/", "/es/", "service", "scoped to correct service: 'aps'"),
        ("aws4_request", "aws5_request", "authorization", "valid terminator: 'aws4_request'"),
        (KEY, f"{KEY}/x", "authorization", "exactly 5 slash-delimited elements"),
        ("SignedHeaders=content-type;host", "SignedHeaders=content-type", "authorization", "'Host' must be"),
        ("SignedHeaders=content-type;host", "SignedHeaders=Content-Type;host", "authorization", "lower case"),
        (";x-amz-date", "", "authorization", "'X-Amz-Date' or 'Date' must be a"),
        ("Signature=", "Signature=zz", "authorization", "64 hexadecimal digits"),
    ],
)
def test_wrong_scope(old: str, new: str, field: str, text: str) -> None:
    wire = own_signed()
    wire.headers["Authorization"] = wire.headers["Authorization"].replace(old, new)
    with pytest.raises(SignatureRefused) as caught:
        wire.verify(now=datetime(2026, 11, 24, 12, tzinfo=UTC))
    assert caught.value.field == field
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (5.1, "Signature expired: 20261124T120000Z is now earlier than 20261124T120006Z (20261124T120506Z - 5 min.)"),
        (-5.1, "Signature not yet current: 20261124T120000Z is still later than 20261124T115954Z "),
    ],
)
def test_skew(minutes: float, text: str) -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC) + timedelta(minutes=minutes)
    with pytest.raises(SignatureRefused) as caught:
        own_signed().verify(now=now)
    assert text in caught.value.message
    own_signed().verify(now=datetime(2026, 11, 24, 12, tzinfo=UTC) + timedelta(minutes=minutes) * 0.98)


def test_presigned_url_expires() -> None:
    wire = botocore_signed("GET", "/workspaces", presigned=True)
    claim = wire.verify()
    assert claim.expires_s == 3600
    wire.verify(now=claim.time + timedelta(minutes=59))
    with pytest.raises(SignatureRefused, match="Signature expired"):
        wire.verify(now=claim.time + timedelta(minutes=61))
    longer = dataclasses.replace(wire, url=wire.url.replace("Expires=3600", "Expires=7200"))
    with pytest.raises(SignatureRefused, match="does not match"):
        longer.verify(now=claim.time + timedelta(minutes=61))


@pytest.mark.parametrize("query", ["b=2&a=1", "query=rate(x%5b1m%5d)", "query=up(x)"])
def test_raw_query_needs_the_switch(query: str) -> None:
    """The curl before 8 signs the query as it stands."""
    forms = list(queries(query, lenient=True))
    assert query in forms
    assert query not in list(queries(query, lenient=False))


def test_paths() -> None:
    assert clean_path("") == "/"
    assert clean_path("//a///b/./c/../d/") == "/a/b/d/"
    assert clean_path("/../..") == "/"
    assert path_of("/tags/arn%3Aaws%2Fx") == "/tags/arn%253Aaws%252Fx"


def test_is_signed() -> None:
    assert is_signed(own_signed().head)
    assert is_signed(botocore_signed(presigned=True).head)
    assert not is_signed(Head("GET", "/", "", CIMultiDict({"Authorization": "Bearer x"})))


@pytest.mark.fuzz
def test_noise_is_refused_and_nothing_else() -> None:
    """A mutated header or query string raises `SignatureRefused`, never another error, and never passes."""
    dice = random.Random(7)
    for _ in range(int(os.environ.get("HEADRACE_FUZZ_RUNS", "500"))):
        wire = own_signed() if dice.random() < 0.5 else botocore_signed(presigned=True)
        name = dice.choice([*wire.headers, "url"])
        text = wire.url if name == "url" else wire.headers[name]
        at = dice.randrange(len(text))
        noise = dice.choice(["", "\udcff", "%", "/", ";", "=", ",", " ", "٣", chr(dice.randrange(33, 127))])
        changed = text[:at] + noise + text[at + dice.randrange(3) :]
        mutated = dataclasses.replace(wire, url=changed) if name == "url" else _with(wire, name, changed)
        try:
            mutated.verify(now=read_claim(wire.head).time)
        except SignatureRefused:
            continue
        # What is left is the same request in another spelling.
        assert mutated.verify().signature == read_claim(wire.head).signature
