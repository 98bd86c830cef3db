"""An exporter's requests carry a signature that the verifier accepts."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from headrace.extensions.sigv4_auth import FACTORY, Sigv4Auth, Sigv4AuthConfig
from headrace.pipeline.component import Settings
from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.host import Host
from headrace.pipeline.http.auth import ClientAuthenticator, RequestSigner
from headrace.pipeline.http.client import ClientConfig, HttpClient
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.request import Request, text
from headrace.pipeline.http.routes import Route
from headrace.pipeline.sigv4.canonical import Head
from headrace.pipeline.sigv4.claim import check_claim, read_claim
from headrace.pipeline.sigv4.verify import Verifier

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

SECRET = "hunter2"
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": SECRET}


def make(config: dict[str, Any]) -> Sigv4Auth:
    settings = Settings("extensions", "sigv4_auth", Counters(), logging.getLogger("test"))
    made = FACTORY.create(settings, Sigv4AuthConfig.model_validate({"region": "us-east-1", **config}))
    assert isinstance(made, Sigv4Auth)
    return made


@pytest.mark.parametrize("path", ["/workspaces/ws-1/api/v1/remote_write", "/a b/c%2Fd?x=1&b=%20+c"])
@pytest.mark.parametrize("token", ["", "session"])
async def test_the_signature_stands(path: str, token: str) -> None:
    bodies: list[bytes] = []

    async def verify(request: Request) -> web.StreamResponse:
        body = await request.body()
        head = Head(request.method, request.path, request.query_string, request.headers)
        claim = read_claim(head)
        check_claim(claim, "us-east-1", "aps", datetime.now(UTC), timedelta(minutes=5))
        Verifier().verify(head, claim, SECRET, body)
        assert claim.session_token == (token or None)
        assert "content-encoding" in claim.signed_headers
        bodies.append(body)
        return text("ok")

    listeners = Listeners(Counters(), lambda *_: pytest.fail("no authenticator is asked for"))
    routes = [Route("/workspaces/{id}/api/v1/remote_write", ("POST",), verify), Route("/{a}/{b}", ("POST",), verify)]
    listener = listeners.add(ServerConfig(endpoint="127.0.0.1:0"), routes, "receivers.test")
    await listeners.start()
    auth = make({**KEYS, "session_token": token})
    await auth.start(Host())
    client = HttpClient(ClientConfig(endpoint=f"{listener.url}{path}"), "exporters.test", auth)
    await client.start()
    reply = await client.post(b"\x00\xff", {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"})
    await client.shutdown()
    await auth.shutdown()
    await listeners.shutdown(0.1)
    assert (reply.status, bodies) == (200, [b"\x00\xff"])


def test_it_is_both_kinds_of_authenticator() -> None:
    """The exporter asks for a `ClientAuthenticator`, the client finds that it signs."""
    assert isinstance(make(KEYS), ClientAuthenticator)
    assert isinstance(make(KEYS), RequestSigner)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.example/x", "a.example"),
        ("http://a.example:80/x", "a.example"),
        ("https://a.example:443/x", "a.example"),
        ("http://a.example:443/x", "a.example:443"),
        ("https://user@[::1]:9009/x", "[::1]:9009"),
    ],
)
async def test_the_host_is_signed_as_it_is_sent(url: str, host: str) -> None:
    auth = make(KEYS)
    await auth.start(Host())
    added = dict(auth.sign("POST", url, {}, b""))
    from multidict import CIMultiDict

    head = Head("POST", "/x", "", CIMultiDict({"Host": host, **added}))
    Verifier().verify(head, read_claim(head), SECRET, b"")


async def test_credentials_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"extensions\.sigv4_auth: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are"):
        await make({}).start(Host())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    auth = make({})
    await auth.start(Host())
    assert "Credential=AKIDENVIRONMENT/" in auth.sign("POST", "http://a/x", {}, b"")["Authorization"]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"access_key_id": "A"}, "access_key_id and secret_access_key are set together"),
        ({**KEYS, "profile": "lab"}, "set either access_key_id or profile"),
        ({"session_token": "t"}, "session_token needs access_key_id"),
        ({"region": "", "assume_role": {"arn": "arn:aws:iam::1:role/r"}}, "assume_role needs sts_region or region"),
        ({"assume_role": {}}, "arn"),
        ({"assume_role": {"arn": "x", "session_name": "a b"}}, "session_name"),
    ],
)
def test_faults(config: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        make(config)


@pytest.mark.parametrize(
    ("host", "config", "scope"),
    [
        ("aps-workspaces.eu-west-1.amazonaws.com", {"region": ""}, "eu-west-1/aps"),
        ("search-logs-x1.us-west-2.es.amazonaws.com", {"region": ""}, "us-west-2/es"),
        ("aps-workspaces.eu-west-1.amazonaws.com", {"service": "x"}, "us-east-1/x"),
        ("example.com", {}, "us-east-1/aps"),
    ],
)
async def test_hosts_that_tell_region_and_service(host: str, config: dict[str, Any], scope: str) -> None:
    """What is set is stronger than what the host tells."""
    made = make({**KEYS, **config})
    await made.start(Host())
    headers = made.sign("POST", f"https://{host}/x", {}, b"")
    assert f"/{scope}/aws4_request" in headers["Authorization"]


async def test_a_host_that_tells_no_region() -> None:
    """Where none is set either, the request fails."""
    made = make({**KEYS, "region": ""})
    await made.start(Host())
    with pytest.raises(ConnectionError, match=r"region is not set, and host example\.com tells none"):
        made.sign("POST", "https://example.com/", {}, b"")


ANSWER = """<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId>
<SecretAccessKey>a&amp;b</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{until}</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""


