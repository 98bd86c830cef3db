"""The client with Prometheus' options, against servers on loopback."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
from aiohttp import web

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.prometheus_http import HttpConfig, PrometheusClient
from headrace.testing.clock import ManualClock
from web_lab import WebLab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def server() -> AsyncIterator[WebLab]:
    lab = await WebLab().start()
    yield lab
    await lab.close()


@pytest.fixture
async def other() -> AsyncIterator[WebLab]:
    lab = await WebLab().start()
    yield lab
    await lab.close()


@asynccontextmanager
async def client(clock: ManualClock | None = None, **options: Any) -> AsyncIterator[PrometheusClient]:
    warnings: list[str] = []
    made = PrometheusClient(
        HttpConfig.model_validate(options), "test", user_agent="Headrace/0",
        monotonic_s=(clock or ManualClock()).monotonic_s, warn=warnings.append,
    )  # fmt: skip
    made.start()
    try:
        yield made
    finally:
        await made.close()
        await made.close()


async def ask(made: PrometheusClient, url: str, **headers: str) -> tuple[int, str]:
    async with asyncio.timeout(20), made.get(url, headers) as answer:
        return answer.status, await answer.text()


async def test_headers_of_all_kinds_are_sent(server: WebLab, tmp_path: Path) -> None:
    """Values, secrets and files of ``http_headers`` in their order, beside those of the caller."""
    (tmp_path / "v").write_text("three\n")
    headers = {"X-A": {"values": ["one"], "secrets": ["two"], "files": [str(tmp_path / "v")]}, "X-B": {"values": [1]}}
    async with client(http_headers=headers) as made:
        assert await ask(made, server.url, Accept="x/y") == (200, "hello")
    sent = server.requests[0].headers
    assert (sent["X-A"], sent["X-B"], sent["Accept"], sent["User-Agent"]) == (
        "one, two, three",
        "1",
        "x/y",
        "Headrace/0",
    )


async def test_secrets_stay_with_the_first_host(server: WebLab, other: WebLab) -> None:
    """A redirect to another origin gets neither credentials nor ``http_headers``; one to the same origin does."""

    async def lead(request: web.Request) -> web.Response:
        raise web.HTTPFound("/here" if request.path == "/" else f"{other.url}/there")

    server.answer = lead
    async with client(authorization={"credentials": "s"}, http_headers={"X-A": {"values": ["a"]}}) as made:
        assert await ask(made, server.url) == (200, "hello")
    assert [one.headers.get("Authorization") for one in server.requests] == ["Bearer s", "Bearer s"]
    assert other.requests[0].path == "/there"
    assert not {"Authorization", "X-A"} & set(other.requests[0].headers)


async def test_redirects_may_be_off_and_end(server: WebLab) -> None:
    """Without ``follow_redirects`` the redirect is the answer; a circle is left after ten."""

    async def lead(_request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/again"})

    server.answer = lead
    async with client(follow_redirects=False) as made:
        assert (await ask(made, server.url))[0] == 307
    async with client() as made:
        with pytest.raises(aiohttp.ClientError, match="stopped after 10 redirects"):
            await ask(made, server.url)
    assert len(server.requests) == 1 + 11


async def test_a_redirect_out_of_http_is_refused(server: WebLab) -> None:
    """No file of this machine is read because a server says so."""

    async def lead(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "file:///etc/passwd"})

    server.answer = lead
    async with client() as made:
        with pytest.raises(aiohttp.ClientError):
            await ask(made, server.url)


async def test_requests_go_through_the_proxy(server: WebLab) -> None:
    """An http request is sent to it whole, with name and password of the URL; exceptions are not."""
    proxy = server.url.replace("://", "://me:p%40ss@")
    async with client(proxy_url=proxy) as made:
        await ask(made, "http://nowhere.invalid/a?b=1")
    request = server.requests[0]
    assert str(request.url) == "http://nowhere.invalid/a?b=1"
    assert request.headers["Proxy-Authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
    async with client(proxy_url="http://127.0.0.1:9", no_proxy="nowhere.invalid") as made:
        await ask(made, server.url)
    assert len(server.requests) == 2


async def test_a_tunnel_through_the_proxy_carries_its_headers() -> None:
    """CONNECT names the server and has the headers of ``proxy_connect_header``; TLS is between the ends."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("lake.test").configure_cert(context)
    secure = await WebLab().start(tls=context)
    heads: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", int(secure.url.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()

    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    options: dict[str, Any] = {
        "proxy_url": f"http://127.0.0.1:{port}", "proxy_connect_header": {"X-Way": ["a", "b"]},
        "tls_config": {"ca": authority.cert_pem.bytes().decode(), "server_name": "lake.test"},
    }  # fmt: skip
    try:
        async with client(**options) as made:
            assert await ask(made, "https://nowhere.invalid/x") == (200, "hello")
    finally:
        proxy.close()
        await secure.close()
    assert heads[0].startswith(b"CONNECT nowhere.invalid:443 ")
    assert b"X-Way: a, b\r\n" in heads[0]
    assert "X-Way" not in secure.requests[0].headers


