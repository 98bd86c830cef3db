"""Numbers, durations and strings of PromQL: how they are recognised, read and written.

Source:
    Go's ``strconv``, whose oddities PromQL has: ``010`` is eight, ``0x_1F`` is a number, ``1_000`` too.
"""

from __future__ import annotations

import math
import re

from headrace.store.api.quoting import go_quote

MAX_DURATION_MS = (1 << 63) // 1_000_000
"""Prometheus counts nanoseconds in 64 bits."""

MAX_DURATION_SECONDS = (1 << 63) / 1e9

_DECIMAL_DIGITS = "0123456789"
_HEX_DIGITS = _DECIMAL_DIGITS + "abcdefABCDEF"
_NOT_AFTER = {".": "_.", "e": "._eE", "_": "._eE"}
_ALPHANUMERIC = re.compile(r"[A-Za-z0-9_]")
_UNITS = re.compile(r"[smhdwy]s?(?:[0-9]+[smhdw]s?)*([0-9]+)?")
_INTEGER = re.compile(
    r"(?P<hex>0[xX](?:_?[0-9a-fA-F])+)|(?P<octal>0[oO]?(?:_?[0-7])+)|(?P<binary>0[bB](?:_?[01])+)"
    r"|(?P<decimal>0|[1-9](?:_?[0-9])*)"
)
_DIGITS = r"[0-9](?:_?[0-9])*"
_FLOAT = re.compile(rf"(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_MAX_DIGITS = 40
"""More than 64 bits have, underscores included."""
_BASES = {"hex": 16, "octal": 8, "binary": 2, "decimal": 10}

_DURATION_PART = re.compile(r"([0-9]+)([^0-9]+)")
_UNIT_NAMES = ("y", "w", "d", "h", "m", "s", "ms")
_UNIT_MS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1)
_UNIT_RANKS = {name: rank for rank, name in enumerate(_UNIT_NAMES)}
_EXACT_UNITS = 2
"""Years and weeks are written only where nothing is left over."""

_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))")


def scan_number(text: str, position: int) -> tuple[int, bool]:
    """Return where the number ends that begins here, and whether it is one as far as the lexer knows."""
    start, digits = position, _DECIMAL_DIGITS
    if text.startswith("0", position):
        position += 1
        if text[position : position + 1] in {"x", "X"}:
            position += 1 + text.startswith("_", position + 1)
            digits = _HEX_DIGITS
    position += text.startswith(".", position)
    position += text[position : position + 1] in set(digits)
    seen: set[str] = set()
    while position < len(text) and text[position] in digits + "._eE":
        if text[position] not in "._eE":
            # A run of digits; in one of a hexadecimal number, e is a digit and no exponent.
            while text[position : position + 1] and text[position] in digits:
                position += 1
            continue
        kind = text[position].lower()
        position += 1
        if kind in seen and kind != "_":
            return position, False
        seen.add(kind)
        position, valid = _after_mark(text, position, kind)
        if not valid or (kind == "." and digits is _HEX_DIGITS):
            return position, False
    return position, position > start and _ALPHANUMERIC.match(text, position) is None


def _after_mark(text: str, position: int, kind: str) -> tuple[int, bool]:
    """Check what follows a point, an exponent's letter or an underscore."""
    if kind == "e" and text[position : position + 1] in {"+", "-"}:
        position += 1
    following = text[position : position + 1]
    if not following:
        return position, kind == "."
    if following in _NOT_AFTER[kind]:
        return position + 1, False
    return position, True


def scan_units(text: str, position: int) -> tuple[int, bool]:
    """Return where the rest of a duration ends whose first number ends here, and whether it is one."""
    match = _UNITS.match(text, position)
    if match is None:
        return position, False
    if match[1]:
        return match.end(), False
    if _ALPHANUMERIC.match(text, match.end()):
        return match.end() + 1, False
    return match.end(), True


