"""The ``zpages`` extension: what its pages show of the daemon that runs."""

from __future__ import annotations

import json
import logging
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from headrace.extensions.zpages import Zpages, ZpagesConfig, command_line
from headrace.extensions.zpages_tables import page, table
from headrace.pipeline.component import Settings
from headrace.pipeline.host import Host
from headrace.pipeline.status import Status, Statuses
from http_lab import Lab, body, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_NS = 1_795_332_017_000_000_000
CONFIG = {
    "receivers": {"otlp": {}},
    "connectors": {"forward": {}},
    "exporters": {"otlp/far": {}, "store": {}},
    "extensions": {"zpages": {}, "basic_auth/a": {}},
    "service": {
        "extensions": ["zpages", "basic_auth/a"],
        "pipelines": {
            "metrics": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["forward", "store"]},
            "metrics/far": {"receivers": ["forward"], "exporters": ["otlp/far"]},
        },
    },
}


class Cells(HTMLParser):
    """Reads the tables of a page as a browser would, and checks that its tags match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag == "meta":
            return
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


class Pages:
    """The extension of one test."""

    def __init__(self) -> None:
        self.lab = Lab()
        services = {"listeners": self.lab.listeners, "config_yaml": lambda: yaml.safe_dump(CONFIG, sort_keys=False)}
        self.host = Host(
            counters=self.lab.counters, statuses=Statuses(lambda: START_NS), services=services,
            clock_ns=lambda: START_NS + 90_000_000_000,
        )  # fmt: skip

    async def start(self, **config: Any) -> None:
        settings = Settings("extensions", "zpages", self.host.counters, logging.getLogger("test"))
        await Zpages(settings, ZpagesConfig(**{"endpoint": "127.0.0.1:0", **config})).start(self.host)
        await self.lab.listeners.start()

    async def get(self, path: str) -> tuple[int, str]:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        reply = await self.lab.talk(self.lab.listeners.open[0], request)
        return status(reply), body(reply).decode()

    async def rows(self, path: str) -> list[list[str]]:
        code, text = await self.get(path)
        assert code == 200
        return Cells(text).rows


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    made = Pages()
    yield made
    await made.lab.listeners.shutdown(0.1)


async def test_pipelines(pages: Pages) -> None:
    """A row for each component of each pipeline, with its status and its counts."""
    await pages.start()
    counters = pages.host.counters
    counters.counter("otelcol_receiver_accepted_metric_points", "", {"receiver": "otlp", "transport": "grpc"}).add(7)
    counters.counter("otelcol_receiver_accepted_metric_points", "", {"receiver": "otlp", "transport": "http"}).add(3)
    attributes = {"processor": "batch", "pipeline": "metrics"}
    counters.counter("otelcol_processor_incoming_items", "", attributes).add(10)
    counters.counter("otelcol_processor_outgoing_items", "", attributes).add(9)
    Settings("processors", "batch", counters, logging.getLogger("test")).drops.add("full", 1)
    counters.counter("otelcol_exporter_sent_metric_points", "", {"exporter": "store"}).add(9)
    pages.host.statuses.report("exporters.store", Status.RECOVERABLE_ERROR, "disk <b>full</b>")
    assert await pages.rows("/debug/pipelinez") == [
        ["pipeline", "kind", "component", "status", "error", "in", "out", "dropped"],
        ["metrics", "receivers", "otlp", "OK", "", "", "10", "0"],
        ["metrics", "processors", "batch", "OK", "", "10", "9", "1"],
        ["metrics", "connectors", "forward", "OK", "", "", "0", "0"],
        ["metrics", "exporters", "store", "RecoverableError", "disk <b>full</b>", "", "9", "0"],
        ["metrics/far", "connectors", "forward", "OK", "", "", "0", "0"],
        ["metrics/far", "exporters", "otlp/far", "OK", "", "", "0", "0"],
    ]


async def test_the_daemon(pages: Pages) -> None:
    """Version, times, and what it waits for."""
    await pages.start()
    pages.host.readiness.block("exporters.store", "opens")
    rows = {row[0]: row[1] for row in await pages.rows("/debug/servicez")}
    assert rows["started"] == "2026-11-22 07:20:17 UTC"
    assert rows["uptime"] == "0:01:30"
    assert (rows["ready"], rows["waits for exporters.store"]) == ("no", "opens")


async def test_extensions(pages: Pages) -> None:
    """Those that are started, with their status."""
    await pages.start()
    rows = await pages.rows("/debug/extensionz")
    assert rows == [["extension", "status", "error"], ["zpages", "OK", ""], ["basic_auth/a", "OK", ""]]


async def test_pages_lead_to_each_other(pages: Pages) -> None:
    """All that is linked is there; so are pages of things that there are none of."""
    await pages.start()
    for path in ("/debug/featurez", "/debug/tracez", *await _links(pages, "/debug")):
        assert (await pages.get(path))[0] == 200
    assert (await pages.get("/debug/expvarz"))[0] == 404


async def _links(pages: Pages, path: str) -> list[str]:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value or "" for name, value in attrs if (tag, name) == ("a", "href"))

    Links().feed((await pages.get(path))[1])
    assert len(found) >= 5
    return found


async def test_counters_as_json(pages: Pages) -> None:
    """Where that is asked for."""
    await pages.start(expvar={"enabled": True})
    counters = pages.host.counters
    counters.counter("plain", "").add(2)
    counters.counter("by_kind", "", {"kind": "a"}).add(3)
    code, text = await pages.get("/debug/expvarz")
    found = json.loads(text)
    assert code == 200
    assert (found["plain"], found["by_kind"]) == (2, {"kind=a": 3})


def test_settings_of_the_command_line_are_not_shown() -> None:
    """They may be secrets, and the page asks nobody for a password."""
    given = ["headrace", "run", "--set", "exporters.otlp.headers.X-Key=s3", "--config=yaml:a: s3", "--config", "c.yaml"]
    shown = command_line(given)
    assert "s3" not in str(shown)
    assert shown[:3] == given[:3]
    assert shown[3] == "exporters.otlp.headers.X-Key=[REDACTED]"
    assert shown[5:] == given[5:]


def test_text_stays_text() -> None:
    """Whatever names and errors hold, a browser takes none of it for markup."""
    hostile = "<script>alert(1)</script>\"'&amp;"
    found = Cells(page(hostile, table((hostile,), [(hostile,)])))
    assert found.tags <= {"meta", "title", "style", "h1", "table", "tr", "th", "td"}
    assert found.rows == [[hostile], [hostile]]
