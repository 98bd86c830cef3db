"""Durations and sizes as prometheus.yml spells them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:(\d+){unit})?" for unit in _UNITS_MS), re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTPE]?)i?B", re.ASCII)
_MAX_MS = (1 << 63) // 1_000_000


def parse_duration(text: object) -> timedelta:
    """Read a duration such as ``1m30s``: whole numbers, units from the largest to the smallest, or ``0``.

    Raises:
        ValueError: It is none.

    >>> parse_duration("1h5m")
    datetime.timedelta(seconds=3900)
    """
    if isinstance(text, timedelta):
        return text
    if text == "0" or (text == 0 and not isinstance(text, bool)):
        return timedelta()
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        raise ValueError(f"must be a duration such as 15s or 1m30s, got {text!r}")
    total = sum(int(n) * unit for n, unit in zip(match.groups(), _UNITS_MS.values(), strict=True) if n)
    if total > _MAX_MS:
        raise ValueError(f"is too long a duration: {text!r}")
    return timedelta(milliseconds=total)


def format_duration(value: timedelta) -> str:
    """Write a duration as Prometheus does.

    >>> format_duration(timedelta(seconds=90)), format_duration(timedelta(days=1))
    ('1m30s', '1d')
    """
    left = value // timedelta(milliseconds=1)
    if not left:
        return "0s"
    text = ""
    for unit, size in _UNITS_MS.items():
        # Years, weeks and days stand only where nothing smaller follows, so that 8d is not 1w1d.
        if unit in {"y", "w", "d"} and left % size:
            continue
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text


def parse_size(text: object) -> int:
    """Read a size such as ``10MB`` in bytes; a unit is a power of 1024.

    Raises:
        ValueError: It is none.

    >>> parse_size("15MB")
    15728640
    """
    if text in {0, "0"} and not isinstance(text, bool):
        return 0
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"must be a size with a unit such as 10MB, got {text!r}")
    return int(float(match.group(1)) * (1 << 10 * " KMGTPE".index(match.group(2) or " ")))


def _duration(value: Any) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("duration", "{why}", {"why": str(error)}) from None


def _positive(value: Any) -> timedelta:
    duration = _duration(value)
    if not duration:
        raise PydanticCustomError("duration", "must be more than 0")
    return duration


def _size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return 0
    try:
        return parse_size(value)
    except ValueError as error:
        raise PydanticCustomError("size", "{why}", {"why": str(error)}) from None


_WRITTEN = (PlainSerializer(format_duration, return_type=str), WithJsonSchema({"type": "string", "examples": ["15s"]}))

Duration = Annotated[timedelta, BeforeValidator(_duration), *_WRITTEN]
"""A duration of 0 or more."""

PositiveDuration = Annotated[timedelta, BeforeValidator(_positive), *_WRITTEN]
"""A duration of more than 0."""

Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": ["integer", "string"], "examples": ["10MB"]})]
"""A size in bytes; 0 for none."""
