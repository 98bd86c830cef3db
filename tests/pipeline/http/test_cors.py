"""CORS: which pages of other origins may read answers, and what browsers are told."""

from __future__ import annotations

import asyncio
import http.client
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from headrace.pipeline.http.cors import Cors, CorsConfig
from headrace.pipeline.http.request import Request, add_cors
from headrace.pipeline.http.routes import Route
from http_lab import CLOSE, body, status
from running import Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.pipeline.http.listener import Listener
    from http_lab import Lab

REGEX = r"https?://(.*\.)?example\.com"
ASK = b"Access-Control-Request-Method: GET\r\n"


def headers_of(reply: bytes) -> dict[str, str]:
    lines = reply.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def request(method: bytes, path: bytes, origin: bytes, more: bytes = b"") -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\nOrigin: " + origin + b"\r\n" + more + CLOSE + b"\r\n"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com", True),
        ("https://example.com", False),
        ("https://a.example.com.evil.org", False),
        ("https://axexample.com", False),
        ("http://localhost:3000", True),
        ("http://localhost:30000", False),
        ("null", False),
        (None, False),
    ],
)
def test_origins_with_wildcards(origin: str | None, allowed: bool) -> None:
    """A star stands for any characters, a dot for itself, and the whole origin has to match."""
    cors = Cors(CorsConfig(allowed_origins=("https://*.example.com", "http://localhost:3000")))

    assert cors.allows(origin) is allowed


@pytest.mark.parametrize("settings", [{}, {"allowed_origin_regex": "("}, {"max_age": -1, "allowed_origins": ["*"]}])
def test_settings_that_make_no_sense(settings: dict[str, object]) -> None:
    """No origin at all, a pattern that does not compile, a negative age."""
    with pytest.raises(ValueError, match=r"allowed_origin|max_age"):
        CorsConfig.model_validate(settings)


async def test_an_allowed_page_reads_the_answer(lab: Lab) -> None:
    """The request is answered, and so are those that find nothing or come with another method, with the headers."""
    listener = await lab.serve(cors={"allowed_origin_regex": REGEX, "allowed_headers": ["X-Scope"]})

    for path, code in ((b"/who", 200), (b"/nosuch", 404), (b"/size", 405)):
        reply = await lab.talk(listener, request(b"GET", path, b"https://a.example.com"))
        found = headers_of(reply)
        assert status(reply) == code
        assert found["access-control-allow-origin"] == "https://a.example.com"
        assert found["access-control-allow-headers"] == "Accept, Authorization, Content-Type, Origin, X-Scope"
        assert found["vary"] == "Origin"


async def test_other_pages_are_turned_away_still(lab: Lab) -> None:
    """An origin that is not allowed gets 403 and no permission."""
    listener = await lab.serve(cors={"allowed_origin_regex": REGEX})

    reply = await lab.talk(listener, request(b"GET", b"/who", b"https://evil.org"))

    assert status(reply) == 403
    assert "access-control-allow-origin" not in headers_of(reply)
    assert lab.refusals("foreign_origin") == 1


async def test_browsers_ask_without_credentials(lab: Lab) -> None:
    """A preflight is answered before anybody is authenticated, with the age; the request itself is not."""

    class Never:
        async def authenticate(self, *_: object) -> object:
            raise AssertionError("asked for credentials")

    lab.authenticators["never"] = Never()  # type: ignore[assignment]  # it only has to raise
    cors = {"allowed_origins": ["https://a.example.com"], "max_age": 600}
    listener = await lab.serve(cors=cors, auth={"authenticator": "never"})

    asked = await lab.talk(listener, request(b"OPTIONS", b"/who", b"https://a.example.com", ASK))
    sent = await lab.talk(listener, request(b"GET", b"/who", b"https://a.example.com"))

    assert (status(asked), body(asked)) == (204, b"")
    assert headers_of(asked)["access-control-max-age"] == "600"
    assert status(sent) == 500


async def test_the_name_of_the_machine_is_checked_still(lab: Lab) -> None:
    """A page that has its own name resolve to this machine learns nothing."""
    listener = await lab.serve(cors={"allowed_origins": ["*"]})

    line = b"OPTIONS /who HTTP/1.1\r\nOrigin: http://evil.org\r\nHost: evil.org\r\nConnection: close\r\n"
    reply = await lab.talk(listener, line + ASK + b"\r\n")

    assert status(reply) == 403


async def test_answers_that_are_streamed(lab: Lab) -> None:
    """A handler that sends while it writes tells browsers as well, beside what it says of its own."""

    async def stream(request: Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Vary": "Accept-Encoding"})
        add_cors(response, request)
        await response.prepare(request.raw)
        await response.write(b"x")
        return response

    listener = await lab.serve((Route("/stream", ("GET",), stream),), cors={"allowed_origins": ["*"]})

    found = headers_of(await lab.talk(listener, request(b"GET", b"/stream", b"https://a.example.com")))

    assert found["access-control-allow-origin"] == "https://a.example.com"
    assert found["vary"] == "Origin, Accept-Encoding"


@pytest.fixture(scope="module")
def prometheus(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "prometheus.yml"
    config.write_text("")
    port = free_port()
    with Programs(folder) as programs:
        command: list[str | Path] = [
            peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", f"--web.cors.origin={REGEX}",
        ]  # fmt: skip
        programs.start("prometheus", command).wait_http(f"http://127.0.0.1:{port}/-/ready")
        yield port


def ask(port: int, path: str, method: str, origin: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    asked = {"Access-Control-Request-Method": "GET"} if method == "OPTIONS" else {}
    connection.request(method, path, headers={"Origin": origin, **asked})
    reply = connection.getresponse()
    reply.read()
    connection.close()
    found = {name.lower(): value for name, value in reply.getheaders()}
    return reply.status, {name: value for name, value in found.items() if name.startswith("access-") or name == "vary"}


@pytest.mark.peer
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("origin", ["https://example.com", "http://a.example.com"])
async def test_headers_are_prometheus_own(lab: Lab, prometheus: int, method: str, origin: str) -> None:
    """An allowed origin gets the same headers from both."""
    listener: Listener = await lab.serve(cors={"allowed_origin_regex": REGEX})

    ours = await asyncio.to_thread(ask, listener.port, "/who", method, origin)

    assert ours == ask(prometheus, "/api/v1/query?query=1", method, origin)
