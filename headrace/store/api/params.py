"""Parameters of the HTTP API: times, durations and limits, with Prometheus' rules and texts.

Numbers are read as Go's ``strconv`` reads them: hexadecimal floats and underscores between digits are fine, blanks and
other scripts' digits are not. Where Go's conversions of NaN, infinities and other numbers beyond int64 are undefined,
this module refuses them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headrace.store.api.errors import ApiError, invalid_parameter
from headrace.store.api.quoting import go_quote

if TYPE_CHECKING:
    from headrace.pipeline.http.form import Form

NS = 1_000_000_000
MS = 1_000_000
"""Nanoseconds of a millisecond."""

_INT64_MAX = 2**63 - 1
_SPAN_S = _INT64_MAX // 1000 - 62135596801
MIN_TIME_NS = -_SPAN_S * NS
MAX_TIME_NS = _SPAN_S * NS + NS - 1
"""The times that mean "since ever" and "for ever": Prometheus' own bounds."""

_BOUNDS = {
    "-292273086-05-16T16:47:06Z": MIN_TIME_NS,
    "292277025-08-18T07:12:54.999999999Z": MAX_TIME_NS,
}

_DECIMAL = re.compile(r"[+-]?(?:\d(?:_?\d)*\.?(?:\d(?:_?\d)*)?|\.\d(?:_?\d)*)(?:[eE][+-]?\d(?:_?\d)*)?", re.ASCII)
_HEX = re.compile(r"[+-]?0[xX](?:_?[0-9a-fA-F])*\.?(?:[0-9a-fA-F](?:_?[0-9a-fA-F])*)?[pP][+-]?\d(?:_?\d)*", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII)
_DURATION_NS = (365 * 86400 * NS, 7 * 86400 * NS, 86400 * NS, 3600 * NS, 60 * NS, NS, MS)
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_ENTRIES = 10
_MAX_ENTRIES = 10_000
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_MAX_DIGITS = 400
"""A longer number is refused unread: Python's conversions of long digit strings are quadratic."""


