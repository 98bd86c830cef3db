"""An exporter's requests carry a signature that the verifier accepts."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import boto3
import pytest
from aiohttp import web
from botocore.auth import SigV4Auth as BotoSigner
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.utils import InstanceMetadataFetcher
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
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = "hunter2"
BOTO_KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "hunter2"}
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
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
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
    (own,) = made._temporary
    try:
        with pytest.raises(ConnectionError, match="not asked for yet"):
            made.sign("POST", "https://x/", {}, b"")
        await own.shutdown()
        asked.clear()
        with pytest.raises(ValueError, match="answered 403: not you"):
            await own.refresh()
        assert await own.refresh() == 12 * 3600  # they last until 2033
        client = boto3.client("sts", region_name="eu-west-1", endpoint_url=listener.url, **BOTO_KEYS)
        expected = await asyncio.to_thread(client.assume_role, RoleArn=role["arn"], RoleSessionName="headrace")
    finally:
        await made.shutdown()
        await listeners.shutdown(0.1)
    (body, authorization), (theirs, _) = asked[-2:]
    assert sorted(parse_qsl(body.decode())) == sorted(parse_qsl(theirs.decode()))
    assert "Credential=AKIDEXAMPLE/" in authorization
    assert "/eu-west-1/sts/aws4_request" in authorization
    found = own._found
    assert found is not None
    credentials = {
        "AccessKeyId": found.credentials.access_key, "SecretAccessKey": found.credentials.secret,
        "SessionToken": found.credentials.session_token, "Expiration": datetime.fromtimestamp(found.until_s, UTC),
    }  # fmt: skip
    assert credentials == expected["Credentials"]
    assert credentials["SecretAccessKey"] == "a&b"
    signed = made.sign("POST", "https://x/", {}, b"")
    assert "Credential=ASIA/" in signed["Authorization"]
    assert signed["X-Amz-Security-Token"] == "t1"
    own._found = found._replace(until_s=1.0)
    with pytest.raises(ConnectionError, match="no credentials of role"):
        made.sign("POST", "https://x/", {}, b"")


@pytest.mark.parametrize("path", ["/workspaces/ws-1/api/v1/remote_write", "/a%20b/c%2Fd?x=1&b=%20%2Bc&a"])
@pytest.mark.parametrize("token", ["", "session/token+="])
async def test_botocore_signs_the_same(path: str, token: str) -> None:
    """Of the same request at the same time, with the same headers signed."""
    made = make({**KEYS, "session_token": token})
    await made.start(Host())
    url, body = f"https://aps-workspaces.us-east-1.amazonaws.com{path}", b"body"
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    added = made.sign("POST", url, headers, body)
    request = AWSRequest("POST", url, headers={**headers, "X-Amz-Date": added["X-Amz-Date"]}, data=body)
    if "X-Amz-Content-SHA256" in added:
        request.headers["X-Amz-Content-SHA256"] = added["X-Amz-Content-SHA256"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    request.context["timestamp"] = added["X-Amz-Date"]
    theirs = BotoSigner(BotoCredentials("AKIDEXAMPLE", SECRET, token or None), "aps", "us-east-1")
    canonical = theirs.canonical_request(request)
    signature = theirs.signature(theirs.string_to_sign(request, canonical), request)
    assert added["Authorization"].rpartition("Signature=")[2] == signature


UNTIL = "2033-05-18T03:33:20Z"
OWN = {"Code": "Success", "AccessKeyId": "ASIAM", "SecretAccessKey": "s", "Token": "t", "Expiration": UNTIL}
"""What a container or a machine answers."""


class Cloud:
    """Answers as the credential services of a machine, a container and STS do."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.listeners = Listeners(Counters(), lambda _id, _by: pytest.fail("nobody authenticates"))
        self.url = ""

    async def start(self) -> None:
        routes = [
            Route("/creds", ("GET",), self._own), Route("/latest/api/token", ("PUT",), self._token),
            Route("/latest/meta-data/iam/security-credentials/", ("GET",), self._role),
            Route("/latest/meta-data/iam/security-credentials/node", ("GET",), self._own),
            Route("/", ("POST",), self._sts),
        ]  # fmt: skip
        listener = self.listeners.add(ServerConfig(endpoint="127.0.0.1:0"), routes, "receivers.cloud")
        await self.listeners.start()
        self.url = listener.url

    def _note(self, request: Request) -> None:
        self.seen.append(
            (
                request.path,
                request.headers.get("Authorization", ""),
                request.headers.get("X-aws-ec2-metadata-token", ""),
            )
        )

    async def _own(self, request: Request) -> web.StreamResponse:
        self._note(request)
        return text(json.dumps(OWN))

    async def _token(self, request: Request) -> web.StreamResponse:
        assert request.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"
        return web.Response(text="imds-token")

    async def _role(self, request: Request) -> web.StreamResponse:
        self._note(request)
        return web.Response(text="node")

    async def _sts(self, request: Request) -> web.StreamResponse:
        self._note(request)
        body = dict(parse_qsl((await request.body()).decode()))
        assert body["Action"] == "AssumeRoleWithWebIdentity"
        return text(ANSWER.format(token=body["WebIdentityToken"], until=UNTIL))


@pytest.fixture
async def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Cloud]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    made = Cloud()
    await made.start()
    yield made
    await made.listeners.shutdown(0.1)


async def signed_by(config: dict[str, Any]) -> str:
    """Return the key that requests are signed with."""
    made = make(config)
    await made.start(Host())
    try:
        await made._temporary[0].refresh()
        return made.sign("POST", "https://x/", {}, b"")["Authorization"].partition("Credential=")[2].partition("/")[0]
    finally:
        await made.shutdown()


async def test_credentials_of_the_machine(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the second version of the metadata service, as botocore gets them."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{cloud.url}/")
    assert await signed_by({}) == "ASIAM"
    assert all(token == "imds-token" for _, _, token in cloud.seen)
    fetcher = InstanceMetadataFetcher(base_url=f"{cloud.url}/")
    theirs = await asyncio.to_thread(fetcher.retrieve_iam_role_credentials)
    assert (theirs["access_key"], theirs["token"]) == ("ASIAM", "t")
    paths = [path for path, _, _ in cloud.seen]
    assert set(paths[:2]) == set(paths[-2:])


async def test_credentials_of_the_container(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the token that the environment or a file holds; never in the clear to another machine."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{cloud.url}/creds")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "one")
    assert await signed_by({}) == "ASIAM"
    (tmp_path / "token").write_text("two\n")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    assert await signed_by({}) == "ASIAM"
    assert {authorization for _, authorization, _ in cloud.seen} == {"one", "two"}
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/creds")
    with pytest.raises(ConfigError, match="must be https, or http to this machine"):
        await make({}).start(Host())


async def test_credentials_of_a_pod(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """STS gives them for a token, with no signature."""
    (tmp_path / "token").write_text("jwt")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"{cloud.url}/")
    assert await signed_by({}) == "ASIA"
    assert {authorization for _, authorization, _ in cloud.seen} == {""}


async def test_a_machine_without_credentials(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the daemon does not start, and says where it has looked."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{cloud.url}/nothing")
    with pytest.raises(
        ConfigError, match=r"AWS_ACCESS_KEY_ID .* and the machine has none: .*/latest/api/token answered 404"
    ):
        await make({}).start(Host())
