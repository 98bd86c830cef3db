"""Listeners through a reload: what is added again replaces what there was, and nothing changes where it fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.config import ServerAuthConfig, ServerConfig
from headrace.pipeline.http.request import text
from headrace.pipeline.http.routes import Route
from http_lab import CLOSE, body
from running import free_port

if TYPE_CHECKING:
    from aiohttp import web

    from headrace.pipeline.http.listener import Listener
    from headrace.pipeline.http.request import Request
    from http_lab import Lab


def route(path: str, words: str) -> Route:
    async def answer(_request: Request) -> web.StreamResponse:
        return text(words)

    return Route(path, ("GET",), answer)


def config(port: int, connections: int = 100) -> ServerConfig:
    return ServerConfig(endpoint=f"127.0.0.1:{port}", max_connections=connections)


async def ask(lab: Lab, listener: Listener, path: str) -> str:
    reply = await lab.talk(listener, b"GET " + path.encode() + b" HTTP/1.1\r\n" + CLOSE + b"\r\n")
    return body(reply).decode().strip()


async def test_nothing_changes_when_it_fails(lab: Lab) -> None:
    """Routes are those of before, and what was opened is closed."""
    first, second = free_port(), free_port()
    listener = lab.listeners.add(config(first), [route("/a", "old")], "receivers.a")
    await lab.listeners.start()
    lab.listeners.begin()
    lab.listeners.add(config(first), [route("/a", "new"), route("/more", "new")], "receivers.a")
    opened = lab.listeners.add(config(second), [route("/b", "new")], "receivers.b")
    await lab.listeners.start()
    assert await ask(lab, listener, "/a") == "new"
    assert await ask(lab, opened, "/b") == "new"
    await lab.listeners.abort()
    assert await ask(lab, listener, "/a") == "old"
    assert await ask(lab, listener, "/more") == "404 page not found"
    with pytest.raises(ConnectionRefusedError):
        await ask(lab, opened, "/b")


async def test_an_endpoint_moves(lab: Lab) -> None:
    """The old one answers until the end of the reload; who is gone leaves no route, and no open port."""
    first, second = free_port(), free_port()
    old = lab.listeners.add(config(first), [route("/a", "old")], "receivers.a")
    lab.listeners.add(config(first), [route("/gone", "old")], "receivers.b")
    await lab.listeners.start()
    lab.listeners.begin()
    new = lab.listeners.add(config(second), [route("/a", "new")], "receivers.a")
    await lab.listeners.start()
    assert (await ask(lab, old, "/a"), await ask(lab, new, "/a")) == ("old", "new")
    await lab.listeners.commit({"receivers.a"})
    assert (await ask(lab, old, "/a"), await ask(lab, old, "/gone")) == ("404 page not found", "old")
    lab.listeners.begin()
    await lab.listeners.commit({"receivers.b"})
    assert lab.listeners.open == [new]
    with pytest.raises(ConnectionRefusedError):
        await ask(lab, old, "/gone")


async def test_settings_of_an_open_endpoint_change(lab: Lab) -> None:
    """With the routes of everybody on it; what would not open is found before."""
    port = free_port()
    lab.listeners.add(config(port), [route("/a", "a")], "receivers.a")
    lab.listeners.add(ServerConfig(endpoint=f"127.0.0.1:{port}"), [route("/b", "b")], "receivers.b")
    await lab.listeners.start()
    lab.listeners.begin()
    lab.listeners.add(config(port, 7), [route("/a", "again")], "receivers.a")
    await lab.listeners.start()
    await lab.listeners.commit({"receivers.a"})
    (listener,) = lab.listeners.open
    assert listener.config.max_connections == 7
    assert (await ask(lab, listener, "/a"), await ask(lab, listener, "/b")) == ("again", "b")
    lab.listeners.begin()
    with pytest.raises(ConfigError, match=r"receivers\.a\.auth\.authenticator"):
        lab.listeners.add(
            ServerConfig(endpoint=f"127.0.0.1:{port}", auth=ServerAuthConfig(authenticator="nobody")),
            [route("/a", "closed")],
            "receivers.a",
        )
    await lab.listeners.abort()
    assert await ask(lab, listener, "/a") == "again"


async def test_nobody_is_shut_out_meanwhile(lab: Lab) -> None:
    """Connections that come while settings change are taken by the listener before or the one after."""
    port = free_port()
    lab.listeners.add(config(port), [route("/a", "a")], "receivers.a")
    await lab.listeners.start()
    (listener,) = lab.listeners.open
    asked: list[str] = []

    async def keep_asking() -> None:
        while len(asked) < 1000:
            asked.append(await ask(lab, listener, "/a"))

    asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
    for number in range(20):
        await asyncio.sleep(0.005)
        lab.listeners.begin()
        lab.listeners.add(config(port, 50 + number), [route("/a", "a")], "receivers.a")
        await lab.listeners.start()
        await lab.listeners.commit({"receivers.a"})
    asked += ["stop"] * 1000
    await asyncio.gather(*asking)
    assert len(asked) > 1050
    assert set(asked) == {"a", "stop"}
