"""Durations and sizes as configuration files spell them."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS_US = {
    "ns": 1e-3,
    "us": 1.0,
    "\u00b5s": 1.0,  # the micro sign
    "\u03bcs": 1.0,  # the Greek letter
    "ms": 1e3,
    "s": 1e6,
    "m": 60e6,
    "h": 3600e6,
    "d": 86_400e6,
    "w": 7 * 86_400e6,
    "y": 365 * 86_400e6,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h|d|w|y)")

_BYTE_UNITS = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")


def parse_duration(text: str | float | timedelta) -> timedelta:
    """Read a duration.

    Args:
        text: Go's spelling (``1m30s``, ``500ms``, ``1.5h``) with the units ``d``, ``w`` and ``y`` of Prometheus, an
            optional sign, or 0.

    Raises:
        ValueError: It is none; plain numbers but 0 are none, since their unit would be a guess.

    >>> parse_duration("1m30s")
    datetime.timedelta(seconds=90)
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str):
        if text == 0 and not isinstance(text, bool):
            return timedelta()
        raise ValueError(f"must be a duration with a unit such as 30s or 1m, got {text!r}")
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body.removeprefix("-").removeprefix("+")
    if body == "0":
        return timedelta()
    parts = _PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f"must be a duration with a unit such as 30s or 1m, got {text!r}")
    microseconds = sum(float(number) * _UNITS_US[unit] for number, unit in parts)
    try:
        return sign * timedelta(microseconds=microseconds)
    except OverflowError:
        raise ValueError(f"is too long a duration: {text!r}") from None


def format_duration(value: timedelta) -> str:
    """Write a duration in Go's units.

    >>> format_duration(timedelta(minutes=1, milliseconds=500))
    '1m500ms'
    """
    left = abs(value) // timedelta(microseconds=1)
    if not left:
        return "0s"
    text = "-" if value < timedelta() else ""
    for unit in ("h", "m", "s", "ms", "us"):
        count, left = divmod(left, int(_UNITS_US[unit]))
        text += f"{count}{unit}" if count else ""
    return text


def parse_size(text: str | int) -> int:
    """Read a size in bytes: a whole number, or one with a unit.

    Raises:
        ValueError: It is none.

    >>> parse_size("10MiB"), parse_size("1.5kB")
    (10485760, 1500)
    """
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise ValueError(f"must not be negative, got {text}")
        return text
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    factor = _BYTE_UNITS.get(match.group(2).lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"must be a size such as 512KiB or 10MB, got {text!r}")
    return int(float(match.group(1)) * factor)
