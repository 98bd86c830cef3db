"""The HTTP API over a made-up workspace, on a real listener."""

from __future__ import annotations

import gzip
import json
import math
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import numpy as np

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from headrace.pipeline.errors import QueryError
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store.api.answering import ApiSettings
from headrace.store.api.backend import Answer, Backend, BlockFacts, Exemplar, HeadFacts, QueryOptions
from headrace.store.api.pool import QueryPool
from headrace.store.api.prometheus import PrometheusApi
from headrace.store.api.selection import Selection, put_together
from headrace.store.cardinality import Cardinality
from headrace.store.histogram_rows import HistogramSeries
from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
from headrace.store.matchers import Matcher, MatchType
from headrace.store.symbols import Symbols
from http_lab import Lab

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.pipeline.http.listener import Listener

NOW_NS = 1_700_000_000_123_456_789

SERIES = (
    {"__name__": "up", "job": "a", "instance": "x:1"},
    {"__name__": "up", "job": "b", "instance": "y:1"},
    {"__name__": "down", "job": "b"},
)


_NATIVES = NativeHistograms.empty()


class FakeIndex:
    """Finds among a few label sets; remembers the times it was asked for."""

    def __init__(self, series: Sequence[Mapping[str, str]] = SERIES) -> None:
        self._series = series
        self.windows: list[tuple[int, int]] = []

    def _found(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Mapping[str, str]]:
        self.windows.append((start_ms, end_ms))
        if end_ms < start_ms:
            return []
        return [s for s in self._series if all(m.matches(s.get(m.name, "")) for m in matchers)]

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        return sorted({name for labels in self._found(matchers, start_ms, end_ms) for name in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        return sorted({labels[name] for labels in self._found(matchers, start_ms, end_ms) if name in labels})

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> LabelTable:
        return LabelTable.of(self._found(matchers, start_ms, end_ms), QuerySymbols(Symbols()))

    def exemplars(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> list[tuple[Mapping[str, str], list[Exemplar]]]:
        made = [Exemplar(1_500, 0.5, {"trace_id": "é", "a": "b"}), Exemplar(2_000, math.inf, {})]
        found = self._found(matchers, start_ms, end_ms)
        return [(labels, made) for labels in found if labels["job"] == "b"]

    def metadata(self) -> dict[str, list[dict[str, str]]]:
        gauge = {"type": "gauge", "unit": "", "help": "Whether it is up."}
        return {"up": [gauge, {**gauge, "help": "Other."}], "down": [gauge]}

    def cardinality(self, limit: int) -> tuple[HeadFacts, Cardinality]:
        names = [("up", 2), ("down", 1)][:limit]
        return HeadFacts(3, 4, -5, 6), Cardinality(5, names, [("job", 2)], [("job", 3)], [("job=b", 2)])

    def samples(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """Each series has one sample, 1.5 at the end of the time."""
        table = self.series(matchers, start_ms, end_ms)
        n = len(table)
        floats = ColumnarSeries(table, np.arange(n + 1), np.full(n, end_ms), np.full(n, 1.5))
        return put_together(floats, HistogramSeries(table.take(np.zeros(0, np.intp)), np.zeros(1, np.int64), _NATIVES))

    def blocks(self) -> list[BlockFacts]:
        return [BlockFacts(7, 1_000, 2_999, 10, 2, 1, (3, 4))]


@dataclass
class FakeQueries:
    """Answers every query with its own text; remembers what it was asked."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    answer: Callable[[str, QueryOptions], Answer] = lambda query, _options: Answer(
        "string", json.dumps([0, query]).encode()
    )

    def instant(self, query: str, time_ms: int, options: QueryOptions) -> Answer:
        self.asked.append((query, time_ms, options))
        return self.answer(query, options)

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int, options: QueryOptions) -> Answer:
        self.asked.append((query, start_ms, end_ms, step_ms, options))
        return self.answer(query, options)


def parse_name(text: str) -> list[Matcher]:
    """Parse a selector that is a name, or ``{}``; the real parser has tests of its own."""
    if text == "{}":
        return [Matcher("job", MatchType.REGEX, ".*")]
    if not text.isidentifier():
        raise QueryError("1:1: parse error: no name")
    return [Matcher("__name__", MatchType.EQUAL, text)]


@dataclass(frozen=True)
class HttpReply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        unpack = {"gzip": gzip.decompress, "zstd": zstd.decompress}.get(self.headers.get("Content-Encoding", ""), bytes)
        return json.loads(unpack(self.raw))


class ApiLab:
    """An API with one workspace, ``default``, and what it is made of."""

    def __init__(self, **settings: Any) -> None:
        self.lab = Lab()
        self.index = FakeIndex()
        self.queries = FakeQueries()
        self.backends = {"default": Backend(self.index, self.queries)}
        self.pool = QueryPool(concurrency=2, waiting=2, timeout_s=5)
        self.settings = ApiSettings(**{"parse_selector": parse_name, "clock_ns": lambda: NOW_NS, **settings})
        self.api = PrometheusApi(self.backends.get, self.pool, self.settings)
        self.listener: Listener | None = None

    async def start(self) -> None:
        config = ServerConfig(endpoint="127.0.0.1:0")
        self.listener = self.lab.listeners.add(config, self.api.routes(), "exporters.store")
        await self.lab.listeners.start()

    async def close(self) -> None:
        self.pool.shutdown()
        await self.lab.listeners.shutdown(0.1)

    async def ask(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        form: Sequence[tuple[str, str]] | None = None,
        body: bytes | None = None,
    ) -> HttpReply:
        """Send a request; `form` goes into the query string of a GET and into the body of a POST."""
        assert self.listener is not None
        encoded = urlencode(form or [])
        url = f"{self.listener.url}{path}"
        sent = dict(headers or {})
        if form and method == "POST":
            body = encoded.encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        elif form:
            url = f"{url}?{encoded}"
        session = aiohttp.ClientSession(auto_decompress=False, requote_redirect_url=False)
        async with (
            session,
            session.request(method, _exact(url), headers=sent, data=body, skip_auto_headers=_NONE) as got,
        ):
            return HttpReply(got.status, got.headers, await got.read())

    async def get(self, path: str, *form: tuple[str, str]) -> HttpReply:
        return await self.ask(path, form=form)


_NONE = ("Accept-Encoding", "Accept")


def _exact(url: str) -> Any:
    from yarl import URL

    return URL(url, encoded=True)
