"""Fetch a page: bodies are bounded before they are unpacked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.inflate import GZIP_BITS, Corrupt, inflater
from headrace.receivers.prometheus.errors import ScrapeFailed
from headrace.receivers.prometheus.protocols import Format, accept, format_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.prometheus_http import PrometheusClient
    from headrace.receivers.prometheus.job import Job
    from headrace.receivers.prometheus.targets import Target

MAX_BODY_BYTES = 256 << 20
"""Bytes of a page where the job sets no limit."""

_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """What a target answered.

    Attributes:
        data: The page.
        format: What it is in.
    """

    data: bytes
    format: Format


class Fetcher:
    """Fetches the pages of a job's targets.

    Args:
        job: The job.
        client: Made with the job's settings; bodies come as they were sent.
    """

    def __init__(self, job: Job, client: PrometheusClient) -> None:
        self._job = job
        self._client = client
        self.limit = min(job.body_size_limit or MAX_BODY_BYTES, MAX_BODY_BYTES)
        self._headers = {
            "Accept": accept(job.protocols, job.escaping),
            "Accept-Encoding": "gzip" if job.config.enable_compression else "identity",
        }

    def start(self) -> None:
        """Read the files of credentials, and those of TLS where targets are asked over it.

        Raises:
            ConfigError: One of them does not load.
        """
        self._client.start(secure=self._job.config.scheme == "https")

    async def close(self) -> None:
        """Close the connections; safe twice."""
        await self._client.close()

    async def fetch(self, target: Target) -> Body:
        """Return the page of `target`.

        Raises:
            ScrapeFailed: There is none.
        """
        timeout_s = target.timeout.total_seconds()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._fetch(target, timeout_s)
        except TimeoutError:
            raise ScrapeFailed("timeout", f"the target did not answer in {timeout_s:g} s") from None
        except (aiohttp.ClientError, ConfigError, OSError, ValueError) as error:
            raise ScrapeFailed("connection", f"{type(error).__name__}: {error}"[:500]) from error

    async def _fetch(self, target: Target, timeout_s: float) -> Body:
        headers = {**self._headers, "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_s:g}"}
        async with self._client.get(target.url, headers) as answer:
            if answer.status != HTTPStatus.OK:
                raise ScrapeFailed("http_status", f"server returned HTTP status {answer.status} {answer.reason}")
            format_ = format_of(answer.headers.get("Content-Type", ""), self._job.config.fallback_scrape_protocol)
            data = await read_body(answer.content, answer.headers.get("Content-Encoding", ""), self.limit)
            return Body(data, format_)


async def read_body(stream: aiohttp.StreamReader, encoding: str, limit: int) -> bytes:
    """Read a body to its end.

    Args:
        stream: The bytes as sent.
        encoding: ``gzip``, or empty.
        limit: Most bytes, as sent and unpacked.

    Raises:
        ScrapeFailed: It is longer, or does not unpack.
    """
    if encoding.lower() not in {"", "identity", "gzip", "x-gzip"}:
        raise ScrapeFailed("encoding", f"the target answered with Content-Encoding {encoding!r}")
    unpacker = _Gunzip(limit) if encoding.lower().endswith("gzip") else None
    pieces: list[bytes] = []
    size = 0
    async for piece in stream.iter_chunked(_PIECE):
        for made in (piece,) if unpacker is None else unpacker.undo(piece):
            pieces.append(made)
            size += len(made)
        if size > limit:
            raise _too_long(limit)
    if unpacker is not None:
        unpacker.finish()
    return b"".join(pieces)


class _Gunzip:
    """Unpacks gzip in steps that never make more than one byte past a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = limit + 1
        self._member = inflater(GZIP_BITS)
        self._begun = False

    def undo(self, piece: bytes) -> Iterator[bytes]:
        """Yield what `piece` unpacks to.

        Raises:
            ScrapeFailed: It does not, or it would be more than the limit.
        """
        try:
            while piece:
                if self._member.eof:
                    self._member = inflater(GZIP_BITS)
                self._begun = True
                made = self._member.decompress(piece, self._room)
                self._room -= len(made)
                if not self._room:
                    raise _too_long(self._limit)
                yield made
                piece = self._member.unconsumed_tail or self._member.unused_data
        except Corrupt as error:
            raise ScrapeFailed("encoding", f"the body is not gzip: {error}") from None

    def finish(self) -> None:
        """Check that nothing is missing."""
        if self._begun and not self._member.eof:
            raise ScrapeFailed("encoding", "the gzip body is cut off")


def _too_long(limit: int) -> ScrapeFailed:
    failed = ScrapeFailed("body_size_limit", f"body size limit exceeded: more than {limit} bytes")
    failed.size_bytes = -1
    return failed
