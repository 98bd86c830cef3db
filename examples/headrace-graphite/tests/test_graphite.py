"""Graphite's plaintext protocol, both ways."""

import asyncio
import math
import socket
from typing import Any, ClassVar

import pytest
from headrace_graphite.exporter import FACTORY as EXPORTER
from headrace_graphite.lines import read_line, write_line
from headrace_graphite.receiver import FACTORY as RECEIVER
from headrace_graphite.receiver import GraphiteReceiver

from headrace.testing.batches import make_batch, rows
from headrace.testing.exporters import ExporterContract
from headrace.testing.hosts import running
from headrace.testing.receivers import ReceiverContract

TEXT = b"disk.used;host=a;disk=sda 12.5 1700000000\nbad line\nload 3 1700000001.5\n"


async def send(port: int, text: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.close()
    await writer.wait_closed()


class TestReceiver(ReceiverContract):
    """The contract, and what lines become."""

    factory = RECEIVER
    config: ClassVar[dict[str, Any]] = {"endpoint": "127.0.0.1:0"}

    async def provoke(self, receiver: GraphiteReceiver) -> None:
        await send(receiver.port, TEXT)

    def test_lines_become_points(self) -> None:
        """With tags as labels; what is no line is counted."""

        async def receive() -> None:
            receiver = self.make()
            async with running(receiver, self.host):
                await send(receiver.port, TEXT)
                await self._some()

        asyncio.run(receive())
        assert [row for batch in self.sink.batches for row in rows(batch)] == [
            ('disk.used{disk="sda", host="a"}', 1_700_000_000_000_000_000, 12.5),
            ("load", 1_700_000_001_500_000_000, 3.0),
        ]
        assert self.settings.drops.total("malformed") == 1


class TestExporter(ExporterContract):
    """The contract, into a server that counts lines."""

    factory = EXPORTER

    def renew(self) -> None:
        super().renew()
        self.lines: list[bytes] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def configuration(self) -> dict[str, Any]:
        return {"endpoint": f"127.0.0.1:{self.port}"}

    async def open(self) -> None:
        self._ended = asyncio.Event()
        self._open = 0

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open += 1
            self.lines += (await reader.read(-1)).splitlines()
            writer.close()
            self._open -= 1
            self._ended.set()

        self._server = await asyncio.start_server(take, "127.0.0.1", self.port)

    async def close(self) -> None:
        await asyncio.sleep(0.05)  # for a connection that has only just come
        while self._open:
            await self._ended.wait()
        self._server.close()

    def arrived(self) -> int:
        return len(self.lines)

    def test_a_line_has_path_tags_value_and_time(self) -> None:
        """In this order."""
        self._deliver(self.batches())
        assert self.lines[0] == b"requests_total;code=200 1.0 1700000000"

    def test_what_is_no_number_is_counted(self) -> None:
        """Graphite has no line for it."""
        self._deliver([make_batch(["a", "b"], value=[math.nan, 1.0])])
        assert (len(self.lines), self.settings.drops.total("not_a_number")) == (1, 1)


def test_a_line_that_was_written_is_read_again() -> None:
    """Apart from characters that end a tag."""
    point = read_line("a.b;k=v 1.5 17")
    assert read_line(write_line(point.series, 1.5, 17_000_000_000)) == point


@pytest.mark.parametrize("line", ["", "a 1", "a x 1", "a 1 x", "a nan 1", ";k=v 1 1", "a;k 1 1", "a;k= 1 1", "a 1 1 1"])
def test_what_is_no_line(line: str) -> None:
    """Nothing is made of it."""
    with pytest.raises(ValueError, match=r".+"):
        read_line(line)


def test_no_time_is_now() -> None:
    """Graphite takes -1 for the time at which a line comes."""
    assert read_line("a 1 -1").time_ns is None