async def test_a_certificate_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    """New connections use the new authority; a file that does not load leaves the old one in use."""
    first, second = trustme.CA(), trustme.CA()
    path = tmp_path / "ca.pem"
    first.cert_pem.write_to_path(path)
    clock = ManualClock()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    second.issue_cert("127.0.0.1").configure_cert(context)
    secure = await WebLab().start(tls=context)
    try:
        async with client(clock, tls_config={"ca_file": str(path)}) as made:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask(made, secure.url)
            path.write_text("no certificate")
            clock.advance(2)
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask(made, secure.url)
            second.cert_pem.write_to_path(path)
            clock.advance(2)
            assert await ask(made, secure.url) == (200, "hello")
    finally:
        await secure.close()


async def test_a_client_certificate_may_stand_in_the_settings() -> None:
    """``cert`` and ``key`` are PEM texts; the server sees the certificate."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    secure = await WebLab().start(tls=context)
    mine = authority.issue_cert("me.test")
    tls = {
        "ca": authority.cert_pem.bytes().decode(), "cert": mine.cert_chain_pems[0].bytes().decode(),
        "key": mine.private_key_pem.bytes().decode(),
    }  # fmt: skip
    try:
        async with client(tls_config=tls) as made:
            assert await ask(made, secure.url) == (200, "hello")
        assert "PRIVATE KEY" not in str(HttpConfig.model_validate({"tls_config": tls}))
        async with client(tls_config={"ca": tls["ca"]}) as made:
            with pytest.raises(aiohttp.ClientError):
                await ask(made, secure.url)
    finally:
        await secure.close()


def token_server(lab: WebLab, *, in_body: bool = False, lasts_s: int | None = 3600) -> None:
    given = iter(f"token{n}" for n in range(9))

    async def give(request: web.Request) -> web.Response:
        if in_body and "Authorization" in request.headers:
            return web.json_response({"error": "invalid_client", "error_description": "use the body"}, status=401)
        answer: dict[str, Any] = {"access_token": next(given), "token_type": "bearer"}
        return web.json_response(answer | ({"expires_in": lasts_s} if lasts_s is not None else {}))

    lab.answer = give


def oauth2(lab: WebLab, **more: Any) -> dict[str, Any]:
    own = {"client_id": "me", "client_secret": "s:1", "token_url": f"{lab.url}/token"}
    return {"oauth2": {**own, **more}}


async def test_a_token_is_asked_for_once_and_again_when_it_ends(server: WebLab, other: WebLab) -> None:
    """Requests at the same time share it; ten seconds before its end there is a new one."""
    token_server(other)
    clock = ManualClock()
    async with client(clock, **oauth2(other, scopes=["a", "b"], endpoint_params={"audience": "x"})) as made:
        await asyncio.gather(*(ask(made, server.url) for _ in range(5)))
        clock.advance(3591)
        await ask(made, server.url)
    assert [one.headers["Authorization"] for one in server.requests] == ["Bearer token0"] * 5 + ["Bearer token1"]
    assert other.requests[0].headers["Authorization"] == "Basic " + base64.b64encode(b"me:s%3A1").decode()
    assert other.bodies[0] == "grant_type=client_credentials&audience=x&scope=a+b"


async def test_a_server_that_wants_the_secret_in_the_body_gets_it(server: WebLab, other: WebLab) -> None:
    """Found out once; the next token is asked for that way at once."""
    token_server(other, in_body=True, lasts_s=5)
    async with client(**oauth2(other)) as made:
        await ask(made, server.url)
        await ask(made, server.url)
    assert len(other.requests) == 3
    assert "client_secret=s%3A1" in other.bodies[1]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 400, "text": '{"error": "invalid_scope"}'}, "answered 400: invalid_scope"),
        ({"status": 503, "text": "busy"}, "answered 503: busy"),
        ({"text": "{}"}, "answered none"),
        ({"text": "[]"}, "answered none"),
        ({"text": '{"access_token": "a\\nb"}'}, "fits no header"),
    ],
)
async def test_without_a_token_nothing_is_asked(
    server: WebLab, other: WebLab, answer: dict[str, Any], why: str
) -> None:
    """The fault of the authorization server is the fault of the request."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(**answer)

    other.answer = refuse
    async with client(**oauth2(other)) as made:
        with pytest.raises(aiohttp.ClientError, match=why):
            await ask(made, server.url)
    assert not server.requests


async def test_a_changed_secret_makes_a_new_token(server: WebLab, other: WebLab, tmp_path: Path) -> None:
    """The file of the secret is looked at again."""
    token_server(other, lasts_s=None)
    path = tmp_path / "secret"
    path.write_text("one")
    clock = ManualClock()
    options = {"client_id": "me", "client_secret_file": str(path), "token_url": other.url}
    async with client(clock, oauth2=options) as made:
        await ask(made, server.url)
        path.write_text("three")
        clock.advance(2)
        await ask(made, server.url)
    assert [one.headers["Authorization"] for one in server.requests] == ["Bearer token0", "Bearer token1"]


async def test_a_credential_with_a_line_feed_is_not_sent(server: WebLab, tmp_path: Path) -> None:
    """It would make headers of its own."""
    (tmp_path / "v").write_text("a\r\nX-Evil: 1")
    async with client(authorization={"credentials_file": str(tmp_path / "v")}) as made:
        with pytest.raises(ConfigError, match="line feed"):
            await ask(made, server.url)
    assert not server.requests
