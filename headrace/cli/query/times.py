"""Times and durations as the commands take them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from headrace.pipeline.errors import ConfigError
from headrace.store.promql.language.numbers import duration_ms

_DAY_S = 86_400


def parse_time(option: str, text: str, now_s: float) -> float:
    """Return Unix seconds of RFC 3339, Unix seconds, ``now``, or a duration before it such as ``-1h``.

    Raises:
        ConfigError: It is none of these.
    """
    if text == "now":
        return now_s
    if text.startswith("-") and text[-1:].isalpha():
        return now_s - parse_duration(option, text[1:])
    try:
        seconds = float(text)
    except ValueError:
        return _rfc3339(option, text)
    if not math.isfinite(seconds):
        raise ConfigError(option, f"must be a time, got {text}")
    return seconds


def _rfc3339(option: str, text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(option, f"must be RFC 3339, Unix seconds, now or -1h, got {text}") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def parse_duration(option: str, text: str) -> float:
    """Return seconds of a number or of a duration such as ``5m``.

    Raises:
        ConfigError: It is neither, or not positive.
    """
    try:
        seconds = duration_ms(text) / 1000 if text[-1:].isalpha() else float(text)
    except ValueError:
        raise ConfigError(option, f"must be a duration such as 30s or 5m, got {text}") from None
    if not 0 < seconds < math.inf:
        raise ConfigError(option, f"must be positive, got {text}")
    return seconds


def time_text(seconds: float) -> str:
    """Write a time in UTC, with milliseconds where it has any."""
    try:
        time = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"
    return time.isoformat(timespec="milliseconds" if seconds % 1 else "seconds").replace("+00:00", "Z")


def short_time(seconds: float, span_s: float) -> str:
    """Write a time for the axis of a plot that covers `span_s` seconds."""
    try:
        time = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"
    return time.strftime("%Y-%m-%d" if span_s > 3 * _DAY_S else "%H:%M:%S")
