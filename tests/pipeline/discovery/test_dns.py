"""Targets from DNS, against a server on loopback that speaks it over UDP and TCP."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from pydantic import ValidationError

from discovery_lab import DiscoveryLab
from headrace.pipeline.discovery.dns import DnsSdConfig
from headrace.pipeline.discovery.dns_lookup import DnsDiscovery, candidates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Zone = dict[tuple[str, str], list[str]]


class NameServer:
    """Answers from a table; other names do not exist.

    Attributes:
        zone: Records by name and type.
        status: Answered for these names instead.
        short: Answers over UDP are cut, so that the resolver has to come again over TCP.
        asked: Names and types that were asked for, with the protocol.
    """

    def __init__(self) -> None:
        self.zone: Zone = {}
        self.status: dict[str, dns.rcode.Rcode] = {}
        self.short = False
        self.asked: list[tuple[str, str, str]] = []
        self.port = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), ("127.0.0.1", self.port))

    async def close(self) -> None:
        self._udp.close()
        self._tcp.close()

    def resolver(self) -> dns.asyncresolver.Resolver:
        made = dns.asyncresolver.Resolver(configure=False)
        made.nameservers = ["127.0.0.1"]
        made.port = self.port
        made.search = [dns.name.from_text("lake.test")]
        made.timeout = made.lifetime = 5
        return made

    def answer(self, wire: bytes, protocol: str) -> bytes:
        query = dns.message.from_wire(wire)
        [question] = query.question
        name, kind = str(question.name), question.rdtype.name
        self.asked.append((name, kind, protocol))
        reply = dns.message.make_response(query)
        records = self.zone.get((name, kind))
        if name in self.status:
            reply.set_rcode(self.status[name])
        elif records is None and not any(known == name for known, _ in self.zone):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif self.short and protocol == "udp":
            reply.flags |= dns.flags.TC
        elif records:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
        return reply.to_wire()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2))
        reply = self.answer(await reader.readexactly(size), "tcp")
        writer.write(len(reply).to_bytes(2) + reply)
        await writer.drain()
        writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(self._server.answer(data, "udp"), addr)


@pytest.fixture
async def lab() -> DiscoveryLab:
    return DiscoveryLab()


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    made = NameServer()
    await made.start()
    yield made
    await made.close()


def discovery(lab: DiscoveryLab, server: NameServer, **options: Any) -> DnsDiscovery:
    config = DnsSdConfig.model_validate({"refresh_interval": "20ms", **options})
    return DnsDiscovery(lab.settings, config, server.resolver)


async def found(lab: DiscoveryLab, server: NameServer, **options: Any) -> list[dict[str, str]]:
    async with lab.running(discovery(lab, server, **options)):
        await lab.until(lambda: lab.published > 0, "published")
    return lab.targets()


async def test_srv(lab: DiscoveryLab, server: NameServer) -> None:
    """Target and port of the record, also as labels, there with the final dot."""
    server.zone["_http._tcp.lake.test.", "SRV"] = ["0 0 9100 a.lake.test.", "0 0 9101 b.lake.test."]
    assert await found(lab, server, names=["_http._tcp.lake.test"]) == [
        {
            "__address__": f"{host}.lake.test:{port}",
            "__meta_dns_name": "_http._tcp.lake.test",
            "__meta_dns_srv_record_target": f"{host}.lake.test.",
            "__meta_dns_srv_record_port": port,
        }
        for host, port in (("a", "9100"), ("b", "9101"))
    ]


@pytest.mark.parametrize(
    ("kind", "record", "address", "labels"),
    [
        ("A", "192.0.2.7", "192.0.2.7:80", {}),
        ("AAAA", "2001:db8::7", "[2001:db8::7]:80", {}),
        ("MX", "10 mail.test.", "mail.test:80", {"__meta_dns_mx_record_target": "mail.test."}),
        ("NS", "ns1.test.", "ns1.test:80", {"__meta_dns_ns_record_target": "ns1.test."}),
    ],
)
async def test_other_records(
    lab: DiscoveryLab, server: NameServer, kind: str, record: str, address: str, labels: dict[str, str]
) -> None:
    """With the port of the settings."""
    server.zone["a.test.", kind] = [record]
    expected = {"__address__": address, "__meta_dns_name": "a.test", **labels}
    assert await found(lab, server, names=["a.test"], type=kind.lower(), port=80) == [expected]


async def test_the_search_path_is_tried(lab: DiscoveryLab, server: NameServer) -> None:
    """A name without a dot is completed first; the label is the name as it was written."""
    server.zone["web.lake.test.", "A"] = ["192.0.2.1"]
    [target] = await found(lab, server, names=["web"], type="A", port=80)
    assert target["__meta_dns_name"] == "web"
    assert server.asked[0][0] == "web.lake.test."


async def test_a_name_that_is_no_more_has_no_targets(lab: DiscoveryLab, server: NameServer) -> None:
    """Neither one that does not exist, nor one without such records; that is no failure."""
    server.zone["a.test.", "A"] = ["192.0.2.1"]
    async with lab.running(discovery(lab, server, names=["a.test"], type="A", port=80)):
        await lab.until(lambda: len(lab.targets()) == 1, "found")
        server.zone["a.test.", "A"] = ["192.0.2.2", "192.0.2.3"]
        await lab.until(lambda: lab.addresses() == ["192.0.2.2:80", "192.0.2.3:80"], "others")
        server.zone["a.test.", "A"] = []
        await lab.until(lambda: not lab.targets(), "no records")
        server.zone["a.test.", "A"] = ["192.0.2.1"]
        await lab.until(lambda: len(lab.targets()) == 1, "back")
        server.zone.clear()
        await lab.until(lambda: not lab.targets(), "no such name")
    assert lab.failures() == 0


async def test_a_server_that_fails_changes_nothing(lab: DiscoveryLab, server: NameServer) -> None:
    """Each name is counted by itself, and keeps its targets; the others go on."""
    server.zone["a.test.", "A"] = server.zone["b.test.", "A"] = ["192.0.2.1"]
    async with lab.running(discovery(lab, server, names=["a.test", "b.test"], type="A", port=80)):
        await lab.until(lambda: len(lab.groups) == 2, "found")
        server.status["a.test."] = dns.rcode.SERVFAIL
        server.zone["b.test.", "A"] = ["192.0.2.2"]
        await lab.until(lambda: lab.failures("lookup") > 1, "counted")
        await lab.until(lambda: lab.addresses() == ["192.0.2.1:80", "192.0.2.2:80"], "b goes on")
        server.status.clear()
        server.zone["a.test.", "A"] = ["192.0.2.3"]
        await lab.until(lambda: lab.addresses() == ["192.0.2.2:80", "192.0.2.3:80"], "a works again")


async def test_a_failing_search_domain_is_passed_over(lab: DiscoveryLab, server: NameServer) -> None:
    """Where a later candidate has records; without one the failure counts, as the records may be there."""
    server.status["a.test.lake.test."] = dns.rcode.SERVFAIL
    server.zone["web.", "A"] = ["192.0.2.1"]
    server.status["web.lake.test."] = dns.rcode.REFUSED
    [target] = await found(lab, server, names=["web"], type="A", port=80)
    assert target["__address__"] == "192.0.2.1:80"
    async with lab.running(discovery(lab, server, names=["a.test"], type="A", port=80)):
        await lab.until(lambda: lab.failures("lookup") > 0, "counted")


async def test_long_answers_come_over_tcp(lab: DiscoveryLab, server: NameServer) -> None:
    """After one over UDP that says it was cut."""
    server.short = True
    server.zone["a.test.", "A"] = [f"192.0.2.{i}" for i in range(200)]
    assert len(await found(lab, server, names=["a.test"], type="A", port=80)) == 200
    assert [protocol for *_, protocol in server.asked][:2] == ["udp", "tcp"]


async def test_no_server_at_all(lab: DiscoveryLab) -> None:
    """A silent server is a failure after the resolver's time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        nobody = NameServer()
        nobody.port = silent.getsockname()[1]

        def resolver() -> dns.asyncresolver.Resolver:
            made = nobody.resolver()
            made.timeout = made.lifetime = 0.05
            return made

        config = DnsSdConfig.model_validate({"names": ["a.test."], "refresh_interval": "20ms"})
        async with lab.running(DnsDiscovery(lab.settings, config, resolver)):
            await lab.until(lambda: lab.failures("lookup") > 0, "counted")


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test"])
async def test_what_is_no_name(lab: DiscoveryLab, server: NameServer, name: str) -> None:
    """It is counted like a failed lookup, and ends nothing."""
    async with lab.running(discovery(lab, server, names=[name])):
        await lab.until(lambda: lab.failures("lookup") > 1, "counted")


@pytest.mark.parametrize(
    ("name", "ndots", "expected"),
    [
        ("a.", None, ["a."]),
        ("a", None, ["a.x.test.", "a.y.test.", "a."]),
        ("a.b", None, ["a.b.", "a.b.x.test.", "a.b.y.test."]),
        ("a.b", 2, ["a.b.x.test.", "a.b.y.test.", "a.b."]),
    ],
)
def test_the_order_of_candidates(name: str, ndots: int | None, expected: list[str]) -> None:
    """As resolv.conf(5) says."""
    search = [dns.name.from_text(domain) for domain in ("x.test", "y.test")]
    assert [str(one) for one in candidates(name, search, ndots)] == expected


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"names": []}, "at least 1 item"),
        ({"names": ["a"], "type": "A"}, "a port is required"),
        ({"names": ["a"], "type": "TXT"}, "'SRV', 'A', 'AAAA', 'MX' or 'NS'"),
        ({"names": ["a"], "port": 65536}, "less than or equal to 65535"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], why: str) -> None:
    """The option is named."""
    with pytest.raises(ValidationError, match=why):
        DnsSdConfig.model_validate(options)