def number(text: str) -> float:
    """Return the value of a number token.

    Raises:
        ValueError: It is none; the text is Go's.
    """
    whole = _INTEGER.fullmatch(text)
    # A decimal number too long for 64 bits is read as a floating-point one; Python would refuse very long ones.
    if whole and whole.lastgroup and not (whole.lastgroup == "decimal" and len(text) > _MAX_DIGITS):
        base = _BASES[whole.lastgroup]
        digits = text.replace("_", "")
        value = int(digits[2:] if digits[1:2].isalpha() else digits, base)
        if value < 1 << 63:
            return float(value)
        if whole.lastgroup in {"hex", "binary"} or text[1:2] in {"o", "O"}:
            raise ValueError(_number_fault(text, "invalid syntax"))
    if text.lower() in {"inf", "nan"}:
        return float(text)
    if not _FLOAT.fullmatch(text):
        raise ValueError(_number_fault(text, "invalid syntax"))
    found = float(text.replace("_", ""))
    if math.isinf(found):
        raise ValueError(_number_fault(text, "value out of range"))
    return found


def _number_fault(text: str, why: str) -> str:
    return f"error parsing number: strconv.ParseFloat: parsing {go_quote(text)}: {why}"


def duration_ms(text: str) -> int:
    """Return the milliseconds of a duration such as ``1h30m``.

    Raises:
        ValueError: A unit is unknown, units are not in descending order, or it is too long.
    """
    total, last, position = 0, -1, 0
    while position < len(text):
        part = _DURATION_PART.match(text, position)
        if part is None or len(part[1].lstrip("0")) > _MAX_DIGITS or int(part[1].lstrip("0") or 0) >= 1 << 64:
            raise ValueError(f"not a valid duration string: {go_quote(text)}")
        rank = _UNIT_RANKS.get(part[2])
        if rank is None:
            raise ValueError(f"unknown unit {go_quote(part[2])} in duration {go_quote(text)}")
        if rank <= last:
            raise ValueError(f"not a valid duration string: {go_quote(text)}")
        total += int(part[1].lstrip("0") or 0) * _UNIT_MS[rank]
        if total > MAX_DURATION_MS:
            raise ValueError("duration out of range")
        last, position = rank, part.end()
    return total


def duration_text(ms: int) -> str:
    """Write milliseconds, not negative, as Prometheus does: ``90m`` is ``1h30m``."""
    if ms == 0:
        return "0s"
    out = ""
    for i, (unit, name) in enumerate(zip(_UNIT_MS, _UNIT_NAMES, strict=True)):
        if (i < _EXACT_UNITS and ms % unit) or ms < unit:
            continue
        out += f"{ms // unit}{name}"
        ms %= unit
    return out


def milliseconds(seconds: float) -> int:
    """Round seconds to nanoseconds and cut them to milliseconds, as Prometheus does with written durations."""
    nanoseconds = rounded(seconds * 1e9)
    ms = abs(nanoseconds) // 1_000_000
    return ms if nanoseconds > 0 else -ms


def rounded(value: float) -> int:
    """Round half away from zero, which Python's `round` does not."""
    whole = math.trunc(value)
    if abs(value - whole) >= 0.5:
        whole += 1 if value > 0 else -1
    return whole


def float_text(value: float) -> str:
    """Write a number with the fewest digits that give it back, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, exponent = text.split("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    shift = int(exponent)
    if shift < 0:
        return f"{sign}0.{'0' * (-shift - 1)}{whole}{fraction}"
    return f"{sign}{whole}{fraction.ljust(shift, '0')}"


def unquote(text: str) -> str:
    """Return the value of a string token that the lexer has let through.

    Bytes that are not UTF-8, which escapes can make, come back as ``surrogateescape`` has them.
    """
    body = text[1:-1]
    if text[0] == "`" or "\\" not in body:
        return body
    escaped = _ESCAPE.sub(_unescaped, body)
    return escaped.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def valid_label(name: str) -> bool:
    """Return whether `name` may be a label's: UTF-8, and not empty."""
    return bool(name) and not any("\udc80" <= char <= "\udcff" for char in name)


def _unescaped(match: re.Match[str]) -> str:
    byte, short, long, octal, simple = match.groups()
    if simple:
        return _ESCAPES[simple]
    if short or long:
        return chr(int(short or long, 16))
    code = int(byte, 16) if byte else int(octal, 8)
    return chr(code) if code < 0x80 else chr(0xDC00 + code)
