"""``/tap`` streams what passes by some edges for as long as the client listens; ``/tap/edges`` lists the edges."""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from aiohttp import web

from headrace.pipeline.config import parse_duration
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.http.form import parse_form
from headrace.pipeline.http.request import json_bytes
from headrace.pipeline.http.routes import Route
from headrace.pipeline.taps.frames import CONTENT_TYPE, frame
from headrace.pipeline.taps.hub import matches
from headrace.pipeline.taps.lines import as_json, as_text, samples
from headrace.pipeline.taps.rows import SeriesFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.http.request import Request
    from headrace.pipeline.taps.hub import Taps

MAX_HELD_POINTS = 200_000
"""Points that wait for a slow client; further ones are skipped, and it is told how many."""

MAX_HELD_BYTES = 64 << 20
"""Bytes of their columns: histograms may be large."""

SAMPLES_PER_S = 1000
"""Samples that are shown in a second where the client does not ask for more or less."""

_HEARTBEAT_S = 2.0
_FORMATS = {"text": "text/plain; charset=utf-8", "json": "application/x-ndjson", "batches": CONTENT_TYPE}


class StreamTap:
    """Keeps what passes by until it is sent.

    Args:
        patterns: Edges; none for all.
        narrowed: Which series.
        per_s: Points in a second at most.
        monotonic_s: Seconds that never go back.
    """

    def __init__(
        self, patterns: Sequence[str], narrowed: SeriesFilter, per_s: float, monotonic_s: Callable[[], float]
    ) -> None:
        self._patterns = tuple(patterns)
        self._narrowed = narrowed
        self._per_s = per_s
        self._monotonic_s = monotonic_s
        self._known: dict[str, bool] = {}
        self._queue: deque[tuple[str, MetricBatch]] = deque()
        self._held = 0
        self._held_bytes = 0
        self._left = per_s
        self._since_s = monotonic_s()
        self._wake = asyncio.Event()
        self.ended = False
        self.skipped = 0
        """Points that fitted and were not shown since it was last set to 0."""

    def wants(self, edge: str) -> bool:
        """Return whether the edge fits a pattern."""
        found = self._known.get(edge)
        if found is None:
            found = self._known[edge] = matches(edge, self._patterns)
        return found

    def see(self, edge: str, batch: MetricBatch) -> None:
        """Keep what fits of a batch, within the limits."""
        if not self.wants(edge):
            return
        batch = self._narrowed.narrow(batch)
        allowed = self._allowance()
        points = len(batch)
        if points > allowed:
            batch = batch.select(np.arange(len(batch.series)) < allowed)
            batch = batch.with_columns(histograms=None, native=None, exemplars=None)
            self.skipped += points - len(batch)
        if len(batch):
            self._left -= len(batch)
            self._held += len(batch)
            self._held_bytes += batch.size_bytes
            self._queue.append((edge, batch))
            self._wake.set()

    def end(self) -> None:
        """Expect no more."""
        self.ended = True
        self._wake.set()

    async def next(self, timeout_s: float) -> tuple[str, MetricBatch] | None:
        """Return what came next; None where nothing did for `timeout_s`, or it has ended."""
        if not self._queue and not self.ended:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            except TimeoutError:
                return None
        if not self._queue:
            return None
        edge, batch = self._queue.popleft()
        self._held -= len(batch)
        self._held_bytes -= batch.size_bytes
        return edge, batch

    def _allowance(self) -> float:
        """Return how many points may be kept now."""
        now_s = self._monotonic_s()
        if now_s - self._since_s >= 1:
            self._since_s, self._left = now_s, self._per_s
        return min(self._left, MAX_HELD_POINTS - self._held) if self._held_bytes < MAX_HELD_BYTES else 0


class TapRoutes:
    """Answers.

    Args:
        taps: Where batches pass by.
        edges: Returns the names of all edges there are now.
        monotonic_s: Seconds that never go back.
    """

    def __init__(self, taps: Taps, edges: Callable[[], Sequence[str]], monotonic_s: Callable[[], float]) -> None:
        self._taps = taps
        self._edges = edges
        self._monotonic_s = monotonic_s

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        return [Route("/tap", ("GET",), self._tap), Route("/tap/edges", ("GET",), self._list)]

    async def _list(self, request: Request) -> web.StreamResponse:
        del request
        return json_bytes(json.dumps(list(self._edges())).encode())

    async def _tap(self, request: Request) -> web.StreamResponse:
        fields = parse_form(request.query_string)
        form = fields.get("format") or "text"
        if form not in _FORMATS:
            raise InvalidInput(f"format {form!r} is not known (there: {', '.join(_FORMATS)})")
        per_s = _number(fields.get("limit"), math.inf if form == "batches" else SAMPLES_PER_S)
        lasts_s = _seconds(fields.get("for"))
        tap = StreamTap(fields.all("edge"), SeriesFilter(fields.get("match")), per_s, self._monotonic_s)
        self._taps.open(tap)
        try:
            request.on_disconnect(tap.end)
            response = web.StreamResponse(headers={"Content-Type": _FORMATS[form], "Cache-Control": "no-store"})
            await response.prepare(request.raw)
            await self._stream(response, tap, form, self._monotonic_s() + lasts_s)
        except ConnectionError:
            return web.Response(status=499)  # to be counted; it reaches nobody
        finally:
            self._taps.close(tap)
        return response

    async def _stream(self, response: web.StreamResponse, tap: StreamTap, form: str, until_s: float) -> None:
        while not tap.ended:
            left_s = until_s - self._monotonic_s()
            if left_s <= 0:
                return
            found = await tap.next(min(_HEARTBEAT_S, left_s))
            skipped, tap.skipped = (tap.skipped, 0) if found is not None else (0, tap.skipped)
            await response.write(_written(form, found, skipped))


def _written(form: str, found: tuple[str, MetricBatch] | None, skipped: int) -> bytes:
    """Return what is sent of a batch; something empty where there is none, so that a client that left is noticed."""
    if form == "batches":
        return bytes(4) if found is None else frame(*found, skipped)
    lines = [] if found is None else [as_text(one) if form == "text" else as_json(one) for one in samples(*found)]
    if skipped:
        lines.append(f"# {skipped} more were not shown" if form == "text" else json.dumps({"skipped": skipped}))
    return "".join(f"{line}\n" for line in lines or [""]).encode()


def _number(text: str, default: float) -> float:
    if not text:
        return default
    if not text.isdecimal() or not int(text):
        raise InvalidInput(f"limit must be a number of samples in a second, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        return parse_duration(text).total_seconds() if text else math.inf
    except ValueError as error:
        raise InvalidInput(f"for: {error}") from None
