"""The notation of values in test scripts: numbers, gaps, histograms, repeats; and offsets of start timestamps.

Source:
    Prometheus, PromQL test language, "Series notation".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.config.durations import parse_duration
from headrace.testing.promql_script_histograms import Histogram, read_histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

STALE = float(np.uint64(0x7FF0000000000002).view(np.float64))

Item = float | Histogram | None
"""A value of a series; None for a gap."""

_ITEM = re.compile(r"(?:\{\{.*?\}\}|\S)+")
_REPEAT = re.compile(r"^(?P<first>.+?)(?:(?P<sign>[+-])(?P<delta>[^+-]+|[^+-]*[eE][+-]?\d+))?x(?P<count>\d+)$")
_HISTOGRAM = re.compile(
    r"^\{\{(?P<first>.*?)\}\}(?:(?P<sign>[+-])\{\{(?P<delta>.*?)\}\})?(?:x(?P<count>\d+))?$", re.DOTALL
)
_HEX = re.compile(r"^[+-]?0[xX](?!\d+$)")  # 0x59 means 60 zeros
_START = re.compile(r"^(?P<first>[+-]?[0-9a-z.]+?)(?:(?P<sign>[+-])(?P<delta>[0-9a-wyz.]+))?(?:x(?P<count>\d+))?$")


def number(text: str) -> float:
    """Read a number as the scripts write it."""
    if _HEX.match(text):
        return float(int(text, 16))
    return float(text)


def duration_ms(text: str) -> int:
    """Read a duration, signed or not, in milliseconds."""
    return round(parse_duration(text.removeprefix("+")).total_seconds() * 1000)


def values(text: str) -> list[Item]:
    """Expand the notation of series values.

    Raises:
        ValueError: It is not understood.

    >>> values("1+2x2 _ 5x1")
    [1.0, 3.0, 5.0, None, 5.0, 5.0]
    """
    return [value for match in _ITEM.finditer(text) for value in _expanded(match.group())]


def _expanded(item: str) -> Iterator[Item]:
    if (gaps := _gaps(item)) is not None:
        yield from [None] * gaps
    elif item == "stale":
        yield STALE
    elif item.startswith("{{"):
        yield from _histograms(item)
    elif (match := None if _HEX.match(item) else _REPEAT.match(item)) is not None:
        value = number(match["first"])
        delta = number(match["delta"]) if match["delta"] else None
        for _ in range(int(match["count"]) + 1):
            yield value
            if delta is not None:
                value = value - delta if match["sign"] == "-" else value + delta
    else:
        yield number(item)


def _gaps(item: str) -> int | None:
    if item == "_":
        return 1
    return int(item[2:]) if item.startswith("_x") else None


def _histograms(item: str) -> Iterator[Histogram]:
    match = _HISTOGRAM.match(item)
    if match is None or (match["delta"] is not None and match["count"] is None):
        raise ValueError(f"cannot read {item!r}")
    value = read_histogram(match["first"])
    delta = None if match["delta"] is None else read_histogram(match["delta"])
    for _ in range(int(match["count"] or 0) + 1):
        yield value
        if delta is not None:
            value = value.plus(delta, -1 if match["sign"] == "-" else 1)


def starts(text: str) -> list[int | None]:
    """Expand the notation of start timestamps: milliseconds relative to the sample's time, None for unknown.

    Raises:
        ValueError: It is not understood.

    >>> starts("_x2 -30s-1mx1 0")
    [None, None, -30000, -90000, 0]
    """
    out: list[int | None] = []
    for item in text.split():
        gaps = _gaps(item)
        out += [None] * gaps if gaps is not None else _offsets(item)
    return out


def _offsets(item: str) -> list[int]:
    match = _START.match(item)
    if match is None or (match["delta"] is not None and match["count"] is None):
        raise ValueError(f"cannot read {item!r}")
    delta = duration_ms(match["delta"]) if match["delta"] else 0
    delta = -delta if match["sign"] == "-" else delta
    return [duration_ms(match["first"]) + i * delta for i in range(int(match["count"] or 0) + 1)]
