"""A remote write destination in a process of its own that goes down and up, and keeps all it took, in order.

``python slow_sink.py PORT LOG`` listens until it is ended. Each sample becomes a line of LOG: series, time in
milliseconds, value. A request is logged as a whole before it is answered.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import cramjam

from remote_write_messages import WriteRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = Lock()


def lines(body: bytes) -> Iterator[str]:
    request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    for series in request.timeseries:
        name = ",".join(f"{label.name.decode()}={label.value.decode()}" for label in series.labels)
        for sample in series.samples:
            yield f"{name} {sample.timestamp} {sample.value!r}\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log_path = Path()

    def do_POST(self) -> None:
        text = "".join(lines(self.rfile.read(int(self.headers["Content-Length"]))))
        with _lock, self.log_path.open("a") as file:
            file.write(text)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def main() -> None:
    Handler.log_path = Path(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
