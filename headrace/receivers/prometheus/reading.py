"""From the bytes that a target answered to a page, whichever format they are in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.wire.exposition_proto import ProtoReader
from headrace.pipeline.wire.text import PageReader
from headrace.receivers.prometheus.errors import ScrapeFailed
from headrace.receivers.prometheus.protocols import Format

if TYPE_CHECKING:
    from headrace.pipeline.wire.exposition import Exposition
    from headrace.receivers.prometheus.cache import ScrapeCache
    from headrace.receivers.prometheus.fetch import Body
    from headrace.receivers.prometheus.job import Job

_INLINE_BYTES = 1 << 20
"""Longer pages are read on a thread: one of this size takes the loop a millisecond, and three at first sight."""


class BodyReader:
    """Reads the pages of one target.

    Args:
        job: Says what is taken of native histograms.
        cache: Knows the lines of the last page.
    """

    def __init__(self, job: Job, cache: ScrapeCache) -> None:
        self._cache = cache
        self._text = PageReader(cache.secrets)
        self._proto = ProtoReader(cache.secrets[0], native=job.native, classic=job.classic)

    async def read(self, body: Body) -> Exposition:
        """Return the page of an answer.

        Raises:
            ScrapeFailed: It is not well formed.
        """
        try:
            if len(body.data) <= _INLINE_BYTES:
                return self._read(body)
            return await asyncio.to_thread(self._read, body)
        except (InvalidInput, TooLarge) as error:
            failed = ScrapeFailed("parse", str(error))
            failed.size_bytes = len(body.data)
            raise failed from None

    def _read(self, body: Body) -> Exposition:
        if body.format is Format.PROTO:
            return self._proto.read(body.data)
        # An empty body is a page without samples in any format.
        openmetrics = body.format is Format.OPENMETRICS and bool(body.data)
        return self._text.read(body.data, openmetrics=openmetrics, known=self._cache.lines)
