"""A destination that is down for minutes, and a daemon that is killed meanwhile: does all that was accepted arrive?

``python -m bench.destination_down --minutes 10 --kills 5`` writes numbered samples to a daemon with a queue on disk.
The destination goes down; while it is, the daemon is killed (SIGKILL) and started again at even distances, and once
more while the queue is worked off. Then every sample that was acknowledged has to be at the destination, each series in
order; what came twice is counted. The figures go to ``build/destination_down.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from bench.compare_stores import free_port
from bench.numbered_samples import Destination, Source

if TYPE_CHECKING:
    from collections.abc import Callable

HEADRACE = Path(sys.executable).with_name("headrace")

_CONFIG = """
receivers:
  prometheus_remote_write:
    endpoint: 127.0.0.1:{port}
extensions:
  file_storage:
    directory: {directory}
    fsync: {fsync}
exporters:
  prometheus_remote_write:
    endpoint: http://127.0.0.1:{destination}/api/v1/write
    sending_queue:
      storage: file_storage
      sizer: items
      queue_size: 1000000000
      queue_bytes: {queue_bytes}
    retry_on_failure:
      max_interval: 500ms
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

_SOURCES = 4
_PER_S = 5
"""Requests of each source in a second."""

_START_S = 120.0


@dataclass(frozen=True, slots=True)
class Options:
    """What to do.

    Attributes:
        minutes: How long the destination is down.
        kills: How often the daemon is killed meanwhile.
        samples_per_second: What all sources write.
        queue_bytes: Bytes of the queue that are in memory as well.
        fsync: Whether the daemon waits for the disk.
    """

    minutes: float
    kills: int
    samples_per_second: int = 10_000
    queue_bytes: str = "64MiB"
    fsync: bool = False


