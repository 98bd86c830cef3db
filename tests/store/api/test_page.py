"""The page at ``/``."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.targets import ActiveTarget, Targets
from headrace.store.api.page import ServedPath, StatusPage
from http_lab import Lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class Scraper:
    """Scrapes one target whose texts are hostile."""

    def targets(self) -> Targets:
        hostile = ActiveTarget(
            discovered_labels={},
            labels={},
            scrape_pool="<script>alert(1)</script>",
            scrape_url='http://x:1/"><img src=x>',
            last_error="{style} & {0}",
            last_scrape_ns=1_700_000_000_000_000_000,
            health="down",
        )
        return Targets(active=[hostile])


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab()
    yield made
    await made.listeners.shutdown(0.1)


async def fetch(lab: Lab, page: StatusPage) -> tuple[Mapping[str, str], str]:
    listener = await lab.serve((page.route(),))
    reply = await lab.talk(listener, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head, _, body = reply.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200")
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:]), body


async def test_endpoints_and_targets_are_listed(lab: Lab) -> None:
    """The page names what is served and what is scraped, and has a box for a query."""
    page = StatusPage(lambda: [ServedPath("http://127.0.0.1:9009/api/v1/write", "POST", "receivers.rw")], Scraper())

    headers, body = await fetch(lab, page)

    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "http://127.0.0.1:9009/api/v1/write" in body
    assert "receivers.rw" in body
    assert "2023-11-14T22:13:20Z, 0.000 s" in body
    assert '<input name="query"' in body


async def test_texts_are_escaped(lab: Lab) -> None:
    """Texts of targets are text, whatever they hold."""
    _, body = await fetch(lab, StatusPage(list, Scraper()))

    assert "<script>alert" not in body
    assert "<img" not in body
    assert "{style} &amp; {0}" in body


async def test_the_policy_allows_the_script_and_nothing_else(lab: Lab) -> None:
    """The hashes in the content security policy are those of the inline script and style; nothing inline is allowed."""
    headers, body = await fetch(lab, StatusPage(list, None))
    policy = headers["Content-Security-Policy"]

    for tag in ("script", "style"):
        inline = re.findall(f"<{tag}>(.*?)</{tag}>", body, re.DOTALL)
        assert len(inline) == 1
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "innerHTML" not in body
    assert not re.search(r"\son\w+=", body)
    assert "Nothing is scraped." in body
