"""Lines of Graphite's plaintext protocol.

Source:
    Graphite documentation, "Feeding In Your Data", "Graphite Tag Support".
"""

import math
from typing import NamedTuple

from headrace.pipeline.identity import METRIC_NAME, Series


class Point(NamedTuple):
    """A line.

    Attributes:
        series: Path and tags.
        value: Any number but NaN.
        time_ns: Unix nanoseconds; None for the time at which the line came.
    """

    series: Series
    value: float
    time_ns: int | None


def read_line(line: str) -> Point:
    """Read a line.

    Raises:
        ValueError: It is none.
    """
    path, value, seconds = line.split()
    name, *tags = path.split(";")
    pairs = [tag.partition("=") for tag in tags]
    number = float(value)
    if not name or math.isnan(number) or not all(key and equals and text for key, equals, text in pairs):
        raise ValueError(f"no line of Graphite: {line!r}")
    series = Series.of({**{key: text for key, _, text in pairs}, METRIC_NAME: name})
    time_s = float(seconds)
    return Point(series, number, None if time_s < 0 else round(time_s * 1e9))


def write_line(series: Series, value: float, time_ns: int) -> str:
    """Write a line; characters that would end a path or a tag become underscores."""
    tags = [f";{_clean(name)}={_clean(text)}" for name, text in series.labels if name != METRIC_NAME]
    return f"{_clean(series.name)}{''.join(tags)} {value!r} {time_ns // 1_000_000_000}\n"


def _clean(text: str) -> str:
    return "".join("_" if c in ";=" or c.isspace() else c for c in text)
