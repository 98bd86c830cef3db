"""``sum by (job) (rate(x[5m]))`` over a million series, one hour at steps of 15 s; beside VictoriaMetrics.

Each series has a sample every minute for 66 minutes. The memory of the query is the peak of the process's resident
memory while it runs, above what it had before. Where the peers are missing (`make peers`), only ours is measured.
Not a benchmark of ``make bench``: it takes five minutes and some gigabytes of memory.

    .venv/bin/python -m bench.million_series --series 1000000
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cramjam
import numpy as np

from bench.churn import SERVERS, send
from peer_programs import directory, missing
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bench.churn import Server

QUERY = "sum by (job) (rate(requests_total[5m]))"
JOBS = 50
STEPS = 66
A_REQUEST = 2000
RUNS = 3
_SAMPLE_BYTES = 18
_MINUTE_MS = 60_000


class Measured(NamedTuple):
    """One run of the query.

    Attributes:
        seconds: Until the answer is there.
        cpu_s: CPU time of the server.
        peak_bytes: Resident memory at its peak, above that before the query.
        points: Points of the answer.
        total: Sum of all values.
    """

    seconds: float
    cpu_s: float
    peak_bytes: int
    points: int
    total: float


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=1_000_000)
    series = parser.parse_args().series
    end_ms = (int(time.time()) // 60 - 1) * _MINUTE_MS
    for start in SERVERS[: 1 if missing(directory()) else 2]:
        with tempfile.TemporaryDirectory(prefix="headrace-million-") as name, Programs(Path(name)) as programs:
            server = start(programs, Path(name))
            load(server, series, end_ms)
            for n in range(RUNS):
                found = measure(server, end_ms // 1000)
                print(
                    f"{server.name} run {n + 1}: {found.seconds:.2f} s, CPU {found.cpu_s:.2f} s, peak "
                    f"{found.peak_bytes / 2**20:.0f} MiB above {server.resident_bytes() / 2**20:.0f} MiB, "
                    f"{found.points} points, sum {found.total:.12g}",
                    flush=True,
                )
            server.program.stop(120)
    return 0


def load(server: Server, series: int, end_ms: int) -> None:
    """Write all samples from two connections."""
    failures: list[str] = []
    threads = [
        threading.Thread(target=send, args=(server.port, bodies(series, end_ms, part), failures)) for part in range(2)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise AssertionError(f"{server.name}: {failures[0]}")
    if server.settle:
        server.ask(server.settle)
    print(f"{server.name}: {series * STEPS / 1e6:.0f} M samples written in {time.perf_counter() - began:.0f} s")


def bodies(series: int, end_ms: int, part: int) -> Iterator[bytes]:
    """Yield remote write requests: every second one of all, beginning with `part`."""
    times_ms = end_ms - _MINUTE_MS * np.arange(STEPS - 1, -1, -1, dtype=np.int64)
    for first in range(part * A_REQUEST, series, 2 * A_REQUEST):
        ids = np.arange(first, min(first + A_REQUEST, series))
        rows = samples(ids, times_ms)
        raw = b"".join(message(int(i), row.tobytes()) for i, row in zip(ids, rows, strict=True))
        yield bytes(cramjam.snappy.compress_raw(raw))


def samples(ids: NDArray[np.int64], times_ms: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the encoded samples of counters that grow at a pace of their own, (n, STEPS * 18)."""
    values = (ids[:, None] % 97 + 1) * np.arange(len(times_ms)) * 3.0 + ids[:, None] % 1000
    out = np.empty((*values.shape, _SAMPLE_BYTES), np.uint8)
    out[..., :3] = (0x12, _SAMPLE_BYTES - 2, 0x09)
    out[..., 3:11] = values.astype("<f8")[..., None].view(np.uint8)
    out[..., 11] = 0x10
    for byte in range(6):
        out[..., 12 + byte] = times_ms >> 7 * byte & 127 | (128 if byte < 5 else 0)
    return out.reshape(len(ids), -1)


def message(i: int, encoded: bytes) -> bytes:
    """Return one time series of a remote write request."""
    pairs = (
        ("__name__", "requests_total"), ("instance", f"10.{i >> 14 & 127}.{i >> 7 & 127}.{i & 127}:8080"),
        ("job", f"job-{i % JOBS}"), ("pod", f"app-{i % 400}-{i * 89:08x}-{i:07d}"), ("zone", f"eu-1{'abc'[i % 3]}"),
    )  # fmt: skip
    body = b"".join(field(0x0A, field(0x0A, name.encode()) + field(0x12, text.encode())) for name, text in pairs)
    return field(0x0A, body + encoded)


def field(tag: int, body: bytes) -> bytes:
    """Return a length-delimited field of a protobuf message."""
    size, out = len(body), bytearray([tag])
    while size >= 128:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes(out) + bytes([size]) + body


def measure(server: Server, end_s: int) -> Measured:
    """Ask once."""
    process = Path(f"/proc/{server.program.pid}")
    before, cpu = server.resident_bytes(), server.cpu_s()
    (process / "clear_refs").write_text("5")  # the peak starts anew
    began = time.perf_counter()
    answer = server.ask(
        "/api/v1/query_range", query=QUERY, start=str(end_s - 3600), end=str(end_s), step="15", nocache="1"
    )
    seconds = time.perf_counter() - began
    status = (process / "status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
    values = [float(value) for row in json.loads(answer)["data"]["result"] for _, value in row["values"]]
    return Measured(seconds, server.cpu_s() - cpu, peak - int(before), len(values), sum(values))


if __name__ == "__main__":
    sys.exit(main())
