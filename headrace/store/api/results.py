"""Query results as JSON, in plain Python: the reference for the compiled writer, and what small answers use."""

from __future__ import annotations

import math
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from headrace.store.api.envelope import encode
from headrace.store.api.label_json import label_objects

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.store.labels import LabelTable


def format_value(value: float) -> str:
    """Print a sample as Prometheus does: shortest digits that read back, with an exponent only far from 1."""
    if not math.isfinite(value) or value == 0 or 1e-6 <= abs(value) < 1e21:
        return format_scalar(value)
    return repr(value).replace(".0e", "e")


def format_scalar(value: float) -> str:
    """Print the value of a scalar as Prometheus does: shortest digits that read back, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def format_time(time_ms: int) -> str:
    """Print milliseconds as seconds: whole, or with three digits."""
    seconds, rest = divmod(abs(time_ms), 1000)
    sign = "-" if time_ms < 0 else ""
    return f"{sign}{seconds}.{rest:03d}" if rest else f"{sign}{seconds}"


def scalar_result(time_ms: int, value: float) -> bytes:
    """Return the result of kind ``scalar``."""
    return f'[{time_ms / 1000:.15g},"{format_scalar(value)}"]'.encode("ascii")


def string_result(time_ms: int, text: str) -> bytes:
    """Return the result of kind ``string``."""
    return f"[{time_ms / 1000:.15g},".encode("ascii") + encode(text) + b"]"


def vector_result(labels: LabelTable, time_ms: int, values: NDArray[np.float64]) -> bytes:
    """Return the result of kind ``vector``: (n,) values of n label sets at one time."""
    time = format_time(time_ms)
    rows = (
        b'{"metric":' + metric + f',"value":[{time},"{format_value(value)}"]}}'.encode("ascii")
        for metric, value in zip(label_objects(labels), values.tolist(), strict=True)
    )
    return b"[" + b",".join(rows) + b"]"


def matrix_result(
    labels: LabelTable, offsets: NDArray[np.int64], times_ms: NDArray[np.int64], values: NDArray[np.float64]
) -> bytes:
    """Return the result of kind ``matrix``.

    Args:
        labels: n label sets, in the order of the answer.
        offsets: (n + 1,); samples of series i are ``offsets[i]:offsets[i + 1]``.
        times_ms: (offsets[-1],) milliseconds.
        values: (offsets[-1],) values.
    """
    rows = []
    for metric, (begin, end) in zip(label_objects(labels), pairwise(offsets.tolist()), strict=True):
        samples = zip(times_ms[begin:end].tolist(), values[begin:end].tolist(), strict=True)
        written = ",".join(f'[{format_time(time)},"{format_value(value)}"]' for time, value in samples)
        rows.append(b'{"metric":' + metric + b',"values":[' + written.encode("ascii") + b"]}")
    return b"[" + b",".join(rows) + b"]"
