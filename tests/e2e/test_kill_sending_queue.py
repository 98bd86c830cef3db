"""The destination is down, the daemon is killed again and again: what was accepted arrives, in order.

HEADRACE_OUTAGE_S says for how long the destination is down, HEADRACE_KILL_ROUNDS how often the daemon is killed
meanwhile: 600 and 5 for the run of ten minutes.
"""

from __future__ import annotations

import http.client
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remote_write_messages import packed, request_v1
from running import HEADRACE, free_port, wait_until

if TYPE_CHECKING:
    from running import Program, Programs

pytestmark = pytest.mark.slow

OUTAGE_S = float(os.environ.get("HEADRACE_OUTAGE_S", "6"))
ROUNDS = int(os.environ.get("HEADRACE_KILL_ROUNDS", "5"))
SENDERS = 4
SERIES = 100
PAUSE_S = 0.02
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
SINK = Path(__file__).parents[1] / "support" / "slow_sink.py"

CONFIG = """
receivers:
  prometheus_remote_write:
    endpoint: 127.0.0.1:{port}
extensions:
  file_storage:
    directory: {directory}
    fsync: {fsync}
exporters:
  prometheus_remote_write:
    endpoint: http://127.0.0.1:{sink}/api/v1/write
    sending_queue:
      storage: file_storage
      queue_size: 10000000
      sizer: items
      queue_bytes: {queue_bytes}
    retry_on_failure:
      max_interval: 200ms
service:
  extensions: [file_storage]
  telemetry:
    metrics:
      level: none
  pipelines:
    metrics:
      receivers: [prometheus_remote_write]
      exporters: [prometheus_remote_write]
"""


class Sender(threading.Thread):
    """Writes numbered samples of its own series, and writes a request again until it is acknowledged."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.number = number
        self.time_ms = int(time.time() * 1000)
        self.acknowledged: list[int] = []
        self.repeated = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                while not self.done.wait(PAUSE_S):
                    self._send(connection)
            except (OSError, http.client.HTTPException):
                # The same samples again: whether they were taken is not known.
                self.repeated += 1
                time.sleep(0.05)
            finally:
                connection.close()

    def _send(self, connection: http.client.HTTPConnection) -> None:
        names = [{"__name__": "n", "i": str(i), "sender": str(self.number)} for i in range(SERIES)]
        body = packed(request_v1([(labels, [(self.time_ms, float(self.time_ms))]) for labels in names]))
        connection.request("POST", "/api/v1/write", body, HEADERS)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 204:
            self.acknowledged.append(self.time_ms)
            self.time_ms += 1
        else:
            assert answer.status in {429, 503}, text


@pytest.mark.timeout(OUTAGE_S * 3 + 240)
@pytest.mark.parametrize(
    ("queue_bytes", "fsync"), [("256MiB", "false"), ("50KiB", "true")], ids=["in-memory-too", "disk-only-fsync"]
)
def test_outage(programs: Programs, tmp_path: Path, queue_bytes: str, fsync: str) -> None:
    """Every acknowledged sample arrives; a series never goes back but to repeat what came before; repeats are told."""
    port, sink = free_port(), free_port()
    config = tmp_path / "config.yaml"
    directory = tmp_path / "queues"
    config.write_text(CONFIG.format(port=port, sink=sink, directory=directory, queue_bytes=queue_bytes, fsync=fsync))
    log = tmp_path / "taken.txt"
    log.touch()

    def start(name: str) -> Program:
        daemon = programs.start(name, [HEADRACE, "run", "--config", config])
        wait_until(lambda: _listens(port), "the daemon listens", 120)
        return daemon

    def start_sink(name: str) -> Program:
        return programs.start(name, [sys.executable, SINK, str(sink), log], env={"PYTHONPATH": str(SINK.parent)})

    destination = start_sink("sink")
    daemon = start("headrace")
    senders = [Sender(port, number) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    wait_until(lambda: log.stat().st_size > 0, "the first samples arrive")
    destination.kill()
    for round_ in range(ROUNDS):
        time.sleep(OUTAGE_S / ROUNDS)
        daemon.kill()
        daemon = start(f"headrace-{round_}")
    start_sink("sink-again")
    time.sleep(1)
    for sender in senders:
        sender.done.set()
        sender.join(30)
    _wait_for_silence(log, senders)
    daemon.stop()
    _check(log, senders)


def _listens(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def _wait_for_silence(log: Path, senders: list[Sender]) -> None:
    """Wait until the newest sample of each sender has arrived."""
    newest = [f"i={SERIES - 1},sender={s.number} {s.acknowledged[-1]} " for s in senders]

    def arrived() -> bool:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4_000_000))
            text = file.read().decode()
        return all(one in text for one in newest)

    wait_until(arrived, "the newest samples arrive", OUTAGE_S + 120)


def _check(log: Path, senders: list[Sender]) -> None:
    taken: dict[str, list[int]] = defaultdict(list)
    with log.open() as file:
        for line in file:
            name, time_ms, value = line.split()
            assert float(value) == int(time_ms), "a value is not the one that was written"
            taken[name].append(int(time_ms))
    accepted = missing = repeats = 0
    for sender in senders:
        for i in range(SERIES):
            found = taken[f"__name__=n,i={i},sender={sender.number}"]
            times = Counter(found)
            accepted += len(sender.acknowledged)
            missing += len(set(sender.acknowledged) - set(times))
            repeats += len(found) - len(times)
            newest = found[0] - 1
            for at in found:
                assert at <= newest + 1, f"{at} came before what lies before it"
                newest = max(newest, at)
    again = sum(sender.repeated for sender in senders)
    print(  # noqa: T201 -- for -s
        f"{OUTAGE_S:g} s down, {ROUNDS} kills: {accepted} samples accepted, {missing} missing, {repeats} twice, "
        f"{again} requests repeated by senders, order kept"
    )
    assert missing == 0
    assert accepted > 0
