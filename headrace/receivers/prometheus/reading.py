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
    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.wire.exposition import Exposition
    from headrace.receivers.prometheus.fetch import Body
    from headrace.receivers.prometheus.job import Job

_INLINE_BYTES = 512 * 1024
"""Longer pages are read on a thread: the loop is not held for more than a millisecond or two."""


class BodyReader:
    """Reads the pages of one target.

    Args:
        job: Says what is taken of native histograms.
        secrets: (3, 2) uint64 keys for hashing, as `PageReader` has them.
    """

    def __init__(self, job: Job, secrets: NDArray[np.uint64]) -> None:
        self._text = PageReader(secrets)
        self._proto = ProtoReader(secrets[0], native=job.native, classic=job.classic)

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
        return self._text.read(body.data, openmetrics=body.format is Format.OPENMETRICS and bool(body.data))
