"""Remote write decoders against protobuf's classes with loops in Python, on the same requests.

Both sides end with the same thing: a series number, a time and a value for each sample. Ours is measured in the steady
state (series known) and at first sight.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.kernels.buffers import padded
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.remote_write import RemoteWriteDecoder

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from remote_write_messages import Request, WriteRequest, request_v1, request_v2

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

SERIES = 2000
SAMPLES = (1, 5)
"""Samples of a series in a request: what a scraper sends on, and what a backlog looks like."""


def _series(samples: int) -> list[tuple[dict[str, str], list[tuple[int, float]]]]:
    return [
        (
            {
                "__name__": "http_request_duration_seconds_bucket",
                "instance": f"10.0.{i % 50}.{i % 250}:9100",
                "job": "api",
                "le": str(i % 12),
                "path": f"/api/v1/{i}",
                "pod": f"api-{i % 40}-abcdef",
            },
            [(1_700_000_000_000 + k * 15_000, i + k * 1.5) for k in range(samples)],
        )
        for i in range(SERIES)
    ]


def _with_loops_v1(data: bytes, known: dict[Any, int]) -> int:
    request = WriteRequest()
    request.ParseFromString(data)
    rows = 0
    for series in request.timeseries:
        key = tuple((label.name, label.value) for label in series.labels)
        number = known.setdefault(key, len(known))
        for sample in series.samples:
            _ = (number, sample.timestamp, sample.value)
            rows += 1
    return rows


def _with_loops_v2(data: bytes, known: dict[Any, int]) -> int:
    request = Request()
    request.ParseFromString(data)
    symbols = list(request.symbols)
    rows = 0
    for series in request.timeseries:
        references = series.labels_refs
        key = tuple(symbols[i] for i in references)
        number = known.setdefault(key, len(known))
        for sample in series.samples:
            _ = (number, sample.timestamp, sample.value)
            rows += 1
    return rows


def _best(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def _first_sight(buf: NDArray[np.uint8], size: int, version: str) -> None:
    RemoteWriteDecoder(SeriesTable(), v2=version == "v2").decode(buf, size, BatchContext())


def run() -> dict[str, float]:
    """Measure both versions; CPU seconds, best of several."""
    out: dict[str, float] = {}
    for count in SAMPLES:
        for version, request, loops in (
            ("v1", request_v1(_series(count)), _with_loops_v1),
            ("v2", request_v2(_series(count)), _with_loops_v2),
        ):
            name = f"{version}_{count}_a_series"
            data = request.SerializeToString()
            buf = padded(data)
            decoder = RemoteWriteDecoder(SeriesTable(), v2=version == "v2")
            decoder.decode(buf, len(data), BatchContext())
            steady = _best(partial(decoder.decode, buf, len(data), BatchContext()), 50)
            fresh = _best(partial(_first_sight, buf, len(data), version), 5)
            plain = _best(partial(loops, data, {}), 10)
            out[f"{name}_samples_per_s"] = SERIES * count / steady
            out[f"{name}_loops_samples_per_s"] = SERIES * count / plain
            out[f"{name}_ratio"] = plain / steady
            out[f"{name}_first_sight_us_per_series"] = fresh / SERIES * 1e6
    return out
