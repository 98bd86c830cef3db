"""TLS and mTLS on a listener, with an authority made for the test."""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.tls import TlsServerConfig

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.pipeline.http.listener import Listener
    from http_lab import Lab

REQUEST = b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Authority:
    """An authority and the files of a server that it vouches for."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.cert = folder / "server.pem"
        self.key = folder / "server.key"
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.renew()

    def renew(self) -> None:
        """Write another certificate for the server."""
        issued = self.ca.issue_cert("localhost", "127.0.0.1")
        self.cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())

    def config(self, **more: object) -> TlsServerConfig:
        return TlsServerConfig(
            **{"cert_file": str(self.cert), "key_file": str(self.key), "reload_interval": timedelta(0), **more}
        )

    def client(self, name: str | None = None) -> ssl.SSLContext:
        """Return the context of a client, with a certificate for `name` where one is given."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if name is not None:
            self.ca.issue_cert(name, common_name=name).configure_cert(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def ask(listener: Listener, context: ssl.SSLContext) -> tuple[bytes, int]:
    """Return the answer to REQUEST and the serial number of the server's certificate."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=context)
    try:
        serial = int(writer.get_extra_info("peercert")["serialNumber"], 16)
        writer.write(REQUEST)
        return await reader.read(), serial
    finally:
        writer.close()


async def turned_away(listener: Listener, context: ssl.SSLContext) -> bool:
    """Return whether a client gets no answer: TLS 1.3 tells it of a bad certificate only when it reads."""
    try:
        return (await ask(listener, context))[0] == b""
    except (ssl.SSLError, ConnectionError):
        return True


async def test_https(lab: Lab, authority: Authority) -> None:
    """A listener with a certificate speaks TLS, and nothing else."""
    listener = await lab.serve(tls=authority.config())

    reply, _ = await ask(listener, authority.client())

    assert reply.endswith(b"anonymous:anonymous\n")
    assert listener.url.startswith("https://")
    assert await lab.talk(listener, REQUEST) == b""


async def test_min_version(lab: Lab, authority: Authority) -> None:
    """A client that speaks less than min_version fails in the handshake."""
    listener = await lab.serve(tls=authority.config(min_version="1.3"))
    old = authority.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    assert await turned_away(listener, old)
    assert (await ask(listener, authority.client()))[0].startswith(b"HTTP/1.1 200")


async def test_client_certificates_are_the_principal(lab: Lab, authority: Authority) -> None:
    """With client_ca_file, the common name of the client's certificate is who sends the request."""
    listener = await lab.serve(tls=authority.config(client_ca_file=str(authority.ca_file)))

    reply, _ = await ask(listener, authority.client("agent-7.example"))

    assert reply.endswith(b"mtls:agent-7.example\n")


async def test_strangers_fail_in_the_handshake(lab: Lab, authority: Authority, tmp_path: Path) -> None:
    """Clients without a certificate, or with one of another authority, get no answer."""
    listener = await lab.serve(tls=authority.config(client_ca_file=str(authority.ca_file)))
    (tmp_path / "other").mkdir()
    stranger = authority.client()
    Authority(tmp_path / "other").ca.issue_cert("agent").configure_cert(stranger)

    for context in (authority.client(), stranger):
        assert await turned_away(listener, context)


def test_mtls_counts_as_authentication(authority: Authority) -> None:
    """An exposed address may start where client certificates are asked for, not with plain TLS."""
    ServerConfig(endpoint="0.0.0.0:0", tls=authority.config(client_ca_file=str(authority.ca_file)))
    with pytest.raises(ValueError, match="nobody is asked for credentials"):
        ServerConfig(endpoint="0.0.0.0:0", tls=authority.config())


async def test_changed_files_are_taken_over(lab: Lab, authority: Authority) -> None:
    """A new certificate, and a new authority for clients, serve the next handshakes without a restart."""
    listener = await lab.serve(tls=authority.config(client_ca_file=str(authority.ca_file)))
    _, first = await ask(listener, authority.client("a"))

    authority.renew()
    newcomers = trustme.CA()
    authority.ca_file.write_bytes(newcomers.cert_pem.bytes())
    newcomer = authority.client()
    newcomers.issue_cert("b", common_name="b").configure_cert(newcomer)
    reply, second = await ask(listener, newcomer)

    assert first != second
    assert reply.endswith(b"mtls:b\n")
    assert await turned_away(listener, authority.client("a"))


async def test_broken_files_keep_the_old_certificate(
    lab: Lab, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that does not load is reported and changes nothing; once it loads it is taken over."""
    listener = await lab.serve(tls=authority.config())
    _, first = await ask(listener, authority.client())

    authority.cert.write_text("half a file")
    _, second = await ask(listener, authority.client())
    authority.renew()
    _, third = await ask(listener, authority.client())

    assert first == second != third
    assert "keeping the previous certificates" in caplog.text
    assert listener.tls is not None
    assert (listener.tls.failures, listener.tls.reloads) == (1, 1)


async def test_missing_files_are_named(lab: Lab, authority: Authority) -> None:
    """A certificate that is not there keeps the daemon from starting, with the path."""
    authority.key.unlink()

    with pytest.raises(ConfigError, match=r"tls: cannot read .*server\.key: no such file"):
        await lab.serve(tls=authority.config())
