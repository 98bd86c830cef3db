"""Target groups from a server: what is asked, what is taken, and what is kept where it fails."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from discovery_lab import DiscoveryLab
from headrace.pipeline.discovery import http
from headrace.pipeline.discovery.http import HttpDiscovery, HttpSdConfig
from headrace.pipeline.discovery.polling import DiscoveryFailed
from web_lab import WebLab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def lab() -> DiscoveryLab:
    return DiscoveryLab()


@pytest.fixture
async def server() -> AsyncIterator[WebLab]:
    lab = await WebLab().start()
    yield lab
    await lab.close()


def discovery(lab: DiscoveryLab, server: WebLab, **options: Any) -> HttpDiscovery:
    """Make one that asks every 20 ms, and gives the server more time than that."""
    made = HttpDiscovery(lab.settings, HttpSdConfig.model_validate({"url": f"{server.url}/sd?x=1", **options}))
    made._interval_s = 0.02
    return made


def serve(server: WebLab, content: Any = None, **options: Any) -> None:
    async def answer(_request: web.Request) -> web.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return web.Response(body=body, **{"content_type": "application/json", **options})

    server.answer = answer


async def test_groups_are_published_and_vanish(lab: DiscoveryLab, server: WebLab) -> None:
    """Each group has the URL as a label; what the answer does not hold any more is gone."""
    serve(server, [{"targets": ["a:1", "b:1"], "labels": {"x": "y", "__meta_url": "z"}}, {"targets": ["c:1"]}])
    async with lab.running(discovery(lab, server)):
        await lab.until(lambda: lab.addresses() == ["a:1", "b:1", "c:1"], "all are there")
        url = f"{server.url}/sd?x=1"
        assert lab.targets()[0] == {"__address__": "a:1", "__meta_url": url, "x": "y"}
        assert list(lab.groups) == [f"{url}:0", f"{url}:1"]
        serve(server, [{"targets": ["b:1"]}])
        await lab.until(lambda: lab.addresses() == ["b:1"], "one is left")
        serve(server, [])
        await lab.until(lambda: lab.addresses() == [], "none is left")


async def test_what_is_asked(lab: DiscoveryLab, server: WebLab) -> None:
    """The headers of Prometheus' requests, and credentials of the job."""
    serve(server, [])
    async with lab.running(discovery(lab, server, refresh_interval="1m30s", authorization={"credentials": "s"})):
        await lab.until(lambda: lab.published > 0, "asked")
    sent = server.requests[0].headers
    assert sent["Accept"] == "application/json"
    assert sent["X-Prometheus-Refresh-Interval-Seconds"] == "90"
    assert sent["Authorization"] == "Bearer s"
    assert sent["User-Agent"] == "Headrace/0"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 503}, "http_status"),
        ({"status": 204}, "http_status"),
        ({"content_type": "text/plain"}, "content"),
        ({"charset": "latin-1"}, "content"),
        ({"content": b"{"}, "content"),
        ({"content": {"a": 1}}, "content"),
        ({"content": [None]}, "content"),
        ({"content": [{"targets": ["a:1"], "more": 1}]}, "content"),
        ({"content": [{"targets": ["a:1"], "labels": {"": "x"}}]}, "content"),
        ({"content": b"[" * 100_000}, "content"),
        ({"content": b"\xff"}, "content"),
    ],
)
async def test_a_wrong_answer_changes_nothing(
    lab: DiscoveryLab, server: WebLab, answer: dict[str, Any], reason: str
) -> None:
    """It is counted by its reason, and what was found before stays; the next good answer counts again."""
    serve(server, [{"targets": ["a:1"]}])
    async with lab.running(discovery(lab, server)):
        await lab.until(lambda: lab.addresses() == ["a:1"], "found")
        serve(server, **{"content": [], **answer})
        await lab.until(lambda: lab.failures(reason) > 1, "counted")
        assert lab.addresses() == ["a:1"]
        serve(server, [{"targets": ["b:1"]}])
        await lab.until(lambda: lab.addresses() == ["b:1"], "works again")
    assert lab.failures() == lab.failures(reason)


async def test_charset_utf_8_is_fine(lab: DiscoveryLab, server: WebLab) -> None:
    """As servers write it, and compressed."""
    packed = gzip.compress(b'[{"targets": ["a:1"]}]')
    serve(server, packed, charset="utf-8", headers={"Content-Encoding": "gzip"})
    async with lab.running(discovery(lab, server)):
        await lab.until(lambda: lab.addresses() == ["a:1"], "found")


async def test_an_endless_answer_is_cut(lab: DiscoveryLab, server: WebLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for what it unpacks to."""
    monkeypatch.setattr(http, "MAX_BODY_BYTES", 1000)
    serve(server, gzip.compress(b" " * 100_000 + b"[]"), headers={"Content-Encoding": "gzip"})
    found = discovery(lab, server)
    found._client.start()
    with pytest.raises(DiscoveryFailed, match="longer than 1000 bytes"):
        await found.refresh()
    await found._client.close()


async def test_a_server_that_is_gone_or_slow(lab: DiscoveryLab, server: WebLab) -> None:
    """Connections that fail, and answers that do not come within the interval, are counted apart."""

    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b"[")
        await lab.until(lambda: False, "never")
        return response

    server.answer = hang
    found = discovery(lab, server)
    found._timeout_s = 0.1
    async with lab.running(found):
        await lab.until(lambda: lab.failures("timeout") > 0, "timeout")
        await server.close()
        await lab.until(lambda: lab.failures("connection") > 0, "refused")


def test_a_password_in_the_url_is_no_label(lab: DiscoveryLab) -> None:
    """Labels can be read by everybody who may read targets."""
    config = HttpSdConfig(url="http://me:secret@a.test/x")
    assert HttpDiscovery(lab.settings, config)._shown == "http://me:xxxxx@a.test/x"


@pytest.mark.parametrize(
    ("url", "why"),
    [("", "at least 1 character"), ("ftp://a", "'http' or 'https'"), ("a", "'http' or 'https'"),
     ("http://", "host is missing")],
)  # fmt: skip
def test_urls_that_are_refused(url: str, why: str) -> None:
    """By Prometheus' words."""
    with pytest.raises(ValidationError, match=why):
        HttpSdConfig(url=url)
