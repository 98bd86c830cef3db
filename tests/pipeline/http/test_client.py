"""The HTTP client for exporters, against a listener of ours."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from aiohttp import web
from pydantic import ValidationError

from headrace.pipeline.config import Secret
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.client import ClientConfig, HttpClient, Reply
from headrace.pipeline.http.config import AuthConfig
from headrace.pipeline.http.request import Request, text
from headrace.pipeline.http.routes import Route
from headrace.pipeline.tls import TlsClientConfig, TlsServerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.pipeline.http.listener import Listener
    from http_lab import Lab


async def echo(request: Request) -> web.StreamResponse:
    sent = {name: value for name, value in request.headers.items() if name.startswith("X-")}
    return text(f"{request.path} {sorted(sent.items())} {(await request.body()).decode()}", 202)


async def redirect(_request: Request) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "/echo"})


async def endless(request: Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request.raw)
    while True:
        await response.write(b"x" * 65536)


async def hang(_request: Request) -> web.StreamResponse:
    await asyncio.sleep(3)
    return text("late")


ROUTES = tuple(Route(f"/{handler.__name__}", ("POST",), handler) for handler in (echo, redirect, endless, hang))


class Token:
    """Adds a header."""

    def client_headers(self) -> Mapping[str, str]:
        return {"X-Token": "t"}


async def post(listener: Listener, path: str, authenticator: Token | None = None, **config: Any) -> Reply:
    client = HttpClient(ClientConfig(endpoint=listener.url, **config), "exporters.test", authenticator)
    await client.start()
    try:
        return await client.post(b"body", {"X-Own": "o"}, path)
    finally:
        await client.shutdown()
        await client.shutdown()


async def test_a_post_arrives(lab: Lab) -> None:
    """Body, path, configured headers, own headers and credentials arrive, and the answer comes back."""
    listener = await lab.serve(ROUTES)

    reply = await post(listener, "/echo", Token(), headers={"X-Fixed": Secret("f")})

    assert reply.status == 202
    assert reply.text == "/echo [('X-Fixed', 'f'), ('X-Own', 'o'), ('X-Token', 't')] body"


async def test_redirects_are_answers(lab: Lab) -> None:
    """A redirect is not followed: credentials would go along."""
    listener = await lab.serve(ROUTES)

    assert (await post(listener, "/redirect")).status == 307


async def test_endless_answers_are_cut(lab: Lab) -> None:
    """Of an answer, 64 KiB are read."""
    listener = await lab.serve(ROUTES)

    assert len((await post(listener, "/endless")).body) == 65536


async def test_late_answers_and_closed_ports(lab: Lab) -> None:
    """No answer in time, and no server, are errors an exporter retries on."""
    listener = await lab.serve(ROUTES)

    with pytest.raises(TimeoutError):
        await post(listener, "/hang", timeout=timedelta(milliseconds=100))
    await lab.listeners.shutdown(0)
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:\d+: "):
        await post(listener, "/echo")


async def test_mutual_tls(lab: Lab, tmp_path: Path) -> None:
    """The client trusts the authority of ca_file and shows its certificate; without ca_file it trusts nobody here."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("localhost", "agent"):
        issued = ca.issue_cert(name, common_name=name)
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")

    def files(name: str) -> dict[str, str]:
        return {"cert_file": str(tmp_path / f"{name}.pem"), "key_file": str(tmp_path / f"{name}.key")}

    async def who(request: Request) -> web.StreamResponse:
        return text(request.principal.name)

    ca_file = str(tmp_path / "ca.pem")
    tls = TlsServerConfig(**files("localhost"), client_ca_file=ca_file)
    listener = await lab.serve((Route("/who", ("POST",), who),), tls=tls)
    trusting = TlsClientConfig(ca_file=ca_file, **files("agent"), server_name_override="localhost")

    assert (await post(listener, "/who", tls=trusting)).text == "agent"
    for other in (
        TlsClientConfig(**files("agent"), server_name_override="localhost"),
        TlsClientConfig(ca_file=ca_file, **files("agent")),
        TlsClientConfig(ca_file=ca_file, server_name_override="localhost"),
    ):
        with pytest.raises(ConnectionError):
            await post(listener, "/who", tls=other)
    blind = TlsClientConfig(**files("agent"), insecure_skip_verify=True)
    assert (await post(listener, "/who", tls=blind)).text == "agent"
    with pytest.raises(ConfigError, match=r"exporters\.test\.tls: cannot read .*nosuch"):
        await post(listener, "/who", tls=TlsClientConfig(ca_file=str(tmp_path / "nosuch")))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"endpoint": "example.org:80"}, "must be an http:// or https:// URL"),
        ({"endpoint": "ftp://example.org"}, "must be an http:// or https:// URL"),
        ({"endpoint": "http:///x"}, "must be an http:// or https:// URL"),
        (
            {"endpoint": "http://example.org/x", "auth": AuthConfig(authenticator="basic_auth")},
            "in the clear to example",
        ),
        ({"endpoint": "http://localhost", "tls": TlsClientConfig(ca_file="ca.pem")}, "tls has no effect"),
        ({"endpoint": "https://localhost", "timeout": "-1s"}, "must not be negative"),
    ],
)
def test_bad_settings_are_refused(config: dict[str, Any], why: str) -> None:
    """Settings that could not work, or would leak credentials, are refused."""
    with pytest.raises(ValidationError, match=why):
        ClientConfig(**config)


def test_credentials_may_stay_on_this_machine() -> None:
    """Over loopback, credentials may go without TLS."""
    for host in ("localhost:9", "127.0.0.1", "[::1]:9"):
        ClientConfig(endpoint=f"http://{host}/x", auth=AuthConfig(authenticator="basic_auth"))
