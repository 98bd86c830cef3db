"""Query results with native histograms as JSON.

Source:
    Prometheus, "HTTP API", section "Native histograms".
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.api import native_json_kernels as kernels
from headrace.store.api.label_json import label_objects
from headrace.store.api.results import format_time, format_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.store.labels import LabelTable
    from headrace.store.promql.natives.columns import NativeRanges, Natives
    from headrace.store.promql.natives.float_histograms import FloatHistograms

_PART_BYTES = 4 << 20
"""Room for the histograms that are written at a time."""

_HEAD, _MIDDLE, _TAIL = (
    np.array(bytearray(text.encode("ascii")), np.uint8) for text in ('{"count":', ',"sum":', ',"buckets":[')
)


def written(histograms: FloatHistograms) -> Iterator[str]:
    """Yield each histogram as JSON."""
    columns = histograms.columns
    room = np.cumsum(kernels.FRAME_BYTES + kernels.BUCKET_BYTES * (np.diff(histograms.starts) + 1))
    begin = 0
    while begin < len(histograms):
        before = int(room[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(room, before + _PART_BYTES)), begin + 1)
        out, bounds = np.empty(int(room[end - 1]) - before, np.uint8), np.empty(end - begin + 1, np.int64)
        kernels.write(columns, begin, bounds, _HEAD, _MIDDLE, _TAIL, out)
        text = out[: bounds[-1]].tobytes().decode("ascii")
        yield from (text[first:last] for first, last in pairwise(bounds.tolist()))
        begin = end


def vector_result(labels: LabelTable, time_ms: int, values: NDArray[np.float64], natives: Natives) -> bytes:
    """Return the result of kind ``vector``: (n,) values of n label sets at one time, or histograms in their place."""
    time = format_time(time_ms)
    places = natives.rows[:, 0]
    found = written(natives.histograms.take(places[places >= 0]))
    rows = []
    for metric, value, native in zip(label_objects(labels), values.tolist(), places.tolist(), strict=True):
        text = f'"histogram":[{time},{next(found)}]' if native >= 0 else f'"value":[{time},"{format_value(value)}"]'
        rows.append(b'{"metric":' + metric + b"," + text.encode("ascii") + b"}")
    return b"[" + b",".join(rows) + b"]"


def matrix_result(
    labels: LabelTable,
    offsets: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    natives: NativeRanges,
) -> bytes:
    """Return the result of kind ``matrix``.

    Args:
        labels: n label sets, in the order of the answer.
        offsets: (n + 1,); samples of series i are ``offsets[i]:offsets[i + 1]``.
        times_ms: (offsets[-1],) milliseconds.
        values: (offsets[-1],) values.
        natives: Histograms of the same series.
    """
    rows = []
    found = written(natives.histograms)
    native_times = natives.times_ms.tolist()
    bounds = zip(label_objects(labels), pairwise(offsets.tolist()), pairwise(natives.offsets.tolist()), strict=True)
    for metric, (begin, end), (first, last) in bounds:
        parts = [b'{"metric":' + metric]
        if end > begin:
            samples = zip(times_ms[begin:end].tolist(), values[begin:end].tolist(), strict=True)
            numbers = ",".join(f'[{format_time(time)},"{format_value(value)}"]' for time, value in samples)
            parts.append(b'"values":[' + numbers.encode("ascii") + b"]")
        if last > first:
            points = ",".join(f"[{format_time(time)},{next(found)}]" for time in native_times[first:last])
            parts.append(b'"histograms":[' + points.encode("ascii") + b"]")
        rows.append(b",".join(parts) + b"}")
    return b"[" + b",".join(rows) + b"]"