class Outage:
    """A daemon between sources and a destination.

    Args:
        options: What to do.
        folder: For its files.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._port = free_port()
        self._destination = Destination(free_port())
        self._queue = folder / "queue"
        self._log = folder / "daemon.log"
        self._config = folder / "config.yaml"
        self._config.write_text(
            _CONFIG.format(
                port=self._port,
                directory=self._queue,
                fsync=str(options.fsync).lower(),
                destination=self._destination.port,
                queue_bytes=options.queue_bytes,
            )
        )
        url = f"http://127.0.0.1:{self._port}/api/v1/write"
        series = max(1, options.samples_per_second // (_SOURCES * _PER_S))
        self._sources = [Source(str(i), url, series, 1 / _PER_S) for i in range(_SOURCES)]
        self._daemon: subprocess.Popen[bytes] | None = None
        self._starts_s: list[float] = []
        self._resident_bytes = 0
        self._disk_bytes = 0

    async def run(self) -> dict[str, float]:
        """Do it and return the figures."""
        done = asyncio.Event()
        await self._destination.up()
        try:
            await self._start()
            tasks = [asyncio.create_task(source.run(done)) for source in self._sources]
            await self._until(lambda: self._destination.samples > 0, "the first samples arrive")
            await self._down()
            drain_s = await self._drain(done, tasks)
        finally:
            self._end()
            await self._destination.down()
        return self._figures(drain_s)

    async def _down(self) -> None:
        """Have the destination be down, and kill the daemon meanwhile."""
        await self._destination.down()
        end_s = time.monotonic() + 60 * self._options.minutes
        for number in range(self._options.kills):
            left = self._options.kills - number
            await asyncio.sleep(max(0.0, (end_s - time.monotonic()) / (left + 1)))
            await self._restart()
            print(f"kill {number + 1}: {self._accepted()} samples accepted, {self._on_disk() >> 20} MiB on disk")
        await asyncio.sleep(max(0.0, end_s - time.monotonic()))
        self._note()

    async def _drain(self, done: asyncio.Event, tasks: list[asyncio.Task[None]]) -> float:
        """Have the destination be up again and wait for everything; return how many seconds that took."""
        began_s = time.monotonic()
        before = self._destination.samples
        await self._destination.up()
        await self._until(lambda: self._destination.samples > before, "samples arrive again")
        await self._restart()
        done.set()
        await asyncio.gather(*tasks)
        limit_s = 120 + 60 * self._options.minutes
        await self._until(lambda: self._missing() == 0, "all samples arrive", limit_s, may_fail=True)
        self._note()
        return time.monotonic() - began_s

    # -- the daemon ----------------------------------------------------------------------------------------

    async def _start(self) -> None:
        began_s = time.monotonic()
        with self._log.open("ab") as log:
            self._daemon = subprocess.Popen(  # noqa: ASYNC220 -- it returns at once
                [HEADRACE, "run", "--config", self._config], stdout=log, stderr=log
            )
        while not await _listens(self._port):
            if self._daemon.poll() is not None or time.monotonic() - began_s > _START_S:
                raise AssertionError(f"the daemon does not start:\n{self._log.read_text()[-2000:]}")
            await asyncio.sleep(0.02)
        self._starts_s.append(time.monotonic() - began_s)

    async def _restart(self) -> None:
        """Kill the daemon and start it again."""
        self._note()
        self._kill()
        await self._start()

    def _kill(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()

    def _end(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(30)
            except subprocess.TimeoutExpired:
                self._kill()

    # -- figures -------------------------------------------------------------------------------------------

    async def _until(
        self, check: Callable[[], bool], what: str, limit_s: float = 60.0, *, may_fail: bool = False
    ) -> None:
        """Wait until `check()` holds; what does not hold in time is an error unless it `may_fail`."""
        end_s = time.monotonic() + limit_s
        while not check():
            if time.monotonic() > end_s:
                if may_fail:
                    return
                raise AssertionError(f"{what}: not within {limit_s:g} s\n{self._log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)

    def _accepted(self) -> int:
        return sum(source.accepted * source.series for source in self._sources)

    def _missing(self) -> int:
        return sum(map(self._destination.missing, self._sources))

    def _on_disk(self) -> int:
        return sum(path.stat().st_size for path in self._queue.rglob("*.queue"))

    def _note(self) -> None:
        """Note what the daemon takes now, before it ends."""
        if self._daemon is not None:
            status = Path(f"/proc/{self._daemon.pid}/status").read_text()
            peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            self._resident_bytes = max(self._resident_bytes, int(peak.split()[1]) << 10)
        self._disk_bytes = max(self._disk_bytes, self._on_disk())

    def _figures(self, drain_s: float) -> dict[str, float]:
        there = self._destination
        return {
            "minutes_down": self._options.minutes,
            "kills_while_down": self._options.kills,
            "kills_while_draining": 1,
            "accepted_samples": self._accepted(),
            "missing_samples": self._missing(),
            "out_of_order_or_skipped_samples": there.skipped,
            "wrong_values": there.wrong,
            "duplicate_samples": there.duplicates,
            "arrived_samples": there.samples,
            "requests_refused": sum(source.refused for source in self._sources),
            "requests_broken": sum(source.broken for source in self._sources),
            "longest_wait_of_a_sender_s": round(max(source.longest_s for source in self._sources), 2),
            "longest_start_s": round(max(self._starts_s), 2),
            "drain_s": round(drain_s, 1),
            "disk_peak_mib": round(self._disk_bytes / 2**20, 1),
            "bytes_on_disk_per_sample": round(self._disk_bytes / max(1, self._accepted()), 2),
            "resident_peak_mib": round(self._resident_bytes / 2**20, 1),
        }


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def measure(options: Options) -> dict[str, float]:
    """Run one outage; return its figures."""
    with tempfile.TemporaryDirectory(prefix="headrace-outage-") as folder:
        return asyncio.run(Outage(options, Path(folder)).run())


def run() -> dict[str, float]:
    """Measure a short outage."""
    return measure(Options(0.2, 3))


def is_good(figures: dict[str, float]) -> bool:
    """Return whether everything arrived, in order."""
    return not (figures["missing_samples"] or figures["out_of_order_or_skipped_samples"] or figures["wrong_values"])


def main() -> int:
    """Run an outage as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--samples-per-second", type=int, default=10_000)
    parser.add_argument("--queue-bytes", default="64MiB")
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("build/destination_down.json"))
    found = parser.parse_args()
    options = Options(found.minutes, found.kills, found.samples_per_second, found.queue_bytes, found.fsync)
    figures = measure(options)
    found.output.parent.mkdir(parents=True, exist_ok=True)
    found.output.write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(f"{name:34} {value:>14,}")
    return 0 if is_good(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