async def test_the_credentials_of_a_role() -> None:
    """STS is asked with a signed request; until it has answered, and once they run out, requests fail."""
    asked: list[tuple[bytes, str]] = []
    answers = [(403, "<Message>not you</Message>"), (200, ANSWER.format(token="t1", until="2033-05-18T03:33:20Z"))]

    async def answer(request: Request) -> web.StreamResponse:
        asked.append((await request.body(), request.headers["Authorization"]))
        status, body = answers[min(len(asked), len(answers)) - 1]
        return text(body, status)

    listeners = Listeners(Counters(), lambda _id, _by: pytest.fail("nobody authenticates"))
    server = ServerConfig(endpoint="127.0.0.1:0")
    listener = listeners.add(server, [Route("/", ("POST",), answer)], "receivers.sts")
    await listeners.start()
    role = {"arn": "arn:aws:iam::1:role/r", "sts_region": "eu-west-1", "endpoint": f"{listener.url}/"}
    made = make({**KEYS, "assume_role": role})
    await made.start(Host())
    own = made._role
    assert own is not None
    try:
        with pytest.raises(ConnectionError, match="not asked for yet"):
            made.sign("POST", "https://x/", {}, b"")
        await own.shutdown()
        with pytest.raises(ValueError, match="answered 403: not you"):
            await own._ask()
        own._found = await own._ask()
    finally:
        await made.shutdown()
        await listeners.shutdown(0.1)
    body, authorization = asked[-1]
    assert b"Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=headrace&Version=" in body
    assert "Credential=AKIDEXAMPLE/" in authorization
    assert "/eu-west-1/sts/aws4_request" in authorization
    credentials, until = own._found
    assert (credentials.access_key, credentials.secret, credentials.session_token) == ("ASIA", "a&b", "t1")
    assert until == 2_000_000_000
    signed = made.sign("POST", "https://x/", {}, b"")
    assert "Credential=ASIA/" in signed["Authorization"]
    assert signed["X-Amz-Security-Token"] == "t1"
    own._found = (credentials, 1.0)
    with pytest.raises(ConnectionError, match="no credentials of role"):
        made.sign("POST", "https://x/", {}, b"")
