"""``/federate``: the newest samples of series, as a page for another Prometheus to scrape.

Source:
    Prometheus, "Federation"; its content negotiation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from aiohttp import web

from headrace.pipeline.errors import HeadraceError
from headrace.pipeline.wire.name_escaping import SCHEMES, UNDERSCORES
from headrace.store.api import exposition, params
from headrace.store.api.answering import parsed
from headrace.store.api.errors import ApiError
from headrace.store.api.exposition import NAME, Page
from headrace.store.api.selection import Selection, merged
from headrace.store.codec.histograms import is_stale
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.http.request import Request
    from headrace.store.api.answering import Answering
    from headrace.store.api.backend import Backend
    from headrace.store.api.pool import QueryPool
    from headrace.store.api.ticket import Ticket
    from headrace.store.labels import LabelTable
    from headrace.store.matchers import Matcher

_STALE = np.uint64(0x7FF0000000000002)
_INSTANCE = "instance"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_PROTOBUF = "application/vnd.google.protobuf"
_FAMILY = "io.prometheus.client.MetricFamily"
_PROTOBUF_TYPE = f"{_PROTOBUF}; proto={_FAMILY}; encoding=delimited"
_EMPTY = b""


class Federate:
    """The handler.

    Args:
        answering: Finds the workspace, and has the settings.
        pool: Threads to select on.
    """

    def __init__(self, answering: Answering, pool: QueryPool) -> None:
        self._answering = answering
        self._settings = answering.settings
        self._pool = pool

    async def page(self, request: Request) -> web.StreamResponse:
        """Answer with the newest samples of what any of ``match[]`` selects."""
        form = parsed(await request.form())
        backend = self._answering.backend(request)
        selectors = [self._parse(text) for text in form.all("match[]")]
        is_protobuf, scheme = negotiate(request.headers.get("Accept", ""))

        def write(ticket: Ticket) -> bytes | memoryview:
            found = self._newest(backend, selectors, ticket)
            if found is None:
                return _EMPTY
            page = page_of(found, self._settings.external_labels)
            return exposition.protobuf(page, scheme) if is_protobuf else exposition.text(page, scheme)

        body = await self._pool.run(write, request)
        kind = f"{_PROTOBUF_TYPE if is_protobuf else _TEXT}; escaping={scheme}"
        return web.Response(body=bytes(body), headers={"Content-Type": kind})

    def _parse(self, text: str) -> Sequence[Matcher]:
        try:
            return self._settings.parse_selector(params.go_text(text))
        except HeadraceError as error:
            raise ApiError("bad_data", str(error)) from None

    def _newest(self, backend: Backend, selectors: Sequence[Sequence[Matcher]], ticket: Ticket) -> Selection | None:
        now_ms = self._settings.clock_ns() // params.MS
        found = []
        for matchers in selectors:
            ticket.check()
            if not matchers:  # selects nothing here
                continue
            found.append(backend.index.samples(matchers, now_ms - self._settings.lookback_ms, now_ms))
        return merged(found) if found else None


def negotiate(accept: str) -> tuple[bool, str]:
    """Return whether a client gets protobuf, and the escaping scheme.

    Args:
        accept: Value of the Accept header.
    """
    scheme = UNDERSCORES
    for kind, parameters in _by_weight(accept):
        if parameters.get("escaping") in SCHEMES:
            scheme = parameters["escaping"]
        if kind == _PROTOBUF and parameters.get("proto") == _FAMILY and parameters.get("encoding") == "delimited":
            return True, scheme
        if kind == "text/plain" and parameters.get("version", "0.0.4") == "0.0.4":
            return False, scheme
    return False, scheme


def _by_weight(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Return media types with their parameters, the heaviest first."""
    found = []
    for item in accept.split(","):
        kind, *parts = (part.strip() for part in item.split(";"))
        parameters = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in parts)}
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            weight = 1.0
        found.append((weight, kind, parameters))
    return [(kind, parameters) for _, kind, parameters in sorted(found, key=lambda one: -one[0])]


def page_of(found: Selection, external: Mapping[str, str]) -> Page:
    """Return the newest sample of each series that has a name and is not stale, sorted by name."""
    times, values, natives = _last(found)
    named = found.labels.column(NAME) != ABSENT
    kept = np.flatnonzero((times != _NEVER) & named & ~_is_stale(found, values, natives))
    labels = found.labels.take(kept)
    symbols, which = np.unique(labels.column(NAME), return_inverse=True)
    names = [labels.text(symbol) for symbol in symbols.tolist()]
    ranks = np.argsort(np.array(sorted(range(len(names)), key=names.__getitem__), np.intp))
    order = np.argsort(ranks[which.ravel()], kind="stable") if len(kept) else np.zeros(0, np.intp)
    kept, labels = kept[order], labels.take(order)
    return Page(labels, _added(labels, external), values[kept], times[kept], found.natives, natives[kept])


_NEVER = np.iinfo(np.int64).min


def _last(found: Selection) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return time, value and row of the histogram of each series' newest sample; the row is -1 for numbers."""
    n = len(found)
    times, values, natives = np.full(n, _NEVER), np.zeros(n), np.full(n, -1, np.int64)
    some = np.flatnonzero(np.diff(found.offsets) > 0)
    last = found.offsets[some + 1] - 1
    times[some], values[some] = found.times_ms[last], found.values[last]
    some = np.flatnonzero(np.diff(found.native_offsets) > 0)
    last = found.native_offsets[some + 1] - 1
    newer = found.natives.time_ms[last] > times[some]
    times[some[newer]], natives[some[newer]] = found.natives.time_ms[last[newer]], last[newer]
    return times, values, natives


def _is_stale(found: Selection, values: NDArray[np.float64], natives: NDArray[np.int64]) -> NDArray[np.bool_]:
    stale: NDArray[np.bool_] = (values.view(np.uint64) == _STALE) & (natives < 0)
    histograms = np.flatnonzero(natives >= 0)
    stale[histograms] = is_stale(found.natives)[natives[histograms]]
    return stale


def _added(labels: LabelTable, external: Mapping[str, str]) -> list[tuple[str, list[str | None]]]:
    """Return the external labels of the rows that lack them; an empty ``instance`` keeps a scraper from adding one."""
    return [
        (name, [value if symbol == ABSENT else None for symbol in labels.column(name).tolist()])
        for name, value in sorted({_INSTANCE: "", **external}.items())
    ]
