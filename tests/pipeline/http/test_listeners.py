"""Listeners: sharing, routing, limits and what they turn away, seen from raw sockets."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from headrace.pipeline.errors import ConfigError, InvalidInput, Refused, Rejected, Unsupported
from headrace.pipeline.http.auth import Peer, Principal, Unauthenticated
from headrace.pipeline.http.config import ServerAuthConfig, ServerConfig
from headrace.pipeline.http.request import Request, text
from headrace.pipeline.http.routes import Route
from http_lab import CLOSE, body, status
from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from http_lab import Lab


class OneToken:
    """Lets a bearer of ``secret`` in."""

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        if headers.get("authorization") != "Bearer secret":
            raise Unauthenticated("bearer token missing or wrong", "Bearer")
        return Principal("token", "bearer_token_auth")


async def answer(_request: Request) -> web.StreamResponse:
    return text("ok")


def route(path: str) -> Route:
    return Route(path, ("GET",), answer)


async def test_a_request_is_answered(lab: Lab) -> None:
    """A route answers on the port that the system chose, for an anonymous principal."""
    listener = await lab.serve()

    reply = await lab.talk(listener, b"GET /who?x=1 HTTP/1.1\r\n" + CLOSE + b"\r\n")

    assert listener.port > 0
    assert listener.url == f"http://127.0.0.1:{listener.port}"
    assert status(reply) == 200
    assert body(reply) == b"anonymous:anonymous\n"
    assert lab.counters.value("headrace_http_answers", {"component": "receivers.test", "status": "200"}) == 1


async def test_components_share_an_endpoint(lab: Lab) -> None:
    """Two components that name one address, in two spellings, get one listener and one port."""
    first = lab.listeners.add(ServerConfig(endpoint="127.0.0.1:0"), [route("/a")], "receivers.a")
    second = lab.listeners.add(ServerConfig(endpoint="localhost:0"), [route("/b")], "receivers.b")
    await lab.listeners.start()

    assert first is second
    for path in (b"/a", b"/b"):
        assert status(await lab.talk(first, b"GET " + path + b" HTTP/1.1\r\n" + CLOSE + b"\r\n")) == 200


def test_a_shared_path_names_both_owners(lab: Lab) -> None:
    """A path that two components want is refused with both names, and the first keeps its routes."""
    config = ServerConfig(endpoint="127.0.0.1:0")
    listener = lab.listeners.add(config, [route("/a"), route("/w/{id}/x")], "receivers.a")

    with pytest.raises(ConfigError, match=r"receivers\.b\.endpoint: path /a is taken by receivers\.a"):
        lab.listeners.add(config, [route("/new"), route("/a")], "receivers.b")
    with pytest.raises(ConfigError, match=r"path /w/y/\{n\} is taken"):
        lab.listeners.add(config, [route("/w/y/{n}")], "receivers.b")

    assert {mounted.owner for mounted in listener.table.mounted} == {"receivers.a"}


def test_settings_of_a_shared_endpoint_are_merged(lab: Lab) -> None:
    """A setting that only one component makes holds for the listener; two different ones are refused by name."""
    lab.authenticators["bearer_token_auth"] = OneToken()
    plain = ServerConfig(endpoint="127.0.0.1:0")
    secured = ServerConfig(endpoint="127.0.0.1:0", auth=ServerAuthConfig(authenticator="bearer_token_auth"))
    slow = ServerConfig(endpoint="127.0.0.1:0", idle_timeout=timedelta(seconds=7))
    slower = ServerConfig(endpoint="127.0.0.1:0", idle_timeout=timedelta(seconds=8), max_request_body_size=9)

    listener = lab.listeners.add(plain, [route("/a")], "receivers.a")
    lab.listeners.add(secured, [route("/b")], "receivers.b")
    lab.listeners.add(slow, [route("/c")], "receivers.c")

    assert listener.config.authenticates
    assert listener.config.idle_timeout == timedelta(seconds=7)
    with pytest.raises(ConfigError, match=r"receivers\.d\.idle_timeout: differs from receivers\.a\.idle_timeout"):
        lab.listeners.add(slower, [route("/d")], "receivers.d")


async def test_authentication_covers_every_route_of_a_listener(lab: Lab) -> None:
    """Once one component asks for credentials, all paths of the address do, except those open to all."""
    lab.authenticators["bearer_token_auth"] = OneToken()
    lab.listeners.add(
        ServerConfig(endpoint="127.0.0.1:0"),
        [route("/a"), Route("/ready", ("GET",), answer, open_to_all=True)],
        "receivers.a",
    )
    listener = await lab.serve(auth=ServerAuthConfig(authenticator="bearer_token_auth"))

    async def get(path: bytes, extra: bytes = b"") -> bytes:
        return await lab.talk(listener, b"GET " + path + b" HTTP/1.1\r\n" + CLOSE + extra + b"\r\n")

    refused = await get(b"/a")
    assert status(refused) == 401
    assert b"WWW-Authenticate: Bearer\r\n" in refused
    assert status(await get(b"/nosuch")) == 401
    assert status(await get(b"/a", b"Authorization: Bearer Secret\r\n")) == 401
    assert status(await get(b"/a", b"Authorization: Bearer secret\r\n")) == 200
    assert body(await get(b"/who", b"AUTHORIZATION: Bearer secret\r\n")) == b"bearer_token_auth:token\n"
    assert status(await get(b"/ready")) == 200
    assert lab.refusals("unauthenticated") == 3


def test_an_unknown_authenticator_names_the_setting(lab: Lab) -> None:
    """The error says which setting names an extension that is not there."""
    config = ServerConfig(endpoint="127.0.0.1:0", auth=ServerAuthConfig(authenticator="basic_auth/nosuch"))

    with pytest.raises(ConfigError, match=r"receivers\.a\.auth\.authenticator: extension 'basic_auth/nosuch'"):
        lab.listeners.add(config, [route("/a")], "receivers.a")


@pytest.mark.parametrize("endpoint", ["0.0.0.0:9009", ":9009", "[::]:9009", "10.1.2.3:9009", "example.org:9009"])
def test_an_exposed_address_needs_authentication(endpoint: str) -> None:
    """An address that others can reach is refused, unless credentials are asked for or the user insists."""
    with pytest.raises(ValueError, match=r"can be reached from other machines and nobody is asked for credentials"):
        ServerConfig(endpoint=endpoint)

    ServerConfig(endpoint=endpoint, auth=ServerAuthConfig(authenticator="basic_auth"))
    ServerConfig(endpoint=endpoint, allow_unauthenticated=True)


@pytest.mark.parametrize(
    "endpoint", ["9009", "localhost", "localhost:", "::1:9009", "[x]:1", "a:65536", "a:-1", "a/b:1"]
)
def test_an_endpoint_is_host_and_port(endpoint: str) -> None:
    """Whatever is not host:port is refused with the text."""
    with pytest.raises(ValueError, match="endpoint"):
        ServerConfig(endpoint=endpoint)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("LOCALHOST:9009", 200),
        ("api.localhost:9009", 200),
        ("127.0.0.1:9009", 200),
        ("127.8.8.8", 200),
        ("[::1]:9009", 200),
        ("attacker.example", 403),
        ("attacker.example:9009", 403),
        ("127.0.0.1.attacker.example", 403),
        ("localhost.attacker.example", 403),
        ("10.0.0.1:9009", 403),
        ("", 403),
    ],
)
async def test_a_foreign_host_is_turned_away(lab: Lab, host: str, expected: int) -> None:
    """A loopback listener without authentication answers only to names of this machine, against DNS rebinding."""
    listener = await lab.serve()

    reply = await lab.talk(listener, f"GET /who HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())

    assert status(reply) == expected
    assert lab.refusals("foreign_host") == (expected == 403)
    if expected == 403:
        assert b"is not this machine" in body(reply)


async def test_any_host_is_answered_where_credentials_are_checked(lab: Lab) -> None:
    """With authentication the Host header does not matter: proxies send their own."""
    lab.authenticators["bearer_token_auth"] = OneToken()
    listener = await lab.serve(auth=ServerAuthConfig(authenticator="bearer_token_auth"))
    head = b"Host: metrics.example\r\nAuthorization: Bearer secret\r\nConnection: close\r\n\r\n"

    assert status(await lab.talk(listener, b"GET /who HTTP/1.1\r\n" + head)) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [("http://localhost", 200), ("http://attacker.example", 403), ("null", 403), ("http://localhost:1", 403)],
)
async def test_pages_of_other_origins_may_not_post(lab: Lab, origin: str, expected: int) -> None:
    """CORS is off, so a request that a foreign page makes is refused before its body is read."""
    listener = await lab.serve()
    head = f"Host: localhost\r\nOrigin: {origin}\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"

    reply = await lab.talk(listener, b"POST /size HTTP/1.1\r\n" + head.encode())

    assert status(reply) == expected
    assert b"Access-Control" not in reply


async def test_other_methods_and_paths(lab: Lab) -> None:
    """An unknown path is 404, a method that a path does not take 405 with Allow, and OPTIONS 204 without CORS."""
    listener = await lab.serve()

    missing = await lab.talk(listener, b"GET /nosuch HTTP/1.1\r\n" + CLOSE + b"\r\n")
    wrong = await lab.talk(listener, b"DELETE /who HTTP/1.1\r\n" + CLOSE + b"\r\n")
    asked = await lab.talk(listener, b"OPTIONS /who HTTP/1.1\r\n" + CLOSE + b"\r\n")

    assert (status(missing), body(missing)) == (404, b"404 page not found\n")
    assert (status(wrong), body(wrong)) == (405, b"Method Not Allowed\n")
    assert b"Allow: GET, OPTIONS\r\n" in wrong
    assert (status(asked), body(asked)) == (204, b"")
    assert b"Access-Control" not in asked


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InvalidInput("byte 3: bad tag"), 400, b"byte 3: bad tag\n"),
        (Unsupported("gzip is not taken here"), 415, b"gzip is not taken here\n"),
        (Rejected({"out_of_order": 1}, "up{}: out of order"), 400, b"up{}: out of order\n"),
        (Refused("queue full", 2.6), 503, b"queue full\n"),
        (ZeroDivisionError("secret detail"), 500, b"internal error\n"),
    ],
)
async def test_errors_of_handlers_become_answers(lab: Lab, error: Exception, code: int, words: bytes) -> None:
    """Deliberate errors are answered with their text, others with 500 and none of it."""

    async def fail(_request: Request) -> web.StreamResponse:
        raise error

    listener = await lab.serve((Route("/fail", ("GET",), fail),))

    reply = await lab.talk(listener, b"GET /fail HTTP/1.1\r\n" + CLOSE + b"\r\n")

    assert (status(reply), body(reply)) == (code, words)
    assert (b"Retry-After: 3\r\n" in reply) == isinstance(error, Refused)
    assert lab.counters.value("headrace_http_answers", {"status": str(code)}) == 1


async def test_a_long_body_is_refused_by_its_announcement(lab: Lab) -> None:
    """Content-Length beyond the limit is 413 before a byte of the body is sent, also to Expect: 100-continue."""
    listener = await lab.serve(max_request_body_size=100, read_timeout=timedelta(milliseconds=200))

    for extra in (b"", b"Expect: 100-continue\r\n"):
        head = b"POST /size HTTP/1.1\r\n" + CLOSE + extra + b"Content-Length: 101\r\n\r\n"
        reply = await lab.talk(listener, head)
        assert status(reply) == 413
        assert body(reply) == b"request body of 101 passes the limit of 100\n"
    assert lab.refusals("too_large") == 2
    assert lab.listeners.budget.held == 0


async def test_a_chunked_body_is_cut_at_the_limit(lab: Lab) -> None:
    """A body without an announced length is read up to the limit and no further."""
    listener = await lab.serve(max_request_body_size=1000, read_timeout=timedelta(milliseconds=200))
    head = b"POST /size HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"190\r\n" + b"x" * 400 + b"\r\n"

    fits = await lab.talk(listener, head + 2 * chunk + b"0\r\n\r\n")
    endless = await lab.talk(listener, head + 3 * chunk)

    assert body(fits) == b"800\n"
    assert status(endless) == 413
    assert lab.listeners.budget.held == 0


async def test_the_limit_belongs_to_the_component(lab: Lab) -> None:
    """Components on one listener each have the body limit of their own settings."""
    small = ServerConfig(endpoint="127.0.0.1:0", max_request_body_size=10)

    async def size(request: Request) -> web.StreamResponse:
        return text(str(len(await request.body())))

    lab.listeners.add(small, [Route("/small", ("POST",), size)], "receivers.small")
    listener = await lab.serve()
    request = b"HTTP/1.1\r\n" + CLOSE + b"Content-Length: 20\r\n\r\n" + b"x" * 20

    assert status(await lab.talk(listener, b"POST /small " + request)) == 413
    assert status(await lab.talk(listener, b"POST /size " + request)) == 200


async def test_memory_for_bodies_is_bounded(lab: Lab) -> None:
    """A body that would not fit beside those in memory is refused with 503 and counted as free afterwards."""
    lab.make(body_bytes=50)
    listener = await lab.serve()
    request = b"POST /size HTTP/1.1\r\n" + CLOSE + b"Content-Length: %d\r\n\r\n"

    assert status(await lab.talk(listener, request % 51 + b"x" * 51)) == 503
    assert status(await lab.talk(listener, request % 50 + b"x" * 50)) == 200
    assert lab.listeners.budget.held == 0


async def test_continue_is_sent_when_asked_for(lab: Lab) -> None:
    """A client that waits for 100 Continue gets it, then its answer."""
    listener = await lab.serve()
    async with lab.connect(listener) as (reader, writer):
        writer.write(b"POST /size HTTP/1.1\r\n" + CLOSE + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        reply = await reader.read()

    assert (status(reply), body(reply)) == (200, b"3\n")


async def test_heads_that_trickle_in_are_cut(lab: Lab) -> None:
    """A client that sends its request head byte by byte loses the connection at the deadline (slow loris)."""
    listener = await lab.serve(read_header_timeout=timedelta(milliseconds=200))
    started = asyncio.get_running_loop().time()

    async with lab.connect(listener) as (reader, writer):
        trickle = asyncio.create_task(_trickle(writer))
        reply = await asyncio.wait_for(reader.read(), 5)
        trickle.cancel()

    assert reply == b""
    assert asyncio.get_running_loop().time() - started < 2
    assert lab.refusals("header_timeout") == 1


async def _trickle(writer: asyncio.StreamWriter) -> None:
    for byte in b"GET /who HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 1000:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def test_the_second_head_has_a_deadline_too(lab: Lab) -> None:
    """A kept connection may be idle for long, but a head that has begun must arrive in time."""
    listener = await lab.serve(read_header_timeout=timedelta(milliseconds=200))

    async with lab.connect(listener) as (reader, writer):
        writer.write(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"anonymous\n")
        writer.write(b"GET /wh")
        assert await asyncio.wait_for(reader.read(), 5) == b""

    assert lab.refusals("header_timeout") == 1


async def test_idle_connections_are_closed(lab: Lab) -> None:
    """A kept connection without a request is closed after idle_timeout, and is no refusal."""
    listener = await lab.serve(idle_timeout=timedelta(milliseconds=200))

    async with lab.connect(listener) as (reader, writer):
        writer.write(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"anonymous\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""

    assert lab.refusals("header_timeout") == 0


async def test_bodies_that_trickle_in_are_cut(lab: Lab) -> None:
    """A body that does not arrive in time is answered 408 and its memory is free again."""
    listener = await lab.serve(read_timeout=timedelta(milliseconds=200))

    reply = await lab.talk(listener, b"POST /size HTTP/1.1\r\n" + CLOSE + b"Content-Length: 10\r\n\r\nabc")

    assert status(reply) == 408
    assert body(reply) == b"the request body did not arrive within 0.2 s\n"
    assert lab.refusals("body_timeout") == 1
    assert lab.listeners.budget.held == 0


async def test_clients_that_do_not_read_are_cut(lab: Lab) -> None:
    """A client that does not take its answer loses the connection at the deadline, and the answer its memory."""

    async def much(_request: Request) -> web.StreamResponse:
        return web.Response(body=b"x" * (64 << 20))

    listener = await lab.serve((Route("/much", ("GET",), much),), write_timeout=timedelta(milliseconds=200))

    async with lab.connect(listener) as (_reader, writer):
        # Nobody calls read, so asyncio stops taking from the socket after 128 KiB.
        writer.write(b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.to_thread(wait_until, lambda: lab.refusals("write_timeout") == 1, "the cut", 5)


async def test_connections_are_bounded(lab: Lab) -> None:
    """One connection more than allowed is answered 503; a place that becomes free is used again."""
    listener = await lab.serve(max_connections=1)

    async with lab.connect(listener) as (reader, writer):
        writer.write(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"anonymous\n")
        surplus = await lab.talk(listener, b"")
    async with asyncio.timeout(5):
        while True:
            after = await lab.talk(listener, b"GET /who HTTP/1.1\r\n" + CLOSE + b"\r\n")
            if status(after) == 200:
                break

    assert status(surplus) == 503
    assert b"too many connections" in surplus
    assert lab.refusals("connections") >= 1


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"Content-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + CLOSE + b"X: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n" + CLOSE + b"\r\n", 431),
    ],
    ids=["tls", "two-hosts", "smuggling", "negative", "long-header", "long-line"],
)
async def test_what_is_not_http_is_answered_and_counted(
    lab: Lab, caplog: pytest.LogCaptureFixture, garbage: bytes, code: int
) -> None:
    """Malformed requests get a short 4xx without an echo, are counted, and leave no traceback in the log."""
    listener = await lab.serve()

    reply = await lab.talk(listener, garbage)

    assert status(reply) == code
    assert b"xxxx" not in reply
    assert lab.refusals("malformed") == 1
    assert "Traceback" not in caplog.text


async def test_the_client_going_away_is_told(lab: Lab) -> None:
    """A handler that asked for it is called when its client disconnects."""
    told = asyncio.Event()
    began = asyncio.Event()

    async def wait(request: Request) -> web.StreamResponse:
        request.on_disconnect(told.set)
        began.set()
        await told.wait()
        return text("late")

    listener = await lab.serve((Route("/wait", ("GET",), wait),))
    async with lab.connect(listener) as (_reader, writer):
        writer.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(began.wait(), 5)

    await asyncio.wait_for(told.wait(), 5)


async def test_shutdown_lets_requests_finish(lab: Lab) -> None:
    """A request under way is answered; new connections are refused meanwhile; a second shutdown is harmless."""
    began = asyncio.Event()
    go_on = asyncio.Event()

    async def wait(_request: Request) -> web.StreamResponse:
        began.set()
        await go_on.wait()
        return text("finished")

    listener = await lab.serve((Route("/wait", ("GET",), wait),))
    reply = asyncio.create_task(lab.talk(listener, b"GET /wait HTTP/1.1\r\n" + CLOSE + b"\r\n"))
    await asyncio.wait_for(began.wait(), 5)
    stopping = asyncio.create_task(lab.listeners.shutdown(5))
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="Connect call failed"):
        await lab.talk(listener, b"GET /wait HTTP/1.1\r\n" + CLOSE + b"\r\n")
    go_on.set()

    assert body(await reply) == b"finished\n"
    await stopping
    await lab.listeners.shutdown(5)


async def test_shutdown_does_not_wait_for_ever(lab: Lab) -> None:
    """A request that does not end is cut after the grace period."""
    began = asyncio.Event()

    async def hang(_request: Request) -> web.StreamResponse:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError("bug: unreachable")

    listener = await lab.serve((Route("/hang", ("GET",), hang),))
    reply = asyncio.create_task(lab.talk(listener, b"GET /hang HTTP/1.1\r\n" + CLOSE + b"\r\n"))
    await asyncio.wait_for(began.wait(), 5)

    await asyncio.wait_for(lab.listeners.shutdown(0.1), 5)

    assert await reply == b""


async def test_an_address_in_use_names_the_setting(lab: Lab) -> None:
    """The error names the component and the address."""
    listener = await lab.serve()
    taken = ServerConfig(endpoint=f"127.0.0.1:{listener.port}")
    lab.listeners.add(taken, [route("/a")], "receivers.other")

    with pytest.raises(ConfigError, match=r"receivers\.other\.endpoint: cannot listen on 127\.0\.0\.1:\d+: .*in use"):
        await lab.listeners.start()


async def test_routes_can_be_added_and_removed_while_open(lab: Lab) -> None:
    """After a reload, a component's routes come and go without the port being closed."""
    listener = await lab.serve()
    request = b"GET /late HTTP/1.1\r\n" + CLOSE + b"\r\n"

    lab.listeners.add(ServerConfig(endpoint="127.0.0.1:0"), [route("/late")], "receivers.late")
    assert status(await lab.talk(listener, request)) == 200
    lab.listeners.remove("receivers.late")
    assert status(await lab.talk(listener, request)) == 404
