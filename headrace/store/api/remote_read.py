"""Remote read, ``/api/v1/read``: samples of series for another Prometheus, or for whoever speaks its protocol.

Two kinds of answers: all samples in one message, or a stream of chunks in the encoding of Prometheus' own files.

Source:
    Prometheus, "Remote read API"; ``prompb/remote.proto``.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import cramjam
import numpy as np
from aiohttp import web

from headrace.pipeline.errors import HeadraceError, StoreError
from headrace.pipeline.http.request import add_cors
from headrace.pipeline.regex import regex
from headrace.pipeline.wire import snappy
from headrace.store.api import read_messages
from headrace.store.api.errors import STATUS, ApiError
from headrace.store.api.read_samples import query_result
from headrace.store.api.selection import Selection, with_labels
from headrace.store.matchers import Matcher, MatchType
from headrace.store.prometheus_blocks import chunk_writing
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.http.request import Request
    from headrace.store.api.answering import Answering
    from headrace.store.api.backend import Backend
    from headrace.store.api.pool import QueryPool
    from headrace.store.api.read_messages import ReadQuery, ReadRequest
    from headrace.store.api.ticket import Ticket
    from headrace.store.labels import LabelTable

_MAX_REQUEST_BYTES = 32 << 20
_BATCH_SAMPLES = 1 << 17
"""Samples that are encoded at a time."""

_STREAM_TYPE = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
_NAMES = ("SAMPLES", "STREAMED_XOR_CHUNKS")


class RemoteRead:
    """The handler.

    Args:
        answering: Finds the workspace, and has the settings.
        pool: Threads to select on.
    """

    def __init__(self, answering: Answering, pool: QueryPool) -> None:
        self._answering = answering
        self._settings = answering.settings
        self._pool = pool

    async def read(self, request: Request) -> web.StreamResponse:
        """Answer a request in the first of the kinds that it accepts."""
        backend = self._answering.backend(request)
        request.max_body_bytes = min(request.max_body_bytes, _MAX_REQUEST_BYTES)
        body, size = snappy.decompress(await request.body(), _MAX_REQUEST_BYTES)
        asked = read_messages.parse(body[:size].tobytes())
        if _kind(asked) == read_messages.STREAMED_XOR_CHUNKS:
            return await self._stream(request, backend, asked)
        return await self._samples(request, backend, asked)

    async def _select(self, request: Request, backend: Backend, query: ReadQuery) -> Selection:
        matchers = _within(query.matchers, self._settings.external_labels)
        start_ms, end_ms = query.start_ms, query.end_ms

        def select(ticket: Ticket) -> Selection:
            ticket.check()
            return backend.index.samples(matchers, start_ms, end_ms)

        return await self._pool.run(select, request)

    async def _samples(self, request: Request, backend: Backend, asked: ReadRequest) -> web.StreamResponse:
        results = []
        limit = self._settings.read_samples
        for query in asked.queries:
            found = await self._select(request, backend, query)
            if 0 < limit < found.samples:
                raise ApiError("bad_data", f"exceeded sample limit ({limit})")
            labels = label_messages(with_labels(found.labels, self._settings.external_labels))
            results.append(await asyncio.to_thread(query_result, found, labels))
        message = b"".join(read_messages.delimited(10, result) for result in results)
        packed = await asyncio.to_thread(cramjam.snappy.compress_raw, message)
        return web.Response(
            body=bytes(packed), headers={"Content-Encoding": "snappy"}, content_type="application/x-protobuf"
        )

    async def _stream(self, request: Request, backend: Backend, asked: ReadRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _STREAM_TYPE})
        add_cors(response, request)
        for number, query in enumerate(asked.queries):
            try:
                found = await self._select(request, backend, query)
            except (ApiError, StoreError):
                if not response.prepared:
                    raise
                return _broken_off(request)
            if not response.prepared:
                await response.prepare(request.raw)
            for part in _batches(found):
                await response.write(await asyncio.to_thread(self._frames, part, number))
        if not response.prepared:
            await response.prepare(request.raw)
        await response.write_eof()
        return response

    def _frames(self, part: Selection, number: int) -> memoryview:
        labels = label_messages(with_labels(part.labels, self._settings.external_labels))
        return chunk_writing.frames(chunks_of(part), labels, number, self._settings.read_frame_bytes)


def _broken_off(request: Request) -> web.StreamResponse:
    """Cut a stream off: its status is sent, and all that is left to say is that it is not whole."""
    if request.raw.transport is not None:
        request.raw.transport.abort()
    return web.Response(status=STATUS["internal"])


def chunks_of(part: Selection) -> chunk_writing.Chunks:
    """Write the samples and histograms of series as chunks that do not overlap within a series."""
    breaks, native_breaks = _changes(part)
    floats = chunk_writing.float_chunks(part.offsets, part.times_ms, part.values, breaks)
    if not len(part.natives):
        return floats
    return chunk_writing.joined(
        [floats, chunk_writing.histogram_chunks(part.native_offsets, part.natives, native_breaks)]
    )


def label_messages(table: LabelTable) -> list[bytes]:
    """Return the messages ``Label`` of each row, each with its tag, one after the other in order of names."""
    rows = [b""] * len(table)
    for number, name in enumerate(table.names):
        symbols, which = np.unique(table.values[:, number], return_inverse=True)
        texts = [
            b"" if symbol == ABSENT else read_messages.label(name, table.text(symbol)) for symbol in symbols.tolist()
        ]
        rows = [row + texts[i] for row, i in zip(rows, which.ravel().tolist(), strict=True)]
    return rows


def _kind(asked: ReadRequest) -> int:
    for kind in asked.accepted or [read_messages.SAMPLES]:
        if kind in {read_messages.SAMPLES, read_messages.STREAMED_XOR_CHUNKS}:
            return kind
    named = " ".join(map(str, asked.accepted))
    known = " ".join(f"{name}:{{}}" for name in _NAMES)
    why = f"server does not support any of the requested response types: [{named}]; supported: map[{known}]"
    raise ApiError("bad_data", why)


def _within(matchers: tuple[Matcher, ...], external: Mapping[str, str]) -> list[Matcher]:
    """Replace matchers for external labels, which stored series lack; check the patterns.

    Raises:
        ApiError: A pattern does not compile.
    """
    found = []
    for one in matchers:
        if one.type in {MatchType.REGEX, MatchType.NOT_REGEX}:
            try:
                regex(one.value)
            except HeadraceError as error:
                raise ApiError("internal", str(error)) from None
        if one.type is MatchType.EQUAL and external.get(one.name, "") == one.value:
            found.append(Matcher(one.name, MatchType.EQUAL, ""))
        else:
            found.append(one)
    return found


def _batches(found: Selection) -> Iterator[Selection]:
    """Yield the series in order, so many at a time as have a number of samples together."""
    weights = np.cumsum(np.diff(found.offsets) + np.diff(found.native_offsets))
    marks = np.searchsorted(weights, np.arange(_BATCH_SAMPLES, found.samples, _BATCH_SAMPLES)) + 1
    for begin, end in pairwise(np.unique(np.concatenate([[0], marks, [len(found)]])).tolist()):
        yield part_of(found, begin, end)


def part_of(found: Selection, begin: int, end: int) -> Selection:
    """Return the series from `begin` to before `end`."""
    first, last = found.offsets[begin], found.offsets[end]
    low, high = found.native_offsets[begin], found.native_offsets[end]
    return Selection(
        found.labels.take(np.arange(begin, end)), found.offsets[begin : end + 1] - first,
        found.times_ms[first:last], found.values[first:last], found.native_offsets[begin : end + 1] - low,
        found.natives.take(np.arange(low, high)),
    )  # fmt: skip


def _changes(part: Selection) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which samples, and which histograms, follow one of the other kind in their series."""
    breaks, native_breaks = np.zeros(len(part.times_ms), np.bool_), np.zeros(len(part.natives), np.bool_)
    both = np.flatnonzero((np.diff(part.offsets) > 0) & (np.diff(part.native_offsets) > 0))
    for series in both.tolist():
        begin, end = part.offsets[series : series + 2]
        low, high = part.native_offsets[series : series + 2]
        times, native_times = part.times_ms[begin:end], part.natives.time_ms[low:high]
        # How many of the other kind come before: where that changes, some stand in between.
        breaks[begin:end] = np.diff(np.searchsorted(native_times, times), prepend=0) > 0
        native_breaks[low:high] = np.diff(np.searchsorted(times, native_times), prepend=0) > 0
    return breaks, native_breaks
