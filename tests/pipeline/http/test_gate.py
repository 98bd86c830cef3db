"""A gate sees the whole request, decides about it, and learns what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.http.auth import Denied, Peer, Principal
from headrace.pipeline.http.config import ServerAuthConfig
from headrace.pipeline.http.request import text
from headrace.pipeline.http.routes import Route
from http_lab import CLOSE, body, status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from headrace.pipeline.http.request import Request
    from http_lab import Lab


class Doorman:
    """Lets those pass whose body is long enough for the action."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None, bytes]] = []
        self.answers: list[int] = []

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        raise AssertionError("a gate is asked instead")

    async def admit(self, request: Request, action: str | None) -> Principal:
        data = await request.body()
        self.seen.append((request.path, action, data))
        request.on_answer(self.answers.append)
        if len(data) < len(action or ""):
            raise Denied(403, "too short", b'{"message":"too short"}', {"x-amzn-ErrorType": "Short"}, "denied")
        return Principal("doorman's friend", "gate")


async def echo(request: Request) -> web.StreamResponse:
    return text(f"{request.principal.name} {len(await request.body())}")


async def test_gate(lab: Lab) -> None:
    doorman = Doorman()
    lab.authenticators["gate"] = doorman
    routes = (
        Route("/{id}/write", ("POST",), echo, action="aps:Write"),
        Route("/ready", ("GET",), echo, open_to_all=True, action="aps:Write"),
    )
    listener = await lab.serve(routes, auth=ServerAuthConfig(authenticator="gate"), max_request_body_size=20)

    async def post(path: bytes, data: bytes) -> bytes:
        head = b"POST " + path + b" HTTP/1.1\r\n" + CLOSE + b"Content-Length: %d\r\n\r\n" % len(data)
        return await lab.talk(listener, head + data)

    assert body(await post(b"/a%2Fb/write", b"0123456789")) == b"doorman's friend 10\n"
    refused = await post(b"/a/write", b"")
    assert status(refused) == 403
    assert b"x-amzn-ErrorType: Short\r\n" in refused
    assert body(refused) == b'{"message":"too short"}'
    assert status(await post(b"/nosuch", b"")) == 404
    assert status(await post(b"/ready", b"")) == 405
    assert status(await post(b"/a/write", b"x" * 21)) == 413
    assert doorman.seen == [
        ("/a%2Fb/write", "aps:Write", b"0123456789"),
        ("/a/write", "aps:Write", b""),
        ("/nosuch", None, b""),
    ]
    assert doorman.answers == [200, 403, 404]
    assert lab.refusals("denied") == 1
    assert lab.listeners.budget.held == 0
