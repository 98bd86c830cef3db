"""What goes through the proxy arrives signed, whole and unchanged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner
from yarl import URL

from headrace.cli.main import main
from headrace.cli.sigv4_proxy import ProxyOptions, SigningProxy, parse_port
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.endpoint import Endpoint
from headrace.pipeline.sigv4.canonical import Head
from headrace.pipeline.sigv4.claim import check_claim, read_claim
from headrace.pipeline.sigv4.errors import SignatureRefused
from headrace.pipeline.sigv4.sign import Credentials
from headrace.pipeline.sigv4.verify import Verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a secret of forty characters, more or les"


class Upstream:
    """Verifies what comes and answers what was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer_status = 200

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        path, _, query = request.raw_path.partition("?")
        head = Head(request.method, path, query, request.headers)
        try:
            claim = read_claim(head)
            check_claim(claim, "us-east-1", "aps", datetime.now(UTC), timedelta(minutes=5))
            Verifier().verify(head, claim, SECRET, body)
        except SignatureRefused as error:
            return web.Response(status=403, text=error.message)
        self.seen.append((request.method, request.raw_path, dict(request.headers), body))
        return web.Response(status=self.answer_status, body=b"x" * 200_000, headers={"Retry-After": "7"})


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, str]]:
    made = Upstream()
    runner = web.ServerRunner(web.Server(made.answer, auto_decompress=False))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def proxy(upstream: tuple[Upstream, str]) -> AsyncIterator[SigningProxy]:
    options = ProxyOptions(
        Endpoint("127.0.0.1", 0), upstream[1], "http", "us-east-1", strip=frozenset({"x-scope-orgid"}),
        log_failed_requests=True,
    )  # fmt: skip
    made = SigningProxy(options, lambda: Credentials("AKIDEXAMPLE", SECRET, "session"))
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/workspaces/ws-1/api/v1/remote_write", b"\x00\xff" * 30_000),
        ("GET", "/workspaces/ws-1/api/v1/query?query=rate(x%7Ba%3D%22b%22%7D%5B1m%5D)&b=1&a=%20", b""),
        ("GET", "/workspaces/ws-1/api/v1/query?query=a+b(c)&a", b""),
        ("GET", "/tags/arn%3Aaws%3Aaps%2Fx//y", b""),
    ],
)
async def test_requests_arrive_signed(
    upstream: tuple[Upstream, str], proxy: SigningProxy, method: str, target: str, body: bytes
) -> None:
    sent = {"Content-Encoding": "snappy", "X-Scope-OrgID": "1", "X-Other": "kept", "Authorization": "Basic x"}
    async with aiohttp.ClientSession() as session:
        url = URL(f"http://127.0.0.1:{proxy.port}{target}", encoded=True)
        async with session.request(method, url, data=body or None, headers=sent if body else None) as answer:
            assert answer.status == 200, await answer.text()
            assert len(await answer.read()) == 200_000
            assert answer.headers["Retry-After"] == "7"
    ((seen_method, seen_target, headers, seen_body),) = upstream[0].seen
    assert (seen_method, seen_target, seen_body) == (method, target, body)
    assert headers["X-Amz-Security-Token"] == "session"
    if body:
        assert headers["X-Other"] == "kept"
        assert "X-Scope-OrgID" not in headers


async def test_failures_pass_through(
    upstream: tuple[Upstream, str], proxy: SigningProxy, caplog: pytest.LogCaptureFixture
) -> None:
    upstream[0].answer_status = 429
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{proxy.port}/a") as answer:
        assert (answer.status, len(await answer.read()), answer.headers["Retry-After"]) == (429, 200_000, "7")
    assert "GET /a: 429 xxx" in caplog.text


async def test_health_and_what_is_kept_out(proxy: SigningProxy, upstream: tuple[Upstream, str]) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{proxy.port}/health") as answer:
            assert (answer.status, await answer.text()) == (200, "OK\n")
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            async with session.get(f"http://127.0.0.1:{proxy.port}/x", headers=headers) as answer:
                assert answer.status == 403
    assert not upstream[0].seen


async def test_an_upstream_that_is_down_is_502() -> None:
    options = ProxyOptions(Endpoint("127.0.0.1", 0), "127.0.0.1:1", "http", "us-east-1")
    proxy = SigningProxy(options, lambda: Credentials("AKIDEXAMPLE", SECRET))
    await proxy.start()
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{proxy.port}/a") as answer:
        assert answer.status == 502
        assert "127.0.0.1:1 cannot be reached" in await answer.text()
    await proxy.close()


@pytest.mark.parametrize(
    ("text", "port"), [("8000", 8000), (":8000", 8000), ("127.0.0.1:8001", 8001), ("localhost:1", 1)]
)
def test_ports(text: str, port: int) -> None:
    assert parse_port(text) == Endpoint("127.0.0.1", port)


def test_only_loopback() -> None:
    with pytest.raises(ConfigError, match="whose requests would be signed as well"):
        SigningProxy(ProxyOptions(parse_port("0.0.0.0:8000"), "h", "https", "r"), lambda: Credentials("a", "b"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--port", "x"], "--port: must end in a port"),
        (["--role-arn", "arn:aws:iam::1:role/x"], "--role-arn: is not supported"),
        (["--unsigned-payload"], "--unsigned-payload: is not supported"),
        (["--host", "aps.example.org", "--upstream-url-scheme", "http"], "would send requests in the clear"),
        (["--port", "0.0.0.0:8000"], "listen on a loopback address"),
    ],
)
def test_refused_options(arguments: list[str], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    result = CliRunner().invoke(main, ["sigv4-proxy", "--region", "us-east-1", *arguments])
    assert result.exit_code == 2
    assert why in result.output
