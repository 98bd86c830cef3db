"""What is asked of a target and how its answer is taken: headers, credentials, redirects, compression, time, size."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from scrape_lab import ScrapeLab, samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def lab() -> AsyncIterator[ScrapeLab]:
    lab = ScrapeLab()
    await lab.start()
    yield lab
    await lab.close()


async def test_no_content_type_needs_a_fallback(lab: ScrapeLab) -> None:
    """With one it is read as that."""
    lab.content_type = None
    scraper = await lab.scraper()
    assert (await lab.scrape(scraper, "a 1\n"))["up"] == 0.0
    assert "no Content-Type" in scraper.status.error
    scraper = await lab.scraper(fallback_scrape_protocol="PrometheusText0.0.4")
    assert (await lab.scrape(scraper, "a 1\n"))["up"] == 1.0


async def test_a_target_that_is_not_there(lab: ScrapeLab) -> None:
    """A refused connection and one that hangs are told apart."""
    scraper = await lab.scraper(static_configs=[{"targets": ["127.0.0.1:1"]}])
    assert (await lab.scrape(scraper))['up{instance="127.0.0.1:1"}'] == 0.0
    assert lab.failures("connection") == 1

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    lab.answer = hang
    scraper = await lab.scraper(scrape_timeout="100ms")
    assert (await lab.scrape(scraper))["up"] == 0.0
    assert lab.failures("timeout") == 1
    assert "0.1 s" in scraper.status.error


async def test_a_target_that_sends_slowly_runs_out_of_time(lab: ScrapeLab) -> None:
    """The time covers the body, not only its first byte."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(b"a 1\n")
        await asyncio.Event().wait()
        return response

    lab.answer = drip
    scraper = await lab.scraper(scrape_timeout="100ms")
    await lab.scrape(scraper)
    assert lab.failures("timeout") == 1


async def test_what_a_request_says(lab: ScrapeLab) -> None:
    """Formats, time and encoding are asked for as Prometheus does."""
    scraper = await lab.scraper(scrape_timeout="2s", params={"module": ["a b", "c"]}, metrics_path="/x")
    await lab.scrape(scraper, "")
    headers = lab.requests[0].headers
    assert headers["Accept"] == (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    )
    assert headers["Accept-Encoding"] == "gzip"
    assert headers["X-Prometheus-Scrape-Timeout-Seconds"] == "2"
    assert headers["User-Agent"].startswith("Headrace/")
    assert str(lab.requests[0].rel_url) == "/x?module=a+b&module=c"
    scraper = await lab.scraper(enable_compression=False, scrape_protocols=["PrometheusText0.0.4"])
    await lab.scrape(scraper)
    assert lab.requests[1].headers["Accept-Encoding"] == "identity"
    assert lab.requests[1].headers["Accept"] == "text/plain;version=0.0.4;q=0.6,*/*;q=0.5"


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({"basic_auth": {"username": "me", "password": "pä"}}, "Basic bWU6cMOk"),
        ({"authorization": {"credentials": "tok"}}, "Bearer tok"),
        ({"authorization": {"type": "Token", "credentials": "tok"}}, "Token tok"),
        ({"bearer_token": "old"}, "Bearer old"),
    ],
)
async def test_credentials(lab: ScrapeLab, auth: dict[str, Any], header: str) -> None:
    """Each kind makes its header."""
    await lab.scrape(await lab.scraper(**auth))
    assert lab.requests[0].headers["Authorization"] == header


async def test_credentials_from_a_file_follow_it(lab: ScrapeLab, tmp_path: Any) -> None:
    """A file that changes changes the header."""
    secret = tmp_path / "token"
    secret.write_text("one\n")
    scraper = await lab.scraper(authorization={"credentials_file": str(secret)})
    await lab.scrape(scraper)
    secret.write_text("second\n")
    await lab.scrape(scraper)
    assert [request.headers["Authorization"] for request in lab.requests] == ["Bearer one", "Bearer second"]


async def test_redirects(lab: ScrapeLab) -> None:
    """They are followed unless told otherwise."""

    async def move(request: web.Request) -> web.StreamResponse:
        if request.path == "/metrics":
            raise web.HTTPFound("/there")
        return web.Response(text="a 1\n")

    lab.answer = move
    assert (await lab.scrape(await lab.scraper()))["up"] == 1.0
    assert (await lab.scrape(await lab.scraper(follow_redirects=False)))["up"] == 0.0


async def test_gzip(lab: ScrapeLab) -> None:
    """A compressed page is unpacked, several members too; one that is cut off or none is refused."""
    lab.zipped = True
    scraper = await lab.scraper()
    assert samples(await lab.scrape(scraper, "a 1\n")) == {"a": 1.0}
    lab.zipped = False

    def packed(data: bytes) -> bytes:
        compressor = zlib.compressobj(wbits=31)
        return compressor.compress(data) + compressor.flush()

    async def answer(body: bytes, error: str) -> None:
        async def reply(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=body, headers={"Content-Type": "text/plain", "Content-Encoding": "gzip"})

        lab.answer = reply
        await lab.scrape(scraper)
        assert error in scraper.status.error
        assert bool(error) == bool(scraper.status.error)

    await answer(packed(b"a 1\n") + packed(b"b 2\n"), "")
    assert samples(lab.found()) == {"a": 1.0, "b": 2.0}
    await answer(packed(b"a 1\n")[:-9], "cut off")
    await answer(b"a plain page", "not gzip")
    assert lab.failures("encoding") == 2


@pytest.mark.parametrize("zipped", [False, True])
async def test_body_size_limit(lab: ScrapeLab, zipped: bool) -> None:
    """A page at the limit passes, one byte more fails; a bomb is not unpacked further than that."""
    lab.zipped = zipped
    scraper = await lab.scraper(body_size_limit="1KB", shared={"extra_scrape_metrics": True})
    page = "a 1\n" + "#" * 1019 + "\n"
    found = await lab.scrape(scraper, page)
    assert (found["up"], found["scrape_body_size_bytes"]) == (1.0, 1024.0)
    found = await lab.scrape(scraper, page + "\n")
    assert (found["up"], found["scrape_body_size_bytes"]) == (0.0, -1.0)
    lab.page = b"#" * (50 << 20)
    await lab.scrape(scraper)
    assert lab.failures("body_size_limit") == 2


async def test_credentials_do_not_follow_a_redirect_to_another_host(lab: ScrapeLab) -> None:
    """They stay with the host they were meant for."""
    other = ScrapeLab()
    await other.start()
    try:

        async def move(_request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(f"http://{other.address}/metrics")

        lab.answer = move
        other.page = "a 1\n"
        scraper = await lab.scraper(authorization={"credentials": "secret"})
        assert (await lab.scrape(scraper))["up"] == 1.0
        assert lab.requests[0].headers["Authorization"] == "Bearer secret"
        assert "Authorization" not in other.requests[0].headers
    finally:
        await other.close()
