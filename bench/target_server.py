"""Many scrape targets in one process, cheap to serve: ``python -m bench.target_server`` for the benchmarks beside it.

Target number i is ``127.0.x.y:PORT`` with an address of its own, so that a scraper keeps a connection to each. Pages
are rendered once an interval for each of a few kinds of targets, and handed out as bytes; counters go up. With
``--attack`` one more target invents series: each of its pages has new ones only.

``127.0.0.1:PORT/stats`` returns what was served: for each target when, Unix seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field

KINDS = 16
"""Pages that differ at a time."""

FAMILY = 10
"""Series of a family."""

CONTROL = "127.0.0.1"
ATTACKER = "127.0.250.1"
_TYPE = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"


def address(number: int) -> str:
    """Return the address of a target."""
    return f"127.0.{1 + number // 250}.{1 + number % 250}"


def page(kind: int, generation: int, series: int) -> bytes:
    """Return a page of `series` samples; half of the values change from one generation to the next.

    Labels differ without the name, too, so that a query can count samples over all names.
    """
    lines = []
    for i in range(series):
        family, member = divmod(i, FAMILY)
        if not member:
            lines.append(f"# TYPE bench_metric_{family}_total counter\n")
        value = kind * 1000 + i + (generation * (i % 7 + 1) if i % 2 else 0)
        lines.append(f'bench_metric_{family}_total{{code="{200 + member}",path="/api/v1/items/{i}"}} {value}\n')
    return "".join(lines).encode()


@dataclass
class Served:
    """What the process serves, and has served.

    Attributes:
        series: Samples of a page.
        interval_s: Time between two pages of the same target.
        attack: New series of each page of the attacker.
        times: When pages were handed out, by address.
        invented: Series that the attacker has invented.
        attacking: Whether it does.
    """

    series: int
    interval_s: float
    attack: int
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    invented: int = 0
    attacking: bool = False
    _generation: int = -1
    _pages: dict[int, bytes] = field(default_factory=dict)

    def answer(self, host: str, path: str) -> bytes:
        """Return an answer, head and body."""
        if host == CONTROL:
            return self._control(path)
        self.times[host].append(time.time())
        if host == ATTACKER:
            return _response(self._invent())
        return self._page(host)

    def _page(self, host: str) -> bytes:
        generation = int(time.time() / self.interval_s)
        if generation != self._generation:
            self._generation, self._pages = generation, {}
        _, _, x, y = map(int, host.split("."))
        kind = (x * 250 + y) % KINDS
        found = self._pages.get(kind)
        if found is None:
            found = self._pages[kind] = _response(page(kind, generation, self.series))
        return found

    def _invent(self) -> bytes:
        if not self.attacking:
            return b'bench_attack_total{user="0"} 1\n'
        first = self.invented + 1
        self.invented += self.attack
        lines = (f'bench_attack_total{{user="{i:08}",method="GET"}} 1\n' for i in range(first, self.invented + 1))
        return "".join(lines).encode()

    def _control(self, path: str) -> bytes:
        if path in {"/attack", "/peace"}:
            self.attacking = path == "/attack"
        return _response(json.dumps({"times": self.times, "invented": self.invented}).encode())


class _Connection(asyncio.Protocol):
    """Answers GET requests one after the other, on a connection that stays."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._host: str = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            path = self._buffer.split(b" ", 2)[1].decode()
            self._buffer = self._buffer[end + 4 :]
            self._transport.write(self._served.answer(self._host, path))


def _response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + _TYPE + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def serve(targets: int, port: int, served: Served) -> None:
    """Serve until cancelled."""
    hosts = [CONTROL, *(address(i) for i in range(targets)), *([ATTACKER] if served.attack else [])]
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(served), hosts, port, backlog=64)
    await server.serve_forever()


def main() -> None:
    """Serve what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=15.0, help="seconds between two pages of a target")
    parser.add_argument("--attack", type=int, default=0, help="new series of each page of one more target")
    options = parser.parse_args()
    asyncio.run(serve(options.targets, options.port, Served(options.series, options.interval, options.attack)))


if __name__ == "__main__":
    main()