def go_text(text: str) -> str:
    """Replace bytes that are not UTF-8 as Go's decoder does."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text) if not text.isascii() else text


def go_float(text: str) -> float | None:
    """Read a number as ``strconv.ParseFloat`` does; None for what it does not take, and for NaN and infinities."""
    if len(text) > _MAX_DIGITS:
        return None
    if _DECIMAL.fullmatch(text):
        value = float(text)
    elif _HEX.fullmatch(text):
        try:
            value = float.fromhex(text.replace("_", ""))
        except (OverflowError, ValueError):
            return None
    else:
        return None
    return value if abs(value) != float("inf") else None


def time_ns(text: str) -> int:
    """Read a time: seconds since 1970, or RFC 3339.

    Seconds are rounded to milliseconds, as Prometheus does, because a float cannot hold more.

    Raises:
        ValueError: It is neither; the text is Prometheus'.
    """
    seconds = go_float(text)
    if seconds is not None and abs(seconds) <= _SPAN_S:
        whole = int(seconds)
        return whole * NS + _round_half_away((seconds - whole) * 1000) * MS
    found = _BOUNDS.get(text)
    if found is None:
        found = _rfc3339(text)
    if found is None:
        raise ValueError(f"cannot parse {go_quote(text)} to a valid timestamp")
    return found


def duration_ns(text: str) -> int:
    """Read a duration: seconds, or Prometheus' ``1h30m``.

    Raises:
        ValueError: It is neither; the text is Prometheus'.
    """
    seconds = go_float(text)
    if seconds is not None:
        value = seconds * NS
        if not abs(value) < 2**63:
            raise ValueError(f"cannot parse {go_quote(text)} to a valid duration. It overflows int64")
        return int(value)
    found = _written_duration(text)
    if found is None:
        raise ValueError(f"cannot parse {go_quote(text)} to a valid duration")
    return found


def time_parameter(form: Form, name: str, default_ns: int) -> int:
    """Return parameter `name` in nanoseconds; the default where it is empty."""
    text = form.get(name)
    if not text:
        return default_ns
    try:
        return time_ns(text)
    except ValueError as error:
        raise invalid_parameter(name, f"invalid time value for '{name}': {error}") from None


def required_time(form: Form, name: str) -> int:
    """Return parameter `name` in nanoseconds; an empty one is no time."""
    try:
        return time_ns(form.get(name))
    except ValueError as error:
        raise invalid_parameter(name, str(error)) from None


def timeout_parameter(form: Form) -> float | None:
    """Return parameter ``timeout`` in seconds, None where it is empty."""
    text = form.get("timeout")
    if not text:
        return None
    try:
        return duration_ns(text) / NS
    except ValueError as error:
        raise invalid_parameter("timeout", str(error)) from None


def lookback_parameter(form: Form) -> int | None:
    """Return parameter ``lookback_delta`` in milliseconds; None where it is empty or zero."""
    text = form.get("lookback_delta")
    if not text:
        return None
    try:
        return max(0, duration_ns(text) // MS) or None
    except ValueError as error:
        raise ApiError("bad_data", f"error parsing lookback delta duration: {error}") from None


def limit_parameter(form: Form) -> int:
    """Return parameter ``limit``; 0 for none."""
    text = form.get("limit")
    if not text:
        return 0
    try:
        value = integer(text, "strconv.Atoi")
    except ValueError as error:
        raise invalid_parameter("limit", str(error)) from None
    if value < 0:
        raise invalid_parameter("limit", "limit must be non-negative")
    return value


def entries_parameter(form: Form) -> int:
    """Return parameter ``limit`` where it is a number of entries: 10 where it is empty."""
    text = form.get("limit")
    if not text:
        return _ENTRIES
    value = _integer(text)
    if value is None or value < 1:
        raise ApiError("bad_data", "limit must be a positive number")
    if value > _MAX_ENTRIES:
        raise ApiError("bad_data", f"limit must not exceed {_MAX_ENTRIES}")
    return value


def number_parameter(form: Form, name: str, default: int) -> int:
    """Return the whole number `name`, which may be negative; the default where it is empty."""
    text = form.get(name)
    if not text:
        return default
    value = _integer(text)
    if value is None:
        raise ApiError("bad_data", f"{name} must be a number")
    return value


def boolean(text: str) -> bool:
    """Read a truth value as ``strconv.ParseBool`` does; an empty one is false.

    Raises:
        ValueError: It is none; the text is Go's.
    """
    if text and text not in _TRUE | _FALSE:
        raise ValueError(f"strconv.ParseBool: parsing {go_quote(text)}: invalid syntax")
    return text in _TRUE


def integer(text: str, parser: str, bits: int = 64) -> int:
    """Read a whole number as Go does.

    Args:
        text: Digits with or without a sign.
        parser: Name of Go's function, for the error.
        bits: Size of what it has to fit into.

    Raises:
        ValueError: It is none, or does not fit; the text is Go's.
    """
    value = _integer(text)
    if value is not None and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        return value
    why = "value out of range" if _INTEGER.fullmatch(text) else "invalid syntax"
    raise ValueError(f"{parser}: parsing {go_quote(text)}: {why}")


def _integer(text: str) -> int | None:
    if len(text) > _MAX_DIGITS or not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if -_INT64_MAX - 1 <= value <= _INT64_MAX else None


def _round_half_away(value: float) -> int:
    return int(value + 0.5) if value >= 0 else -int(0.5 - value)


def _written_duration(text: str) -> int | None:
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text) if text and len(text) <= _MAX_DIGITS else None
    if match is None:
        return None
    total = sum(int(count) * unit for count, unit in zip(match.groups("0"), _DURATION_NS, strict=True))
    return total if total <= _INT64_MAX else None


def _rfc3339(text: str) -> int | None:
    match = _RFC3339.fullmatch(text) if len(text) <= _MAX_DIGITS else None
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, offset_h, offset_m = match.groups()[6:]
    if not (1 <= month <= 12 and 1 <= day <= _days_of(year, month) and hour < 24 and minute < 60 and second < 60):
        return None
    offset = 0
    if sign:
        if int(offset_h) > 24 or int(offset_m) > 60:
            return None
        offset = (int(offset_h) * 3600 + int(offset_m) * 60) * (1 if sign == "+" else -1)
    seconds = _days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
    return seconds * NS + int((fraction or "")[:9].ljust(9, "0"))


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_of(year: int, month: int) -> int:
    return 29 if month == 2 and _is_leap(year) else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def _days_since_1970(year: int, month: int, day: int) -> int:
    """Count days in the proleptic Gregorian calendar; year 0 exists, unlike in `datetime`."""
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400
    return days + sum(_days_of(year, earlier) for earlier in range(1, month)) + day - 719163


def window_parameters(form: Form) -> tuple[int, int]:
    """Return ``start`` and ``end`` in milliseconds; without them, ever."""
    start_ns = time_parameter(form, "start", MIN_TIME_NS)
    end_ns = time_parameter(form, "end", MAX_TIME_NS)
    return start_ns // MS, end_ns // MS
