"""Settings of listeners that have no page of their own: each does what its documentation says."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from pydantic import ValidationError

from headrace.pipeline.http.auth import Peer, Principal, Unauthenticated
from headrace.pipeline.http.config import ServerAuthConfig, ServerConfig
from headrace.pipeline.http.endpoint import Endpoint
from headrace.pipeline.tls import TlsClientConfig, TlsServerConfig
from headrace.pipeline.tls.contexts import client_context, server_context
from http_lab import CLOSE, ROUTES, body, status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.pipeline.http.listener import Listener
    from http_lab import Lab

WHO = b"GET /who HTTP/1.1\r\n" + CLOSE + b"\r\n"


async def ask_socket(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_headers_are_added_to_answers(lab: Lab) -> None:
    """To all of them, those of the listener itself too."""
    listener = await lab.serve(response_headers={"X-Served-By": "one"})
    for path in (b"/who", b"/nosuch"):
        reply = await lab.talk(listener, b"GET " + path + b" HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert b"\r\nX-Served-By: one\r\n" in reply


@pytest.mark.parametrize("enabled", [True, False])
async def test_connections_are_used_again(lab: Lab, enabled: bool) -> None:
    """Unless the settings say that they are not: then the server closes, and says so."""
    listener = await lab.serve(keep_alives_enabled=enabled)
    async with lab.connect(listener) as (reader, writer):
        writer.write(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(b"anonymous:anonymous\n"))
        assert (b"Connection: close" in head) is not enabled
        if enabled:
            writer.write(WHO)
            assert status(await reader.read()) == 200
        else:
            assert await reader.read() == b""


class Secret:
    """An extension that asks for a header, or what stands for one."""

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        del peer
        if headers.get("x-key") != "k":
            raise Unauthenticated("no")
        return Principal("one", "secret")


@pytest.mark.parametrize(
    ("params", "query", "code"),
    [(("X-Key",), b"?X-Key=k", 200), (("X-Key",), b"?X-Key=j", 401), (("X-Key",), b"", 401), ((), b"?X-Key=k", 401)],
)
async def test_credentials_in_the_query(lab: Lab, params: tuple[str, ...], query: bytes, code: int) -> None:
    """Parameters that the settings name are shown to the extension as if they were headers."""
    lab.authenticators["secret"] = Secret()
    listener = await lab.serve(auth=ServerAuthConfig(authenticator="secret", request_params=params))
    assert status(await lab.talk(listener, b"GET /who" + query + b" HTTP/1.1\r\n" + CLOSE + b"\r\n")) == code


async def test_a_socket_of_this_machine(lab: Lab, tmp_path: Path) -> None:
    """It is a file; any Host is fine, since no page can reach it; it is gone when the listener is."""
    path = tmp_path / "headrace.sock"
    path.touch()
    path.unlink()
    listener = await lab.serve(endpoint=str(path), transport="unix")
    assert listener.url == f"unix:{path}"
    reply = await ask_socket(path, b"GET /who HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n")
    assert (status(reply), body(reply)) == (200, b"anonymous:anonymous\n")
    await lab.listeners.shutdown(1)
    assert not path.exists()


async def test_a_socket_that_was_left_behind(lab: Lab, tmp_path: Path) -> None:
    """The file of a process that is gone is no obstacle; that of another listener is left alone."""
    path = tmp_path / "headrace.sock"
    first = await asyncio.start_unix_server(lambda _reader, _writer: None, path)
    first.close()
    await lab.serve(endpoint=str(path), transport="unix")
    path.rename(tmp_path / "moved")
    other = await asyncio.start_unix_server(lambda _reader, _writer: None, path)
    await lab.listeners.shutdown(1)
    assert path.exists()
    other.close()


async def test_tls_over_a_socket(lab: Lab, tmp_path: Path) -> None:
    """The same settings as over TCP."""
    authority = trustme.CA()
    certificate = authority.issue_cert("collector.test")
    tls = TlsServerConfig.model_validate(
        {
            "cert_pem": certificate.cert_chain_pems[0].bytes().decode(),
            "key_pem": certificate.private_key_pem.bytes().decode(),
        }
    )
    path = tmp_path / "s"
    await lab.serve(endpoint=str(path), transport="unix", tls=tls)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    reader, writer = await asyncio.open_unix_connection(path, ssl=context, server_hostname="collector.test")
    writer.write(WHO)
    assert status(await asyncio.wait_for(reader.read(), 10)) == 200
    writer.close()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"transport": "udp", "endpoint": "127.0.0.1:1"}, "'tcp', 'tcp4', 'tcp6' or 'unix'"),
        ({"transport": "unix", "endpoint": ""}, "must be a path"),
        ({"transport": "unix", "endpoint": "/" + "x" * 107}, "up to 107 bytes"),
        ({"transport": "tcp4", "endpoint": "/run/x.sock"}, "must be host:port"),
        ({"transport": "tcp4", "endpoint": ":4318"}, "can be reached from other machines"),
    ],
)
def test_addresses_that_do_not_fit(settings: dict[str, Any], why: str) -> None:
    """What an endpoint may be depends on the transport."""
    with pytest.raises(ValidationError, match=why) as caught:
        ServerConfig.model_validate(settings)
    assert caught.value.error_count() == 1


def test_addresses() -> None:
    """A path is an address of this machine alone."""
    found = Endpoint.at("/run/x.sock", "unix")
    assert (str(found), found.is_loopback) == ("unix:/run/x.sock", True)
    assert Endpoint.at("localhost:1", "tcp") == Endpoint("127.0.0.1", 1)


@pytest.mark.parametrize(("transport", "families"), [("tcp4", {"127.0.0.1"}), ("tcp6", {"::1"})])
async def test_one_family_alone(lab: Lab, transport: str, families: set[str]) -> None:
    """An address for all interfaces is opened for one of the families."""
    listener = await lab.serve(endpoint=":0", transport=transport, allow_unauthenticated=True)
    assert await reached(listener) == families


async def reached(listener: Listener) -> set[str]:
    found = set()
    for host in ("127.0.0.1", "::1"):
        try:
            _, writer = await asyncio.open_connection(host, listener.port)
        except OSError:
            continue
        writer.close()
        found.add(host)
    return found


def test_components_share_a_socket(lab: Lab, tmp_path: Path) -> None:
    """Those that name one path, as those that name one port."""
    config = ServerConfig(endpoint=str(tmp_path / "s"), transport="unix")
    first = lab.listeners.add(config, ROUTES[:1], "receivers.a")
    assert lab.listeners.add(config, ROUTES[1:], "receivers.b") is first


SHAKE = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"


@pytest.mark.parametrize(
    ("server", "version", "cipher"),
    [
        ({}, "TLSv1.3", ""),
        ({"max_version": "1.2"}, "TLSv1.2", ""),
        ({"max_version": 1.2, "cipher_suites": [SHAKE]}, "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ({"cipher_suites": [SHAKE, "TLS_AES_128_GCM_SHA256"]}, "TLSv1.3", ""),
        ({"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}, "TLSv1.3", ""),
        ({"curve_preferences": ["P384"]}, "TLSv1.3", ""),
    ],
)
def test_versions_and_suites(server: dict[str, Any], version: str, cipher: str) -> None:
    """The handshake ends with what the settings of the server allow."""
    found = handshake(server, {})
    assert found is not None
    assert found[0] == version
    assert cipher in {"", found[1]}


@pytest.mark.parametrize(
    ("server", "client"),
    [
        ({"max_version": "1.2"}, {"min_version": "1.3"}),
        ({"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}, {"max_version": "1.2"}),
        ({"curve_preferences": ["P384"]}, {"curve_preferences": ["P521"]}),
        (
            {"max_version": "1.2", "cipher_suites": [SHAKE]},
            {"cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]},
        ),
    ],
)
def test_nothing_in_common(server: dict[str, Any], client: dict[str, Any]) -> None:
    """Then there is no connection; the settings of clients are the same ones."""
    assert handshake(server, client) is None


def handshake(server: dict[str, Any], client: dict[str, Any]) -> tuple[str | None, str] | None:
    """Return version and suite that two sides agree on in memory; None where they do not."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    certificate = authority.issue_cert("collector.test", key_type=trustme.KeyType.ECDSA)
    pems = {
        "cert_pem": certificate.cert_chain_pems[0].bytes().decode(),
        "key_pem": certificate.private_key_pem.bytes().decode(),
    }
    trusted = {"ca_pem": authority.cert_pem.bytes().decode()}
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server_context(TlsServerConfig.model_validate({**pems, **server})).wrap_bio(up, down, server_side=True)
    ours = client_context(TlsClientConfig.model_validate({**trusted, **client})).wrap_bio(
        down, up, server_hostname="collector.test"
    )
    done: set[ssl.SSLObject] = set()
    try:
        for _ in range(10):
            for side in (ours, theirs):
                try:
                    side.do_handshake()
                    done.add(side)
                except ssl.SSLWantReadError:
                    pass
            if len(done) == 2:
                break
    except ssl.SSLError:
        return None
    cipher = ours.cipher()
    return ours.version(), cipher[0] if cipher else ""


def test_suites_that_leave_nothing() -> None:
    """Only those of TLS 1.3, and no TLS 1.3."""
    with pytest.raises(ValueError, match=r"names none of TLS 1\.2"):
        handshake({"cipher_suites": ["TLS_AES_128_GCM_SHA256"], "max_version": "1.2"}, {})
