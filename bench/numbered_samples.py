"""Samples with numbers: a source that counts what was accepted, and a destination that checks what arrives.

Each series counts its samples: sample k has the time ``START_MS + k`` and the value k. So the destination knows of each
sample whether it is the next one, a repetition, or came before one that lies ahead of it.
"""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import cramjam
from aiohttp import web

from headrace.pipeline.wire.protobuf_text import text_field, varint
from remote_write_messages import WriteRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

START_MS = 1_700_000_000_000

_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
_AGAIN_S = 0.05


@dataclass(slots=True)
class Source:
    """Writes one sample of each of its series at a time, and the same again until it is acknowledged.

    Attributes:
        name: Of the sender, a label.
        url: Where it writes to.
        series: How many it has.
        pause_s: Time from one request to the next.
        accepted: Samples of each series that were acknowledged.
        refused: Requests that were answered by 429 or 503.
        broken: Requests that were not answered at all.
        longest_s: Longest time from the first try of a request to its acknowledgement.
    """

    name: str
    url: str
    series: int
    pause_s: float
    accepted: int = 0
    refused: int = 0
    broken: int = 0
    longest_s: float = 0.0

    async def run(self, done: asyncio.Event) -> None:
        """Write until `done` is set and the last request is acknowledged."""
        fronts = list(self._fronts())
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            due_s = time.monotonic()
            while not done.is_set():
                await self._until_accepted(session, self._request(fronts))
                due_s = max(due_s + self.pause_s, time.monotonic() - 5 * self.pause_s)
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _until_accepted(self, session: aiohttp.ClientSession, body: bytes) -> None:
        began_s = time.monotonic()
        while not await self._accepts(session, body):  # noqa: ASYNC110 -- a server that is down tells nobody
            await asyncio.sleep(_AGAIN_S)
        self.accepted += 1
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)

    async def _accepts(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        try:
            async with session.post(self.url, data=body, headers=_HEADERS) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.broken += 1
            return False
        if answer.status in {429, 503}:
            self.refused += 1
            return False
        if answer.status != 204:
            raise AssertionError(f"the daemon answered {answer.status}: {text}")
        return True

    def _fronts(self) -> Iterator[bytes]:
        """Yield the labels of each series."""
        for i in range(self.series):
            labels = {"__name__": "numbered_total", "i": str(i), "job": "bench", "source": self.name}
            pairs = (text_field(1, name) + text_field(2, value) for name, value in labels.items())
            yield b"".join(b"\x0a" + varint(len(pair)) + pair for pair in pairs)

    def _request(self, fronts: list[bytes]) -> bytes:
        sample = b"\x09" + struct.pack("<d", self.accepted) + b"\x10" + varint(START_MS + self.accepted)
        back = b"\x12" + varint(len(sample)) + sample
        bodies = (b"\x0a" + varint(len(front) + len(back)) + front + back for front in fronts)
        return bytes(cramjam.snappy.compress_raw(b"".join(bodies)))


@dataclass(slots=True)
class Destination:
    """Takes remote write while it is up.

    Attributes:
        port: Where it listens.
        newest: Number of the newest sample of each series.
        duplicates: Samples that came again.
        skipped: Samples that came before one that lies ahead of them: out of order, or never.
        wrong: Samples whose value is not the one that was written.
        samples: All that came.
    """

    port: int
    newest: dict[tuple[str, int], int] = field(default_factory=dict)
    duplicates: int = 0
    skipped: int = 0
    wrong: int = 0
    samples: int = 0
    _runner: web.AppRunner | None = None

    async def up(self) -> None:
        """Begin to listen."""
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/api/v1/write", self._take)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def down(self) -> None:
        """Close everything; who connects is refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        message = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(await request.read())))
        for series in message.timeseries:
            labels = {label.name: label.value for label in series.labels}
            key = labels[b"source"].decode(), int(labels[b"i"])
            self.newest[key] = self._checked(self.newest.get(key, -1), series.samples)
        return web.Response(status=204)

    def _checked(self, newest: int, samples: list[WriteRequest]) -> int:
        """Count samples of a series, and return its newest number."""
        self.samples += len(samples)
        for sample in samples:
            number = sample.timestamp - START_MS
            self.wrong += sample.value != number
            if number <= newest:
                self.duplicates += 1
                continue
            self.skipped += number - newest - 1
            newest = number
        return newest

    def missing(self, source: Source) -> int:
        """Return how many samples that a source was acknowledged for are not here yet."""
        found = (self.newest.get((source.name, i), -1) + 1 for i in range(source.series))
        return sum(max(0, source.accepted - one) for one in found)
