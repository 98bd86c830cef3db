"""kill -9 under remote write load: what was answered 204 is there after the restart, once."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from remote_write_messages import packed, request_v1
from running import HEADRACE, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from running import Programs

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("HEADRACE_KILL_ROUNDS", "5"))
SERIES = 100
SENDERS = 4
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}


class Sender(threading.Thread):
    """Writes numbered samples of its own series, one request after the other, until the connection breaks."""

    def __init__(self, port: int, number: int, start_ms: int) -> None:
        super().__init__()
        self.port = port
        self.number = number
        self.time_ms = start_ms
        self.acknowledged: list[int] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            while True:
                self.time_ms += 1
                names = [{"__name__": "n", "sender": str(self.number), "i": str(i)} for i in range(SERIES)]
                body = packed(request_v1([(labels, [(self.time_ms, float(self.time_ms))]) for labels in names]))
                connection.request("POST", "/api/v1/write", body, HEADERS)
                answer = connection.getresponse()
                text = answer.read()
                assert answer.status == 204, text
                self.acknowledged.append(self.time_ms)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


def test_rounds(programs: Programs, tmp_path: Path) -> None:
    """Every round on the same directory."""
    generator = random.Random()
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [HEADRACE, "serve", "--data-dir", tmp_path / "data", "--listen", f"127.0.0.1:{port}"]
    began_ms = int(time.time() * 1000) - 300_000
    sent: list[set[int]] = [set() for _ in range(SENDERS)]
    times = [began_ms] * SENDERS
    for round_ in range(ROUNDS):
        daemon = programs.start(f"headrace-{round_}", command)
        daemon.wait_http(f"{base}/-/ready", 120)
        senders = [Sender(port, number, times[number]) for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        time.sleep(generator.uniform(0.3, 1.5))
        daemon.kill()
        for sender in senders:
            sender.join(30)
            sent[sender.number].update(sender.acknowledged)
            times[sender.number] = sender.time_ms
    daemon = programs.start("last", command)
    daemon.wait_http(f"{base}/-/ready", 120)
    acknowledged = missing = twice = 0
    for number, expected in enumerate(sent):
        assert expected, "nothing was acknowledged"
        end_s = (max(times) + 1000) / 1000
        for series in ask(base, f'n{{sender="{number}"}}[1h]', end_s):
            found = [round(at * 1000) for at, value in series["values"] if float(value) == round(at * 1000)]
            assert len(found) == len(series["values"]), "a value is not the one that was written"
            acknowledged += len(expected)
            missing += len(expected - set(found))
            twice += len(found) - len(set(found))
    print(f"{ROUNDS} rounds: {acknowledged} acknowledged, {missing} missing, {twice} twice")  # noqa: T201 -- for -s
    assert acknowledged == SERIES * sum(map(len, sent))
    assert (missing, twice) == (0, 0)


def ask(base: str, query: str, at: float) -> list[dict[str, Any]]:
    form = urllib.parse.urlencode({"query": query, "time": f"{at:.3f}"})
    with urllib.request.urlopen(f"{base}/api/v1/query?{form}", timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found
